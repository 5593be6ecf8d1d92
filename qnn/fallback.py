"""Fallback: the layers of backend.py by reference.py, where the native module is not built. Slow, the same numbers."""
import numpy as np

from . import reference
from .bits import panels_to_rows


def xgemm(a, panels, k, num_filter, no_offset, arrays):
    """backend.xgemm by reference.xgemm."""
    dot = k - 2 * reference.xgemm(a, panels_to_rows(panels, num_filter))
    return reference.finish(reference.accumulate(dot, k, no_offset), (1, -1), **arrays)


def dots(image, panels, g):
    """Dot products (N, F, OH, OW) of a packed image, on unpacked signs, by reference.convolution. g: of conv2d."""
    per_group = g["channels"] // g["num_group"]
    pads = (g["image_pad_h"], g["image_pad_w"]), (g["pad_h"], g["pad_w"])
    x = reference.unpack_rows(reference.inner_image(image, *pads), per_group)
    x = x.reshape(x.shape[:3] + (g["channels"],)).transpose(0, 3, 1, 2).copy()
    if g["pad_value"] == 0:
        inside = np.zeros(x.shape[2:], bool)
        inside[g["pad_h"]:x.shape[2] - g["pad_h"], g["pad_w"]:x.shape[3] - g["pad_w"]] = True
        x *= inside
    rows = panels_to_rows(panels, g["num_filter"], g["num_group"])
    w = reference.unpack_rows(rows.reshape(g["num_filter"], g["kernel_h"], g["kernel_w"], -1), per_group)
    return reference.convolution(x, w.transpose(0, 3, 1, 2), (g["stride_h"], g["stride_w"]),
                                 (g["dilate_h"], g["dilate_w"]), g["num_group"])


def conv2d(image, panels, g, no_offset, layout, arrays):
    """backend.conv2d by reference.convolution."""
    k = g["channels"] // g["num_group"] * g["kernel_h"] * g["kernel_w"]
    dot, shape = dots(image, panels, g), (1, -1, 1, 1)
    if layout == "NHWC":
        dot, shape = np.ascontiguousarray(dot.transpose(0, 2, 3, 1)), (1, 1, 1, -1)
    return reference.finish(reference.accumulate(dot, k, no_offset), shape, **arrays)


def flip_bits(flip, count):
    """bool (count,) from packed bits; all False for None."""
    return np.zeros(count, bool) if flip is None else reference.unpack_rows(flip, count) > 0


def max_pool_bits(words, channels, kernel, stride, pad, convention, flip, image_pad, out_pad, out_pad_value):
    """backend.max_pool_bits by reference.max_pool_bits."""
    pooled = reference.max_pool_bits(reference.inner_image(words, image_pad), kernel, stride, pad, convention)
    if flip is not None:
        pooled = pooled ^ reference.pack_rows(np.where(flip_bits(flip, channels), 1, -1))
    return reference.pad_image(pooled, channels, out_pad, out_pad_value)


def sign_pad(x, pad, pad_value):
    """backend.sign_pad by reference.sign."""
    around = ((0, 0),) * (x.ndim - 2) + ((pad[0],) * 2, (pad[1],) * 2)
    return np.pad(reference.sign(x), around, constant_values=np.float32(pad_value))


def sign_pad_grad(x, dy, pad, grad_clip):
    """backend.sign_pad_grad by reference.ste_window."""
    h, w = x.shape[-2:]
    inside = dy[..., pad[0]:pad[0] + h, pad[1]:pad[1] + w]
    return np.where(reference.ste_window(x, grad_clip) > 0, inside, np.float32(0))
