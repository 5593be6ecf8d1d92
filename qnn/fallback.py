"""Fallback: the layers of backend.py by reference.py, where the native module is not built. Slow, the same numbers."""
import numpy as np

from . import reference
from .bits import panels_to_rows


def xgemm(a, panels, k, num_filter, no_offset, scale, bias):
    """backend.xgemm by reference.xgemm."""
    dot = k - 2 * reference.xgemm(a, panels_to_rows(panels, num_filter))
    return reference._finish(dot, k, (1, -1), True, no_offset, scale, bias)


def conv2d(image, panels, channels, num_filter, kernel, stride, dilate, pad, pad_value, num_group, no_offset,
                      scale, bias):
    """conv2d on unpacked signs, by reference.convolution."""
    per_group = channels // num_group
    x = reference.unpack_rows(image, per_group)
    x = x.reshape(x.shape[:3] + (channels,)).transpose(0, 3, 1, 2).copy()
    if pad_value == 0:
        inside = np.zeros(x.shape[2:], bool)
        inside[pad[0]:x.shape[2] - pad[0], pad[1]:x.shape[3] - pad[1]] = True
        x *= inside
    rows = panels_to_rows(panels, num_filter, num_group).reshape((num_filter,) + kernel + (-1,))
    w = reference.unpack_rows(rows, per_group).transpose(0, 3, 1, 2)
    dot = reference.convolution(x, w, stride, dilate, num_group)
    return reference._finish(dot, per_group * kernel[0] * kernel[1], (1, -1, 1, 1), True, no_offset, scale, bias)


def sign_pad(x, pad, pad_value):
    """backend.sign_pad by reference.sign."""
    around = ((0, 0),) * (x.ndim - 2) + ((pad[0],) * 2, (pad[1],) * 2)
    return np.pad(reference.sign(x), around, constant_values=np.float32(pad_value))


def sign_pad_grad(x, dy, pad, grad_clip):
    """backend.sign_pad_grad by reference.ste_window."""
    h, w = x.shape[-2:]
    inside = dy[..., pad[0]:pad[0] + h, pad[1]:pad[1] + w]
    return np.where(reference.ste_window(x, grad_clip) > 0, inside, np.float32(0))
