"""Backend for packed images: float images in, packed images between layers, floats or bits out. Part of backend.py.

    image = pack_nchw(x, pad);  image = conv2d_bits(image, panels, ...);  y = conv2d(image, panels, ...)

An image may hold more padding (image_pad) than its consumer wants (pad), so that several consumers share it.
"""
import numpy as np

from . import backend, checks, fallback, reference
from .bits import WORD_DTYPE, words_for


def _flip(name, flip, count):
    if flip is not None:
        flip = checks.array(name, "flip", flip, WORD_DTYPE)
        checks.expect(name, "shape of flip", flip.shape, (words_for(count),))
    return flip


def _pointer(words):
    return backend.ffi.NULL if words is None else backend._words(words)


# ---- packing ---------------------------------------------------------------------------------------------------------


def _pack_image(name, x, axes, pad, pad_value, num_group, threshold, flip):
    x = checks.array(name, "x", x, np.float32, 4)
    n, c, h, w = (x.shape[axis] for axis in axes)
    pad, pad_value = checks.pair(name, "pad", pad, 0), checks.pad_sign(name, pad_value)
    checks.groups(name, "channels", c, num_group)
    flip = _flip(name, flip, c)
    if threshold is not None:
        threshold = checks.array(name, "threshold", threshold, np.float32)
        checks.expect(name, "shape of threshold", threshold.shape, (c,))
    elif flip is not None:
        raise ValueError("%s: flip needs a threshold" % name)
    if not backend.is_native:
        x = x.transpose(axes)
        if threshold is not None:
            x = np.where(reference.threshold_bits(x, threshold, fallback.flip_bits(flip, c)), 1, -1)
        return reference.pack_nchw(x, pad, pad_value, num_group)
    shape = backend.ffi.new("qnn_conv2d_shape *", {
        "batch": n, "channels": c, "height": h, "width": w, "num_group": num_group, "pad_h": pad[0], "pad_w": pad[1],
        "pad_value": pad_value})
    image = backend._empty((n, h + 2 * pad[0], w + 2 * pad[1], num_group, words_for(c // num_group)), WORD_DTYPE)
    if threshold is None:
        pack = getattr(backend.lib, "qnn_" + name)
        status = pack(backend._floats(x), shape, backend._words(image))
    else:
        pack = getattr(backend.lib, "qnn_" + name.replace("pack", "pack_thresholds"))
        status = pack(backend._floats(x), shape, backend._floats(threshold), _pointer(flip), backend._words(image))
    backend._check(name, status)
    return image


def pack_nchw(x, pad=(0, 0), pad_value=1, num_group=1, threshold=None, flip=None):
    """Packs (N, C, H, W) float32 along its channels, with padding of +1 or -1 (0 packs as -1). See reference.pack_nchw.

    threshold: (C,) float32 and flip: (ceil(C/64),) uint64 of bits pack reference.threshold_bits instead of signs.
    Returns (N, H + 2 pad_h, W + 2 pad_w, num_group, ceil(C/num_group/64)) uint64.
    """
    return _pack_image("pack_nchw", x, (0, 1, 2, 3), pad, pad_value, num_group, threshold, flip)


def pack_nhwc(x, pad=(0, 0), pad_value=1, num_group=1, threshold=None, flip=None):
    """The same words as pack_nchw, from (N, H, W, C) float32."""
    return _pack_image("pack_nhwc", x, (0, 3, 1, 2), pad, pad_value, num_group, threshold, flip)


# ---- layers ----------------------------------------------------------------------------------------------------------


def _geometry(name, image, panels, channels, num_filter, kernel, stride, dilate, pad, pad_value, num_group, image_pad):
    """(image, panels, fields of qnn_conv2d_shape, (OH, OW)), all checked."""
    image = checks.array(name, "image", image, WORD_DTYPE, 5)
    panels = checks.array(name, "panels", panels, WORD_DTYPE)
    kernel, stride = checks.pair(name, "kernel", kernel, 1), checks.pair(name, "stride", stride, 1)
    dilate, pad = checks.pair(name, "dilate", dilate, 1), checks.pair(name, "pad", pad, 0)
    image_pad = pad if image_pad is None else checks.pair(name, "image_pad", image_pad, 0)
    if image_pad[0] < pad[0] or image_pad[1] < pad[1]:
        raise ValueError("%s: image_pad must not be below pad %r, got %r" % (name, pad, image_pad))
    pad_value = checks.pad_sign(name, pad_value)
    checks.groups(name, "channels", channels, num_group)
    checks.groups(name, "filters", num_filter, num_group)
    words = words_for(channels // num_group)
    checks.expect(name, "last dimensions of image (num_group, words)", image.shape[3:], (num_group, words))
    checks.expect(name, "words of panels", panels.size, num_filter * kernel[0] * kernel[1] * words)
    h, w = (size - 2 * p for size, p in zip(image.shape[1:3], image_pad))
    oh, ow = ((size + 2 * p - (k - 1) * d - 1) // s + 1
              for size, p, k, d, s in zip((h, w), pad, kernel, dilate, stride))
    if h < 1 or w < 1 or oh < 1 or ow < 1:
        raise ValueError("%s: kernel %r with dilate %r does not fit the padded image %r with pad %r"
                         % (name, kernel, dilate, image.shape[1:3], pad))
    return image, panels, {
        "batch": len(image), "channels": channels, "height": h, "width": w, "num_filter": num_filter,
        "num_group": num_group, "kernel_h": kernel[0], "kernel_w": kernel[1], "stride_h": stride[0],
        "stride_w": stride[1], "dilate_h": dilate[0], "dilate_w": dilate[1], "pad_h": pad[0], "pad_w": pad[1],
        "pad_value": pad_value, "image_pad_h": image_pad[0], "image_pad_w": image_pad[1]}, (oh, ow)


def conv2d(image, panels, channels, num_filter, kernel, stride=(1, 1), dilate=(1, 1), pad=(0, 0), pad_value=1,
           num_group=1, scale=None, bias=None, no_offset=False, layout="NCHW", image_pad=None, mean=None,
           residual=None):
    """Binary convolution of a packed image: y = ((accum - mean) * scale + bias) + residual, see reference.finish;
    accum = (K + dot) / 2, or dot with no_offset.

    image: of pack_nchw or pack_nhwc with the same pad, pad_value and num_group, or more padding, image_pad; panels:
    of pack_panels(reference.pack_filters(w), num_group); channels: of the image, over all groups; layout: of the output
    and of the residual; scale: 1 or num_filter floats; mean, bias: (num_filter,).
    Returns (N, num_filter, OH, OW) float32, or (N, OH, OW, num_filter) for layout 'NHWC'.
    """
    if layout not in ("NCHW", "NHWC"):
        raise ValueError("conv2d: layout is 'NCHW' or 'NHWC', got %r" % (layout,))
    image, panels, g, (oh, ow) = _geometry("conv2d", image, panels, channels, num_filter, kernel, stride, dilate, pad,
                                           pad_value, num_group, image_pad)
    y_shape = (len(image), num_filter, oh, ow) if layout == "NCHW" else (len(image), oh, ow, num_filter)
    output, arrays = backend._output("conv2d", num_filter, scale, bias, no_offset, mean, residual, y_shape)
    if not backend.is_native:
        return fallback.conv2d(image, panels, g, no_offset, layout, arrays)
    y = backend._empty(y_shape, np.float32)
    backend._check("conv2d", backend.lib.qnn_conv2d(
        backend._words(image), backend._words(panels), backend.ffi.new("qnn_conv2d_shape *", g), output,
        layout == "NHWC", backend._floats(y)))
    return y


def conv2d_bits(image, panels, channels, num_filter, kernel, threshold, flip=None, stride=(1, 1), dilate=(1, 1),
                pad=(0, 0), pad_value=1, num_group=1, image_pad=None, out_pad=(0, 0), out_pad_value=1):
    """Binary convolution from bits to bits: bit = (dot >= threshold) xor flip, see reference.dot_bits.

    threshold: (num_filter,) int32; flip: (ceil(num_filter/64),) uint64 of bits; the rest as in conv2d.
    Returns a packed image (N, OH + 2 out_pad_h, OW + 2 out_pad_w, 1, ceil(num_filter/64)) uint64.
    """
    image, panels, g, (oh, ow) = _geometry("conv2d_bits", image, panels, channels, num_filter, kernel, stride, dilate,
                                           pad, pad_value, num_group, image_pad)
    threshold = checks.array("conv2d_bits", "threshold", threshold, np.int32)
    checks.expect("conv2d_bits", "shape of threshold", threshold.shape, (num_filter,))
    flip = _flip("conv2d_bits", flip, num_filter)
    out_pad = checks.pair("conv2d_bits", "out_pad", out_pad, 0)
    out_pad_value = checks.pad_sign("conv2d_bits", out_pad_value)
    if not backend.is_native:
        bits = reference.dot_bits(fallback.dots(image, panels, g), threshold, fallback.flip_bits(flip, num_filter))
        return reference.pack_bits(bits, out_pad, out_pad_value)[:, :, :, None]
    out = backend._empty((len(image), oh + 2 * out_pad[0], ow + 2 * out_pad[1], 1, words_for(num_filter)), WORD_DTYPE)
    pointer = backend.ffi.cast("int32_t *", backend.ffi.from_buffer(threshold))
    backend._check("conv2d_bits", backend.lib.qnn_conv2d_bits(
        backend._words(image), backend._words(panels), backend.ffi.new("qnn_conv2d_shape *", g), pointer,
        _pointer(flip), *out_pad, out_pad_value, backend._words(out)))
    return out


def max_pool_bits(words, kernel, stride, pad=(0, 0), convention="valid", channels=None, flip=None, image_pad=(0, 0),
                  out_pad=(0, 0), out_pad_value=1):
    """Max-pooling of packed signs (OR over the window, then xor flip), pad < kernel. See reference.max_pool_bits.

    words: (N, H, W, ...) uint64, with padding image_pad that is skipped; convention: 'valid' or 'full' (rounded up);
    channels: bits of a pixel that exist (None: all); flip: (ceil(channels/64),) uint64 of bits.
    Returns (N, OH + 2 out_pad_h, OW + 2 out_pad_w, ...) uint64.
    """
    name = "max_pool_bits"
    words = checks.array(name, "words", words, WORD_DTYPE)
    if words.ndim < 4:
        raise ValueError("max_pool_bits: words must be (N, H, W, words ...), got shape %s" % (words.shape,))
    kernel, stride, pad, image_pad, out_pad = (checks.pair(name, what, value, least) for what, value, least in (
        ("kernel", kernel, 1), ("stride", stride, 1), ("pad", pad, 0), ("image_pad", image_pad, 0),
        ("out_pad", out_pad, 0)))
    if convention not in ("valid", "full"):
        raise ValueError("max_pool_bits: convention is 'valid' or 'full', got %r" % (convention,))
    tail, out_pad_value = words.shape[3:], checks.pad_sign(name, out_pad_value)
    pixel_words = int(np.prod(tail))
    channels = 64 * pixel_words if channels is None else channels
    checks.expect(name, "words of a pixel", pixel_words, words_for(channels))
    flip = _flip(name, flip, channels)
    n, h, w = (size - 2 * p for size, p in zip(words.shape, (0,) + image_pad))
    oh, ow = (reference.pool_positions(*axis, convention) for axis in zip((h, w), kernel, stride, pad))
    if h + 2 * pad[0] < kernel[0] or w + 2 * pad[1] < kernel[1] or pad[0] >= kernel[0] or pad[1] >= kernel[1]:
        raise ValueError("max_pool_bits: kernel %r must fit the padded image %r and be larger than pad %r"
                         % (kernel, (h, w), pad))
    out_shape = (n, oh + 2 * out_pad[0], ow + 2 * out_pad[1]) + tail
    if not backend.is_native:
        flat = words.reshape(words.shape[:3] + (pixel_words,))
        return fallback.max_pool_bits(flat, channels, kernel, stride, pad, convention, flip, image_pad, out_pad,
                                      out_pad_value).reshape(out_shape)
    shape = backend.ffi.new("qnn_pool_shape *", {
        "batch": n, "channels": channels, "height": h, "width": w, "kernel_h": kernel[0], "kernel_w": kernel[1],
        "stride_h": stride[0], "stride_w": stride[1], "pad_h": pad[0], "pad_w": pad[1], "is_full": convention == "full",
        "image_pad_h": image_pad[0], "image_pad_w": image_pad[1], "out_pad_h": out_pad[0], "out_pad_w": out_pad[1],
        "out_pad_value": out_pad_value})
    out = backend._empty(out_shape, WORD_DTYPE)
    backend._check(name, backend.lib.qnn_max_pool_bits(backend._words(words), shape, _pointer(flip),
                                                       backend._words(out)))
    return out
