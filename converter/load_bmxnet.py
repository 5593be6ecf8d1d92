"""Reads BMXNet v1 models, packed or not, as qnn training graphs whose 1-bit weights are -1 and +1.

Packed words hold 32 or 64 signs (bit j = element j, 1 = +1), written bit for bit into float32 or float64 arrays, of one
dimension (2017) or shaped (later). Element order (BMXNet, smd_hpi/src, see its converter):

    convolution:      word i of the flat (O, C, kh, kw) weights, row by row
    fully connected:  word[y * num_hidden + o] = inputs y*bits .. of neuron o
"""
import numpy as np

from qnn.files import load_params
from qnn.graph import Graph, splice
from qnn.options import ConvolutionOptions, FullyConnectedOptions

WORDS = {"float32": np.dtype("<u4"), "float64": np.dtype("<u8")}
OPERATORS = ("QActivation", "QConvolution", "QConvolution_v1", "QFullyConnected")


def load_bmxnet(symbol_path, params_path):
    """(graph, arg_params, aux_params) with every Q operator of BMXNet composed by qnn.sym, weights as float32 signs.

    Raises OSError; ValueError naming the file, or the layer when a parameter is missing, has another size, or holds a
    dtype that no BMXNet wrote.
    """
    graph, params = Graph.load(symbol_path), load_params(params_path)
    auxs = {name[4:]: value for name, value in params.items() if name.startswith("aux:")}
    args = {name[4:]: value for name, value in params.items() if name.startswith("arg:")}
    readers = graph.consumers()
    for node in graph.nodes():
        if node.op not in OPERATORS:
            continue
        attrs = {key: value for key, value in node.attrs.items() if not key.startswith("__")}
        is_packed = attrs.pop("binarized_weights_only", "False") in ("True", "true", "1")
        if is_packed:
            _check_packed(node, attrs)
            weight = node.inputs[1][0]
            if len(readers[weight]) > 1:
                raise ValueError("%s '%s': packed weights %s are shared between layers"
                                 % (node.op, node.name, weight.name))
            args[weight.name] = _unpack(node, attrs, _parameter(args, weight.name, node))
            weight.attrs.pop("__shape__", None)
            weight.attrs.pop("__dtype__", None)
        _compose(graph, node, attrs)
    for node in graph.nodes():
        if node.is_variable:  # old files copy the operator's attributes onto its variables
            node.attrs = {key: value for key, value in node.attrs.items() if key.startswith("__")}
    import mxnet as mx
    modern = mx.sym.load_json(graph.to_json()).tojson()  # MXNet brings the attributes of its old operators up to date
    return Graph.from_json(modern), args, auxs


def _check_packed(node, attrs):
    if len(node.inputs) < 2:
        raise ValueError("%s '%s': it has no weight input" % (node.op, node.name))
    bits = (attrs.get("act_bit", "1"), attrs.get("weight_bit", "1"))
    if bits != ("1", "1"):
        raise ValueError("%s '%s': packed weights of %s/%s bits: BMXNet packs 1/1 only, this file is damaged"
                         % (node.op, node.name, *bits))
    if attrs.get("scaling_mode", "none") == "forward":
        raise ValueError("%s '%s': scaling_mode='forward' of a packed model: its scale was lost when it was packed; "
                         "convert the unpacked model" % (node.op, node.name))


def _parameter(args, name, node):
    if name not in args:
        raise ValueError("%s '%s': parameter %s is missing from the checkpoint" % (node.op, node.name, name))
    return args[name]


def _unpack(node, attrs, words):
    """Packed words -> float32 signs of shape (num_filter, C, kh, kw) or (num_hidden, K)."""
    if str(words.dtype) not in WORDS:
        raise ValueError("%s '%s': packed weights are float32 or float64 arrays, got %s"
                         % (node.op, node.name, words.dtype))
    words = np.ascontiguousarray(words).ravel().view(WORDS[str(words.dtype)])
    if node.op == "QFullyConnected":
        outputs = FullyConnectedOptions(node.name, num_hidden=attrs.get("num_hidden", 0)).num_hidden
        _check_division(node, words.size, "packed words", outputs, "outputs")
        return _signs(words.reshape(-1, outputs).T, outputs)
    options = ConvolutionOptions(node.name, kernel=attrs.get("kernel", ()), num_filter=attrs.get("num_filter", 0))
    outputs, taps = options.num_filter, int(np.prod(options.kernel))
    _check_division(node, words.size * words.itemsize * 8, "packed bits", outputs, "filters")
    signs = _signs(words, outputs)
    _check_division(node, signs.shape[1], "weights of a filter", taps, "taps")
    return signs.reshape((outputs, -1) + options.kernel)


def _check_division(node, count, what, divisor, parts):
    if count == 0 or count % divisor:
        raise ValueError("%s '%s': %d %s do not divide into %d %s" % (node.op, node.name, count, what, divisor, parts))


def _signs(words, rows):
    bits = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), bitorder="little").reshape(rows, -1)
    return np.where(bits, np.float32(1), np.float32(-1))


def _compose(graph, node, attrs):
    """Puts qnn's own composition in the place of BMXNet's operator `node`."""
    import mxnet as mx

    import qnn
    roles = ["data"] if node.op == "QActivation" else ["data", "weight", "bias"][:len(node.inputs)]
    inputs = dict(zip(roles, node.inputs))
    make = {"QActivation": qnn.sym.QActivation, "QFullyConnected": qnn.sym.QFullyConnected}
    symbol = make.get(node.op, qnn.sym.QConvolution)(*[mx.sym.Variable("bmxnet_" + role) for role in roles],
                                                     name=node.name, **attrs)
    splice(graph, (node, 0), Graph.from_json(symbol.tojson()),
           {"bmxnet_" + role: entry for role, entry in inputs.items()})
