"""backend.py: what it says about wrong arguments, selection of instruction sets, and the fallback to numpy."""
import os
import subprocess
import sys

import numpy as np
import pytest

from qnn import backend, reference

IMAGE = np.zeros((1, 5, 5, 1, 1), np.uint64)
PANELS = np.zeros(8 * 9, np.uint64)
native_only = pytest.mark.skipif(not backend.is_native, reason="qnn._native is not built")


def _python(code, **env):
    code = "import sys; sys.argv[0] = 'qnn'\n" + code  # the package loads MXNet for every program but its own command
    base = {k: v for k, v in os.environ.items() if k != "QNN_ISA"}
    return subprocess.run([sys.executable, "-c", code], env=dict(base, **env), capture_output=True, text=True,
                          timeout=60, cwd=os.path.dirname(__file__))


@pytest.mark.parametrize("call, error, text", [
    (lambda: backend.pack_rows(np.zeros((2, 3))), TypeError, "pack_rows: x must be float32, got float64"),
    (lambda: backend.pack_rows(np.zeros((2, 0), np.float32)), ValueError, "x is empty"),
    (lambda: backend.unpack_rows(np.zeros((2, 1), np.uint64), 65), ValueError, "last dimension of words"),
    (lambda: backend.pack_panels(np.zeros((3, 2), np.uint64), 2), ValueError, "num_group must divide the 3 filters"),
    (lambda: backend.pack_nchw(np.zeros((1, 3, 4), np.float32)), ValueError, "must have 4 dimensions"),
    (lambda: backend.pack_nchw(np.zeros((1, 3, 4, 4), np.float32), pad_value=2), ValueError, "pad_value is -1, 0"),
    (lambda: backend.pack_nchw(np.zeros((1, 3, 4, 4), np.float32), pad=(-1, 0)), ValueError, "pad must be two"),
    (lambda: backend.xgemm(np.zeros((2, 2), np.uint64), PANELS, 64, 1), ValueError, "words of a row of a must be 1"),
    (lambda: backend.xgemm(np.zeros((2, 1), np.uint64), PANELS, 64, 71), ValueError, "words of panels must be 71"),
    (lambda: backend.xgemm(np.zeros((2, 1), np.uint64), PANELS, 0, 72), ValueError, "k is 1..2"),
    (lambda: backend.xgemm(np.zeros((2, 1), np.uint64), PANELS, 9, 72, scale=[1, 2]), ValueError, "1 or 72 values"),
    (lambda: backend.xgemm(np.zeros((2, 1), np.uint64), PANELS, 9, 72, bias=np.zeros(3, np.float32)), ValueError,
     "shape of bias"),
    (lambda: backend.conv2d(IMAGE, PANELS, 64, 8, (3, 3), layout="CHWN"), ValueError, "layout is 'NCHW' or 'NHWC'"),
    (lambda: backend.conv2d(IMAGE, PANELS, 64, 8, (3, 3), dilate=(3, 1)), ValueError, "does not fit the padded image"),
    (lambda: backend.conv2d(IMAGE, PANELS, 64, 8, (3, 3), pad=(3, 0)), ValueError, "does not fit"),
    (lambda: backend.conv2d(IMAGE, PANELS, 64, 8, (3, 2)), ValueError, "words of panels must be 48, got 72"),
    (lambda: backend.conv2d(IMAGE, PANELS, 65, 8, (3, 3)), ValueError, "last dimensions of image"),
    (lambda: backend.conv2d(IMAGE, PANELS, 64, 8, (3, 3), stride=(0, 1)), ValueError, "stride must be two integers"),
    (lambda: backend.max_pool_bits(IMAGE, 2, 2, 2), ValueError, "larger than pad"),
    (lambda: backend.max_pool_bits(IMAGE, 6, 1), ValueError, "must fit the padded image"),
    (lambda: backend.sign_pad(np.zeros(3, np.float32)), ValueError, r"x must be \(..., H, W\)"),
    (lambda: backend.sign_pad_grad(np.zeros((3, 3), np.float32), np.zeros((3, 3), np.float32), 1), ValueError,
     "shape of dy"),
])
def test_errors_name_function_argument_and_value(call, error, text):
    with pytest.raises(error, match=text):
        call()


