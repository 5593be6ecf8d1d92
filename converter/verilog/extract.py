"""Extract: the hardware layers of a packed graph, as qnn.converter leaves it.

    [host] -> _qnn_pack -> _qnn_bits_convolution, _qnn_bits_max_pool, Reshape ... -> _qnn_float_convolution -> [host]

A layer of 8-bit data and 1-bit weights (act_bit=32, weight_bit=1) may stand in front, if it reads the data itself and
BatchNorm and _qnn_pack follow: integers times a power of two add up exactly in float32, in any order. Data and weights
of the packed layers may be codes of several bits. The last layer's accumulators leave the hardware; its scale and
BatchNorm, like all that surrounds the chain, are the host's.
"""
import hashlib
from dataclasses import replace

import numpy as np

from qnn import bits, reference
from qnn.graph import Graph
from qnn.q_layers import find_layers
from qnn.thresholds import float_thresholds

from ..convert import load_source, run_passes
from ..passes.chains import batch_norm
from ..passes.tuples import numbers
from .layers import Matrix, Network, Pool, Window
from .packed import planes_of, rising, thresholds, weights

PACK, BITS, POOL, FLOATS = "_qnn_pack", "_qnn_bits_convolution", "_qnn_bits_max_pool", "_qnn_float_convolution"
FREE = ("Flatten", "Reshape", "_copy", "Dropout", "SoftmaxOutput", "SVMOutput", "softmax", "SoftmaxActivation",
        "transpose")
SCALARS = ("_plus_scalar", "_minus_scalar", "_rminus_scalar", "_mul_scalar", "_div_scalar")
UNPACKED = ("_qnn_packed_convolution", "_qnn_packed_fully_connected")


def load_network(prefix, epoch, **options):
    """The Network of a checkpoint, trained or converted; options: as of `extract`. Raises OSError, ValueError."""
    return extract(run_passes(*load_source(prefix, epoch)), **options)


def extract(model, shape=None, host_layers=False, input_bits=1, input_signed=False, input_scale=1.0):
    """Finds the chain of hardware layers in a converted model and makes a Network of it.

    model: converter.model.Model behind all passes. shape: of one sample, (C, H, W) or (K,); needed where the network
    convolves. host_layers: leaves float layers in front of the first and behind the last packed layer to the host; what
    turns data into bits, numbers added to them or multiplied by them and then their signs, always is the host's.
    input_bits, input_signed, input_scale: data of a layer with float data: code * scale, 2..8 bits, scale a power of
    two. Raises ValueError naming the layer that hardware cannot take, and what to do.
    """
    params = {name: value for part in model.used_params() for name, value in part.items()}
    pack, chain, last = _chain(model.graph)
    front = _integer_layer(model, pack, input_bits, input_signed, input_scale)
    before, after = _outside(model.graph, [] if front else [(pack, 0)], last)
    if not host_layers:
        _refuse_host([node for node in before if node.op not in SCALARS], after, front is None)
    network = Network([], (), _sha256(model.graph, params), input_scale if front else 1.0,
                      [node.name for node in before], [node.name for node in after], has_front=bool(front))
    readers = chain + [last]
    state = _input_shape(model.graph, readers, shape, front, pack)
    network.in_shape = state
    if front:
        network.layers.append(_front_matrix(front, state, input_bits, input_signed, input_scale))
        state = network.layers[-1].out_shape
    for node in readers:
        if node.op == "Reshape":
            state = (1, state[0] * state[1], state[2])
            continue
        network.layers.append(_pool(node, params, state) if node.op == POOL else _matrix(node, params, state))
        state = network.layers[-1].out_shape
    network.argmax_reason = _why_no_argmax(last, after, network.layers[-1])
    network.source = (model, pack, last)
    return network


