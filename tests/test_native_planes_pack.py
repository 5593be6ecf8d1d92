"""Packing of codes from floats, and their max-pooling, of every instruction set against reference_planes.py."""
import itertools

import numpy as np
import pytest
from native_cases import EDGES, floats

from qnn import backend, reference
from qnn import reference_planes as planes_of

pytestmark = pytest.mark.usefixtures("isa")


def thresholds(planes, channels, seed=1):
    """(2^planes - 1, channels) float32, ascending, zeros, infinities and equal neighbours among them."""
    t = floats(2 ** planes - 1, channels, seed=seed)
    return np.sort(np.where(np.isnan(t), np.float32(0.5), t), axis=0)


def flips(channels, seed=2):
    flip = np.random.RandomState(seed).rand(channels) < 0.5
    return flip, reference.pack_rows(np.where(flip, 1, -1))


def without_plane(image):
    return image if image.shape[1] > 1 else image[:, 0]


@pytest.mark.parametrize("planes", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3, 63, 64, 65, 128, 130])
def test_pack_codes(channels, planes):
    x, threshold = floats(2, channels, 7, 9), thresholds(planes, channels)
    flip, words = flips(channels)
    u = planes_of.encode(x, threshold, flip)
    assert channels < 60 or len(np.unique(u)) == 2 ** planes or planes > 4
    for pad, (code, pad_value) in itertools.product(((0, 0), (1, 2)), (("bipolar", 1), ("bipolar", -1), ("unsigned", 0),
                                                                       ("signed", 0))):
        wanted = without_plane(planes_of.pack_codes(u, planes, pad, code, pad_value))
        options = dict(pad=pad, pad_value=pad_value, threshold=threshold, flip=words, code=code)
        np.testing.assert_array_equal(backend.pack_nchw(x, **options), wanted)
        np.testing.assert_array_equal(backend.pack_nhwc(x.transpose(0, 2, 3, 1), **options), wanted)


@pytest.mark.parametrize("planes", [1, 2, 4, 5, 8])
@pytest.mark.parametrize("channels", [1, 64, 70])
def test_shared_thresholds(channels, planes):
    x, threshold = floats(2, channels, 5, 5), thresholds(planes, 1)
    for flip in (None, np.uint64([0]), np.uint64([1])):
        wanted = without_plane(planes_of.pack_codes(planes_of.encode(x, threshold, [flip is not None and flip[0] == 1]),
                                                    planes, (1, 0), "signed", 0))
        options = dict(pad=(1, 0), pad_value=0, threshold=threshold, flip=flip, code="signed")
        np.testing.assert_array_equal(backend.pack_nchw(x, **options), wanted)
        np.testing.assert_array_equal(backend.pack_nhwc(x.transpose(0, 2, 3, 1), **options), wanted)


@pytest.mark.parametrize("planes", [2, 3, 8])
def test_groups_and_more_pixels_than_a_chunk(planes):
    x, threshold = floats(1, 66, 19, 17), thresholds(planes, 66)
    u = planes_of.encode(x, threshold)
    for num_group in (2, 33):
        wanted = planes_of.pack_codes(u, planes, (1, 1), "unsigned", 0, num_group)
        options = dict(pad=1, pad_value=0, threshold=threshold, code="unsigned", num_group=num_group)
        np.testing.assert_array_equal(backend.pack_nchw(x, **options), wanted)
        np.testing.assert_array_equal(backend.pack_nhwc(x.transpose(0, 2, 3, 1), **options), wanted)


@pytest.mark.parametrize("planes", [1, 2, 5])
def test_every_threshold_against_every_neighbour(planes):
    """Values at, just below and just above each threshold, rising and falling."""
    threshold = thresholds(planes, 1)
    finite = threshold[np.isfinite(threshold)]
    x = np.concatenate([finite, np.nextafter(finite, np.float32(np.inf)), np.nextafter(finite, np.float32(-np.inf)),
                        EDGES]).reshape(1, 1, 1, -1)
    for flip in (False, True):
        wanted = without_plane(planes_of.pack_codes(planes_of.encode(x, threshold, [flip]), planes))
        got = backend.pack_nchw(x, threshold=threshold, flip=np.uint64([flip]))
        np.testing.assert_array_equal(got, wanted)