@native_only
def test_native_status_of_bad_arguments():
    ffi, lib = backend.ffi, backend.lib
    x, words, y = ffi.new("float[64]"), ffi.new("uint64_t[64]"), ffi.new("float[64]")
    output = ffi.new("qnn_output *")
    top = 2 ** 64 - 1
    assert lib.qnn_pack_rows(ffi.NULL, 1, 1, 1, words) == lib.QNN_BAD_ARGUMENT
    assert lib.qnn_pack_rows(x, 1, 2, 1, words) == lib.QNN_BAD_SHAPE
    assert lib.qnn_pack_rows(x, top, 1, top, words) == lib.QNN_BAD_SHAPE
    assert lib.qnn_unpack_rows(words, 0, 1, x) == lib.QNN_BAD_SHAPE
    assert lib.qnn_pack_panels(words, 3, 1, 2, words) == lib.QNN_BAD_SHAPE
    assert lib.qnn_xgemm(words, words, 1, 1, 2 ** 24 + 1, output, y) == lib.QNN_BAD_SHAPE
    assert lib.qnn_xgemm(words, words, top, 1, 64, output, y) == lib.QNN_BAD_SHAPE
    assert lib.qnn_xgemm(words, words, 1, 1, 64, ffi.NULL, y) == lib.QNN_BAD_ARGUMENT
    output.scale, output.num_scale = x, 2
    assert lib.qnn_xgemm(words, words, 1, 3, 64, output, y) == lib.QNN_BAD_ARGUMENT
    pool = ffi.new("qnn_pool_shape *", dict(batch=1, channels=1, height=2, width=2, kernel_h=2, kernel_w=2, stride_h=1,
                                            stride_w=1, pad_h=2))
    assert lib.qnn_max_pool_bits(words, pool, ffi.NULL, words) == lib.QNN_BAD_SHAPE
    assert lib.qnn_sign_pad(x, 1, top, 1, 0, 0, -1.0, 1.0, 1.0, y) == lib.QNN_BAD_SHAPE
    assert lib.qnn_sign_pad_grad(x, x, 0, 1, 1, 0, 0, 1.0, 1.0, y) == lib.QNN_BAD_SHAPE
    assert lib.qnn_set_threads(0) == lib.QNN_BAD_ARGUMENT
    assert lib.qnn_isa_select(b"foo") == lib.QNN_UNKNOWN_ISA
    assert lib.qnn_isa_name(1000) == ffi.NULL


@native_only
@pytest.mark.parametrize("field, value", [("batch", 0), ("channels", 3), ("num_filter", 5), ("kernel_h", 9),
                                          ("kernel_w", 2 ** 63), ("stride_h", 0), ("dilate_w", 2 ** 62),
                                          ("pad_h", 2 ** 63), ("height", 2 ** 60), ("batch", 2 ** 61),
                                          ("num_filter", 2 ** 62)])
def test_native_status_of_bad_convolutions(field, value):
    ffi, lib = backend.ffi, backend.lib
    good = dict(batch=1, channels=4, height=3, width=3, num_filter=2, num_group=2, kernel_h=3, kernel_w=3, stride_h=1,
                stride_w=1, dilate_h=1, dilate_w=1, pad_h=1, pad_w=1, pad_value=1)
    words, y, output = ffi.new("uint64_t[200]"), ffi.new("float[200]"), ffi.new("qnn_output *")
    assert lib.qnn_conv2d(words, words, ffi.new("qnn_conv2d_shape *", good), output, 0, y) == lib.QNN_OK
    bad = ffi.new("qnn_conv2d_shape *", dict(good, **{field: value}))
    assert lib.qnn_conv2d(words, words, bad, output, 0, y) == lib.QNN_BAD_SHAPE
    assert lib.qnn_conv2d_out_height(bad) == 0
    bad = ffi.new("qnn_conv2d_shape *", dict(good, pad_value=2))
    assert lib.qnn_conv2d(words, words, bad, output, 0, y) == lib.QNN_BAD_ARGUMENT


@native_only
def test_isa_table_and_selection():
    rows = {row["name"]: row for row in backend.isa_table()}
    assert list(rows) == ["scalar", "popcnt", "avx2", "avx512", "amx", "neon"]
    assert rows["scalar"]["is_usable"] and backend.isa() in rows
    usable = ", ".join(name for name, row in rows.items() if row["is_usable"])
    with pytest.raises(ValueError, match="^isa=sse9 is not an instruction set of qnn; usable here: %s$" % usable):
        backend.select_isa("sse9")
    for name, row in rows.items():
        if not row["is_usable"]:
            with pytest.raises(ValueError, match="isa=%s is not .*; usable here: %s" % (name, usable)):
                backend.select_isa(name)


@native_only
def test_isa_from_environment():
    done = _python("from qnn import backend; print(backend.isa())", QNN_ISA="scalar")
    assert done.stdout.strip() == "scalar", done.stderr
    done = _python("from qnn import backend", QNN_ISA="foo")
    assert "ValueError: QNN_ISA=foo is not an instruction set of qnn; usable here: scalar" in done.stderr


@native_only
def test_native_path_is_an_absolute_shared_object():
    assert os.path.isabs(backend.native_path()) and backend.native_path().endswith(".so")


