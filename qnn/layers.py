"""Layers: what a Q layer computes, once, as a composition of MXNet's own operators; symbol.py and ndarray.py supply the
two ways to build it.

    y = sum over terms of Convolution(codes of data, codes of weight) * (scale * scale) + bias

Quantizers (quantizers_base.py) give terms: integers times a scale. The operator runs on the integers alone, so that its
sums are exact while they stay within 2^24, whatever their order; every product with a scale is rounded once. Inference
is a function of integers, then, for every quantizer.

Neither the border s of the padding (+1, -1 or 0) nor the offset map (K + dot)/2 costs a pass over data or output: data
enter as x - s, where padding with s is Convolution's own, with zeros, and a bias puts back what that takes away:

    dot         = sum (x - s) w     + s sum w              no_offset=True, or other than 1-bit weights
    (K + dot)/2 = sum (x - s)/2 w   + (K + s sum w)/2

Both sums are those of integers, exact in float32. Gradients of weights are the sum of two parts and round as those of
data do that are not centred around 0; docs/design.md has figures. MXNet's Convolution brings oneDNN,
grad_req='add', several devices and GPUs.

On processors with tiles of bfloat16 (AMX) a 2-D convolution without groups is `_qnn_convolution` instead: codes are
exact in bfloat16, so that its sums are the same numbers, and gradients, in three terms each, are as exact as those of
float32.

Every input passes through an `identity` of its own (`enter`): lib_api operators and `clip` ignore grad_req='add' and
sum gradients of eight or more consumers wrongly; identity does neither. The last node carries the layer's name and
marks (`leave`). MXNet's Convolution is followed by a Reshape to its own shape, as inference would not be a function of
the integers without it: oneDNN merges a BatchNorm that follows into the quantized weights when it runs without
gradients, and computes BatchNorm with one rounding less on its own blocked layout than on plain NCHW. Behind the
Reshape there is plain NCHW, and behind `_qnn_convolution`.
"""
import os
from contextlib import contextmanager
from copy import copy
from math import prod

import mxnet as mx
import numpy as np

from . import backend
from .quantizers import Sign
from .quantizers_base import scaled, tie, window

_forced = [os.environ.get("QNN_OPERATORS", "") == "builtin"]


def find(api, op):
    """The operator `op` of mx.sym or mx.nd, wherever MXNet keeps it. Raises AttributeError."""
    for module in (api, api.contrib, api._internal, api.random):
        if hasattr(module, op):
            return getattr(module, op)
    raise AttributeError("MXNet has no operator %r" % op)


@contextmanager
def builtin_operators(is_forced=True):
    """Inside, layers are composed of MXNet's built-in operators alone, as they are for a GPU context: the same outputs,
    slower, and the same gradients, but for the order of their sums where tiles take them otherwise. The environment
    variable QNN_OPERATORS=builtin does it for a whole process."""
    _forced.append(is_forced)
    try:
        yield
    finally:
        _forced.pop()


def is_native(ctx=None):
    """True where the native operators are built, and neither `ctx` nor the current context is a GPU."""
    on_cpu = (ctx or mx.current_context()).device_type != "gpu"
    return backend.is_native and on_cpu and not _forced[-1]


def data_terms(build, x, quantizer, border=0, share=1.0):
    """[(share * (codes - border), scale), ...] of the data."""
    if type(quantizer) is Sign and build.is_native:
        low, high = (share * (code - border) for code in (-1, 1))
        return [(build("_qnn_sign", x, grad_clip=quantizer.clip, low=low, high=high), None)]
    terms = quantizer.terms(build, x, *build.parameters("act", quantizer))
    return [(_affine(build, codes, share, -share * border), scale) for codes, scale in terms]


def _affine(build, x, factor, summand):
    """factor * x + summand, without nodes that change nothing."""
    x = build("_mul_scalar", x, scalar=factor) if factor != 1 else x
    return build("_plus_scalar", x, scalar=summand) if summand else x


def weight_terms(build, w, quantizer):
    """[(codes, scale), ...] of the weights, by built-in operators alone: a native one needs the shape of its input,
    which MXNet finds in its backward sweep."""
    builtin = copy(build)
    builtin.is_native = False
    return quantizer.terms(builtin, w, *build.parameters("weight", quantizer))


