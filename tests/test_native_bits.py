"""Packed to packed: thresholds, shared padding, residuals and pooling of every instruction set against reference.py."""
import itertools

import numpy as np
import pytest
from native_cases import EDGES, floats

from qnn import backend, reference

pytestmark = pytest.mark.usefixtures("isa")

LOW, HIGH = np.iinfo(np.int32).min, np.iinfo(np.int32).max


def flips(count, seed=2):
    """(bool, packed) of random directions."""
    flip = np.random.RandomState(seed).rand(count) < 0.5
    return flip, reference.pack_rows(np.where(flip, 1, -1))


def thresholds(num_filter, k, seed=3):
    """int32, at and beyond the ends of -k..k and in between."""
    edges = [LOW, LOW + 1, -k - 1, -k, -k + 1, -1, 0, 1, k - 1, k, k + 1, HIGH - 1, HIGH]
    rs = np.random.RandomState(seed)
    return np.where(rs.rand(num_filter) < 0.3, rs.choice(edges, num_filter),
                    rs.randint(-k // 4 - 2, k // 4 + 3, num_filter)).astype(np.int32)


@pytest.mark.parametrize("num_filter", [1, 15, 16, 17, 33, 64, 100])
@pytest.mark.parametrize("channels", [1, 63, 64, 65, 130])
def test_conv2d_bits(channels, num_filter):
    x, w = floats(3, channels, 6, 5), floats(num_filter, channels, 3, 2, seed=1)
    panels, threshold = backend.pack_panels(reference.pack_filters(w)), thresholds(num_filter, 6 * channels)
    flip, flip_words = flips(num_filter)
    for pad_value, pad, stride, batch in itertools.product((-1, 0, 1), ((0, 0), (1, 2)), ((1, 1), (2, 3)), (1, 3)):
        image = backend.pack_nchw(x[:batch], pad, pad_value)
        dot = reference.q_convolution(x[:batch], w, pad=pad, pad_value=pad_value, stride=stride, no_offset=True)
        for out_pad, out_pad_value in (((0, 0), 1), ((1, 1), -pad_value or 1), ((2, 0), 0), ((0, 3), 1)):
            got = backend.conv2d_bits(image, panels, channels, num_filter, (3, 2), threshold, flip_words, stride,
                                      pad=pad, pad_value=pad_value, out_pad=out_pad, out_pad_value=out_pad_value)
            wanted = reference.pack_bits(reference.dot_bits(dot, threshold, flip), out_pad, out_pad_value)
            np.testing.assert_array_equal(got[:, :, :, 0], wanted)


@pytest.mark.parametrize("num_filter, num_group", [(6, 6), (34, 2), (64, 2), (96, 3), (99, 3), (130, 2), (12, 6)])
def test_conv2d_bits_of_groups(num_filter, num_group):
    """Groups whose filters start inside 16 bits are merged, others stored."""
    channels = 66
    x, w = floats(2, channels, 5, 4), floats(num_filter, channels // num_group, 3, 3, seed=1)
    panels = backend.pack_panels(reference.pack_filters(w), num_group)
    threshold = thresholds(num_filter, 9 * channels // num_group)
    flip, flip_words = flips(num_filter)
    for pad_value in (-1, 0, 1):
        image = backend.pack_nchw(x, (1, 1), pad_value, num_group)
        dot = reference.q_convolution(x, w, pad=(1, 1), num_group=num_group, pad_value=pad_value, no_offset=True)
        got = backend.conv2d_bits(image, panels, channels, num_filter, (3, 3), threshold, flip_words, pad=(1, 1),
                                  num_group=num_group, pad_value=pad_value, out_pad=(1, 2))
        np.testing.assert_array_equal(got[:, :, :, 0],
                                      reference.pack_bits(reference.dot_bits(dot, threshold, flip), (1, 2)))


@pytest.mark.parametrize("k", [1, 64, 577])
def test_conv2d_bits_at_every_threshold(k):
    """Every dot product that occurs, its neighbours and the ends, without flip."""
    x, w = floats(7, k, 1, 1), floats(33, k, 1, 1, seed=1)
    dot = reference.q_convolution(x, w, no_offset=True)
    image, panels = backend.pack_nchw(x), backend.pack_panels(reference.pack_filters(w))
    for t in [LOW, HIGH, -k - 1, -k, k, k + 1] + list(range(int(dot.min()) - 2, int(dot.max()) + 3)):
        threshold = np.full(33, t, np.int32)
        got = backend.conv2d_bits(image, panels, k, 33, 1, threshold)
        wanted = reference.pack_bits(reference.dot_bits(dot, threshold, np.zeros(33, bool)))
        np.testing.assert_array_equal(got[:, :, :, 0], wanted)


@pytest.mark.parametrize("kernel, pad, stride", [((3, 3), (1, 1), (1, 1)), ((1, 1), (0, 0), (2, 2)),
                                                 ((5, 2), (2, 0), (1, 2))])
@pytest.mark.parametrize("num_group", [1, 2])
def test_image_with_more_padding_is_read_in_place(kernel, pad, stride, num_group):
    x, w = floats(2, 70, 7, 6), floats(20, 70 // num_group, *kernel, seed=1)
    panels = backend.pack_panels(reference.pack_filters(w), num_group)
    for pad_value, image_pad in itertools.product((-1, 0, 1), ((2, 1), (3, 4))):
        # Only the inner part is read: what lies around may be anything.
        image = backend.pack_nchw(x, image_pad, pad_value, num_group)
        outer = np.ones(image.shape[1:3], bool)
        outer[tuple(slice(p - q, size - p + q) for p, q, size in zip(image_pad, pad, outer.shape))] = False
        image[:, outer] = np.uint64(0x5555)
        y = backend.conv2d(image, panels, 70, 20, kernel, stride, pad=pad, pad_value=pad_value, num_group=num_group,
                           image_pad=image_pad)
        np.testing.assert_array_equal(y, reference.q_convolution(x, w, pad=pad, pad_value=pad_value, stride=stride,
                                                                 num_group=num_group))


@pytest.mark.parametrize("num_filter", [1, 7, 16, 23, 40, 64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (9, 8)])
def test_mean_scale_bias_residual_round_one_by_one(shape, num_filter):
    x, w = floats(3, 65, *shape), floats(num_filter, 65, 1, 1, seed=1)
    image, panels = backend.pack_nchw(x), backend.pack_panels(reference.pack_filters(w))
    rs = np.random.RandomState(4)
    for present in itertools.product((False, True), repeat=4):
        accum = reference.q_convolution(x, w, no_offset=present[0])
        arrays = {name: (rs.randn(*(accum.shape if name == "residual" else (num_filter,))) * 10).astype(np.float32)
                  for name, is_present in zip(("mean", "scale", "bias", "residual"), present) if is_present}
        wanted = reference.finish(accum, (1, -1, 1, 1), **arrays)
        nhwc = {n: np.ascontiguousarray(v.transpose(0, 2, 3, 1)) if n == "residual" else v for n, v in arrays.items()}
        got = backend.conv2d(image, panels, 65, num_filter, 1, no_offset=present[0], **arrays)
        np.testing.assert_array_equal(got.view(np.uint32), wanted.view(np.uint32))
        got = backend.conv2d(image, panels, 65, num_filter, 1, no_offset=present[0], layout="NHWC", **nhwc)
        np.testing.assert_array_equal(got.transpose(0, 3, 1, 2), wanted)


@pytest.mark.parametrize("shape, pad, num_group", [
    ((1, 1, 1, 1), (0, 0), 1), ((2, 3, 5, 7), (1, 2), 1), ((1, 64, 8, 8), (1, 1), 1), ((2, 65, 3, 4), (3, 0), 1),
    ((1, 130, 17, 31), (0, 1), 1), ((2, 128, 16, 5), (1, 1), 2), ((1, 6, 23, 29), (1, 1), 6),
    ((3, 1100, 1, 1), (1, 0), 1), ((2, 134, 5, 3), (2, 1), 2)])
def test_pack_thresholds(shape, pad, num_group):
    x, threshold = floats(*shape), floats(shape[1], seed=5)
    flip, flip_words = flips(shape[1])
    nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    for pad_value, words in itertools.product((-1, 1), (None, flip_words)):
        bits = reference.threshold_bits(x, threshold, flip if words is not None else np.zeros(len(flip), bool))
        wanted = reference.pack_nchw(np.where(bits, 1, -1), pad, pad_value, num_group)
        got = backend.pack_nchw(x, pad, pad_value, num_group, threshold, words)
        np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(backend.pack_nhwc(nhwc, pad, pad_value, num_group, threshold, words), wanted)


def test_pack_thresholds_every_pair_of_special_values():
    values = np.concatenate([EDGES, np.array([0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF, 0x7F7FFFFF, 0xFF7FFFFF],
                                             np.uint32).view(np.float32)])
    x = np.ascontiguousarray(np.broadcast_to(values[:, None], (len(values), len(values) * 5)))  # more than a word
    threshold = np.tile(values, 5)
    for flip in (np.zeros(len(threshold), bool), np.ones(len(threshold), bool)):
        words = reference.pack_rows(np.where(flip, 1, -1))
        bits = reference.threshold_bits(x[:, :, None, None], threshold, flip)
        got = backend.pack_nchw(x[:, :, None, None], threshold=threshold, flip=words)
        np.testing.assert_array_equal(got[:, :, :, 0], reference.pack_bits(bits))
    image = np.ascontiguousarray(np.broadcast_to(values[:, None], (1, len(threshold), len(values), 4)))
    bits = reference.threshold_bits(image, threshold, flip)
    np.testing.assert_array_equal(backend.pack_nchw(image, threshold=threshold, flip=words)[:, :, :, 0],
                                  reference.pack_bits(bits))


@pytest.mark.parametrize("channels", [1, 64, 65, 130])
@pytest.mark.parametrize("kernel, stride, pad", [((2, 2), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1)),
                                                 ((3, 2), (1, 3), (2, 1)), ((1, 1), (4, 3), (0, 0))])
def test_max_pool_bits(kernel, stride, pad, channels):
    bits = np.random.RandomState(0).rand(2, channels, 9, 11) < 0.2
    flip, flip_words = flips(channels)
    for convention, image_pad, out_pad, words in itertools.product(
            ("valid", "full"), ((0, 0), (2, 1)), ((0, 0), (1, 3)), (None, flip_words)):
        image = reference.pack_bits(bits, image_pad, 1)
        pooled = reference.max_pool_bits(reference.pack_bits(bits), kernel, stride, pad, convention)
        pooled = pooled ^ (0 if words is None else words)
        for out_pad_value in (-1, 0, 1):
            got = backend.max_pool_bits(image, kernel, stride, pad, convention, channels, words, image_pad, out_pad,
                                        out_pad_value)
            np.testing.assert_array_equal(got, reference.pad_image(pooled, channels, out_pad, out_pad_value))


def test_every_thread_count_gives_the_same_bits():
    x, w, grouped = floats(4, 96, 30, 31), floats(80, 96, 3, 3, seed=1), floats(90, 48, 3, 3, seed=1)
    panels, threshold = backend.pack_panels(reference.pack_filters(w)), thresholds(90, 864)
    pairs = backend.pack_panels(reference.pack_filters(grouped), 2)
    row = backend.pack_nchw(floats(3, 40000, 1, 1))
    fc = backend.pack_panels(backend.pack_rows(floats(700, 40000, seed=2)))
    flip, residual = flips(80)[1], floats(4, 80, 30, 31, seed=6)
    residual[~np.isfinite(residual)] = 0
    results = []
    for threads in (1, 2, 3):
        backend.set_threads(threads)
        image = backend.pack_nchw(x, (1, 1), 0, threshold=floats(96, seed=5))
        results.append((image, backend.pack_nhwc(x.transpose(0, 2, 3, 1), (1, 1), 0, threshold=floats(96, seed=5)),
                        backend.conv2d_bits(image, panels, 96, 80, 3, threshold[:80], flip, pad=1, pad_value=0,
                                            out_pad=1),
                        backend.conv2d_bits(backend.pack_nchw(x, (1, 1), 1, 2), pairs, 96, 90, 3, threshold, pad=1,
                                            num_group=2, out_pad=1),
                        backend.conv2d(image, panels, 96, 80, 3, pad=1, pad_value=0, residual=residual),
                        backend.conv2d_bits(row, fc, 40000, 700, 1, np.zeros(700, np.int32)),
                        backend.max_pool_bits(image[:, :, :, 0], 3, 2, 1, channels=96, out_pad=1)))
    for result in results[1:]:
        for got, wanted in zip(result, results[0]):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("call, text", [
    (lambda i, p: backend.conv2d_bits(i, p, 64, 8, 3, np.zeros(7, np.int32)), "shape of threshold must be"),
    (lambda i, p: backend.conv2d_bits(i, p, 64, 8, 3, np.zeros(8, np.int32), np.zeros(2, np.uint64)), "shape of flip"),
    (lambda i, p: backend.conv2d_bits(i, p, 64, 8, 3, np.zeros(8, np.int32), out_pad_value=3), "pad_value is -1, 0"),
    (lambda i, p: backend.conv2d(i, p, 64, 8, 3, pad=2, image_pad=1), "image_pad must not be below pad"),
    (lambda i, p: backend.conv2d(i, p, 64, 8, 3, residual=np.zeros((1, 8, 5, 5), np.float32)), "shape of residual"),
    (lambda i, p: backend.pack_nchw(np.zeros((1, 2, 1, 1), np.float32), flip=np.zeros(1, np.uint64)), "needs a thresh"),
    (lambda i, p: backend.max_pool_bits(i, 2, 2, convention="same"), "convention is 'valid' or 'full'"),
    (lambda i, p: backend.max_pool_bits(i, 2, 2, channels=65), "words of a pixel must be 2, got 1"),
])
def test_errors_name_function_argument_and_value(call, text):
    with pytest.raises(ValueError, match=text):
        call(np.zeros((1, 5, 5, 1, 1), np.uint64), np.zeros(8 * 9, np.uint64))
