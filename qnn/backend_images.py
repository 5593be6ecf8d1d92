"""Backend for packed images: float images in, packed images between layers, floats or bits out. Part of backend.py.

    image = pack_nchw(x, pad);  image = conv2d_bits(image, panels, ...);  y = conv2d(image, panels, ...)

An image may hold more padding (image_pad) than its consumer wants (pad), so that several consumers share it. Codes of
several bits are planes (reference_planes.py): an image of P > 1 planes is (N, P, H, W, num_group, words), of one plane
(N, H, W, num_group, words), which is what all functions take and give by default.
"""
import numpy as np

from . import backend, checks, fallback, reference, reference_planes
from .bits import MAX_K, WORD_DTYPE, words_for

CODES = {"bipolar": 0, "unsigned": 1, "signed": 2, "masked": 3}  # qnn_code


def _flip(name, flip, count):
    if flip is not None:
        flip = checks.array(name, "flip", flip, WORD_DTYPE)
        checks.expect(name, "shape of flip", flip.shape, (words_for(count),))
    return flip


def _pointer(words):
    return backend.ffi.NULL if words is None else backend._words(words)


def _steps(name, threshold, count, dtype, most, is_shared=False):
    """(planes, threshold as (2^planes - 1, count)) from that shape, or from (count,) for one plane."""
    threshold = checks.array(name, "threshold", threshold, dtype)
    if threshold.ndim == 1:
        checks.expect(name, "shape of threshold", threshold.shape, (count,))
        threshold = threshold[None]
    planes = len(threshold).bit_length()
    if threshold.ndim != 2 or len(threshold) != 2 ** planes - 1 or planes > most or not (
            threshold.shape[1] == count or (is_shared and threshold.shape[1] == 1)):
        raise ValueError("%s: shape of threshold must be (2**planes - 1, %d)%s for 1..%d planes, got %r" % (
            name, count, " or (2**planes - 1, 1)" if is_shared else "", most, threshold.shape))
    if (threshold[1:] < threshold[:-1]).any():
        raise ValueError("%s: thresholds must ascend along the first axis" % name)
    return planes, threshold


# ---- packing ---------------------------------------------------------------------------------------------------------


