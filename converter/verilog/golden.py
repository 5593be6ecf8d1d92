"""Golden vectors: what the packed model, run by MXNet, puts into the hardware layers and gets out of them."""
import numpy as np

from qnn import bits, reference
from qnn.graph import Graph, Node
from qnn.inference import Model, as_samples

from ..passes.tuples import numbers

FLOAT_OPTIONS = ("has_mean", "has_scale", "has_bias", "has_residual", "layout", "flatten")


def golden(network, codes, batch_size=64):
    """Accumulators of the packed model for (n, height, width, channels) codes: (n,) + network.out_shape integers."""
    model, pack, _, has_front = network.source
    if has_front:
        data = np.asarray(codes, np.float32).transpose(0, 3, 1, 2) * np.float32(network.scale)
        return _accumulators(network, _run(network, _raw(model.graph.copy(), network), data, batch_size))
    graph = _raw(model.graph.copy(), network)
    node = graph.find(pack.name)
    node.attrs = {**node.attrs, "layout": "NCHW"}
    node.attrs.pop("has_threshold", None)
    node.inputs = [(Node("null", "codes"), 0)]
    signs = np.where(np.asarray(codes) > 0, np.float32(1), np.float32(-1)).transpose(0, 3, 1, 2)
    return _accumulators(network, _run(network, graph, signs, batch_size))


def stimuli(network, data, batch_size=64):
    """(codes, accumulators) of samples (n, ...): what the packed model's own operators make of them in one run.

    Raises ValueError where data of a layer of integers are none, or are out of its range.
    """
    model, pack, _, has_front = network.source
    data = as_samples(data)
    graph = _raw(model.graph.copy(), network)
    if has_front:
        codes = data / np.float32(network.scale)
        low = -2 ** (network.code_bits - 1) if network.is_signed else 0
        if (codes != np.rint(codes)).any() or codes.min() < low or codes.max() >= low + 2 ** network.code_bits:
            raise ValueError("verilog: data are integers %d..%d times %g, got numbers from %g to %g" % (
                low, low + 2 ** network.code_bits - 1, network.scale, data.min(), data.max()))
        height, width, channels = network.in_shape
        codes = codes.reshape(len(codes), channels, height, width).transpose(0, 2, 3, 1)
        return codes.astype(np.int64), _accumulators(network, _run(network, graph, data, batch_size))
    image = graph.find(pack.name)
    words = _run(network, Graph([(image, 0)], graph.version, graph.extra), data, batch_size)
    pad = numbers(pack, "pad")
    inner = words[:, pad[0]:words.shape[1] - pad[0], pad[1]:words.shape[2] - pad[1]]
    signs = reference.unpack_rows(inner.view(bits.WORD_DTYPE), network.in_shape[2])
    return (signs > 0).astype(np.int64), _accumulators(network, _run(network, graph, data, batch_size))


def _raw(graph, network):
    """The graph whose output are the dot products of the last layer, as floats (n, OH, OW, N)."""
    last = graph.find(network.source[2].name)
    attrs = {key: value for key, value in last.attrs.items() if key not in FLOAT_OPTIONS}
    attrs.update(no_offset="True", layout="NHWC")
    return Graph([(Node(last.op, last.name, attrs, last.inputs[:2]), 0)], graph.version, graph.extra)


def _run(network, graph, data, batch_size):
    """First output of `graph` for float32 data, with the parameters of the packed model."""
    import mxnet as mx
    symbol = mx.sym.load_json(graph.to_json())
    names = set(symbol.list_arguments()) | set(symbol.list_auxiliary_states())
    args, auxs = ({k: v for k, v in part.items() if k in names} for part in network.source[0].used_params())
    inputs = [name for name in symbol.list_arguments() if name not in args]
    model = Model(symbol, args, auxs, data=inputs[0])
    return model.predict(np.ascontiguousarray(data, np.float32), batch_size)


def _accumulators(network, dots):
    dots = np.rint(dots).astype(np.int64).reshape((len(dots),) + tuple(network.out_shape))
    return (network.layers[-1].k + dots) // 2 if network.accumulators == "matches" else dots