def _chain(graph):
    """(pack, [layers on bits], last): the one chain of a graph. Raises ValueError where there is none, or more."""
    nodes = [node for node in graph.nodes() if not node.is_variable]
    loose = [node for node in nodes if node.op in UNPACKED]
    if loose:
        raise ValueError("verilog: %s '%s' stands between floats: convert with fusion (without --no-fuse)"
                         % (loose[0].op, loose[0].name))
    ends = [node for node in nodes if node.op == FLOATS]
    if not ends:
        raise ValueError("verilog: no 1-bit layer in the network: hardware takes QConvolution and QFullyConnected of "
                         "act_bit=1, weight_bit=1, or of quantizers with integer codes (qnn.swap makes them)")
    if len(ends) > 1:
        reader = next(iter(node for node, _ in graph.consumers()[ends[0]]), None)
        if reader is not None and ends[0].name.startswith(reader.name + "_term"):
            raise ValueError("verilog: layer '%s' is a sum of terms of different scales (ReBNet's activations, TTQ's "
                             "weights): hardware takes one scale a layer; train it with isometric(levels=M) "
                             "activations, or with weights that are signs or ternary" % reader.name)
        raise ValueError("verilog: layer '%s' gives floats to %s and is not the last packed layer: hardware takes one "
                         "chain of 1-bit layers with nothing but BatchNorm, tanh and max-pooling between them, no "
                         "residual sums and no float layers; move float layers to the ends, or use qnn convert"
                         % (ends[0].name, "'%s' (%s)" % (reader.name, reader.op) if reader else "the output"))
    last, chain = ends[0], []
    if "has_residual" in last.attrs:
        raise ValueError("verilog: layer '%s' adds a residual: hardware takes chains of layers" % last.name)
    node = last.inputs[0][0]
    while node.op != PACK:
        if node.op not in (BITS, POOL, "Reshape"):
            raise ValueError("verilog: operator %s '%s' between packed layers is none that hardware has"
                             % (node.op, node.name))
        chain.insert(0, node)
        node = node.inputs[0][0]
    readers = graph.consumers()
    for inner in [node] + chain:
        if len(readers[inner]) > 1:
            raise ValueError("verilog: layer '%s' is read by %d layers: hardware takes one chain"
                             % (inner.name, len(readers[inner])))
    for layer in chain + [last]:
        if int(layer.attrs.get("num_group", "1")) > 1:
            raise ValueError("verilog: layer '%s' has num_group=%s: hardware takes convolutions of one group; train "
                             "it with num_group=1" % (layer.name, layer.attrs["num_group"]))
    return node, chain, last


def _outside(graph, heads, last):
    """Operators that `heads` are made of, and operators behind `last`, that do more than reorder."""
    before = [node for node in Graph(heads).nodes()
              if not node.is_variable and node.op not in FREE and (node, 0) not in heads]
    chain = set(Graph([(last, 0)]).nodes())
    after = [node for node in graph.nodes() if node not in chain and not node.is_variable and node.op not in FREE]
    return before, after


def _refuse_host(before, after, has_no_front):
    for node, where in [(n, "in front of the first") for n in before] + [(n, "behind the last") for n in after]:
        raise ValueError("verilog: operator %s '%s' %s 1-bit layer computes with floats: leave it to the host with "
                         "--host-layers (host_layers=True)%s" % (
                             node.op, node.name, where,
                             ", or let the first layer read integers: QConvolution(act_bit=32, weight_bit=1) on the "
                             "data, then BatchNorm and QActivation, and --input-bits 8"
                             if has_no_front and where[0] == "i" else ""))


def _sha256(graph, params):
    """SHA-256 of the packed graph and its parameters."""
    digest = hashlib.sha256(graph.to_json().encode("utf-8"))
    for name in sorted(params):
        digest.update(("%s %s %s" % (name, params[name].dtype, params[name].shape)).encode("utf-8"))
        digest.update(np.ascontiguousarray(params[name]))
    return digest.hexdigest()


def _why_no_argmax(last, after, layer):
    """Why the largest accumulator is not the largest output; "" where it is."""
    floats = [key for key in ("has_mean", "has_scale", "has_bias") if key in last.attrs]
    if floats or after:
        return "%s between the accumulators and the output" % (
            "the scale or BatchNorm of '%s' lies" % last.name if floats else "'%s' lies" % after[0].name)
    if layer.kind == "bits" and len(np.unique(layer.offset)) > 1:
        return "the %s codes of '%s' give every output an offset of its own" % (layer.code, last.name)
    return ""


# ---- layers ----------------------------------------------------------------------------------------------------------