def _pack_image(name, x, axes, pad, pad_value, num_group, threshold, flip, code):
    x = checks.array(name, "x", x, np.float32, 4)
    n, c, h, w = (x.shape[axis] for axis in axes)
    pad = checks.pair(name, "pad", pad, 0)
    pad_value = checks.padding(name, code, pad, pad_value)
    checks.groups(name, "channels", c, num_group)
    planes = 1
    if threshold is not None:
        planes, threshold = _steps(name, threshold, c, np.float32, 8, is_shared=True)
        flip = _flip(name, flip, threshold.shape[1])
    elif flip is not None:
        raise ValueError("%s: flip needs a threshold" % name)
    if not backend.is_native:
        return fallback.pack_image(x.transpose(axes), planes, pad, pad_value, num_group, threshold, flip, code)
    shape = backend.ffi.new("qnn_conv2d_shape *", {
        "batch": n, "channels": c, "height": h, "width": w, "num_group": num_group, "pad_h": pad[0], "pad_w": pad[1],
        "pad_value": pad_value, "act_planes": planes, "act_code": CODES[code]})
    image = backend._empty((n,) + (planes,) * (planes > 1) + (h + 2 * pad[0], w + 2 * pad[1], num_group,
                                                              words_for(c // num_group)), WORD_DTYPE)
    if threshold is None:
        pack = getattr(backend.lib, "qnn_" + name)
        status = pack(backend._floats(x), shape, backend._words(image))
    else:
        pack = getattr(backend.lib, "qnn_" + name.replace("pack", "pack_thresholds"))
        status = pack(backend._floats(x), shape, backend._floats(threshold), threshold.shape[1], _pointer(flip),
                      backend._words(image))
    backend._check(name, status)
    return image


def pack_nchw(x, pad=(0, 0), pad_value=1, num_group=1, threshold=None, flip=None, code="bipolar"):
    """Packs (N, C, H, W) float32 along its channels, with padding of +1 or -1 (0 packs as -1). See reference.pack_nchw.

    threshold: (C,) float32 and flip: (ceil(C/64),) uint64 of bits pack reference.threshold_bits instead of signs;
    threshold (2^P - 1, C), or (2^P - 1, 1) for all channels with one flip, packs codes of P planes, see
    reference_planes.encode. code: bipolar, unsigned or signed, which says what padding is; 0 for the latter two.
    Returns (N, H + 2 pad_h, W + 2 pad_w, num_group, ceil(C/num_group/64)) uint64, or (N, P, H + ...) for P > 1.
    """
    return _pack_image("pack_nchw", x, (0, 1, 2, 3), pad, pad_value, num_group, threshold, flip, code)


def pack_nhwc(x, pad=(0, 0), pad_value=1, num_group=1, threshold=None, flip=None, code="bipolar"):
    """The same words as pack_nchw, from (N, H, W, C) float32."""
    return _pack_image("pack_nhwc", x, (0, 3, 1, 2), pad, pad_value, num_group, threshold, flip, code)


def pack_weights(w, weight_planes=1, weight_code="bipolar", num_group=1):
    """Panels of weight codes (F, C/num_group, kh, kw): the planes of reference_planes.pack_weights, each by
    backend.pack_panels, one behind the other. Returns uint64 words."""
    rows = reference_planes.pack_weights(w, weight_planes, weight_code)
    return np.concatenate([backend.pack_panels(plane, num_group) for plane in rows])


# ---- layers ----------------------------------------------------------------------------------------------------------


def _planes(name, image, act_planes, act_code, weight_planes, weight_code, plane):
    """(image as (N, P, H, W, num_group, words), fields of qnn_conv2d_shape)."""
    checks.one_of(name, "act_code", act_code, reference_planes.ACT_CODES)
    checks.one_of(name, "weight_code", weight_code, reference_planes.WEIGHT_CODES)
    checks.within(name, "act_planes", act_planes, 1, 8)
    checks.within(name, "weight_planes", weight_planes, 1, 8)
    image = checks.array(name, "image", image, WORD_DTYPE)
    image = image[:, None] if image.ndim == 5 else image
    if image.ndim != 6:
        raise ValueError("%s: image must have 5 dimensions, or 6 with planes, got shape %s" % (name, image.shape))
    if plane is None:
        checks.expect(name, "planes of image without `plane`", image.shape[1], act_planes)
    else:
        checks.within(name, "plane", plane, 0, image.shape[1] - act_planes)
    return image, {"act_planes": act_planes, "act_code": CODES[act_code], "weight_planes": weight_planes,
                   "weight_code": CODES[weight_code], "first_plane": plane or 0, "image_planes": image.shape[1]}


def _offset(name, offset, g):
    """offset as (num_filter,) int32, which only layers that are bipolar throughout do without."""
    if offset is None:
        if g["act_code"] or g["weight_code"]:
            raise ValueError("%s: these codes need an offset, see reference_planes.offset" % name)
        return None
    offset = checks.array(name, "offset", offset, np.int32)
    checks.expect(name, "shape of offset", offset.shape, (g["num_filter"],))
    return offset


def _geometry(name, image, planes, panels, channels, num_filter, kernel, stride, dilate, pad, pad_value, num_group,
              image_pad):
    """(panels, fields of qnn_conv2d_shape, (OH, OW)), all checked. image, planes: of _planes."""
    panels = checks.array(name, "panels", panels, WORD_DTYPE)
    kernel, stride = checks.pair(name, "kernel", kernel, 1), checks.pair(name, "stride", stride, 1)
    dilate, pad = checks.pair(name, "dilate", dilate, 1), checks.pair(name, "pad", pad, 0)
    image_pad = pad if image_pad is None else checks.pair(name, "image_pad", image_pad, 0)
    if image_pad[0] < pad[0] or image_pad[1] < pad[1]:
        raise ValueError("%s: image_pad must not be below pad %r, got %r" % (name, pad, image_pad))
    pad_value = checks.padding(name, reference_planes.ACT_CODES[planes["act_code"]], image_pad, pad_value)
    checks.groups(name, "channels", channels, num_group)
    checks.groups(name, "filters", num_filter, num_group)
    words, k = words_for(channels // num_group), channels // num_group * kernel[0] * kernel[1]
    checks.expect(name, "last dimensions of image (num_group, words)", image.shape[4:], (num_group, words))
    checks.expect(name, "words of panels", panels.size, num_filter * kernel[0] * kernel[1] * words * (
        planes["weight_planes"] + (planes["weight_code"] == CODES["masked"])))
    largest = reference_planes.largest_accum(k, planes["act_planes"], planes["weight_planes"])
    if largest > MAX_K:
        raise ValueError("%s: accumulators may reach %d * (2**%d - 1) * (2**%d - 1) = %d, above 2**24" % (
            name, k, planes["act_planes"], planes["weight_planes"], largest))
    h, w = (size - 2 * p for size, p in zip(image.shape[2:4], image_pad))
    oh, ow = ((size + 2 * p - (k - 1) * d - 1) // s + 1
              for size, p, k, d, s in zip((h, w), pad, kernel, dilate, stride))
    if h < 1 or w < 1 or oh < 1 or ow < 1:
        raise ValueError("%s: kernel %r with dilate %r does not fit the padded image %r with pad %r"
                         % (name, kernel, dilate, image.shape[2:4], pad))
    return panels, {
        **planes,
        "batch": len(image), "channels": channels, "height": h, "width": w, "num_filter": num_filter,
        "num_group": num_group, "kernel_h": kernel[0], "kernel_w": kernel[1], "stride_h": stride[0],
        "stride_w": stride[1], "dilate_h": dilate[0], "dilate_w": dilate[1], "pad_h": pad[0], "pad_w": pad[1],
        "pad_value": pad_value, "image_pad_h": image_pad[0], "image_pad_w": image_pad[1]}, (oh, ow)


def conv2d(image, panels, channels, num_filter, kernel, stride=(1, 1), dilate=(1, 1), pad=(0, 0), pad_value=1,
           num_group=1, scale=None, bias=None, no_offset=False, layout="NCHW", image_pad=None, mean=None,
           residual=None, act_planes=1, act_code="bipolar", weight_planes=1, weight_code="bipolar", offset=None,
           plane=None):
    """Convolution of a packed image: y = ((accum - mean) * scale + bias) + residual, see reference.finish; accum is the
    sum of codes times weights, for 1-bit data and weights (K + dot) / 2, or dot with no_offset.

    image: of pack_nchw or pack_nhwc with the same pad, pad_value and num_group, or more padding, image_pad; panels:
    of pack_panels(reference.pack_filters(w), num_group), or pack_weights for several planes; channels: of the image,
    over all groups; layout: of the output and of the residual; scale: 1 or num_filter floats; mean, bias:
    (num_filter,). act_planes, act_code, weight_planes, weight_code: see reference_planes.py; offset: (num_filter,)
    int32 of reference_planes.offset, needed unless all is bipolar; plane: the first of the act_planes planes that are
    read, None: the image has no others.
    Returns (N, num_filter, OH, OW) float32, or (N, OH, OW, num_filter) for layout 'NHWC'.
    """
    if layout not in ("NCHW", "NHWC"):
        raise ValueError("conv2d: layout is 'NCHW' or 'NHWC', got %r" % (layout,))
    image, planes = _planes("conv2d", image, act_planes, act_code, weight_planes, weight_code, plane)
    panels, g, (oh, ow) = _geometry("conv2d", image, planes, panels, channels, num_filter, kernel, stride, dilate, pad,
                                    pad_value, num_group, image_pad)
    offset = _offset("conv2d", offset, g)
    y_shape = (len(image), num_filter, oh, ow) if layout == "NCHW" else (len(image), oh, ow, num_filter)
    output, arrays = backend._output("conv2d", num_filter, scale, bias, no_offset, mean, residual, y_shape, offset)
    if not backend.is_native:
        return fallback.conv2d(image, panels, g, no_offset, layout, arrays)
    y = backend._empty(y_shape, np.float32)
    backend._check("conv2d", backend.lib.qnn_conv2d(
        backend._words(image), backend._words(panels), backend.ffi.new("qnn_conv2d_shape *", g), output,
        layout == "NHWC", backend._floats(y)))
    return y


def conv2d_bits(image, panels, channels, num_filter, kernel, threshold, flip=None, stride=(1, 1), dilate=(1, 1),
                pad=(0, 0), pad_value=1, num_group=1, image_pad=None, out_pad=(0, 0), out_pad_value=1, act_planes=1,
                act_code="bipolar", weight_planes=1, weight_code="bipolar", offset=None, plane=None,
                out_code="bipolar"):
    """Convolution from packed codes to packed codes: bit = (dot >= threshold) xor flip, see reference.dot_bits, or
    codes of P planes, see reference_planes.encode_integers.

    threshold: (num_filter,) int32, or (2^P - 1, num_filter) for P = 1..4; flip: (ceil(num_filter/64),) uint64 of bits;
    out_code: bipolar, unsigned or signed, which says what out_pad is; 0 for the latter two; the rest as in conv2d.
    Returns a packed image (N, OH + 2 out_pad_h, OW + 2 out_pad_w, 1, ceil(num_filter/64)) uint64, or (N, P, OH + ...).
    """
    name = "conv2d_bits"
    image, planes = _planes(name, image, act_planes, act_code, weight_planes, weight_code, plane)
    panels, g, (oh, ow) = _geometry(name, image, planes, panels, channels, num_filter, kernel, stride, dilate, pad,
                                    pad_value, num_group, image_pad)
    offset, flip = _offset(name, offset, g), _flip(name, flip, num_filter)
    out_planes, threshold = _steps(name, threshold, num_filter, np.int32, 4)
    out_pad = checks.pair(name, "out_pad", out_pad, 0)
    out_pad_value = checks.padding(name, out_code, out_pad, out_pad_value, "out_")
    if not backend.is_native:
        return fallback.conv2d_bits(image, panels, g, threshold, flip, out_planes, out_pad, out_pad_value, out_code)
    out = backend._empty((len(image),) + (out_planes,) * (out_planes > 1) + (
        oh + 2 * out_pad[0], ow + 2 * out_pad[1], 1, words_for(num_filter)), WORD_DTYPE)
    fields = {"threshold": backend._integers(threshold), "flip": _pointer(flip), "planes": out_planes,
              "code": CODES[out_code], "pad_h": out_pad[0], "pad_w": out_pad[1], "pad_value": out_pad_value}
    if offset is not None:
        fields["offset"] = backend._integers(offset)
    backend._check(name, backend.lib.qnn_conv2d_bits(
        backend._words(image), backend._words(panels), backend.ffi.new("qnn_conv2d_shape *", g),
        backend.ffi.new("qnn_bits_output *", fields), backend._words(out)))
    return out


def max_pool_bits(words, kernel, stride, pad=(0, 0), convention="valid", channels=None, flip=None, image_pad=(0, 0),
                  out_pad=(0, 0), out_pad_value=1, planes=1, code="bipolar"):
    """Max-pooling of packed codes (of u, OR over the window for one plane; then every plane xor flip), pad < kernel.
    See reference.max_pool_bits and reference_planes.max_pool.

    words: (N, H, W, ...) uint64, or (N, planes, H, W, ...) for planes > 1, with padding image_pad that is skipped;
    convention: 'valid' or 'full' (rounded up); channels: bits of a pixel that exist (None: all); flip:
    (ceil(channels/64),) uint64 of bits; code: says what out_pad is.
    Returns (N, OH + 2 out_pad_h, OW + 2 out_pad_w, ...) uint64, or (N, planes, OH + ...).
    """
    name = "max_pool_bits"
    words = checks.array(name, "words", words, WORD_DTYPE)
    checks.within(name, "planes", planes, 1, 8)
    if planes > 1:
        checks.expect(name, "planes of words", words.shape[1:2], (planes,))
    elif words.ndim >= 4:
        words = words[:, None]
    if words.ndim < 5:
        raise ValueError("max_pool_bits: words must be (N, H, W, words ...), got shape %s" % (words.shape,))
    kernel, stride, pad, image_pad, out_pad = (checks.pair(name, what, value, least) for what, value, least in (
        ("kernel", kernel, 1), ("stride", stride, 1), ("pad", pad, 0), ("image_pad", image_pad, 0),
        ("out_pad", out_pad, 0)))
    if convention not in ("valid", "full"):
        raise ValueError("max_pool_bits: convention is 'valid' or 'full', got %r" % (convention,))
    tail, out_pad_value = words.shape[4:], checks.padding(name, code, out_pad, out_pad_value, "out_")
    pixel_words = int(np.prod(tail))
    channels = 64 * pixel_words if channels is None else channels
    checks.expect(name, "words of a pixel", pixel_words, words_for(channels))
    flip = _flip(name, flip, channels)
    n, h, w = (size - 2 * p for size, p in zip(words.shape[:1] + words.shape[2:], (0,) + image_pad))
    oh, ow = (reference.pool_positions(*axis, convention) for axis in zip((h, w), kernel, stride, pad))
    if h + 2 * pad[0] < kernel[0] or w + 2 * pad[1] < kernel[1] or pad[0] >= kernel[0] or pad[1] >= kernel[1]:
        raise ValueError("max_pool_bits: kernel %r must fit the padded image %r and be larger than pad %r"
                         % (kernel, (h, w), pad))
    out_shape = (n,) + (planes,) * (planes > 1) + (oh + 2 * out_pad[0], ow + 2 * out_pad[1]) + tail
    if not backend.is_native:
        flat = words.reshape(words.shape[:4] + (1, pixel_words))
        return fallback.max_pool_bits(flat, channels, kernel, stride, pad, convention, flip, image_pad, out_pad,
                                      out_pad_value, code).reshape(out_shape)
    shape = backend.ffi.new("qnn_pool_shape *", {
        "batch": n, "channels": channels, "height": h, "width": w, "kernel_h": kernel[0], "kernel_w": kernel[1],
        "stride_h": stride[0], "stride_w": stride[1], "pad_h": pad[0], "pad_w": pad[1], "is_full": convention == "full",
        "image_pad_h": image_pad[0], "image_pad_w": image_pad[1], "out_pad_h": out_pad[0], "out_pad_w": out_pad[1],
        "out_pad_value": out_pad_value, "planes": planes, "code": CODES[code]})
    out = backend._empty(out_shape, WORD_DTYPE)
    backend._check(name, backend.lib.qnn_max_pool_bits(backend._words(words), shape, _pointer(flip),
                                                       backend._words(out)))
    return out
