"""xgemm, conv2d, pooling and sign kernels of every instruction set against reference.py, exactly."""
import itertools

import numpy as np
import pytest

from qnn import backend, reference

pytestmark = pytest.mark.usefixtures("isa")

FILTERS = [1, 2, 7, 15, 16, 17, 31, 32, 33, 48]


def signs(*shape, seed=0):
    """Normal numbers; some are 0 and -0.0."""
    rs = np.random.RandomState(seed)
    x = rs.randn(*shape).astype(np.float32)
    return x * rs.choice(np.float32([1, 1, 1, 0]), shape)


def same_bits(got, wanted):
    """Equal as bit patterns, so that -0.0 and 0.0 differ."""
    assert got.dtype == wanted.dtype == np.float32 and got.shape == wanted.shape
    np.testing.assert_array_equal(got.view(np.uint32), wanted.view(np.uint32))


@pytest.mark.parametrize("k", [1, 63, 64, 65, 127, 129, 577, 2053])
def test_xgemm(k):
    for n, num_filter in itertools.product((1, 2, 3, 6, 7, 13, 67), FILTERS):
        x, w = signs(n, k, seed=n), signs(num_filter, k, seed=num_filter)
        panels = backend.pack_panels(backend.pack_rows(w))
        for no_offset in (False, True):
            y = backend.xgemm(backend.pack_rows(x), panels, k, num_filter, no_offset=no_offset)
            same_bits(y, reference.q_fully_connected(x, w, no_offset=no_offset))


@pytest.mark.parametrize("no_offset", [False, True])
@pytest.mark.parametrize("num_filter", [5, 16, 23, 40])
def test_scale_and_bias_round_one_by_one(num_filter, no_offset):
    rs = np.random.RandomState(0)
    k, n = 333, 19
    x, w = signs(n, k), signs(num_filter, k, seed=1)
    a, panels = backend.pack_rows(x), backend.pack_panels(backend.pack_rows(w))
    accum = reference.q_fully_connected(x, w, no_offset=no_offset)
    for scale in (None, rs.randn(1), rs.randn(num_filter)):
        for bias in (None, rs.randn(num_filter).astype(np.float32) * 100):
            wanted = accum * np.float32(scale) if scale is not None else accum
            wanted = wanted + bias if bias is not None else wanted
            same_bits(backend.xgemm(a, panels, k, num_filter, scale, bias, no_offset), wanted)


def test_xgemm_negative_zero_survives():
    x, w = np.ones((1, 2), np.float32), np.float32([[1, -1]])
    y = backend.xgemm(backend.pack_rows(x), backend.pack_panels(backend.pack_rows(w)), 2, 1, scale=-1.0, no_offset=True)
    assert y[0, 0] == 0 and np.signbit(y[0, 0])


def test_xgemm_large_k_fills_byte_sums():
    k = 64 * 1000
    a, w = np.ones((3, k), np.float32), -np.ones((17, k), np.float32)
    y = backend.xgemm(backend.pack_rows(a), backend.pack_panels(backend.pack_rows(w)), k, 17, no_offset=True)
    assert (y == -k).all()


def conv_case(batch, c, h, w, num_filter, kernel, stride=(1, 1), dilate=(1, 1), pad=(0, 0), num_group=1):
    return pytest.param((batch, c, h, w), num_filter, kernel, stride, dilate, pad, num_group,
                        id="%dx%dx%dx%d-f%d-k%dx%d-s%s-d%s-p%s-g%d" % (
                            batch, c, h, w, num_filter, *kernel, "%dx%d" % stride, "%dx%d" % dilate, "%dx%d" % pad,
                            num_group))


CASES = [
    conv_case(1, 1, 1, 1, 1, (1, 1)),
    conv_case(2, 3, 9, 7, 7, (3, 3), pad=(1, 1)),
    conv_case(1, 64, 8, 8, 64, (3, 3), pad=(1, 1)),
    conv_case(2, 65, 7, 7, 33, (3, 3), pad=(1, 1)),
    conv_case(2, 128, 7, 7, 48, (1, 1)),
    conv_case(1, 130, 11, 5, 17, (5, 2), pad=(3, 2)),
    conv_case(2, 20, 13, 17, 31, (2, 5), stride=(2, 3), pad=(1, 4)),
    conv_case(1, 70, 12, 11, 16, (3, 3), dilate=(2, 3), pad=(2, 3)),
    conv_case(1, 64, 12, 11, 15, (3, 1), dilate=(3, 1), pad=(2, 0)),
    conv_case(2, 6, 9, 10, 6, (3, 3), pad=(1, 1), num_group=6),
    conv_case(1, 6, 9, 10, 18, (3, 3), stride=(2, 1), pad=(1, 2), num_group=6),
    conv_case(2, 134, 6, 5, 34, (3, 2), pad=(1, 1), num_group=2),
    conv_case(1, 96, 6, 6, 99, (3, 3), dilate=(1, 2), pad=(1, 2), num_group=3),
    conv_case(1, 8, 20, 20, 2, (9, 9), dilate=(2, 2), pad=(8, 8)),   # 81 taps: more than the stack holds
    conv_case(3, 16, 5, 5, 32, (5, 5), pad=(4, 4)),                  # windows with a single pixel inside
]


