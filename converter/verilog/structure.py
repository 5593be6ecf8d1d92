"""Structure: the modules that a network becomes, one behind the other, with their parameters.

    entry -> [width -> window] -> width -> fifo -> mvtu -> ... -> [width -> window -> max_pool] -> ... -> exit

Every block has one AXI4-Stream input and output. A stream is `lanes` codes of `lane_bits` bits a beat; the `items`
codes of a pixel (of a window, behind one) take ceil(items / lanes) beats, padded with zeros on the right.
"""
from dataclasses import dataclass, field

import numpy as np

from .folding import steps, window_lanes
from .layers import Matrix


@dataclass
class Block:
    """One instance. params: {name: value} of the module; layer: that it belongs to, None at the ends; memories:
    {file name: (words, bits a word)} that its parameters name."""

    module: str
    name: str
    params: dict
    in_bits: int
    out_bits: int
    layer: object = None
    memories: dict = field(default_factory=dict)


@dataclass
class Stream:
    lanes: int
    lane_bits: int
    items: int


def bits_for(low, high):
    """Bits of a two's complement number from `low` to `high`.

    >>> bits_for(-1, 1), bits_for(-8, 7), bits_for(0, 8)
    (2, 4, 5)
    """
    return max(int(-low - 1).bit_length() if low < 0 else 0, int(high).bit_length()) + 1


