"""Convolution of codes in training, of every instruction set, against reference_train.py: exactly, where sums are whole
numbers; else beside float64, with the error that float32 has."""
import numpy as np
import pytest
from test_native_threads import _python

from qnn import backend
from qnn import reference_train as reference

pytestmark = pytest.mark.usefixtures("isa")
ONE = dict(stride=(1, 1), dilate=(1, 1), pad=(0, 0))
THREADS = (1, 2, 3)
CASES = [  # batch, channels, filters, size, kernel, geometry
    (1, 1, 1, (1, 1), (1, 1), {}), (2, 3, 15, (5, 17), (3, 3), dict(pad=(1, 1))),
    (16, 31, 16, (4, 4), (3, 3), dict(pad=(1, 1))), (17, 32, 17, (7, 6), (2, 3), dict(pad=(0, 2))),
    (31, 33, 33, (3, 5), (1, 1), dict(stride=(2, 2))), (32, 64, 1, (8, 8), (5, 5), dict(pad=(2, 2), stride=(2, 1))),
    (33, 100, 33, (6, 16), (3, 3), dict(pad=(1, 1), stride=(1, 2))), (65, 3, 48, (9, 9), (3, 3), dict(stride=(2, 2))),
    (2, 65, 32, (17, 2), (5, 1), dict(pad=(2, 0), dilate=(2, 1))), (3, 5, 7, (13, 11), (3, 2), dict(dilate=(3, 4))),
    (4, 6, 20, (10, 10), (2, 2), dict(stride=(3, 3))), (2, 4, 4, (3, 3), (3, 3), dict(pad=(7, 6), stride=(3, 2))),
    (2, 2, 3, (16, 16), (3, 3), dict(stride=(3, 2), dilate=(2, 3), pad=(4, 1))), (40, 7, 5, (1, 16), (1, 3), {}),
    (2, 3, 4, (1, 64), (1, 2), dict(dilate=(1, 3))), (2, 16, 16, (32, 32), (3, 3), dict(pad=(1, 1)))]


def integers(seed, low, high, *shape):
    return np.random.RandomState(seed).randint(low, high + 1, shape).astype(np.float32)


def operands(case, least=-3, most=3):
    """(x, w, dy, kernel, geometry), of small integers."""
    batch, channels, num_filter, size, kernel, geometry = case
    x, w = integers(0, least, most, batch, channels, *size), integers(1, least, most, num_filter, channels, *kernel)
    geometry = {**ONE, **geometry}
    return x, w, integers(2, -9, 9, *reference.conv2d(x[:1], w, **geometry).shape[1:], batch), kernel, geometry


@pytest.mark.parametrize("case", CASES, ids=str)
def test_integers_are_exact(case):
    x, w, dy, kernel, geometry = operands(case)
    dy = np.ascontiguousarray(np.moveaxis(dy, -1, 0))
    bias = integers(3, -99, 99, len(w))
    y = reference.conv2d(x, w, bias, **geometry)
    dx = reference.conv2d_grad_data(dy, w, x.shape[2:], **geometry)
    dw = reference.conv2d_grad_weight(x, dy, kernel, **geometry)
    for threads in THREADS:
        backend.set_threads(threads)
        np.testing.assert_array_equal(backend.conv2d_train(x, w, bias, **geometry), y)
        np.testing.assert_array_equal(backend.conv2d_train(x, w, **geometry), y - bias[:, None, None])
        np.testing.assert_array_equal(backend.conv2d_grad_data(dy, w, x.shape[2:], **geometry), dx)
        np.testing.assert_array_equal(backend.conv2d_grad_weight(x, dy, kernel, **geometry), dw)
    np.testing.assert_array_equal(backend.conv2d_grad_bias(dy), reference.conv2d_grad_bias(dy))


def test_random_geometry():
    rs = np.random.RandomState(4)
    for _ in range(40):
        size, kernel, stride, dilate, pad = (tuple(int(v) for v in rs.randint(low, high, 2))
                                             for low, high in ((1, 18), (1, 6), (1, 4), (1, 4), (0, 4)))
        if any((k - 1) * d >= n + 2 * p for n, k, d, p in zip(size, kernel, dilate, pad)):
            continue
        batch, channels, num_filter = (int(rs.choice(n)) for n in ((1, 2, 17, 33), (1, 3, 33), (1, 16, 17, 33)))
        geometry = dict(stride=stride, dilate=dilate, pad=pad)
        test_integers_are_exact((batch, channels, num_filter, size, kernel, geometry))


