"""Backend: the C kernels of native/ for numpy arrays. The only importer of qnn._native.

    words = pack_rows(x);  panels = pack_panels(words_of_weights);  y = xgemm(words, panels, k, num_filter)

Every function checks its arrays, allocates its output and gives what reference.py defines, bit by bit; without the
native module reference.py computes it. QNN_ISA=<name> in the environment selects the instruction set at import,
QNN_NUM_THREADS the number of threads.
"""
import os
import warnings

import numpy as np

from . import checks, fallback, reference
from .bits import MAX_K, WORD_DTYPE, rows_to_panels, words_for

try:
    from . import _native  # type: ignore[attr-defined]
    ffi, lib = _native.ffi, _native.lib
except ImportError as error:
    _native = ffi = lib = None
    warnings.warn("qnn._native is not built here: run pip install -e . or leave the source folder "
                  "(numpy computes the same results slowly; %s)" % error, stacklevel=2)

is_native = _native is not None

_SENTENCES = {
    "QNN_BAD_ARGUMENT": "an argument is missing or out of range",
    "QNN_BAD_SHAPE": "a dimension is 0, groups do not divide, the kernel is larger than the padded image, or K > 2**24",
    "QNN_NO_MEMORY": "out of memory",
}


def native_path():
    """Absolute path of the native library, for mx.library.load."""
    if not is_native:
        raise ImportError("qnn._native is not built here: run pip install -e . or leave the source folder")
    return os.path.abspath(_native.__file__)


# ---- instruction sets and threads ------------------------------------------------------------------------------------


def isa_table():
    """Rows of dicts name, is_built, is_usable, slowest instruction set first; numpy alone without the native module."""
    if not is_native:
        return [{"name": "numpy", "is_built": True, "is_usable": True}]
    return [{"name": ffi.string(lib.qnn_isa_name(i)).decode(), "is_built": bool(lib.qnn_isa_is_built(i)),
             "is_usable": bool(lib.qnn_isa_is_usable(i))} for i in range(lib.qnn_isa_count())]


def isa():
    """Name of the instruction set in use."""
    return ffi.string(lib.qnn_isa_chosen()).decode() if is_native else "numpy"


def select_isa(name, source="isa"):
    """Selects an instruction set by name, for the whole process; ValueError lists the usable ones."""
    rows = {row["name"]: row for row in isa_table()}
    usable = ", ".join(n for n, row in rows.items() if row["is_usable"])
    if name not in rows:
        raise ValueError("%s=%s is not an instruction set of qnn; usable here: %s" % (source, name, usable))
    if not rows[name]["is_usable"]:
        reason = "not usable on this machine" if rows[name]["is_built"] else "not built into this library"
        raise ValueError("%s=%s is %s; usable here: %s" % (source, name, reason, usable))
    if is_native:
        _check("select_isa", lib.qnn_isa_select(name.encode()))


def threads():
    """Threads of a kernel: set_threads, else QNN_NUM_THREADS, OMP_NUM_THREADS, affinity; 1 in a forked child."""
    return lib.qnn_threads() if is_native else 1


def set_threads(num_threads):
    """Sets the number of threads of a kernel, 1..1024."""
    if int(num_threads) != num_threads or not 1 <= num_threads <= 1024:
        raise ValueError("set_threads: num_threads is 1..1024, got %r" % (num_threads,))
    if is_native:
        _check("set_threads", lib.qnn_set_threads(int(num_threads)))


# ---- checks ----------------------------------------------------------------------------------------------------------


def _check(name, status):
    if status == lib.QNN_OK:
        return
    code = ffi.string(ffi.cast("qnn_status", status))
    error = MemoryError if code == "QNN_NO_MEMORY" else ValueError
    raise error("%s: %s (%s)" % (name, _SENTENCES.get(code, "the native call failed"), code))


def _floats(x):
    return ffi.cast("float *", ffi.from_buffer(x))


def _words(x):
    return ffi.cast("uint64_t *", ffi.from_buffer(x))


def _empty(shape, dtype):
    """Uninitialised array that starts on a cache line, so that no vector load or store takes two of them."""
    num_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    buffer = np.empty(num_bytes + 63, np.uint8)
    start = -int(ffi.cast("uintptr_t", ffi.from_buffer(buffer))) % 64
    return buffer[start:start + num_bytes].view(dtype).reshape(shape)