def _input_shape(graph, readers, shape, front, pack):
    """(height, width, channels) of the codes that enter."""
    layer = front[1] if front else None
    if shape is None:
        data = next((n for n in graph.nodes() if n.is_variable and n.name == "data"), None)
        declared = numbers(data, "__shape__") if data is not None else ()
        shape = declared[1:] if len(declared) > 1 and all(declared[1:]) else None
    is_flat = layer.op == "QFullyConnected" if front else readers[0].attrs.get("flatten") == "True" or (
        readers[0].op == BITS and _is_flattened(pack))
    if is_flat:
        channels = front[2].shape[1] if front else int(readers[0].attrs["channels"]) * int(
            np.prod(numbers(readers[0], "kernel")))
        if shape is not None and int(np.prod(shape)) != channels and not front and pack.inputs[0][0].op == "Flatten" \
                and pack.inputs[0][0].inputs[0][0].is_variable:
            raise ValueError("verilog: layer '%s' takes %d inputs, the shape %s has %d" % (
                readers[0].name, channels, tuple(shape), int(np.prod(shape))))
        return 1, 1, channels
    if shape is None or len(shape) != 3:
        raise ValueError("verilog: layer '%s' is a convolution: give the shape of one sample with --shape C,H,W%s" % (
            layer.name if front else readers[0].name,
            ", got %s" % (tuple(shape),) if shape is not None else ""))
    if not front and pack.inputs[0][0].is_variable is False:
        shape = _inferred(graph, pack, shape)
    channels = front[2].shape[1] if front else int(readers[0].attrs["channels"])
    if shape[0] != channels:
        raise ValueError("verilog: layer '%s' reads %d channels, the shape %s has %d" % (
            layer.name if front else readers[0].name, channels, tuple(shape), shape[0]))
    return shape[1], shape[2], shape[0]


def _is_flattened(pack):
    return pack.inputs[0][0].op == "Flatten"


def _inferred(graph, pack, shape):
    """(C, H, W) of what _qnn_pack reads, for one sample of data of `shape`."""
    import mxnet as mx
    symbol = mx.sym.load_json(Graph([pack.inputs[0]], graph.version, graph.extra).to_json())
    data = "data" if "data" in symbol.list_arguments() else symbol.list_arguments()[0]
    _, outputs, _ = symbol.infer_shape_partial(**{data: (1,) + tuple(shape)})
    if not outputs or len(outputs[0]) != 4:
        raise ValueError("verilog: '%s' reads data of shape %s, expected (N, C, H, W)" % (
            pack.name, outputs[0] if outputs else "unknown"))
    _, *inner = outputs[0]
    return tuple(inner) if pack.attrs.get("layout", "NCHW") == "NCHW" else (inner[2], inner[0], inner[1])


def _window(node, state, kernel, pad_value, outputs=None):
    height, width, channels = state
    stride, dilate, pad = (numbers(node, key, default) for key, default in (
        ("stride", "(1, 1)"), ("dilate", "(1, 1)"), ("pad", "(0, 0)")))
    if outputs is None:
        outputs = [(size + 2 * p - (k - 1) * d - 1) // s + 1
                   for size, p, k, d, s in zip((height, width), pad, kernel, dilate, stride)]
    if min(outputs) < 1:
        raise ValueError("verilog: layer '%s' does not fit an image of %d x %d pixels" % (node.name, height, width))
    if any(p > (k - 1) * d for p, k, d in zip(pad, kernel, dilate)):
        raise ValueError("verilog: layer '%s' pads %s for a kernel of %s: hardware takes padding below the reach of "
                         "the kernel" % (node.name, pad, kernel))
    return Window(channels, height, width, tuple(kernel), stride, dilate, pad, pad_value, *outputs)


def _matrix(node, params, state):
    (weight, magnitude), kernel = weights(node, params), numbers(node, "kernel")
    if int(node.attrs["channels"]) != state[2]:
        raise ValueError("verilog: layer '%s' reads %s channels, the layer in front gives %d"
                         % (node.name, node.attrs["channels"], state[2]))
    window = None
    if kernel != tuple(state[:2]) or any(numbers(node, "pad")):
        window = _window(node, state, kernel, int(node.attrs["pad_value"]))
    if "plane" in node.attrs:
        raise ValueError("verilog: layer '%s' takes its data apart into terms of different scales: hardware takes "
                         "codes of one scale, such as isometric residuals" % node.name)
    layer = Matrix(node.name, weight, None, window, *planes_of(node, "act"), magnitude)
    if layer.most >= bits.MAX_K:
        raise ValueError("verilog: layer '%s': sums of %d products are beyond 2**24" % (node.name, layer.k))
    if node.op == BITS:
        weight, levels = rising(weight, *thresholds(node, params), layer.most)
        layer = replace(layer, weight=weight, thresholds=levels)
    return layer