def test_codes_of_eight_bits_and_halves():
    """The largest codes that bfloat16 holds, up to the largest sum that float32 counts exactly."""
    x, w = integers(0, -255, 255, 2, 20, 5, 5), integers(1, -255, 255, 18, 20, 3, 3)
    np.testing.assert_array_equal(backend.conv2d_train(x, w), reference.conv2d(x, w))
    half = integers(0, 0, 1, 2, 300, 5, 5) * np.float32(0.5) - np.float32(0.5)
    w, bias = integers(1, 0, 1, 5, 300, 3, 3) * 2 - 1, integers(2, -99, 99, 5) / 2
    np.testing.assert_array_equal(backend.conv2d_train(half, w, bias), reference.conv2d(half, w, bias))


def gradients(seed=0, batch=16, channels=64, num_filter=48, size=14, bias=0.0):
    rs = np.random.RandomState(seed)
    x = integers(seed, 0, 1, batch, channels, size, size) * 2 - 1
    w = integers(1, 0, 1, num_filter, channels, 3, 3) * 2 - 1
    dy = rs.randn(batch, num_filter, size, size) * np.exp(4 * rs.randn(batch, num_filter, size, size)) + bias
    return x, w, dy.astype(np.float32)


def rms(error):
    return float(np.sqrt(np.mean(np.square(error))))


def mxnet_gradients(x, w, dy, **geometry):
    """(dx, dw) of Convolution."""
    import mxnet as mx
    x, w = mx.nd.array(x), mx.nd.array(w)
    for each in (x, w):
        each.attach_grad()
    with mx.autograd.record():
        y = mx.nd.Convolution(x, w, kernel=w.shape[2:], num_filter=len(w), no_bias=True, **geometry)
    y.backward(mx.nd.array(dy))
    return x.grad.asnumpy(), w.grad.asnumpy()


@pytest.mark.parametrize("bias", [0.0, 3.0])
def test_gradients_are_as_exact_as_those_of_float32(bias):
    """Beside float64, no more than twice the error of MXNet's Convolution (both sum in float32, in other orders), and
    within the bound of a sum of n products in float32: n 2^-24 sum |terms|."""
    x, w, dy = gradients(bias=bias)
    geometry = dict(ONE, pad=(1, 1))
    wanted = (reference.conv2d_grad_data(dy, w, x.shape[2:], **geometry),
              reference.conv2d_grad_weight(x, dy, (3, 3), **geometry))
    terms = (reference.conv2d_grad_data(abs(dy), abs(w), x.shape[2:], **geometry),
             reference.conv2d_grad_weight(abs(x), abs(dy), (3, 3), **geometry))
    got = (backend.conv2d_grad_data(dy, w, x.shape[2:], **geometry),
           backend.conv2d_grad_weight(x, dy, (3, 3), **geometry))
    for ours, theirs, exact, size, n in zip(got, mxnet_gradients(x, w, dy, **geometry), wanted, terms,
                                            (9 * len(w), dy.size // len(w))):
        assert (abs(ours - exact) <= n * 2.0 ** -24 * size).all()
        assert rms(ours - exact) <= 2 * rms(theirs - exact)


def test_one_product_is_exact():
    """Three terms hold every bit of a float32, whatever its size."""
    dy = np.random.RandomState(0).randn(16, 33, 3, 3).astype(np.float32)
    dy *= np.float32(2.0) ** np.random.RandomState(1).randint(-90, 90, dy.shape).astype(np.float32)
    one = np.zeros((33, 33, 1, 1), np.float32)
    one[np.arange(33), np.arange(33)] = 1
    np.testing.assert_array_equal(backend.conv2d_grad_data(dy, one, (3, 3)), dy)
    x = np.zeros((16, 1, 3, 3), np.float32)
    x[5, 0, 1, 2] = -1
    np.testing.assert_array_equal(backend.conv2d_grad_weight(x, dy, (1, 1))[:, 0, 0, 0], -dy[5, :, 1, 2])


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3.4e38])
def test_infinity_and_nan_arrive(value):
    """Where the bad gradient counts, and nowhere else."""
    x, w, dy = gradients(batch=3, channels=5, num_filter=4, size=6)
    dy = np.sign(dy)
    dy[1, 2, 3, 3] = value
    dx, dw = backend.conv2d_grad_data(dy, w, (6, 6), pad=(1, 1)), backend.conv2d_grad_weight(x, dy, (3, 3), pad=(1, 1))
    near = np.zeros(dx.shape, bool)
    near[1, :, 2:5, 2:5] = True
    wanted = np.nan if np.isnan(value) else np.float32(value)
    np.testing.assert_array_equal(dx[1, :, 2:5, 2:5], wanted * w[2])
    np.testing.assert_array_equal(dw[2], wanted * x[1, :, 2:5, 2:5])
    assert np.isfinite(dx[~near]).all() and np.isfinite(np.delete(dw, 2, axis=0)).all()