def per_filter(build, codes, rank, sum_share, size_share):
    """sum_share * sum(codes of a filter) + size_share * K, (num_filter, 1), K free of gradient. codes: (num_filter, C,
    *kernel of `rank` sizes).

    A product with a row of ones, as MXNet's sum over axes and its gradient are slow. Flatten waits for C, which gluon
    does not know at first; FullyConnected would not.
    """
    row = build("Flatten", build("slice_axis", codes, axis=0, begin=0, end=1))
    row = build("BlockGrad", build("ones_like", row))
    size = build("_mul_scalar", build("sum", row, axis=1, keepdims=True), scalar=size_share)
    if sum_share:
        bias = build("SliceChannel", size, num_outputs=1, axis=1, squeeze_axis=True)
        row = _affine(build, row, sum_share, 0)
        return build("FullyConnected", build("Flatten", codes), row, bias, num_hidden=1)
    column = build("slice", codes, begin=(None,) + (0,) * (rank + 1), end=(None,) + (1,) * (rank + 1))
    column = build("BlockGrad", build("ones_like", build("Flatten", column)))
    return build("broadcast_mul", column, size)


def activation(build, data, options):
    """QActivation."""
    data = build.enter(data, "data")
    if options.backward_only:
        is_quantized = options.act_quantizer.precision < 32
        return build.leave(window(build, data, options.grad_clip) if is_quantized else data)
    quantizer = options.act_quantizer
    return build.leave(quantizer.quantize(build, data, *build.parameters("act", quantizer)))


def _operands(build, bias, codes, options, rank, border=0):
    """The weights and, where needed, the bias of `op`: what border and offset take away from the sums of products.

    A `bias` only lends its shape here: MXNet infers it through `op`, but not through the broadcast_add to come. The
    offset stays two-dimensional up to SliceChannel: mx.viz.print_summary trips over operators that read vectors.
    """
    if not options.has_offset and not border and bias is None:
        return (codes,)
    offset = per_filter(build, codes, rank, border * _share(options), 0.5 if options.has_offset else 0.0)
    if bias is not None:
        offset = build("elemwise_add", offset, build("zeros_like", bias))
    return codes, build("SliceChannel", offset, num_outputs=1, axis=1, squeeze_axis=True)


def _share(options):
    """What of a product counts."""
    return 0.5 if options.has_offset else 1.0


def _sum_of_products(build, op, data, weights):
    """sum over terms of op(data codes, weight operands) * (scale * scale), products rounded once, sums in order.

    Returns (sum, one output of op, which has its shape).
    """
    total, out = None, None
    for codes, data_scale in data:
        for operands, weight_scale in weights:
            out = op(codes, *operands)
            value = scaled(build, out, _product_of_scales(build, data_scale, weight_scale))
            total = value if total is None else build("elemwise_add", total, value)
    return total, out


def _product_of_scales(build, a, b):
    """None, a number or a tensor (1, 1); numbers are multiplied as float32."""
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, float) and isinstance(b, float):
        return float(np.float32(a) * np.float32(b))
    if isinstance(a, float) or isinstance(b, float):
        number, tensor = (a, b) if isinstance(a, float) else (b, a)
        return build("_mul_scalar", tensor, scalar=number)
    return build("elemwise_mul", a, b)


