"""Backend of float first layers: stem_convolution on numpy arrays. Part of backend.py; reference_stem.py defines it."""
import numpy as np

from . import backend, checks, reference_stem

LANES = 16  # num_filter is a multiple
WINDOW = 64  # rows and columns of a pooling window at most


def stem_convolution(x, weight, bias=None, bias_first=False, norm=None, relu=False, stride=(1, 1), pad=(0, 0),
                     pool=None):
    """Convolution [+ ReLU] [+ max-pooling] in float32: x (N, C, H, W), weight (kh, kw, C, F), bias (F,), norm: None or
    (mean, slope, shift), (C,) each, pool: None or (kernel, stride, pad), pairs -> (N, OH, OW, F).

    Raises ValueError where shapes do not fit, F is no multiple of 16, or a pooling window is larger than 64 or not
    larger than its padding; TypeError for other types.
    """
    name = "stem_convolution"
    x, weight = (checks.array(name, argument, array, np.float32, 4)
                 for argument, array in (("x", x), ("weight", weight)))
    kernel, num_filter = weight.shape[:2], weight.shape[3]
    checks.expect(name, "channels of weight", weight.shape[2], x.shape[1])
    if num_filter % LANES:
        raise ValueError("%s: filters must be a multiple of %d, got %d" % (name, LANES, num_filter))
    bias = backend._per_filter(name, "bias", bias, num_filter)
    norm = norm and [backend._per_filter(name, role, part, x.shape[1])
                     for role, part in zip(("mean", "slope", "shift"), norm)]
    stride, pad = checks.pair(name, "stride", stride, 1), checks.pair(name, "pad", pad, 0)
    height, width = _fit(name, "a kernel", x.shape[2:], kernel, stride, pad)
    if pool is not None:
        pool = tuple(checks.pair(name, "pool " + what, pair, least)
                     for what, pair, least in zip(("kernel", "stride", "pad"), pool, (1, 1, 0)))
        if max(pool[0]) > WINDOW or any(p >= k for k, p in zip(pool[0], pool[2])):
            raise ValueError("%s: a pooling window is 1..%d and larger than its pad, got %s with pad %s"
                             % (name, WINDOW, pool[0], pool[2]))
        height, width = _fit(name, "a pooling window", (height, width), *pool)
    if not backend.is_native:
        return reference_stem.stem_convolution(x, weight, bias, bias_first, norm, relu, stride, pad, pool)
    shape = backend.ffi.new("qnn_conv2d_shape *", dict(
        batch=len(x), channels=x.shape[1], height=x.shape[2], width=x.shape[3], num_filter=num_filter, num_group=1,
        kernel_h=kernel[0], kernel_w=kernel[1], stride_h=stride[0], stride_w=stride[1], dilate_h=1, dilate_w=1,
        pad_h=pad[0], pad_w=pad[1]))
    options = {"bias_first": bool(bias_first), "relu": bool(relu)}
    for role, part in zip(("bias", "mean", "slope", "shift"), [bias, *(norm or ())]):
        if part is not None:
            options[role] = backend._floats(part)
    if pool is not None:
        options.update({"pool_%s%s" % (what, axis): value for what, pair in zip(("", "stride_", "pad_"), pool)
                        for axis, value in zip("hw", pair)})
    y = backend._empty((len(x), height, width, num_filter), np.float32)
    backend._check(name, backend.lib.qnn_stem_convolution(
        backend._floats(x), backend._floats(weight), shape, backend.ffi.new("qnn_stem *", options), backend._floats(y)))
    return y


def _fit(name, what, size, kernel, stride, pad):
    out = tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel, stride, pad))
    if min(out) < 1:
        raise ValueError("%s: %s of %s does not fit images of %s with pad %s" % (name, what, kernel, tuple(size), pad))
    return out