FALLBACK = """
import warnings
sys.modules["qnn._native"] = None
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from qnn import backend
assert [str(w.message) for w in caught if "run pip install -e ." in str(w.message)], caught
assert not backend.is_native and backend.isa() == "numpy" and backend.threads() == 1
import numpy as np
from qnn import reference
rs = np.random.RandomState(0)
x, w = rs.randn(2, 6, 5, 7).astype("f"), rs.randn(4, 3, 3, 2).astype("f")
panels = backend.pack_panels(backend.pack_rows(w.transpose(0, 2, 3, 1)).reshape(4, -1), 2)
for pad_value in (-1, 0, 1):
    image = backend.pack_nchw(x, (1, 2), pad_value, 2)
    assert (image == backend.pack_nhwc(x.transpose(0, 2, 3, 1), (1, 2), pad_value, 2)).all()
    y = backend.conv2d(image, panels, 6, 4, (3, 2), pad=(1, 2), pad_value=pad_value, num_group=2)
    assert (y == reference.q_convolution(x, w, pad=(1, 2), pad_value=pad_value, num_group=2)).all()
threshold, flip = np.int32([-3, 0, 2, 5]), np.uint64([9])
is_flipped = np.array([True, False, False, True])
for pad_value in (-1, 0, 1):
    image = backend.pack_nchw(x, (2, 2), pad_value, 2)
    dot = reference.q_convolution(x, w, pad=(1, 2), pad_value=pad_value, num_group=2, no_offset=True)
    y = backend.conv2d(image, panels, 6, 4, (3, 2), pad=(1, 2), pad_value=pad_value, num_group=2, image_pad=(2, 2),
                       no_offset=True, mean=np.float32([1, 2, 3, 4]), residual=dot.transpose(0, 2, 3, 1), layout="NHWC")
    wanted = dot - np.arange(1, 5).reshape(4, 1, 1) + dot
    assert (y.transpose(0, 3, 1, 2) == wanted).all()
    bits = backend.conv2d_bits(image, panels, 6, 4, (3, 2), threshold, flip, pad=(1, 2), pad_value=pad_value,
                               num_group=2, image_pad=(2, 2), out_pad=(1, 0))
    assert (bits[:, :, :, 0] == reference.pack_bits(reference.dot_bits(dot, threshold, is_flipped), (1, 0))).all()
t = np.float32([0.1, -0.2, 0, 1, 0.5, -1])
bits = reference.threshold_bits(x, t, np.arange(6) % 2)
assert (backend.pack_nchw(x, threshold=t, flip=np.uint64([42]))[:, :, :, 0] == reference.pack_bits(bits)).all()
image = backend.pack_nchw(x, (1, 1))[:, :, :, 0]
pooled = backend.max_pool_bits(image, 2, 2, 0, "full", 6, np.uint64([42]), (1, 1), (1, 1))
wanted = reference.max_pool_bits(reference.pack_nchw(x)[:, :, :, 0], (2, 2), (2, 2), convention="full") ^ np.uint64(42)
assert (pooled == reference.pad_image(wanted, 6, (1, 1))).all()
image = backend.pack_nchw(x, (1, 2), 1, 2)
a, b = rs.randn(3, 70).astype("f"), rs.randn(5, 70).astype("f")
y = backend.xgemm(backend.pack_rows(a), backend.pack_panels(backend.pack_rows(b)), 70, 5, scale=2.0)
assert (y == 2 * reference.q_fully_connected(a, b)).all() and y.dtype == np.float32
assert (backend.unpack_rows(backend.pack_rows(a), 70) == reference.sign(a)).all()
assert (backend.max_pool_bits(image, 2, 2) == reference.max_pool_bits(image.reshape(2, 7, 11, 2), (2, 2), (2, 2))
        .reshape(2, 3, 5, 2, 1)).all()
assert (backend.sign_pad(x, (1, 1))[:, :, 1:-1, 1:-1] == reference.sign(x)).all()
assert (backend.sign_pad(x, low=0.0, high=2.0) == reference.sign(x) + 1).all()
assert (backend.sign_pad_grad(x, x, slope=0.5) == 0.5 * x * reference.ste_window(x)).all()
assert (backend.sign_pad_grad(x, x) == x * reference.ste_window(x)).all()
try:
    backend.native_path()
except ImportError as error:
    assert "run pip install -e ." in str(error)
print("same numbers")
"""


def test_numpy_computes_the_same_without_the_native_module():
    done = _python(FALLBACK)
    assert "same numbers" in done.stdout, done.stderr


@native_only
@pytest.mark.parametrize("rows, size", [(3, 1), (3, 65), (3, 1000), (130, 5000)])
def test_outputs_start_on_a_cache_line(rows, size):
    """Results that are written once do where they are large; the others always, as they are read again and again."""
    words = backend.pack_rows(np.ones((rows, size), np.float32))
    panels = backend.pack_panels(words)
    results = words, backend.xgemm(words, panels, size, rows)
    for array in (panels, backend.unpack_rows(words, size), *results):
        assert array.flags.c_contiguous and array.flags.writeable
        assert array.ctypes.data % 64 == 0 or any(array is result for result in results) and rows == 3


def test_scalar_inputs_are_plain_numbers():
    x = np.random.RandomState(0).randn(4, 100).astype(np.float32)
    panels = backend.pack_panels(backend.pack_rows(x))
    y = backend.xgemm(backend.pack_rows(x), panels, 100, 4, scale=np.float32(0.5))
    np.testing.assert_array_equal(y, reference.q_fully_connected(x, x) * np.float32(0.5))
