"""Golden vectors: what the packed model, run by MXNet, puts into the hardware layers and gets out of them."""
import numpy as np

from qnn import bits, reference_planes
from qnn.graph import Graph, Node
from qnn.inference import Model, as_samples

from ..passes.tuples import numbers
from .packed import has_offset

FLOAT_OPTIONS = ("has_mean", "has_scale", "has_bias", "has_residual", "layout", "flatten")


def golden(network, codes, batch_size=64):
    """Accumulators of the packed model for (n, height, width, channels) codes: (n,) + network.out_shape integers."""
    model, pack, _ = network.source
    graph = _raw(model.graph.copy(), network)
    numbers_in = np.asarray(codes, np.float32).transpose(0, 3, 1, 2)
    if network.has_front:
        data = (numbers_in + _lowest(network)) * np.float32(network.scale)
        return _accumulators(network, _run(network, graph, data, batch_size))
    node = graph.find(pack.name)
    node.attrs = {**node.attrs, "layout": "NCHW", "has_threshold": "True"}
    node.inputs = [(Node("null", name), 0) for name in ("codes", "codes_threshold", "codes_flip")]
    steps = np.arange(1, 2 ** network.code_bits, dtype=np.float32) - np.float32(0.5)  # u of them are below u
    channels = network.in_shape[2]
    threshold = np.repeat(steps[:, None], channels, axis=1)
    extra = {"codes_threshold": threshold if len(steps) > 1 else threshold[0],
             "codes_flip": np.zeros(-(-channels // bits.WORD_BITS), np.int64)}
    return _accumulators(network, _run(network, graph, numbers_in, batch_size, extra))


def _lowest(network):
    """The value of u = 0."""
    return reference_planes.code_range(network.code_bits, network.code)[0]


def stimuli(network, data, batch_size=64):
    """(codes, accumulators) of samples (n, ...): what the packed model's own operators make of them in one run.

    Raises ValueError where data of a layer of integers are none, or are out of its range.
    """
    model, pack, _ = network.source
    data = as_samples(data)
    graph = _raw(model.graph.copy(), network)
    if network.has_front:
        codes, low = data / np.float32(network.scale), _lowest(network)
        if (codes != np.rint(codes)).any() or codes.min() < low or codes.max() >= low + 2 ** network.code_bits:
            raise ValueError("verilog: data are integers %d..%d times %g, got numbers from %g to %g" % (
                low, low + 2 ** network.code_bits - 1, network.scale, data.min(), data.max()))
        height, width, channels = network.in_shape
        codes = codes.reshape(len(codes), channels, height, width).transpose(0, 2, 3, 1)
        return codes.astype(np.int64) - low, _accumulators(network, _run(network, graph, data, batch_size))
    image = graph.find(pack.name)
    words = _run(network, Graph([(image, 0)], graph.version, graph.extra), data, batch_size)
    words = words.view(bits.WORD_DTYPE).reshape((len(words), network.code_bits) + words.shape[-3:-1] + (1, -1))
    pad = numbers(pack, "pad")
    inner = words[:, :, pad[0]:words.shape[2] - pad[0], pad[1]:words.shape[3] - pad[1]]
    codes = reference_planes.unpack_codes(inner, network.in_shape[2]).transpose(0, 2, 3, 1)
    return codes, _accumulators(network, _run(network, graph, data, batch_size))


def _raw(graph, network):
    """The graph whose output are the dot products of the last layer, as floats (n, OH, OW, N)."""
    last = graph.find(network.source[2].name)
    attrs = {key: value for key, value in last.attrs.items() if key not in FLOAT_OPTIONS}
    attrs.update(no_offset="True", layout="NHWC")
    inputs = last.inputs[:3 if has_offset(last) else 2]
    return Graph([(Node(last.op, last.name, attrs, inputs), 0)], graph.version, graph.extra)


def _run(network, graph, data, batch_size, extra=None):
    """First output of `graph` for float32 data, with the parameters of the packed model and those of `extra`."""
    import mxnet as mx
    symbol = mx.sym.load_json(graph.to_json())
    names = set(symbol.list_arguments()) | set(symbol.list_auxiliary_states())
    args, auxs = ({k: v for k, v in part.items() if k in names} for part in network.source[0].used_params())
    args.update(extra or {})
    inputs = [name for name in symbol.list_arguments() if name not in args]
    model = Model(symbol, args, auxs, data=inputs[0])
    return model.predict(np.ascontiguousarray(data, np.float32), batch_size)


def _accumulators(network, dots):
    dots = np.rint(dots).astype(np.int64).reshape((len(dots),) + tuple(network.out_shape))
    return network.layers[-1].leaving(dots)