def _pool(node, params, state):
    kernel = numbers(node, "kernel")
    convention = node.attrs.get("pooling_convention", "valid")
    outputs = [reference.pool_positions(size, k, s, p, convention) for size, k, s, p in zip(
        state, kernel, numbers(node, "stride", "(1, 1)"), numbers(node, "pad", "(0, 0)"))]
    flip = np.zeros(state[2], bool)
    if len(node.inputs) > 1:
        flip = reference.unpack_rows(params[node.inputs[1][0].name].view(bits.WORD_DTYPE), state[2]) > 0
    return Pool(node.name, _window(node, state, kernel, 1, outputs), flip, int(node.attrs.get("planes", "1")))


# ---- a first layer of integers ---------------------------------------------------------------------------------------


def _integer_layer(model, pack, input_bits, input_signed, input_scale):
    """(node, layer, weight, threshold, is_falling) of a layer with float data and 1-bit weights in front of `pack`, or
    None. threshold: (N,) float32 on its output."""
    norm_node = pack.inputs[0][0]
    if norm_node.op != "BatchNorm":
        return None
    layers = {layer.node: layer for layer in find_layers(model.graph)}
    layer = layers.get(norm_node.inputs[0][0])
    if layer is None or layer.op == "QActivation":
        return None
    options, name = layer.options, layer.name
    if (options.act_bit, options.weight_bit) != (32, 1):
        raise ValueError("verilog: layer '%s' has act_bit=%d, weight_bit=%d: a first layer on integers has act_bit=32, "
                         "weight_bit=1" % (name, options.act_bit, options.weight_bit))
    source = layer.inputs["data"][0]
    while source.op == "Flatten":
        source = source.inputs[0][0]
    if not source.is_variable:
        return None
    norm = batch_norm(model, norm_node)
    weight = model.parameter(layer.inputs["weight"][0].name, layer)
    if norm is None or options.scaling != "none" or not options.no_bias or getattr(options, "num_group", 1) != 1:
        raise ValueError("verilog: layer '%s' reads integers: hardware takes it without scaling, bias and groups, and "
                         "with a plain BatchNorm behind" % name)
    if not 2 <= input_bits <= 8:
        raise ValueError("verilog: layer '%s' reads numbers: say how many bits they have, --input-bits 2..8 (and "
                         "--input-scale, --input-signed), got %d" % (name, input_bits))
    if not (input_scale > 0 and np.frexp(input_scale)[0] == 0.5 and 2.0 ** -20 <= input_scale <= 2.0 ** 20):
        raise ValueError("verilog: the scale of the data is a power of two, so that sums are exact, got %r"
                         % (input_scale,))
    largest = 2 ** (input_bits - 1) if input_signed else 2 ** input_bits - 1
    if int(np.prod(weight.shape[1:])) * largest >= bits.MAX_K:
        raise ValueError("verilog: layer '%s': sums of %d inputs of %d bits are beyond 2**24"
                         % (name, int(np.prod(weight.shape[1:])), input_bits))
    return (layer.node, layer, weight) + float_thresholds(
        lambda x: (~(norm(x) < 0)).astype(np.int64), len(norm.mean))


def _front_matrix(front, state, input_bits, input_signed, input_scale):
    node, layer, weight, threshold, is_falling = front
    largest = 2 ** (input_bits - 1) if input_signed else 2 ** input_bits - 1
    is_plus = ~(weight < 0)
    window = None
    if weight.ndim == 4:
        is_plus = is_plus.transpose(0, 2, 3, 1)
        if layer.options.kernel != tuple(state[:2]) or any(layer.options.pad):
            options = layer.options
            outputs = [(size + 2 * p - (k - 1) * d - 1) // s + 1 for size, p, k, d, s in zip(
                state, options.pad, options.kernel, options.dilate, options.stride)]
            window = Window(state[2], state[0], state[1], options.kernel, options.stride, options.dilate, options.pad,
                            0, *outputs)
    is_plus = is_plus.reshape(len(weight), -1)
    # +1  <=>  not (x < t), falling: not (x >= t); x = scale * dot, both exact; NaN: always +1
    limit = is_plus.shape[1] * largest
    with np.errstate(invalid="ignore"):
        reached = np.ceil(np.clip(threshold.astype(np.float64) / input_scale, -limit - 1, limit + 1))
    start = np.where(is_falling, 1 - reached, reached)
    start = np.where(np.isnan(start), -limit, np.clip(start, -limit, limit + 1)).astype(np.int64)
    return Matrix(node.name, is_plus ^ is_falling[:, None], start[:, None], window, input_bits,
                  "signed" if input_signed else "unsigned")
