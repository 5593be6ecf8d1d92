"""LutModel: a converted LUT network, run by the packed runtime; what qnn.load returns for such a checkpoint.

    model = qnn.load("out/plut", 4)
    digits = model.classes(images)        float32 as the network was trained on, or uint8: the bytes of the images
"""
import numpy as np

from . import backend_lut_network, lut_files
from .graph import Graph
from .inference import Model
from .reference_lut_network import pack_bits

# Largest stays largest: counts differ by 1 at least, so that no rounding makes two of them equal.
ORDERED = ("_div_scalar", "SoftmaxOutput", "softmax", "identity", "_copy")


def is_data(node):
    """True for the LUT network that reads the data itself."""
    return node.op == lut_files.OPERATOR and node.inputs[0][0].is_variable


def is_ordered(graph):
    """True where the class that the first output says is that of the largest score of its LUT network."""
    operator = graph.heads[0][0]
    while operator.op in ORDERED and not is_data(operator):
        operator = operator.inputs[0][0]
    return is_data(operator)


def is_direct(data):
    """True for samples that the packed runtime takes; MXNet's way has the errors for all others."""
    return data.dtype in (np.uint8, np.float32, np.float64) and data.ndim > 1 and data.size > 0


class LutModel(Model):
    """A Model whose graph holds one LUT network (network: LutNetwork), and perhaps MXNet operators behind it."""

    def __init__(self, symbol, arg_params, aux_params, data="data", labels=(), source="the parameters", ctx=None):
        super().__init__(symbol, arg_params, aux_params, data, labels, source, ctx)
        graph = Graph.from_json(symbol.tojson())
        self.network = lut_files.from_graph(graph, self.arg_params, params_path=source)
        self.is_plain = is_data(graph.heads[0][0])
        self.is_ordered = is_ordered(graph)

    @property
    def is_packed(self):
        """True: the network runs on packed bits."""
        return True

    def predict(self, data, batch_size=64, progress=False):
        """First output, (N, scores) float32. data: as Model.predict; uint8 are bytes v for the numbers v / unit of the
        encoder. A graph of nothing but the network runs outside of MXNet, all samples at once."""
        data = np.asarray(data)
        if not self.is_plain or not is_direct(data):
            return super().predict(self._numbers(data), batch_size, progress)
        return self._run(data, "scores")[0].astype(np.float32)

    def classes(self, data, batch_size=64, progress=False):
        """Index of the first largest score of every sample: (N,) int64."""
        data = np.asarray(data)
        if not self.is_ordered or not is_direct(data):
            return super().classes(self._numbers(data), batch_size, progress)
        return self._run(data, "classes")[1].astype(np.int64)

    def _numbers(self, data):
        """Bytes as the numbers that they stand for."""
        encoder = self.network.encoder
        return data.astype(np.float32) / np.float32(encoder.unit) if data.dtype == np.uint8 and encoder else data

    def _run(self, data, want):
        rows = np.ascontiguousarray(data.reshape(len(data), -1))
        if rows.shape[1] != self.network.num_features:
            raise ValueError("predict: the network takes %d numbers a sample, got data of shape %s"
                             % (self.network.num_features, data.shape))
        if self.network.encoder is None:
            bits = np.tile(pack_bits(rows > 0.5), self.network.num_frames)
            return backend_lut_network.run(self.network, bits=bits, want=(want,))
        if rows.dtype == np.uint8:
            return backend_lut_network.run(self.network, bytes=rows, want=(want,))
        return backend_lut_network.run(self.network, floats=rows.astype(np.float32, copy=False), want=(want,))