def _scale_and_bias(build, out, like, weight, bias, options, rank, shape, magnitudes):
    """(out * scale) * magnitudes + bias; `shape` makes one number per filter broadcast against `out`. Scales carry
    their gradient, magnitudes (XNOR-Net's K, or None) none.

    Shapes of weight and bias become known in MXNet's backward sweep only, and a native operator behind this one cannot
    wait: the last node takes its shape from `like`.
    """
    if options.scaling != "none":
        axes = () if options.scaling == "layer" else tuple(range(1, rank + 2))
        scale = build("mean", build("abs", weight), axis=axes, keepdims=True)
        out = build("broadcast_mul", out, build("Reshape", scale, shape=shape))
    if magnitudes is not None:
        out = build("broadcast_mul", out, magnitudes)
    if bias is not None:
        out = build("broadcast_add", out, build("Reshape", bias, shape=shape))
    return tie(build, out, like)


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
    border = o.border if any(o.pad) else 0

    def product(*operands):
        arguments = dict(geometry, pad=o.pad, no_bias=len(operands) < 3)
        if takes_tiles(o, build.is_native):
            return build("_qnn_convolution", _of_known_rank(build, operands[0]), *operands[1:], **arguments)
        return build("Reshape", build("Convolution", *operands, **arguments), shape=(-2,))

    codes = data_terms(build, data, o.act_quantizer, border, _share(o))
    weights = [(_operands(build, bias, each, o, rank, border), scale)
               for each, scale in weight_terms(build, weight, o.weight_quantizer)]
    total, out = _sum_of_products(build, product, codes, weights)
    if o.scaling == "none" and bias is None:
        return build.leave(total)
    magnitudes = _magnitudes_of_windows(build, data, weight, o, geometry) if o.scaling == "xnor" else None
    return build.leave(_scale_and_bias(build, total, out, weight, bias, o, rank, (1, -1) + (1,) * rank, magnitudes))


def takes_tiles(options, is_native):
    """True for a QConvolution that tiles of bfloat16 multiply here: they hold codes of up to 8 bits, their halves, and
    their sums with a border."""
    return (is_native and backend.has_fast_training() and len(options.kernel) == 2 and options.num_group == 1
            and all(quantizer.code is not None and quantizer.term_bits <= 8
                    for quantizer in (options.act_quantizer, options.weight_quantizer)))


def _of_known_rank(build, data):
    """(N, C, H, W) as (N, C, H, W, 1), which copies nothing. Beside weights without a shape, lib_api writes the shape
    of data of 1, 2, 7 or 8 axes behind the end of a buffer; Reshape leaves 5 axes or raises, whatever comes."""
    return build("Reshape", data, shape=(0, 0, 0, 0, -1))


def _magnitudes_of_windows(build, data, weight, options, geometry):
    """XNOR-Net's K, one map per filter: box filter over the window of the mean of |data| over the channels of a group.
    The border counts as 0."""
    grouped = build("Reshape", build("abs", build("BlockGrad", data)), shape=(0, -4, options.num_group, -1, -2))
    ones = build("mean", build("ones_like", build("BlockGrad", weight)), axis=1, keepdims=True)
    box = build("_mul_scalar", ones, scalar=1.0 / prod(options.kernel))
    out = build("Convolution", build("mean", grouped, axis=2), box, no_bias=True, pad=options.pad, **geometry)
    return build("Reshape", out, shape=(-2,))


def fully_connected(build, data, weight, bias, options):
    """QFullyConnected on (N, ...) data, or on the last axis alone with flatten=False."""
    o = options
    data, weight = build.enter(data, "data"), build.enter(weight, "weight")
    shape = dict(num_hidden=o.num_hidden, flatten=o.flatten)
    if o.is_float:
        return build.leave(_plain(build, "FullyConnected", data, weight, bias, **shape))
    bias = build.enter_bias(bias)

    def product(*operands):
        return build("FullyConnected", *operands, no_bias=len(operands) < 3, **shape)

    weights = [(_operands(build, bias, each, o, 0), scale)
               for each, scale in weight_terms(build, weight, o.weight_quantizer)]
    total, out = _sum_of_products(build, product, data_terms(build, data, o.act_quantizer, share=_share(o)), weights)
    if o.scaling == "none" and bias is None:
        return build.leave(total)
    magnitudes = None
    if o.scaling == "xnor":  # K of a row
        size = build("abs", build("BlockGrad", data))
        size = build("Flatten", size) if o.flatten else size
        magnitudes = build("Reshape", build("mean", size, axis=-1, keepdims=True), shape=(-1, 1))
    if o.flatten:
        return build.leave(_scale_and_bias(build, total, out, weight, bias, o, 0, (1, -1), magnitudes))
    rows = build("Reshape", total, shape=(-1, o.num_hidden))  # broadcasting needs equal ranks
    like = build("Reshape", out, shape=(-1, o.num_hidden))
    return build.leave(build("reshape_like", _scale_and_bias(build, rows, like, weight, bias, o, 0, (1, -1),
                                                             magnitudes), out))
