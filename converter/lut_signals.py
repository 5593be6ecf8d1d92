"""LUT signals: the layers of a network on images, laid out: every position a copy of the shared tables.

    signals[c, i, j]     number of the signal that channel c of pixel (i, j) is
    windows              signals[c, i s + u, j s + v] -> [(c kh + u) kw + v, i, j]
    pooling              OR over a window: maxima of bits; six inputs a node, nodes of nodes above that

What was laid out is written down, steps = [[layer, method, its arguments ...], ...], without the tables of `tables`:
lut_layers.py finds those again in the network.
"""
import numpy as np

from qnn.lut_network import MAX_INPUTS, LutLayer

from .logic.lower_head import table_of

OR = [np.uint64(table_of(n, lambda *x: any(x))) for n in range(MAX_INPUTS + 1)]


class Signals:
    """signals: (channels,) or (channels, height, width) of the layer that is made next; layers: [LutLayer] so far;
    layer: name of the layer whose steps follow."""

    def __init__(self, shape):
        self.num_inputs = int(np.prod(shape))
        self.signals, self.layers = np.arange(self.num_inputs).reshape(shape), []
        self.end, self._zero = self.num_inputs, None
        self.shape, self.layer, self.steps = tuple(map(int, shape)), "", []

    @property
    def plan(self):
        """What LutNetwork.plan holds: shape of the bits, and the steps; None where no step looks at an image."""
        is_image = any(method in ("windows", "pool") for _, method, *_ in self.steps)
        return {"shape": list(self.shape), "steps": self.steps} if is_image else None

    def _step(self, method, *arguments):
        self.steps.append([self.layer, method, *(list(a) if isinstance(a, tuple) else a for a in arguments)])

    def nodes(self, connections, tables):
        """Signals of a new layer; connections: (nodes, n) signals."""
        self.layers.append(LutLayer(connections, tables))
        begin, self.end = self.end, self.end + len(tables)
        return np.arange(begin, self.end)

    def tables(self, connections, tables):
        """A table layer at every position: connections (nodes, n) to channels, tables (nodes,)."""
        self._step("tables")
        place = self.signals.shape[1:]
        inputs = np.moveaxis(self.signals[connections], 1, -1).reshape(-1, connections.shape[1])
        found = self.nodes(inputs, np.repeat(tables, int(np.prod(place))))
        self.signals = found.reshape((len(tables),) + place)

    def windows(self, kernel, stride, pad=(0, 0), border="constant"):
        """(channels kh kw, OH, OW). border: what lies around, as Columns has it; constant: 0 bits."""
        self._step("windows", kernel, stride, pad, border)
        views = self._windows(kernel, stride, pad, border)
        self.signals = views.reshape((-1,) + views.shape[3:])

    def _windows(self, kernel, stride, pad, border):
        (top, left), (kh, kw), options = pad, kernel, {}
        if any(pad) and border == "constant":
            options["constant_values"] = self.zero()
        padded = np.pad(self.signals, ((0, 0), (top, top), (left, left)), border, **options)
        views = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), (1, 2))[:, ::stride[0], ::stride[1]]
        return views.transpose(0, 3, 4, 1, 2)  # channels, kh, kw, OH, OW

    def pool(self, kernel, stride, pad=(0, 0)):
        """OR over windows."""
        self._step("pool", kernel, stride, pad)
        views = self._windows(kernel, stride, pad, "constant")
        shape = views.shape[:1] + views.shape[3:]
        inputs = views.transpose(0, 3, 4, 1, 2).reshape(int(np.prod(shape)), -1)
        while inputs.shape[1] > 1:
            parts = np.array_split(inputs, -(-inputs.shape[1] // MAX_INPUTS), axis=1)
            made = [self.nodes(part, np.full(len(part), OR[part.shape[1]])) for part in parts]
            inputs = np.stack(made, 1)
        self.signals = inputs.reshape(shape)

    def flatten(self):
        """(channels height width,)."""
        if self.signals.ndim > 1:
            self._step("flatten")
            self.signals = self.signals.reshape(-1)

    def reshape(self, shape):
        """(channels, height, width) of the same signals, in their order; one axis may be -1."""
        self._step("reshape", shape)
        self.signals = self.signals.reshape(shape)

    def zero(self):
        """The signal that is 0."""
        if self._zero is None:
            self._zero = int(self.nodes(np.zeros((1, 0), np.int64), np.zeros(1, np.uint64))[0])
        return self._zero

    def shuffle(self, unit):
        """y[i unit + j] = x[j (channels / unit) + i]."""
        self._step("shuffle", unit)
        shape = self.signals.shape
        self.signals = self.signals.reshape((unit, -1) + shape[1:]).swapaxes(0, 1).reshape(shape)

    def enlarge(self, scale, is_filled):
        """Every pixel a block of its copies, or of zeros with it in the middle."""
        self._step("enlarge", scale, is_filled)
        blocks = self.signals.repeat(scale, 1).repeat(scale, 2)
        if not is_filled:
            kept = np.zeros(blocks.shape[1:], bool)
            kept[scale // 2::scale, scale // 2::scale] = True
            blocks = np.where(kept, blocks, self.zero())
        self.signals = blocks
