"""Layers: what a Q layer computes, once, as a composition of MXNet's own operators; symbol.py and ndarray.py supply the
two ways to build it.

    QConvolution = Convolution(Q(data), Q(weight)) ,   Q of 1 bit: sign with the clipped straight-through gradient

The offset map (K + dot)/2 costs nothing: weights are -1/2, +1/2 and K/2 is the bias, all exact in float32, so that the
gradient carries the 1/2 by itself. MXNet's Convolution brings oneDNN, grad_req='add', several devices and GPUs.

Every input passes through an `identity` of its own (`enter`): lib_api operators and `clip` ignore grad_req='add' and
sum gradients of eight or more consumers wrongly; identity does neither. The last node carries the layer's name and
marks (`leave`). A convolution is followed by a Reshape to its own shape, as inference would not be a function of the
integers without it: oneDNN merges a BatchNorm that follows into the quantized weights when it runs without gradients,
and computes BatchNorm with one rounding less on its own blocked layout than on plain NCHW. Behind the Reshape there is
plain NCHW.
"""
import os
from contextlib import contextmanager

import mxnet as mx

from . import backend

LOWEST = -3.4028234663852886e38
_forced = [os.environ.get("QNN_OPERATORS", "") == "builtin"]


def find(api, op):
    """The operator `op` of mx.sym or mx.nd, wherever MXNet keeps it. Raises AttributeError."""
    for module in (api, api.contrib, api._internal):
        if hasattr(module, op):
            return getattr(module, op)
    raise AttributeError("MXNet has no operator %r" % op)


@contextmanager
def builtin_operators(is_forced=True):
    """Inside, layers are composed of MXNet's built-in operators alone, as they are for a GPU context: the same numbers,
    slower. The environment variable QNN_OPERATORS=builtin does it for a whole process."""
    _forced.append(is_forced)
    try:
        yield
    finally:
        _forced.pop()


def is_native(ctx=None):
    """True where the native operators are built, and neither `ctx` nor the current context is a GPU."""
    on_cpu = (ctx or mx.current_context()).device_type != "gpu"
    return backend.is_native and on_cpu and not _forced[-1]


def sign(build, x, clip):
    """sign with STE, of built-ins alone: sign_ste(0) is 0, so the second one lifts it to +1. clip alone would let the
    gradient of NaN pass; the maximum with the lowest float32, elsewhere the identity, stops it."""
    clipped = build("clip", build("_maximum_scalar", x, scalar=LOWEST), a_min=-clip, a_max=clip)
    return build("sign_ste", build("_plus_scalar", build("sign_ste", clipped), scalar=0.5))


def window(build, x, clip):
    """Identity whose gradient passes where |x| <= clip."""
    if build.is_native:
        return build("_qnn_ste_identity", x, grad_clip=clip)
    inside = build("_lesser_equal_scalar", build("abs", x), scalar=clip)
    return build("where", inside, x, build("BlockGrad", x))


def constant_pad(build, x, pad, value):
    """Pads the last len(pad) axes. MXNet's Pad takes 4-D and 5-D data only: 1-D padding borrows an axis."""
    if len(pad) == 1:
        x, pad, is_borrowed = build("expand_dims", x, axis=2), (0,) + tuple(pad), True
    else:
        is_borrowed = False
    width = (0, 0, 0, 0) + tuple(p for size in pad for p in (size, size))
    x = build("Pad", x, mode="constant", constant_value=value, pad_width=width)
    return build("Reshape", x, shape=(0, 0, -3)) if is_borrowed else x


def quantize_data(build, x, act_bit, clip, pad=(), border=0):
    """Quantized activations, padded by `border` where `pad` is given (see reference.quantize_activation)."""
    if act_bit == 1 and build.is_native:
        is_fused = len(pad) <= 2
        x = build("_qnn_sign", x, grad_clip=clip, pad=tuple(pad) if is_fused else (), pad_value=border)
        pad = () if is_fused else pad
    elif act_bit == 1:
        x = sign(build, x, clip)
    elif act_bit < 32:
        x = window(build, x, clip) if clip < 1 else x
        x = quantize_k(build, build("clip", x, a_min=0.0, a_max=1.0), act_bit)
    return constant_pad(build, x, pad, border) if any(pad) else x


def quantize_k(build, x, k_bits):
    levels = float(2 ** k_bits - 1)
    return build("_div_scalar", build("round_ste", build("_mul_scalar", x, scalar=levels)), scalar=levels)


def quantize_weight(build, w, weight_bit, clip):
    """Quantized weights (see reference.quantize_weight). The maximum is a constant to the gradient: it rescales the
    whole tensor, and one weight's update would otherwise depend on which weight is the largest."""
    if weight_bit == 1:
        return sign(build, w, clip)
    if weight_bit == 32:
        return w
    squashed = build("tanh", w)
    limit = build("max", build("abs", build("BlockGrad", squashed)), keepdims=True)
    limit = build("_mul_scalar", build("_maximum_scalar", limit, scalar=1e-12), scalar=2.0)
    unit = build("elemwise_div", squashed, build("broadcast_like", limit, w))  # elemwise: infers w's shape
    unit = quantize_k(build, build("_plus_scalar", unit, scalar=0.5), weight_bit)
    return build("_minus_scalar", build("_mul_scalar", unit, scalar=2.0), scalar=1.0)


