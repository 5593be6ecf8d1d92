"""Stem numbers: what the operators in front of the first packed layer compute, bit for bit, and the native operator's
options and thresholds that give the same (native_stems.py)."""
import mxnet as mx
import numpy as np

from qnn.backend_stem import stem_convolution
from qnn.graph import Graph, Node
from qnn.thresholds import float_thresholds, neighbours

from .chains import batch_norm, norm_statistics
from .tuples import numbers

PROBES = ((2, 16), (1, 112))  # images, and how many windows of the convolution they are high
TANH_STEPS = ((2.5, 1 << 12), (6, 1 << 16))  # thresholds up to the first number: floats on either side to look at


def probes_of(model, stem):
    """What the operators of `stem` give for random data of two sizes, each as _probe() gives it."""
    return [_probe(model, stem, batch, windows) for batch, windows in PROBES]


def equal_options(model, stem, probes):
    """Arguments of stem_convolution behind the data that give every bit of the graph's, up to tanh where there is one;
    None where there are none."""
    both = _options(model, stem, bias_first=False), _options(model, stem, bias_first=True)
    return next((options for options in both if all(_is_equal(stem, probe, options) for probe in probes)), None)


def norm_of(model, stem, node, probes):
    """The function of a BatchNorm before a pack in the roundings that MXNet has there; None where it has others."""
    for is_fused in (True, False):
        norm = batch_norm(model, node, is_fused)
        if all(np.array_equal(norm(_by_channel(probe[stem.last])), _by_channel(probe[node])) for probe in probes):
            return norm
    return None


def thresholds_of(model, stem, pack, norm):
    """(threshold, is_falling) of what lies between the operator and `pack`, None where that is not monotone."""
    code = model.code_of(pack)

    def codes(x):
        return code.numbers(norm(_tanh(x) if stem.has_tanh else x))

    threshold, is_falling = float_thresholds(codes, len(norm.mean), code.levels)
    return (threshold, is_falling) if not stem.has_tanh or are_steps(codes, threshold, is_falling) else None


def are_steps(codes, threshold, is_falling):
    """True if signs change at the thresholds, and nowhere around them: oneDNN's tanh falls by a unit in the last place
    here and there where it is flat."""
    finite = np.isfinite(threshold)
    if (np.abs(threshold[finite]) > TANH_STEPS[-1][0]).any():
        return False
    for channel in np.flatnonzero(finite):
        reach = next(reach for most, reach in TANH_STEPS if abs(threshold[channel]) <= most)
        x = neighbours(threshold[channel], reach)
        found = codes(np.broadcast_to(x, (len(threshold), len(x))))[channel]
        if not np.array_equal(found, (x >= threshold[channel]) ^ is_falling[channel]):
            return False
    return True


# ---- the operators of the graph, and the native one ------------------------------------------------------------------


def _probe(model, stem, batch, windows):
    """{node: what it gives} for random data, {None: data}: the last operator, tanh, and BatchNorms before packs."""
    kernel, stride = numbers(stem.conv, "kernel"), numbers(stem.conv, "stride", "(1, 1)")
    size = [k + s * count for k, s, count in zip(kernel, stride, (windows, windows + 3))]
    channels = model.arg_params[stem.conv.inputs[1][0].name].shape[1]
    data = np.random.RandomState(1).standard_normal((batch, channels, *size)).astype(np.float32)
    nodes = [stem.last, *([stem.activation] if stem.has_tanh else []), *(norm for norm, _ in stem.packs)]
    twins = {stem.source[0]: Node("null", stem.source[0].name)}
    symbol = mx.sym.load_json(Graph([(_twin(node, twins), 0) for node in nodes]).to_json())
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", **{stem.source[0].name: data.shape})
    params = {**model.arg_params, **model.aux_params, stem.source[0].name: data}
    for name, array in {**executor.arg_dict, **executor.aux_dict}.items():
        array[:] = params[name]
    outputs = [output.asnumpy() for output in executor.forward(is_train=False)]
    return {None: data, **dict(zip(nodes, outputs))}


def _twin(node, twins):
    """A copy of `node` and of all above it, down to the nodes that have one."""
    if node not in twins:
        inputs = [(_twin(source, twins), index) for source, index in node.inputs]
        twins[node] = Node(node.op, node.name, node.attrs, inputs)
    return twins[node]


def _is_equal(stem, probe, options):
    if not stem.has_tanh:
        return np.array_equal(stem_convolution(probe[None], **options).transpose(0, 3, 1, 2), probe[stem.last])
    sums = stem_convolution(probe[None], **dict(options, pool=None)).transpose(0, 3, 1, 2)
    return np.array_equal(_tanh(sums), probe[stem.activation])


def _by_channel(x):
    return np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)


def _tanh(x):
    return mx.nd.Activation(mx.nd.array(x), act_type="tanh").asnumpy()


def _options(model, stem, bias_first):
    """Arguments of stem_convolution behind the data."""
    weight, *bias = (model.arg_params[source.name] for source, _ in stem.conv.inputs[1:])
    bias = bias[0] if bias else None
    if stem.behind is not None:
        weight, bias = _merged(weight, bias, *norm_statistics(model, stem.behind))
    norm = None
    if stem.before is not None:
        before = batch_norm(model, stem.before)
        norm = [np.ascontiguousarray(part) for part in (before.mean, before.slope, before.beta)]
    pool = stem.pool and (numbers(stem.pool, "kernel"), numbers(stem.pool, "stride", "(1, 1)"),
                          numbers(stem.pool, "pad", "(0, 0)"))
    return {"weight": np.ascontiguousarray(weight.transpose(2, 3, 1, 0)), "bias": bias, "bias_first": bias_first,
            "norm": norm, "relu": stem.activation is not None and not stem.has_tanh,
            "stride": numbers(stem.conv, "stride", "(1, 1)"), "pad": numbers(stem.conv, "pad", "(0, 0)"), "pool": pool}


def _merged(weight, bias, gamma, beta, mean, var, eps):
    """Weight and bias of a convolution with the BatchNorm behind it, as MXNet merges them: the factor is computed in
    float64, all else in float32."""
    with np.errstate(all="ignore"):
        factor = (gamma / np.sqrt(var.astype(np.float64) + np.float32(eps))).astype(np.float32)
        centred = -mean if bias is None else bias - mean
        return weight * factor[:, None, None, None], (factor * centred).astype(np.float32) + beta