@pytest.mark.parametrize("shape, num_filter, kernel, stride, dilate, pad, num_group", CASES)
def test_conv2d(shape, num_filter, kernel, stride, dilate, pad, num_group):
    x, w = signs(*shape), signs(num_filter, shape[1] // num_group, *kernel, seed=1)
    bias = np.random.RandomState(2).randn(num_filter).astype(np.float32)
    panels = backend.pack_panels(reference.pack_filters(w), num_group)
    for pad_value, no_offset in itertools.product((-1, 0, 1), (False, True)):
        image = backend.pack_nchw(x, pad, pad_value, num_group)
        wanted = reference.q_convolution(x, w, bias, stride, dilate, pad, num_group, pad_value=pad_value,
                                         no_offset=no_offset, scaling="filter")
        for layout in ("NCHW", "NHWC"):
            y = backend.conv2d(image, panels, shape[1], num_filter, kernel, stride, dilate, pad, pad_value, num_group,
                               reference.weight_scale(w, "filter"), bias, no_offset, layout)
            same_bits(y, wanted if layout == "NCHW" else np.ascontiguousarray(wanted.transpose(0, 2, 3, 1)))


def test_every_thread_count_gives_the_same_bits():
    x, w = signs(5, 96, 30, 31), signs(80, 96, 3, 3, seed=1)
    panels, rows = backend.pack_panels(reference.pack_filters(w)), backend.pack_rows(signs(3, 40000))
    fc = backend.pack_panels(backend.pack_rows(signs(700, 40000, seed=2)))
    results = []
    for threads in (1, 2, 3):
        backend.set_threads(threads)
        image = backend.pack_nchw(x, (1, 1), 0)
        results.append((image, backend.pack_nhwc(x.transpose(0, 2, 3, 1), (1, 1), 0), backend.pack_rows(x),
                        backend.conv2d(image, panels, 96, 80, (3, 3), pad=(1, 1), pad_value=0),
                        backend.xgemm(rows, fc, 40000, 700), backend.max_pool_bits(image, 3, 2, 1),
                        backend.sign_pad(x, (1, 1)), backend.sign_pad_grad(x, x)))
    for result in results[1:]:
        for got, wanted in zip(result, results[0]):
            np.testing.assert_array_equal(got, wanted)
    same_bits(results[0][3], reference.q_convolution(x, w, pad=(1, 1), pad_value=0))


@pytest.mark.parametrize("kernel, stride, pad", [((2, 2), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1)),
                                                 ((3, 2), (1, 3), (2, 1)), ((9, 11), (1, 1), (0, 0)), (1, 1, 0)])
def test_max_pool_bits(kernel, stride, pad):
    words = np.random.RandomState(0).randint(0, 2 ** 62, (2, 9, 11, 3)).astype(np.uint64)
    words &= np.random.RandomState(1).randint(0, 2 ** 62, words.shape).astype(np.uint64)
    as_pair = [(v, v) if isinstance(v, int) else v for v in (kernel, stride, pad)]
    np.testing.assert_array_equal(backend.max_pool_bits(words, kernel, stride, pad),
                                  reference.max_pool_bits(words, *as_pair))


@pytest.mark.parametrize("pad, pad_value", [((0, 0), 1), ((1, 2), -1), ((3, 0), 0)])
def test_sign_pad(pad, pad_value):
    x = np.float32([0.0, -0.0, np.nan, 1e-45, -1e-45, 1, -1, 1.0000001, -1.0000001, np.inf, -np.inf, 0.5])
    x = np.concatenate([x, np.random.RandomState(0).randn(78).astype(np.float32)]).reshape(2, 3, 3, 5)
    around = ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2)
    wanted = np.pad(reference.sign(x), around, constant_values=pad_value)
    same_bits(backend.sign_pad(x, pad, pad_value), wanted)
    halves = np.pad((reference.sign(x) - 1) / 2, around, constant_values=pad_value)
    np.testing.assert_array_equal(backend.sign_pad(x, pad, pad_value, low=-1.0, high=0.0), halves)
    dy = np.random.RandomState(1).randn(*wanted.shape).astype(np.float32)
    inside = dy[:, :, pad[0]:pad[0] + 3, pad[1]:pad[1] + 5]
    for clip in (1.0, 0.25, np.inf):
        passed = inside * reference.ste_window(x, clip)
        np.testing.assert_array_equal(backend.sign_pad_grad(x, dy, pad, clip), passed)
        np.testing.assert_array_equal(backend.sign_pad_grad(x, dy, pad, clip, slope=0.5), passed / 2)