def ceil_div(a, b):
    return -(-a // b)


class Pipeline:
    """The blocks of a network with its folding {layer: Fold}; is_argmax: the index of the largest accumulator leaves
    in place of all of them."""

    def __init__(self, network, folds, is_argmax=False):
        if is_argmax and network.argmax_reason:
            raise ValueError("verilog: the class is not the largest accumulator: %s; leave argmax to the host"
                             % network.argmax_reason)
        self.network, self.folds, self.blocks = network, folds, []
        first = network.layers[0]
        items = first.window.channels if first.window else first.k
        simd = folds[first.name].simd
        self.stream = Stream(window_lanes(items, simd) if first.window else simd, first.code_bits, items)
        self.entry = Stream(self.stream.lanes, self.stream.lane_bits, items)
        self.in_beats = ceil_div(items, self.stream.lanes) * (first.window.height * first.window.width
                                                              if first.window else 1)
        if items % self.stream.lanes:
            self._width(None, "entry", self.stream.lanes, is_masked=True)
        for layer in network.layers:
            if isinstance(layer, Matrix):
                self._matrix(layer, folds[layer.name])
            else:
                self._pool(layer)
        last = network.layers[-1]
        self._width(None, "exit", self.stream.lanes, is_masked=True)
        if is_argmax:
            self._argmax(last)
        self.exit = self.stream
        self.out_beats = ceil_div(self.stream.items, self.stream.lanes) * last.pixels
        self.is_argmax = is_argmax

    def _add(self, module, name, params, lanes, lane_bits, items, layer=None, memories=None):
        in_bits = self.stream.lanes * self.stream.lane_bits
        self.stream = Stream(lanes, lane_bits, items)
        self.blocks.append(Block(module, name, params, in_bits, lanes * lane_bits, layer, memories or {}))

    def _width(self, layer, name, lanes, is_masked=False):
        """Changes the lanes of a beat; is_masked: also where they stay, if the last beat has lanes too many."""
        stream = self.stream
        if lanes == stream.lanes and not (is_masked and stream.items % lanes):
            return
        self._add("qnn_width", name, {"LANE_BITS": stream.lane_bits, "IN": stream.lanes, "OUT": lanes,
                                      "ITEMS": stream.items}, lanes, stream.lane_bits, stream.items, layer)

    def _fifo(self, layer, name, depth):
        stream = self.stream
        self._add("qnn_fifo", name, {"WIDTH": stream.lanes * stream.lane_bits, "DEPTH": max(2, depth)}, stream.lanes,
                  stream.lane_bits, stream.items, layer)

    def _window(self, layer, name, lanes, **options):
        window = layer.window
        self._width(layer, name + "_pixel", lanes)
        lane_bits = self.stream.lane_bits + options.get("HAS_MASK", 0)
        params = {"LANES": lanes, "LANE_BITS": self.stream.lane_bits, "BEATS": window.channels // lanes,
                  "HEIGHT": window.height, "WIDTH": window.width, "OUT_HEIGHT": window.out_height,
                  "OUT_WIDTH": window.out_width, "ROWS": ring_rows(window)}
        for key in ("kernel", "stride", "dilate", "pad"):
            params.update({"%s_%s" % (key.upper(), axis): value for axis, value in zip("HW", getattr(window, key))})
        self._add("qnn_window", name + "_window", {**params, **options}, lanes, lane_bits,
                  window.taps * window.channels, layer)

    def _matrix(self, layer, fold):
        name, is_constant = instance(layer), is_unrolled(layer, fold)
        sf, nf = steps(layer, fold)
        waits = False
        if layer.window:
            lanes = window_lanes(layer.window.channels, fold.simd)
            is_masked = layer.kind == "masked"
            fill = format(0 if is_masked else layer.pad_number, "0%db" % layer.code_bits)
            pad = "%d'b%s" % (lanes * layer.code_bits, fill * lanes)
            self._window(layer, name, lanes, PAD=Verbatim(pad), HAS_MASK=int(is_masked))
            waits = layer.window.taps * layer.window.channels // lanes > sf
        elif self.stream.items != layer.k:  # an image becomes a vector: its pixels follow each other without padding
            if self.stream.items % self.stream.lanes:
                self._width(layer, name + "_pixel", self.stream.items)
            self.stream = Stream(self.stream.lanes, self.stream.lane_bits, layer.k)
        self._width(layer, name + "_lanes", fold.simd)
        # A unit takes a vector in SF cycles and computes for SF*NF: the next vector gathers here meanwhile.
        self._fifo(layer, name + "_fifo", sf if nf > 1 and (waits or not layer.window) else 2)
        out_bits = acc_bits(layer, fold) if layer.levels == 0 else int(layer.levels).bit_length()
        if is_constant:
            self._add("qnn_" + name, name, {}, layer.n, out_bits, layer.n, layer)
            return
        params, memories = mvtu(layer, fold, name)
        self._add("qnn_mvtu", name, params, fold.pe, out_bits, layer.n, layer, memories)

    def _pool(self, layer):
        name, channels = instance(layer), layer.window.channels
        lanes, lane_bits = window_lanes(channels, self.stream.lanes), self.stream.lane_bits
        self._window(layer, name, lanes, BEATS_OUTER=1)
        flips = "".join(str(int(bit)) for bit in layer.flip[::-1])
        self._add("qnn_max_pool", name, {"LANES": lanes, "LANE_BITS": lane_bits, "BEATS": channels // lanes,
                                         "TAPS": layer.window.taps, "FLIP": Verbatim("%d'b%s" % (channels, flips))},
                  lanes, lane_bits, channels, layer)

    def _argmax(self, last):
        out_bits = max(1, int(last.n - 1).bit_length())
        self._add("qnn_argmax", "argmax", {"N": last.n, "LANES": self.stream.lanes, "BITS": self.stream.lane_bits,
                                           "OUT_BITS": out_bits}, 1, out_bits, 1)


KINDS = ("bits", "masked")  # KIND of rtl/qnn_lanes.v


class Verbatim(str):
    """A parameter that is written as it is, not as a string."""


def instance(layer):
    """The layer's name as a Verilog identifier, in lower case."""
    name = "".join(char if char.isalnum() and char.isascii() else "_" for char in layer.name).lower()
    return name if name[:1].isalpha() else "layer_" + name


def is_unrolled(layer, fold):
    """True where a layer is one circuit of constant weights; others than of bits to bits stay units of one fold."""
    is_bits = layer.kind == "bits" and layer.code_bits == layer.weight_bits == 1
    return fold.style == "unrolled" and is_bits and layer.levels < 2


def ring_rows(window):
    """Rows that qnn_window holds: those of a window, and those that the next row, or the next image, begins with."""
    reach = (window.kernel[0] - 1) * window.dilate[0] + 1
    bases = [max(0, y * window.stride[0] - window.pad[0]) for y in range(window.out_height)] + [window.height]
    freed = [after - before for before, after in zip(bases, bases[1:])]
    return max([reach + max(window.stride[0], reach - window.pad[0])] + freed)


# ---- what a unit has in its memories ---------------------------------------------------------------------------------


def starts(layer):
    """(N, levels) thresholds on the accumulators as the unit counts them: matches, or dot products of masked layers."""
    if layer.kind == "masked":
        return layer.thresholds
    return np.clip(-((layer.offset[:, None] - layer.thresholds) // layer.step), 0, layer.most + 1)


def acc_bits(layer, fold):
    """Bits of an accumulator that holds start + sum, and the levels above the first, for every input."""
    limit = layer.most
    low, high = (0, limit) if layer.kind == "bits" else (-limit, limit)
    needed = bits_for(low, high)
    if layer.levels:
        first = starts(layer)[:, 0]
        spread = int((starts(layer)[:, -1] - first).max())
        padding = -limit - 1 + low if layer.n % fold.pe else 0  # what mvtu() puts into neurons that do not exist
        needed = max(needed, bits_for(min(low - int(first.max()), padding), max(high - int(first.min()), spread)))
    return max(needed, sum_bits(layer, fold) + 1)


def sum_bits(layer, fold):
    """Bits of what the lanes add in one cycle."""
    return int(fold.simd * layer.most // layer.k).bit_length() + KINDS.index(layer.kind) + 1


def mvtu(layer, fold, name):
    """(parameters, memories) of qnn_mvtu for a layer."""
    sf, nf = steps(layer, fold)
    width = acc_bits(layer, fold)
    kind = KINDS.index(layer.kind)
    params = {"KIND": kind, "CODE_BITS": layer.code_bits + kind, "WEIGHT_BITS": layer.weight_bits, "K": layer.k,
              "N": layer.n, "SIMD": fold.simd, "PE": fold.pe,
              "SUM_BITS": sum_bits(layer, fold), "ACC_BITS": width, "LEVELS": layer.levels,
              "OUT_BITS": width if layer.levels == 0 else int(layer.levels).bit_length(),
              "WEIGHTS": "data/%s_weights.mem" % name}
    weight = np.ones((nf * fold.pe, sf * fold.simd, layer.weight_bits), bool)  # padding: x = 0 there, never equal
    weight[:layer.n, :layer.k, 0] = layer.weight
    if layer.magnitude is not None:
        weight[:layer.n, :layer.k, 1:] = to_bits(layer.magnitude, layer.weight_bits - 1)
    words = weight.reshape(nf, fold.pe, sf, fold.simd, -1).transpose(0, 2, 1, 3, 4).reshape(nf * sf, -1)
    memories = {params["WEIGHTS"]: words}
    if layer.levels:
        params["THRESHOLDS"] = "data/%s_thresholds.mem" % name
        first = starts(layer)
        table = np.concatenate([-first[:, :1], first[:, 1:] - first[:, :1]], axis=1)
        never = -layer.most - 1
        padded = np.full((nf * fold.pe, layer.levels), never, np.int64)
        padded[:, 1:] = 2 ** (width - 1) - 1
        padded[:layer.n] = table
        memories[params["THRESHOLDS"]] = to_bits(padded, width).reshape(nf, -1)
    return params, memories


def to_bits(numbers, width):
    """(...,) integers -> (..., width) bool, two's complement, low bit first."""
    return (np.asarray(numbers, np.int64)[..., None] >> np.arange(width)) & 1 == 1
