"""Fallback: the layers of backend.py by reference.py, where the native module is not built. Slow, the same numbers."""
import numpy as np

from . import reference, reference_planes
from .bits import panels_to_rows


def xgemm(a, panels, k, num_filter, no_offset, arrays):
    """backend.xgemm by reference.xgemm."""
    dot = k - 2 * reference.xgemm(a, panels_to_rows(panels, num_filter))
    return reference.finish(reference.accumulate(dot, k, no_offset), (1, -1), **arrays)


def accumulators(image, panels, g):
    """accum (N, F, OH, OW) of a packed image (N, P, H, W, ...), by reference_planes.convolution of unpacked values. g:
    of conv2d."""
    code, planes = reference_planes.ACT_CODES[g["act_code"]], g["act_planes"]
    image = image[:, g["first_plane"]:g["first_plane"] + planes]
    pads = (g["image_pad_h"], g["image_pad_w"]), (g["pad_h"], g["pad_w"])
    image = np.stack([reference.inner_image(image[:, i], *pads) for i in range(planes)], axis=1)
    a = reference_planes.from_unsigned(reference_planes.unpack_codes(image, g["channels"]), planes, code)
    if g["pad_value"] == 0:
        inside = np.zeros(a.shape[2:], bool)
        inside[g["pad_h"]:a.shape[2] - g["pad_h"], g["pad_w"]:a.shape[3] - g["pad_w"]] = True
        a *= inside
    return reference_planes.convolution(a, weights(panels, g), (g["stride_h"], g["stride_w"]),
                                        (g["dilate_h"], g["dilate_w"]), num_group=g["num_group"])


def weights(panels, g):
    """Weight codes (F, C/num_group, kh, kw) of panels, the inverse of backend.pack_weights. g: of conv2d."""
    is_masked, shape = g["weight_code"] != 0, (g["num_filter"], g["kernel_h"], g["kernel_w"], -1)
    rows = np.stack([panels_to_rows(plane, g["num_filter"], g["num_group"]).reshape(shape)
                     for plane in np.split(panels, g["weight_planes"] + is_masked)])
    signs = reference.unpack_rows(rows, g["channels"] // g["num_group"]).astype(np.int64).transpose(0, 1, 4, 2, 3)
    if is_masked:
        return signs[0] * sum((plane > 0).astype(np.int64) << j for j, plane in enumerate(signs[1:]))
    return sum(plane << j for j, plane in enumerate(signs))


def conv2d(image, panels, g, no_offset, layout, arrays):
    """backend.conv2d by accumulators()."""
    k = g["channels"] // g["num_group"] * g["kernel_h"] * g["kernel_w"]
    accum, shape = accumulators(image, panels, g), (1, -1, 1, 1)
    if layout == "NHWC":
        accum, shape = np.ascontiguousarray(accum.transpose(0, 2, 3, 1)), (1, 1, 1, -1)
    is_one_bit = g["act_planes"] == g["weight_planes"] == 1 and not g["act_code"] and not g["weight_code"]
    return reference.finish(reference.accumulate(accum, k, no_offset or not is_one_bit), shape, **arrays)


def conv2d_bits(image, panels, g, threshold, flip, planes, pad, pad_value, code):
    """backend.conv2d_bits by accumulators()."""
    u = reference_planes.encode_integers(accumulators(image, panels, g), threshold, flip_bits(flip, g["num_filter"]))
    return without_plane(reference_planes.pack_codes(u, planes, pad, code, pad_value))


def pack_image(x, planes, pad, pad_value, num_group, threshold, flip, code):
    """backend.pack_nchw by reference.pack_nchw and reference_planes.encode."""
    if threshold is None:
        return reference.pack_nchw(x, pad, pad_value, num_group)
    u = reference_planes.encode(x, threshold, flip_bits(flip, threshold.shape[1]))
    return without_plane(reference_planes.pack_codes(u, planes, pad, code, pad_value, num_group))


def without_plane(image):
    """An image of one plane loses that axis."""
    return image if image.shape[1] > 1 else image[:, 0]


def flip_bits(flip, count):
    """bool (count,) from packed bits; all False for None."""
    return np.zeros(count, bool) if flip is None else reference.unpack_rows(flip, count) > 0


def max_pool_bits(image, channels, kernel, stride, pad, convention, flip, image_pad, out_pad, out_pad_value, code):
    """backend.max_pool_bits of (N, P, H, W, 1, words) by reference_planes.max_pool."""
    planes = image.shape[1]
    inner = np.stack([reference.inner_image(image[:, i], image_pad) for i in range(planes)], axis=1)
    u = reference_planes.max_pool(reference_planes.unpack_codes(inner, channels), kernel, stride, pad, convention)
    if flip is not None:
        u = np.where(flip_bits(flip, channels)[:, None, None], 2 ** planes - 1 - u, u)
    return reference_planes.pack_codes(u, planes, out_pad, code, out_pad_value)


def sign_pad(x, pad, pad_value, low, high):
    """backend.sign_pad by reference.sign."""
    around = ((0, 0),) * (x.ndim - 2) + ((pad[0],) * 2, (pad[1],) * 2)
    values = np.where(reference.sign(x) < 0, np.float32(low), np.float32(high))
    return np.pad(values, around, constant_values=np.float32(pad_value))


def sign_pad_grad(x, dy, pad, grad_clip, slope):
    """backend.sign_pad_grad by reference.ste_window."""
    h, w = x.shape[-2:]
    inside = dy[..., pad[0]:pad[0] + h, pad[1]:pad[1] + w]
    return np.where(reference.ste_window(x, grad_clip) > 0, np.float32(slope) * inside, np.float32(0))