def _output(name, num_filter, scale, bias, no_offset):
    """(qnn_output, (scale, bias)) : the arrays must outlive the struct, which only points to them."""
    if scale is not None:
        scale = checks.array(name, "scale", np.asarray(scale, np.float32).ravel(), np.float32)
        if scale.size not in (1, num_filter):
            raise ValueError("%s: scale must have 1 or %d values, got %d" % (name, num_filter, scale.size))
    if bias is not None:
        bias = checks.array(name, "bias", bias, np.float32)
        checks.expect(name, "shape of bias", bias.shape, (num_filter,))
    if not is_native:
        return None, (scale, bias)
    output = ffi.new("qnn_output *", {
        "no_offset": int(bool(no_offset)), "num_scale": 0 if scale is None else scale.size,
        "scale": ffi.NULL if scale is None else _floats(scale), "bias": ffi.NULL if bias is None else _floats(bias)})
    return output, (scale, bias)


# ---- packing ---------------------------------------------------------------------------------------------------------


def pack_rows(x):
    """Packs the signs of the last axis: (..., K) float32 -> (..., ceil(K/64)) uint64. See reference.pack_rows.

    >>> pack_rows(np.array([[1, -1, 1, 1]], np.float32))
    array([[13]], dtype=uint64)
    """
    x = np.asarray(x)
    is_strided = x.ndim == 2 and x.strides[1] == 4 and x.strides[0] >= 4 * x.shape[1] and x.strides[0] % 4 == 0
    if not (is_strided and x.dtype == np.float32 and x.size and x.flags.aligned):  # else read where they lie
        x = checks.array("pack_rows", "x", x, np.float32)
    if x.ndim < 1:
        raise ValueError("pack_rows: x must have a dimension to pack, got a scalar")
    if not is_native:
        return reference.pack_rows(x)
    k = x.shape[-1]
    words = _empty(x.shape[:-1] + (words_for(k),), WORD_DTYPE)
    stride = x.strides[0] // 4 if is_strided else k
    pointer = ffi.cast("float *", x.ctypes.data)
    _check("pack_rows", lib.qnn_pack_rows(pointer, x.size // k, k, stride, _words(words)))
    return words


def unpack_rows(words, k):
    """Inverse of pack_rows: (..., ceil(k/64)) uint64 -> (..., k) float32 of -1 and +1."""
    words = checks.array("unpack_rows", "words", words, WORD_DTYPE)
    checks.expect("unpack_rows", "last dimension of words", words.shape[-1:], (words_for(k),))
    if not is_native:
        return reference.unpack_rows(words, k)
    x = _empty(words.shape[:-1] + (k,), np.float32)
    _check("unpack_rows", lib.qnn_unpack_rows(_words(words), words.size // words.shape[-1], k, _floats(x)))
    return x


def pack_panels(rows, num_group=1):
    """Interleaves filter rows, (num_filter, k_words) -> (num_filter * k_words,) uint64. See bits.rows_to_panels."""
    rows = checks.array("pack_panels", "rows", rows, WORD_DTYPE, 2)
    checks.groups("pack_panels", "filters", len(rows), num_group)
    if not is_native:
        return rows_to_panels(rows, num_group)
    panels = _empty(rows.size, WORD_DTYPE)
    _check("pack_panels", lib.qnn_pack_panels(_words(rows), rows.shape[0], rows.shape[1], num_group, _words(panels)))
    return panels


def _pack_image(name, x, axes, pad, pad_value, num_group):
    x = checks.array(name, "x", x, np.float32, 4)
    n, c, h, w = (x.shape[axis] for axis in axes)
    pad, pad_value = checks.pair(name, "pad", pad, 0), checks.pad_sign(name, pad_value)
    checks.groups(name, "channels", c, num_group)
    if not is_native:
        return reference.pack_nchw(x.transpose(axes), pad, pad_value, num_group)
    shape = ffi.new("qnn_conv2d_shape *", {
        "batch": n, "channels": c, "height": h, "width": w, "num_group": num_group, "pad_h": pad[0], "pad_w": pad[1],
        "pad_value": pad_value})
    image = _empty((n, h + 2 * pad[0], w + 2 * pad[1], num_group, words_for(c // num_group)), WORD_DTYPE)
    pack = lib.qnn_pack_nchw if name == "pack_nchw" else lib.qnn_pack_nhwc
    _check(name, pack(_floats(x), shape, _words(image)))
    return image


def pack_nchw(x, pad=(0, 0), pad_value=1, num_group=1):
    """Packs (N, C, H, W) float32 along its channels, with padding of +1 or -1 (0 packs as -1). See reference.pack_nchw.

    Returns (N, H + 2 pad_h, W + 2 pad_w, num_group, ceil(C/num_group/64)) uint64.
    """
    return _pack_image("pack_nchw", x, (0, 1, 2, 3), pad, pad_value, num_group)


def pack_nhwc(x, pad=(0, 0), pad_value=1, num_group=1):
    """The same words as pack_nchw, from (N, H, W, C) float32."""
    return _pack_image("pack_nhwc", x, (0, 3, 1, 2), pad, pad_value, num_group)


# ---- layers ----------------------------------------------------------------------------------------------------------


def xgemm(a, panels, k, num_filter, scale=None, bias=None, no_offset=False):
    """Fully connected binary layer: y = ((K + dot) / 2, or dot with no_offset) * scale + bias.

    a: (N, ceil(k/64)) uint64 of pack_rows; panels: of pack_panels; scale: 1 or num_filter floats; bias: (num_filter,).
    Returns (N, num_filter) float32.
    """
    a, panels = checks.array("xgemm", "a", a, WORD_DTYPE, 2), checks.array("xgemm", "panels", panels, WORD_DTYPE)
    if not 1 <= k <= MAX_K:
        raise ValueError("xgemm: k is 1..2**24, got %r" % (k,))
    checks.expect("xgemm", "words of a row of a", a.shape[1], words_for(k))
    checks.expect("xgemm", "words of panels", panels.size, num_filter * words_for(k))
    output, arrays = _output("xgemm", num_filter, scale, bias, no_offset)
    if not is_native:
        return fallback.xgemm(a, panels, k, num_filter, no_offset, *arrays)
    y = _empty((len(a), num_filter), np.float32)
    _check("xgemm", lib.qnn_xgemm(_words(a), _words(panels), len(a), num_filter, k, output, _floats(y)))
    return y


def conv2d(image, panels, channels, num_filter, kernel, stride=(1, 1), dilate=(1, 1), pad=(0, 0), pad_value=1,
           num_group=1, scale=None, bias=None, no_offset=False, layout="NCHW"):
    """Binary convolution of a packed image: y = ((K + dot) / 2, or dot with no_offset) * scale + bias.

    image: of pack_nchw or pack_nhwc with the same pad, pad_value and num_group; panels: of
    pack_panels(reference.pack_filters(w), num_group); channels: of the image, over all groups; layout: of the output.
    Returns (N, num_filter, OH, OW) float32, or (N, OH, OW, num_filter) for layout 'NHWC'.
    """
    image = checks.array("conv2d", "image", image, WORD_DTYPE, 5)
    panels = checks.array("conv2d", "panels", panels, WORD_DTYPE)
    kernel, stride = checks.pair("conv2d", "kernel", kernel, 1), checks.pair("conv2d", "stride", stride, 1)
    dilate, pad = checks.pair("conv2d", "dilate", dilate, 1), checks.pair("conv2d", "pad", pad, 0)
    pad_value = checks.pad_sign("conv2d", pad_value)
    if layout not in ("NCHW", "NHWC"):
        raise ValueError("conv2d: layout is 'NCHW' or 'NHWC', got %r" % (layout,))
    checks.groups("conv2d", "channels", channels, num_group)
    checks.groups("conv2d", "filters", num_filter, num_group)
    words = words_for(channels // num_group)
    checks.expect("conv2d", "last dimensions of image (num_group, words)", image.shape[3:], (num_group, words))
    checks.expect("conv2d", "words of panels", panels.size, num_filter * kernel[0] * kernel[1] * words)
    h, w = image.shape[1] - 2 * pad[0], image.shape[2] - 2 * pad[1]
    oh, ow = ((size - (k - 1) * d - 1) // s + 1 for size, k, d, s in zip(image.shape[1:3], kernel, dilate, stride))
    if h < 1 or w < 1 or oh < 1 or ow < 1:
        raise ValueError("conv2d: kernel %r with dilate %r does not fit the padded image %r with pad %r"
                         % (kernel, dilate, image.shape[1:3], pad))
    output, arrays = _output("conv2d", num_filter, scale, bias, no_offset)
    if not is_native:
        y = fallback.conv2d(image, panels, channels, num_filter, kernel, stride, dilate, pad, pad_value, num_group,
                              no_offset, *arrays)
        return y if layout == "NCHW" else np.ascontiguousarray(y.transpose(0, 2, 3, 1))
    shape = ffi.new("qnn_conv2d_shape *", {
        "batch": len(image), "channels": channels, "height": h, "width": w, "num_filter": num_filter,
        "num_group": num_group, "kernel_h": kernel[0], "kernel_w": kernel[1], "stride_h": stride[0],
        "stride_w": stride[1], "dilate_h": dilate[0], "dilate_w": dilate[1], "pad_h": pad[0], "pad_w": pad[1],
        "pad_value": pad_value})
    y = _empty((len(image), num_filter, oh, ow) if layout == "NCHW" else (len(image), oh, ow, num_filter), np.float32)
    _check("conv2d", lib.qnn_conv2d(_words(image), _words(panels), shape, output, layout == "NHWC", _floats(y)))
    return y


def max_pool_bits(words, kernel, stride, pad=(0, 0)):
    """Max-pooling of packed signs (OR), pad < kernel: (N, H, W, ...) uint64 -> (N, OH, OW, ...). See reference."""
    words = checks.array("max_pool_bits", "words", words, WORD_DTYPE)
    if words.ndim < 4:
        raise ValueError("max_pool_bits: words must be (N, H, W, words ...), got shape %s" % (words.shape,))
    kernel, stride, pad = (checks.pair("max_pool_bits", what, value, least)
                           for what, value, least in (("kernel", kernel, 1), ("stride", stride, 1), ("pad", pad, 0)))
    (n, h, w), tail = words.shape[:3], words.shape[3:]
    oh, ow = ((size + 2 * p - k) // s + 1 for size, p, k, s in zip((h, w), pad, kernel, stride))
    if oh < 1 or ow < 1 or pad[0] >= kernel[0] or pad[1] >= kernel[1]:
        raise ValueError("max_pool_bits: kernel %r must fit the padded image %r and be larger than pad %r"
                         % (kernel, (h, w), pad))
    pixel_words = int(np.prod(tail))
    if not is_native:
        pooled = reference.max_pool_bits(words.reshape(n, h, w, pixel_words), kernel, stride, pad)
        return pooled.reshape((n, oh, ow) + tail)
    out = _empty((n, oh, ow) + tail, WORD_DTYPE)
    _check("max_pool_bits", lib.qnn_max_pool_bits(_words(words), n, h, w, pixel_words, *kernel, *stride, *pad,
                                                  _words(out)))
    return out


# ---- training --------------------------------------------------------------------------------------------------------


def sign_pad(x, pad=(0, 0), pad_value=1.0):
    """q(x) with a border of pad_value: (..., H, W) float32 -> (..., H + 2 pad_h, W + 2 pad_w) float32."""
    x = checks.array("sign_pad", "x", x, np.float32)
    pad = checks.pair("sign_pad", "pad", pad, 0)
    if x.ndim < 2:
        raise ValueError("sign_pad: x must be (..., H, W), got shape %s" % (x.shape,))
    h, w = x.shape[-2:]
    if not is_native:
        return fallback.sign_pad(x, pad, pad_value)
    y = _empty(x.shape[:-2] + (h + 2 * pad[0], w + 2 * pad[1]), np.float32)
    _check("sign_pad", lib.qnn_sign_pad(_floats(x), x.size // (h * w), h, w, *pad, pad_value, _floats(y)))
    return y


def sign_pad_grad(x, dy, pad=(0, 0), grad_clip=1.0):
    """Gradient of sign_pad, the clipped straight-through estimator: dx = dy inside the border where |x| <= grad_clip.

    x: (..., H, W), dy: the shape of sign_pad(x, pad), both float32. Returns dx, shaped like x; 0 elsewhere and for NaN.
    """
    x, dy = checks.array("sign_pad_grad", "x", x, np.float32), checks.array("sign_pad_grad", "dy", dy, np.float32)
    pad = checks.pair("sign_pad_grad", "pad", pad, 0)
    if x.ndim < 2:
        raise ValueError("sign_pad_grad: x must be (..., H, W), got shape %s" % (x.shape,))
    h, w = x.shape[-2:]
    checks.expect("sign_pad_grad", "shape of dy", dy.shape, x.shape[:-2] + (h + 2 * pad[0], w + 2 * pad[1]))
    if not is_native:
        return fallback.sign_pad_grad(x, dy, pad, grad_clip)
    dx = _empty(x.shape, np.float32)
    _check("sign_pad_grad", lib.qnn_sign_pad_grad(_floats(x), _floats(dy), x.size // (h * w), h, w, *pad, grad_clip,
                                                  _floats(dx)))
    return dx


if os.environ.get("QNN_ISA"):
    select_isa(os.environ["QNN_ISA"], "QNN_ISA")