def per_filter(build, w, rank):
    """K of every filter, (num_filter, 1), free of gradient. w: (num_filter, C, *kernel of `rank` sizes)."""
    ones = build("BlockGrad", build("ones_like", w))
    if rank:
        ones = build("sum", ones, axis=tuple(range(2, rank + 2)))
    return build("sum", ones, axis=1, keepdims=True)


def activation(build, data, options):
    """QActivation."""
    data = build.enter(data, "data")
    if options.act_bit == 32:
        return build.leave(data)
    if options.backward_only:
        return build.leave(window(build, data, options.grad_clip))
    return build.leave(quantize_data(build, data, options.act_bit, options.grad_clip))


def _product(build, op, data, weight, bias, options, rank, data_options, **attributes):
    """op(Q(data), Q(weight)), mapped to (K + dot)/2 for 1-bit layers with offset. `bias` only lends its shape here.

    The offset stays two-dimensional up to SliceChannel: mx.viz.print_summary trips over operators that read vectors.
    """
    data = quantize_data(build, data, options.act_bit, options.grad_clip, **data_options)
    quantized = quantize_weight(build, weight, options.weight_bit, options.grad_clip)
    if not options.has_offset and bias is None:
        return build(op, data, quantized, no_bias=True, **attributes)
    offset = build("_mul_scalar", per_filter(build, weight, rank), scalar=0.5 if options.has_offset else 0.0)
    if options.has_offset:
        quantized = build("_mul_scalar", quantized, scalar=0.5)
    if bias is not None:  # MXNet infers the shape of a bias through `op`, but not through the broadcast_add to come
        offset = build("elemwise_add", offset, build("zeros_like", bias))
    offset = build("SliceChannel", offset, num_outputs=1, axis=1, squeeze_axis=True)
    return build(op, data, quantized, offset, no_bias=False, **attributes)


def _scale_and_bias(build, out, weight, bias, options, rank, shape):
    """out * scale + bias; `shape` makes one number per filter broadcast against `out`. Scales carry their gradient.

    Shapes of weight and bias become known in MXNet's backward sweep only, and a native operator behind this one cannot
    wait: the last node takes its shape from `out`.
    """
    result = out
    if options.scaling != "none":
        axes = () if options.scaling == "layer" else tuple(range(1, rank + 2))
        scale = build("mean", build("abs", weight), axis=axes, keepdims=True)
        result = build("broadcast_mul", result, build("Reshape", scale, shape=shape))
    if bias is not None:
        result = build("broadcast_add", result, build("Reshape", bias, shape=shape))
    return build("_identity_with_attr_like_rhs", result, out)


def _plain(build, op, data, weight, bias, **attributes):
    """MXNet's own operator."""
    if bias is None:
        return build(op, data, weight, no_bias=True, **attributes)
    return build(op, data, weight, build.enter(bias, "bias"), no_bias=False, **attributes)


def convolution(build, data, weight, bias, options):
    """QConvolution on N, C and len(kernel) spatial axes."""
    o, rank = options, len(options.kernel)
    data, weight = build.enter(data, "data"), build.enter(weight, "weight")
    geometry = dict(kernel=o.kernel, num_filter=o.num_filter, stride=o.stride, dilate=o.dilate, num_group=o.num_group)
    if o.is_float:
        return build.leave(_plain(build, "Convolution", data, weight, bias, pad=o.pad, **geometry))
    bias = build.enter_bias(bias)
    is_bordered = o.border != 0 and any(o.pad)
    data_options = dict(pad=o.pad, border=o.border) if is_bordered else {}
    out = _product(build, "Convolution", data, weight, bias, o, rank, data_options,
                   pad=(0,) * rank if is_bordered else o.pad, **geometry)
    out = build("Reshape", out, shape=(-2,))
    if o.scaling == "none" and bias is None:
        return build.leave(out)
    return build.leave(_scale_and_bias(build, out, weight, bias, o, rank, (1, -1) + (1,) * rank))


def fully_connected(build, data, weight, bias, options):
    """QFullyConnected on (N, ...) data, or on the last axis alone with flatten=False."""
    o = options
    data, weight = build.enter(data, "data"), build.enter(weight, "weight")
    shape = dict(num_hidden=o.num_hidden, flatten=o.flatten)
    if o.is_float:
        return build.leave(_plain(build, "FullyConnected", data, weight, bias, **shape))
    bias = build.enter_bias(bias)
    out = _product(build, "FullyConnected", data, weight, bias, o, 0, {}, **shape)
    if o.scaling == "none" and bias is None:
        return build.leave(out)
    if o.flatten:
        return build.leave(_scale_and_bias(build, out, weight, bias, o, 0, (1, -1)))
    rows = build("Reshape", out, shape=(-1, o.num_hidden))  # broadcasting needs equal ranks
    return build.leave(build("reshape_like", _scale_and_bias(build, rows, weight, bias, o, 0, (1, -1)), out))
