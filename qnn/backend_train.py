"""Backend for the convolution that training runs on codes: forward and gradients on numpy arrays. Part of backend.py.

    y = conv2d_train(x, weight);  dx = conv2d_grad_data(dy, weight, size);  dw = conv2d_grad_weight(x, dy, kernel)

The formulas are those of reference_train.py, in float32. Data and weights must be numbers of bfloat16 (8 significant
bits), as codes and their halves are: where has_fast_training() the rest of their digits is cut off.
"""
import numpy as np

from . import backend, checks, reference_train


def has_fast_training():
    """True if the instruction set in use multiplies tiles of bfloat16; others, and numpy, are slower than MXNet."""
    return backend.is_native and bool(backend.lib.qnn_train_conv2d_is_fast())


def _geometry(name, kernel, stride, dilate, pad):
    return (checks.pair(name, "kernel", kernel, 1), checks.pair(name, "stride", stride, 1),
            checks.pair(name, "dilate", dilate, 1), checks.pair(name, "pad", pad, 0))


def _out_size(name, size, geometry):
    out = tuple((n + 2 * p - (k - 1) * d - 1) // s + 1 for n, k, s, d, p in zip(size, *geometry))
    if min(out) < 1:
        raise ValueError("%s: a kernel of %s does not fit images of %s with pad %s"
                         % (name, geometry[0], size, geometry[3]))
    return out


def _shape(batch, channels, size, num_filter, geometry):
    axes = {what + axis: value for what, pair in zip(("kernel", "stride", "dilate", "pad"), geometry)
            for axis, value in zip(("_h", "_w"), pair)}
    return backend.ffi.new("qnn_conv2d_shape *", dict(
        axes, batch=batch, channels=channels, height=size[0], width=size[1], num_filter=num_filter, num_group=1))


def conv2d_train(x, weight, bias=None, stride=(1, 1), dilate=(1, 1), pad=(0, 0)):
    """Convolution of codes: x (N, C, H, W), weight (F, C, kh, kw), bias (F,) -> (N, F, OH, OW), all float32.
    Raises ValueError where shapes do not fit together or the kernel does not fit the image, TypeError for other types.
    """
    name = "conv2d_train"
    x, weight = (checks.array(name, argument, array, np.float32, 4)
                 for argument, array in (("x", x), ("weight", weight)))
    checks.expect(name, "channels of weight", weight.shape[1], x.shape[1])
    bias = backend._per_filter(name, "bias", bias, len(weight))
    geometry = _geometry(name, weight.shape[2:], stride, dilate, pad)
    out = _out_size(name, x.shape[2:], geometry)
    if not backend.is_native:
        return reference_train.conv2d(x, weight, bias, *geometry[1:]).astype(np.float32)
    y = backend._empty((len(x), len(weight)) + out, np.float32)
    backend._check(name, backend.lib.qnn_train_conv2d(
        backend._floats(x), backend._floats(weight), backend.ffi.NULL if bias is None else backend._floats(bias),
        _shape(*x.shape[:2], x.shape[2:], len(weight), geometry), backend._floats(y)))
    return y


def conv2d_grad_data(dy, weight, size, stride=(1, 1), dilate=(1, 1), pad=(0, 0)):
    """Gradient of the data: dy (N, F, OH, OW), weight (F, C, kh, kw) -> dx (N, C, *size), all float32.
    Raises as conv2d_train does."""
    name = "conv2d_grad_data"
    dy, weight = (checks.array(name, argument, array, np.float32, 4)
                  for argument, array in (("dy", dy), ("weight", weight)))
    size = checks.pair(name, "size", size, 1)
    geometry = _geometry(name, weight.shape[2:], stride, dilate, pad)
    checks.expect(name, "shape of dy", dy.shape[1:], (len(weight),) + _out_size(name, size, geometry))
    if not backend.is_native:
        return reference_train.conv2d_grad_data(dy, weight, size, *geometry[1:]).astype(np.float32)
    dx = backend._empty((len(dy), weight.shape[1]) + size, np.float32)
    backend._check(name, backend.lib.qnn_train_conv2d_grad_data(
        backend._floats(dy), backend._floats(weight), _shape(*dx.shape[:2], size, len(weight), geometry),
        backend._floats(dx)))
    return dx


def conv2d_grad_weight(x, dy, kernel, stride=(1, 1), dilate=(1, 1), pad=(0, 0)):
    """Gradient of the weights: x (N, C, H, W), dy (N, F, OH, OW) -> (F, C, *kernel), all float32.
    Raises as conv2d_train does."""
    name = "conv2d_grad_weight"
    x, dy = (checks.array(name, argument, array, np.float32, 4) for argument, array in (("x", x), ("dy", dy)))
    geometry = _geometry(name, kernel, stride, dilate, pad)
    out = _out_size(name, x.shape[2:], geometry)
    checks.expect(name, "shape of dy", (dy.shape[0],) + dy.shape[2:], (len(x),) + out)
    if not backend.is_native:
        return reference_train.conv2d_grad_weight(x, dy, *geometry).astype(np.float32)
    dw = backend._empty((dy.shape[1], x.shape[1]) + geometry[0], np.float32)
    backend._check(name, backend.lib.qnn_train_conv2d_grad_weight(
        backend._floats(x), backend._floats(dy), _shape(*x.shape[:2], x.shape[2:], dy.shape[1], geometry),
        backend._floats(dw)))
    return dw


def conv2d_grad_bias(dy):
    """Gradient of the bias: dy (N, F, OH, OW) float32 -> (F,) float32. Raises as conv2d_train does."""
    dy = checks.array("conv2d_grad_bias", "dy", dy, np.float32, 4)
    if not backend.is_native:
        return reference_train.conv2d_grad_bias(dy).astype(np.float32)
    db = backend._empty((dy.shape[1],), np.float32)
    shape = _shape(len(dy), 1, dy.shape[2:], dy.shape[1], ((1, 1), (1, 1), (1, 1), (0, 0)))
    backend._check("conv2d_grad_bias", backend.lib.qnn_train_conv2d_grad_bias(backend._floats(dy), shape,
                                                                              backend._floats(db)))
    return db
