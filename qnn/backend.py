"""Backend: the C kernels of native/ for numpy arrays. The only importer of qnn._native.

    words = pack_rows(x);  panels = pack_panels(words_of_weights);  y = xgemm(words, panels, k, num_filter)

Every function checks its arrays, allocates its output and gives what reference.py defines, bit by bit; without the
native module reference.py computes it. QNN_ISA=<name> in the environment selects the instruction set at import,
QNN_NUM_THREADS the number of threads.
"""
import math
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

SMALL = 1 << 13  # elements of a result that need not start on a cache line
_SENTENCES = {
    "QNN_BAD_ARGUMENT": "an argument is missing or out of range",
    "QNN_BAD_SHAPE": "a dimension is 0, groups do not divide, the kernel is larger than the padded image, or "
                     "accumulators may pass 2**24",
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


def force_tiles(is_on):
    """Runs layers on matrix tiles, or tables, wherever that is possible, not only where it is faster; for tests."""
    if is_native:
        lib.qnn_force_tiles(is_on)


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
    return ffi.from_buffer("float[]", x)


def _words(x):
    return ffi.from_buffer("uint64_t[]", x)


def _empty(shape, dtype):
    """Uninitialised array that starts on a cache line, so that no vector load or store takes two of them."""
    buffer = np.empty(math.prod(shape) * np.dtype(dtype).itemsize + 63, np.uint8)
    return np.ndarray(shape, dtype, buffer, -int(ffi.cast("uintptr_t", ffi.from_buffer(buffer))) % 64)


def _result(shape, dtype):
    """_empty for what is written once, where small arrays cost less than their alignment, 2 us."""
    return np.empty(shape, dtype) if math.prod(shape) < SMALL else _empty(shape, dtype)


def _per_filter(name, argument, x, num_filter):
    """x as (num_filter,) float32, or None."""
    if x is not None:
        x = checks.array(name, argument, x, np.float32)
        checks.expect(name, "shape of " + argument, x.shape, (num_filter,))
    return x


def _integers(x):
    return ffi.from_buffer("int32_t[]", x)


def _output(name, num_filter, scale, bias, no_offset, mean=None, residual=None, shape=None, offset=None):
    """(qnn_output, {name: array}): the arrays must outlive the struct, which only points to them."""
    if scale is bias is mean is residual is offset is None and is_native:
        return _PLAIN_OUTPUTS[bool(no_offset)], {}
    if scale is not None:
        scale = checks.array(name, "scale", np.asarray(scale, np.float32).ravel(), np.float32)
        if scale.size not in (1, num_filter):
            raise ValueError("%s: scale must have 1 or %d values, got %d" % (name, num_filter, scale.size))
    bias, mean = _per_filter(name, "bias", bias, num_filter), _per_filter(name, "mean", mean, num_filter)
    if residual is not None:
        residual = checks.array(name, "residual", residual, np.float32)
        checks.expect(name, "shape of residual", residual.shape, shape)
    arrays = {"scale": scale, "bias": bias, "mean": mean, "residual": residual}
    if not is_native:
        return None, arrays
    output = ffi.new("qnn_output *")
    output.no_offset = bool(no_offset)
    output.num_scale = 0 if scale is None else scale.size
    for argument, x in arrays.items():
        if x is not None:
            setattr(output, argument, _floats(x))
    if offset is not None:
        output.offset = _integers(offset)
    return output, arrays


_PLAIN_OUTPUTS = [ffi.new("qnn_output *", {"no_offset": flag}) for flag in (False, True)] if is_native else []


# ---- packing ---------------------------------------------------------------------------------------------------------


def _has_strided_rows(x):
    """True if the rows of x can be packed where they lie, some way apart."""
    return (x.ndim == 2 and x.dtype == np.float32 and x.size > 0 and x.flags.aligned and x.strides[1] == 4
            and x.strides[0] >= 4 * x.shape[1] and x.strides[0] % 4 == 0)


def pack_rows(x):
    """Packs the signs of the last axis: (..., K) float32 -> (..., ceil(K/64)) uint64. See reference.pack_rows.

    >>> pack_rows(np.array([[1, -1, 1, 1]], np.float32))
    array([[13]], dtype=uint64)
    """
    x = np.asarray(x)
    is_strided = not x.flags.c_contiguous and _has_strided_rows(x)
    if not is_strided:
        x = checks.array("pack_rows", "x", x, np.float32)
    if x.ndim < 1:
        raise ValueError("pack_rows: x must have a dimension to pack, got a scalar")
    if not is_native:
        return reference.pack_rows(x)
    k = x.shape[-1]
    words = _result(x.shape[:-1] + (words_for(k),), WORD_DTYPE)
    stride, pointer = (x.strides[0] // 4, ffi.cast("float *", x.ctypes.data)) if is_strided else (k, _floats(x))
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
    panels = _empty((rows.size,), WORD_DTYPE)
    _check("pack_panels", lib.qnn_pack_panels(_words(rows), rows.shape[0], rows.shape[1], num_group, _words(panels)))
    return panels


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
        return fallback.xgemm(a, panels, k, num_filter, no_offset, arrays)
    y = _result((len(a), num_filter), np.float32)
    _check("xgemm", lib.qnn_xgemm(_words(a), _words(panels), len(a), num_filter, k, output, _floats(y)))
    return y


# ---- training --------------------------------------------------------------------------------------------------------


def sign_pad(x, pad=(0, 0), pad_value=1.0, low=-1.0, high=1.0):
    """low where q(x) = -1, high where q(x) = +1, with a border of pad_value: (..., H, W) float32 ->
    (..., H + 2 pad_h, W + 2 pad_w) float32."""
    x = checks.array("sign_pad", "x", x, np.float32)
    pad = checks.pair("sign_pad", "pad", pad, 0)
    if x.ndim < 2:
        raise ValueError("sign_pad: x must be (..., H, W), got shape %s" % (x.shape,))
    h, w = x.shape[-2:]
    if not is_native:
        return fallback.sign_pad(x, pad, pad_value, low, high)
    y = _empty(x.shape[:-2] + (h + 2 * pad[0], w + 2 * pad[1]), np.float32)
    _check("sign_pad", lib.qnn_sign_pad(_floats(x), x.size // (h * w), h, w, *pad, low, high, pad_value,
                                         _floats(y)))
    return y


def sign_pad_grad(x, dy, pad=(0, 0), grad_clip=1.0, slope=1.0):
    """Gradient of sign_pad, the clipped straight-through estimator: dx = slope * dy inside the border where
    |x| <= grad_clip; slope = (high - low) / 2.

    x: (..., H, W), dy: the shape of sign_pad(x, pad), both float32. Returns dx, shaped like x; 0 elsewhere and for NaN.
    """
    x, dy = checks.array("sign_pad_grad", "x", x, np.float32), checks.array("sign_pad_grad", "dy", dy, np.float32)
    pad = checks.pair("sign_pad_grad", "pad", pad, 0)
    if x.ndim < 2:
        raise ValueError("sign_pad_grad: x must be (..., H, W), got shape %s" % (x.shape,))
    h, w = x.shape[-2:]
    checks.expect("sign_pad_grad", "shape of dy", dy.shape, x.shape[:-2] + (h + 2 * pad[0], w + 2 * pad[1]))
    if not is_native:
        return fallback.sign_pad_grad(x, dy, pad, grad_clip, slope)
    dx = _empty(x.shape, np.float32)
    _check("sign_pad_grad", lib.qnn_sign_pad_grad(_floats(x), _floats(dy), x.size // (h * w), h, w, *pad, grad_clip,
                                                  slope, _floats(dx)))
    return dx


# Behind all that they use of this module: packed images in, floats or bits out; layers of tables.
from .backend_images import (  # noqa: E402, F401
    conv2d,
    conv2d_bits,
    max_pool_bits,
    pack_nchw,
    pack_nhwc,
    pack_weights,
)
from .backend_lut import lut_backward, lut_forward, lut_tables  # noqa: E402, F401
from .backend_train import (  # noqa: E402, F401
    conv2d_grad_bias,
    conv2d_grad_data,
    conv2d_grad_weight,
    conv2d_train,
    has_fast_training,
)

if os.environ.get("QNN_ISA"):
    select_isa(os.environ["QNN_ISA"], "QNN_ISA")