def test_threads_give_the_same_bits():
    x, w, dy = gradients(batch=40, channels=20, num_filter=70)
    results = []
    for threads in THREADS:
        backend.set_threads(threads)
        results.append((backend.conv2d_grad_data(dy, w[:70, :20], (14, 14), pad=(1, 1)),
                        backend.conv2d_grad_weight(x, dy, (3, 3), pad=(1, 1)), backend.conv2d_grad_bias(dy)))
    for result in results[1:]:
        for got, wanted in zip(result, results[0]):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("case", [(3, 40, 33, (50, 130), (3, 3), dict(pad=(1, 1))),
                                  (17, 64, 64, (32, 32), (1, 1), {})], ids=["rows_beyond_the_cache", "planes"])
def test_large_images(case):
    test_integers_are_exact(case)


FORK = """
import multiprocessing, sys
sys.argv[0] = "qnn"
import numpy as np
from qnn import backend
backend.set_threads(2)
x, w = np.ones((64, 32, 8, 8), np.float32), np.ones((64, 32, 3, 3), np.float32)
def run(_):
    y = backend.conv2d_train(x, w)
    gradients = backend.conv2d_grad_data(y, w, (8, 8)), backend.conv2d_grad_weight(x, y, (3, 3))
    return [float(a.sum()) for a in (y,) + gradients]
parent = run(0)
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert all(child == parent for child in pool.map(run, range(4)))
print("no hang")
"""


@pytest.mark.skipif(not backend.is_native, reason="qnn._native is not built")
def test_forked_child():
    done = _python(FORK)
    assert done.returncode == 0 and "no hang" in done.stdout, done.stderr


def test_bad_arguments():
    x, w, dy = np.ones((2, 3, 4, 4), np.float32), np.ones((5, 3, 3, 3), np.float32), np.ones((2, 5, 2, 2), np.float32)
    for call, message in (
            (lambda: backend.conv2d_train(x, w[:, :2]), "channels of weight must be 3, got 2"),
            (lambda: backend.conv2d_train(x, w, np.ones(4, np.float32)), "shape of bias must be"),
            (lambda: backend.conv2d_train(x[:, :, :2], w), "does not fit"),
            (lambda: backend.conv2d_train(x, w, stride=(0, 1)), "stride must be two integers >= 1"),
            (lambda: backend.conv2d_grad_data(dy, w, (5, 4)), "shape of dy must be"),
            (lambda: backend.conv2d_grad_weight(x, dy, (2, 2)), "shape of dy must be")):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="x must be float32, got float64"):
        backend.conv2d_train(x.astype(np.float64), w)


@pytest.mark.skipif(not backend.is_native, reason="qnn._native is not built")
def test_status_codes():
    from qnn.backend_train import _shape
    lib, null = backend.lib, backend.ffi.NULL
    x = backend._floats(np.ones(4096, np.float32))
    good = _shape(1, 2, (4, 4), 3, ((3, 3), (1, 1), (1, 1), (0, 0)))
    functions = (lambda shape, a=x: lib.qnn_train_conv2d(a, x, null, shape, x),
                 lambda shape, a=x: lib.qnn_train_conv2d_grad_data(a, x, shape, x),
                 lambda shape, a=x: lib.qnn_train_conv2d_grad_weight(a, x, shape, x),
                 lambda shape, a=x: lib.qnn_train_conv2d_grad_bias(a, shape, x))
    for function in functions:
        assert function(null) == function(good, null) == lib.QNN_BAD_ARGUMENT
        for field, bad in (("num_group", 3), ("batch", 0), ("kernel_h", 5), ("stride_w", 0), ("num_group", 0)):
            shape = _shape(1, 2, (4, 4), 3, ((3, 3), (1, 1), (1, 1), (0, 0)))
            setattr(shape, field, bad)
            assert function(shape) == lib.QNN_BAD_SHAPE, field