def test_every_thread_count_gives_the_same_bits():
    x, threshold = floats(3, 96, 30, 31), thresholds(3, 96)
    results = []
    for threads in (1, 2, 3):
        backend.set_threads(threads)
        image = backend.pack_nchw(x, (1, 1), 0, threshold=threshold, code="signed")
        nhwc = backend.pack_nhwc(x.transpose(0, 2, 3, 1), (1, 1), 0, threshold=threshold, code="signed")
        results.append((image, nhwc,
                        backend.max_pool_bits(image[:, :, :, :, 0], 3, 2, 1, channels=96, image_pad=1, planes=3)))
    for result in results[1:]:
        for got, wanted in zip(result, results[0]):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("planes", [1, 2, 3, 8])
@pytest.mark.parametrize("channels", [1, 64, 65, 130])
@pytest.mark.parametrize("kernel, stride, pad", [((2, 2), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1)),
                                                 ((3, 2), (1, 3), (2, 1)), ((1, 1), (4, 3), (0, 0))])
def test_max_pool_of_codes(kernel, stride, pad, channels, planes):
    u = np.random.RandomState(0).randint(0, 2 ** planes, (2, channels, 9, 11))
    u = np.minimum(u, np.random.RandomState(1).randint(0, 2 ** planes, u.shape))
    flip, flip_words = flips(channels)
    for convention, image_pad, out_pad, words in itertools.product(
            ("valid", "full"), ((0, 0), (2, 1)), ((0, 0), (1, 3)), (None, flip_words)):
        image = without_plane(planes_of.pack_codes(u, planes, image_pad)[:, :, :, :, 0])
        pooled = planes_of.max_pool(u, kernel, stride, pad, convention)
        if words is not None:
            pooled = np.where(flip[:, None, None], 2 ** planes - 1 - pooled, pooled)
        for code, out_pad_value in (("bipolar", 1), ("bipolar", 0), ("unsigned", 0), ("signed", 0)):
            got = backend.max_pool_bits(image, kernel, stride, pad, convention, channels, words, image_pad, out_pad,
                                        out_pad_value, planes, code)
            wanted = planes_of.pack_codes(pooled, planes, out_pad, code, out_pad_value)[:, :, :, :, 0]
            np.testing.assert_array_equal(got, without_plane(wanted))


@pytest.mark.parametrize("call, text", [
    (lambda x: backend.pack_nchw(x, threshold=np.zeros((2, 4), np.float32)), "shape of threshold must be"),
    (lambda x: backend.pack_nchw(x, threshold=np.zeros((511, 4), np.float32)), "for 1..8 planes"),
    (lambda x: backend.pack_nchw(x, threshold=np.float32([[2], [1], [3]])), "thresholds must ascend"),
    (lambda x: backend.pack_nchw(x, threshold=np.zeros((3, 4), np.float32), code="ternary"), "code is bipolar or"),
    (lambda x: backend.pack_nchw(x, 1, 1, threshold=np.zeros((3, 4), np.float32), code="signed"), "pad_value=0, got 1"),
    (lambda x: backend.pack_nchw(x, threshold=np.zeros((3, 1), np.float32), flip=np.zeros(2, np.uint64)), "shape of f"),
    (lambda x: backend.max_pool_bits(np.zeros((1, 2, 5, 5, 1), np.uint64), 2, 2, planes=3), "planes of words must be"),
    (lambda x: backend.max_pool_bits(np.zeros((1, 5, 5, 1), np.uint64), 2, 2, out_pad=1, code="signed"), "pad_value=0"),
])
def test_errors_name_function_argument_and_value(call, text):
    with pytest.raises(ValueError, match=text):
        call(np.zeros((1, 4, 5, 5), np.float32))
