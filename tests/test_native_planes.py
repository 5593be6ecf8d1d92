"""Layers of codes on bit planes, of every instruction set, against integers in numpy: reference_planes.py."""
import itertools

import numpy as np
import pytest

from qnn import backend, bits, reference
from qnn import reference_planes as planes_of

pytestmark = pytest.mark.usefixtures("isa")

LOW, HIGH = np.iinfo(np.int32).min, np.iinfo(np.int32).max
CODES = [("bipolar", "bipolar"), ("unsigned", "bipolar"), ("signed", "bipolar"), ("bipolar", "masked"),
         ("unsigned", "masked"), ("signed", "masked")]


def values(planes, code, *shape, seed=0):
    """Values of a code; its extreme ones are frequent."""
    rs = np.random.RandomState(seed)
    low, high = planes_of.code_range(planes, code)
    x = rs.choice(np.arange(low, high + 1, 2 if code == "bipolar" else 1), shape)
    return np.where(rs.rand(*shape) < 0.2, rs.choice([low, high], shape), x).astype(np.int64)


class Case:
    """Values, weights, and the arguments that backend.conv2d and conv2d_bits take for them."""

    def __init__(self, shape, num_filter, kernel, act, weight, pad=(0, 0), pad_value=0, num_group=1, stride=(1, 1),
                 dilate=(1, 1)):
        (self.planes, self.code), (weight_planes, weight_code) = act, weight
        self.a = values(self.planes, self.code, *shape)
        self.w = values(weight_planes, weight_code, num_filter, shape[1] // num_group, *kernel, seed=1)
        self.pad, self.pad_value, self.num_group = pad, pad_value, num_group
        outside = pad_value * (2 ** self.planes - 1)
        self.accum = planes_of.convolution(self.a, self.w, stride, dilate, pad, num_group, outside)
        self.arguments = dict(kernel=kernel, stride=stride, dilate=dilate, pad=pad, pad_value=pad_value,
                              num_group=num_group, act_planes=self.planes, act_code=self.code,
                              weight_planes=weight_planes, weight_code=weight_code, offset=planes_of.offset(
                                  self.w, self.planes, self.code, weight_planes, weight_code))
        self.panels = backend.pack_weights(self.w, weight_planes, weight_code, num_group)

    def image(self, pad=None):
        u = planes_of.to_unsigned(self.a, self.planes, self.code)
        image = planes_of.pack_codes(u, self.planes, pad or self.pad, self.code, self.pad_value, self.num_group)
        return image if self.planes > 1 else image[:, 0]

    def conv2d(self, image=None, **more):
        image = self.image() if image is None else image
        return backend.conv2d(image, self.panels, self.a.shape[1], len(self.w), **{
            **self.arguments, "no_offset": True, **more})

    def conv2d_bits(self, threshold, flip=None, **more):
        return backend.conv2d_bits(self.image(), self.panels, self.a.shape[1], len(self.w), threshold=threshold,
                                   flip=flip, **{**self.arguments, **more})


def same(got, wanted):
    np.testing.assert_array_equal(got, wanted.astype(np.float32))
    assert got.dtype == np.float32


@pytest.mark.parametrize("act_code, weight_code", CODES)
def test_every_number_of_planes(act_code, weight_code):
    for act, weight in itertools.product((1, 2, 3, 5, 8), (1, 2, 4)):
        case = Case((2, 65, 3, 4), 33, (2, 2), (act, act_code), (weight, weight_code))
        same(case.conv2d(), case.accum)


@pytest.mark.parametrize("num_filter", [1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 67])
@pytest.mark.parametrize("channels", [1, 63, 64, 65, 131])
def test_channels_and_filters(channels, num_filter):
    for (act_code, weight_code), (n, h) in itertools.product(CODES, ((1, 1), (1, 5), (3, 3), (1, 13))):
        case = Case((n, channels, h, 1), num_filter, (1, 1), (2, act_code), (2, weight_code))
        same(case.conv2d(), case.accum)


@pytest.mark.parametrize("act_code, weight_code", CODES)
def test_geometry(act_code, weight_code):
    for geometry in (dict(pad=(1, 1)), dict(pad=(2, 1), stride=(2, 3)), dict(pad=(1, 2), dilate=(2, 2)),
                     dict(num_group=2, pad=(1, 0)), dict(num_group=6, pad=(1, 1), stride=(2, 1))):
        case = Case((2, 66, 9, 7), 36, (3, 2), (2, act_code), (2, weight_code), **geometry)
        same(case.conv2d(), case.accum)
        same(case.conv2d(layout="NHWC"), case.accum.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("weight_code", planes_of.WEIGHT_CODES)
@pytest.mark.parametrize("channels", [3, 64, 66, 67])
def test_bipolar_padding(channels, weight_code):
    """+1 and -1 are the extreme codes; 0 takes no part, in accumulators that may be odd."""
    for act, weight, pad_value in itertools.product((1, 2, 3), (1, 2), (-1, 0, 1)):
        case = Case((2, channels, 5, 6), 19, (3, 3), (act, "bipolar"), (weight, weight_code), (2, 1), pad_value)
        same(case.conv2d(), case.accum)
        threshold = np.random.RandomState(0).randint(-20, 20, 19).astype(np.int32)
        wanted = reference.pack_bits(reference.dot_bits(case.accum, threshold, np.zeros(19, bool)))
        np.testing.assert_array_equal(case.conv2d_bits(threshold)[:, :, :, 0], wanted)


def test_large_k_fills_byte_sums():
    case = Case((1, 64 * 300, 1, 2), 17, (1, 1), (2, "unsigned"), (2, "masked"))
    same(case.conv2d(), case.accum)


def test_largest_accumulator():
    """The largest K of 8 x 8 bits, all values extreme."""
    k = bits.MAX_K // (255 * 255)
    for act_code, weight_code in CODES:
        low, high = planes_of.code_range(8, act_code)
        for a in (low, high):
            u = planes_of.pack_codes(np.full((1, k, 1, 1), a - low) // (2 if act_code == "bipolar" else 1), 8)
            w = np.stack([np.full((k, 1, 1), 255), np.full((k, 1, 1), -255)])
            y = backend.conv2d(u, backend.pack_weights(w, 8, weight_code), k, 2, 1, act_planes=8, act_code=act_code,
                               weight_planes=8, weight_code=weight_code,
                               offset=planes_of.offset(w, 8, act_code, 8, weight_code))
            assert y.ravel().tolist() == [a * 255 * k, -a * 255 * k]


def test_all_zero_weights_and_filters_of_one_sign():
    case = Case((2, 70, 3, 3), 20, (3, 3), (2, "unsigned"), (1, "masked"), (1, 1))
    case.w[:5], case.w[5:9], case.w[9:14] = 0, 1, -1
    panels = backend.pack_weights(case.w, 1, "masked")
    arguments = {**case.arguments, "offset": planes_of.offset(case.w, 2, "unsigned", 1, "masked")}
    y = backend.conv2d(case.image(), panels, 70, 20, **arguments)
    same(y, planes_of.convolution(case.a, case.w, pad=(1, 1)))
    assert not y[:, :5].any()


def test_one_plane_of_several():
    """ReBNet reads level by level: y = t1, then t2 + y, each with its own scale."""
    case = Case((2, 70, 6, 5), 33, (3, 3), (3, "bipolar"), (1, "bipolar"), (1, 1), 0)
    image, y = case.image(), None
    signs = 2 * planes_of.plane_bits(planes_of.to_unsigned(case.a, 3, "bipolar"), 3).astype(np.int64) - 1
    wanted = None
    for plane, scale in ((2, 0.7), (1, 0.31), (0, 0.11)):
        y = case.conv2d(image, act_planes=1, plane=plane, offset=None, scale=scale, residual=y)
        term = planes_of.convolution(signs[plane], case.w, pad=(1, 1)).astype(np.float32) * np.float32(scale)
        wanted = term if wanted is None else wanted + term
        same(y, wanted)
    wanted = planes_of.convolution(signs[1] + 2 * signs[2], case.w, pad=(1, 1))
    same(case.conv2d(image, act_planes=2, plane=1, offset=None), wanted)


def test_image_with_more_padding_and_the_finish():
    rs = np.random.RandomState(3)
    for act_code, weight_code in CODES:
        case = Case((2, 70, 6, 5), 33, (3, 3), (2, act_code), (1, weight_code), (1, 1))
        arrays = {"mean": rs.randn(33), "scale": rs.randn(33), "bias": rs.randn(33), "residual": rs.randn(2, 33, 6, 5)}
        arrays = {name: x.astype(np.float32) for name, x in arrays.items()}
        wanted = reference.finish(case.accum, (1, -1, 1, 1), **arrays)
        got = case.conv2d(case.image((2, 3)), image_pad=(2, 3), **arrays)
        np.testing.assert_array_equal(got.view(np.uint32), wanted.view(np.uint32))


def thresholds(accum, planes, seed=2):
    """(2^planes - 1, F) int32, sorted, many of them equal to accumulators that occur, some beyond all of them."""
    rs = np.random.RandomState(seed)
    steps, num_filter = 2 ** planes - 1, accum.shape[1]
    chosen = np.stack([rs.choice(accum[:, f].ravel(), steps) + rs.randint(-1, 2, steps) for f in range(num_filter)], 1)
    chosen = np.where(rs.rand(*chosen.shape) < 0.1, rs.choice([LOW, HIGH], chosen.shape), chosen)
    return np.sort(chosen, axis=0).astype(np.int32)


@pytest.mark.parametrize("out_planes", [1, 2, 3, 4])
@pytest.mark.parametrize("num_filter, num_group", [(1, 1), (17, 1), (64, 1), (100, 1), (34, 2), (12, 6)])
def test_codes_out(num_filter, num_group, out_planes):
    flip = np.random.RandomState(4).rand(num_filter) < 0.5
    words = reference.pack_rows(np.where(flip, 1, -1))
    for (act_code, weight_code), out_code in itertools.product(CODES, planes_of.ACT_CODES):
        case = Case((2, 66, 6, 5), num_filter, (3, 2), (2, act_code), (1, weight_code), (1, 0), num_group=num_group)
        threshold = thresholds(case.accum, out_planes)
        u = planes_of.encode_integers(case.accum, threshold, flip)
        out_pad, pad_value = ((1, 2), 0) if out_code != "bipolar" else ((0, 1), 1)
        wanted = planes_of.pack_codes(u, out_planes, out_pad, out_code, pad_value)
        got = case.conv2d_bits(threshold, words, out_pad=out_pad, out_pad_value=pad_value, out_code=out_code)
        np.testing.assert_array_equal(got if out_planes > 1 else got[:, None], wanted)


def test_every_thread_count_gives_the_same_bits():
    case = Case((3, 96, 20, 21), 80, (3, 3), (2, "unsigned"), (2, "masked"), (1, 1))
    threshold = thresholds(case.accum, 2)
    for threads in (1, 2, 3):
        backend.set_threads(threads)
        same(case.conv2d(), case.accum)
        wanted = planes_of.pack_codes(planes_of.encode_integers(case.accum, threshold), 2, (1, 1), "signed", 0)
        got = case.conv2d_bits(threshold, out_pad=1, out_pad_value=0, out_code="signed")
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("act_code, weight_code", CODES)
def test_offset_and_counts_are_the_accumulator(act_code, weight_code):
    """accum = offset - step * sum 2^(i+j) m_ij, in numpy alone."""
    a = values(3, act_code, 5, 70)
    w = values(2, weight_code, 7, 70, seed=1)
    data = np.stack([reference.pack_rows(np.where(b, 1, -1))
                     for b in planes_of.plane_bits(planes_of.to_unsigned(a, 3, act_code), 3)])
    rows = planes_of.pack_weights(w[:, :, None, None], 2, weight_code)
    count = planes_of.counts(data, rows[0], rows[1:]) if weight_code == "masked" else planes_of.counts(data, rows)
    step = 2 if act_code == "bipolar" else 1
    np.testing.assert_array_equal(planes_of.offset(w, 3, act_code, 2, weight_code) - step * count, a @ w.T)


IMAGE, PANELS = np.zeros((1, 2, 5, 5, 1, 1), np.uint64), np.zeros(8 * 9, np.uint64)
ZERO = np.zeros(8, np.int32)


@pytest.mark.parametrize("arguments, text", [
    (dict(act_planes=2), "planes of image without `plane` must be 2, got 1"),
    (dict(image=IMAGE, plane=2), r"plane is 0..1, got 2"),
    (dict(image=IMAGE), "planes of image without `plane` must be 1, got 2"),
    (dict(act_planes=9), r"act_planes is 1..8, got 9"),
    (dict(weight_planes=0), r"weight_planes is 1..8, got 0"),
    (dict(weight_code="ternary"), "weight_code is bipolar or masked, got 'ternary'"),
    (dict(act_code="dorefa"), "act_code is bipolar or unsigned or signed, got 'dorefa'"),
    (dict(weight_code="masked"), "words of panels must be 144, got 72"),
    (dict(act_code="unsigned"), "these codes need an offset, see reference_planes.offset"),
    (dict(act_code="unsigned", offset=ZERO[:7]), r"shape of offset must be \(8,\), got \(7,\)"),
    (dict(act_code="unsigned", pad=1, offset=ZERO), "unsigned codes are padded with pad_value=0, got 1"),
    (dict(image=IMAGE.repeat(4, axis=1), act_planes=8, weight_planes=8, panels=PANELS.repeat(8)),
     r"accumulators may reach 576 \* \(2\*\*8 - 1\) \* \(2\*\*8 - 1\) = 37454400, above 2\*\*24"),
])
def test_errors_name_function_argument_and_value(arguments, text):
    arguments = {"image": IMAGE[:, 0], "panels": PANELS, **arguments}
    with pytest.raises(ValueError, match="conv2d: " + text):
        backend.conv2d(channels=64, num_filter=8, kernel=3, **arguments)


@pytest.mark.parametrize("threshold, text", [
    (np.zeros((2, 8), np.int32), "shape of threshold must be"), (np.zeros((3, 1), np.int32), "shape of threshold must"),
    (np.zeros((31, 8), np.int32), "for 1..4 planes, got"), (np.int32([[1], [0], [2]]) * np.ones((3, 8), np.int32),
                                                           "thresholds must ascend along the first axis")])
def test_wrong_thresholds(threshold, text):
    with pytest.raises(ValueError, match=text):
        backend.conv2d_bits(IMAGE[:, 0], PANELS, 64, 8, 3, threshold)


@pytest.mark.skipif(not backend.is_native, reason="qnn._native is not built")
def test_numpy_computes_the_same_without_the_native_module(monkeypatch):
    case = Case((2, 6, 5, 4), 7, (3, 2), (3, "bipolar"), (2, "masked"), (1, 1), 0, num_group=1)
    grouped = Case((2, 6, 5, 4), 6, (2, 2), (2, "signed"), (2, "bipolar"), (1, 1), 0, num_group=2)
    threshold = np.sort(np.random.RandomState(0).randn(7, 6).astype(np.float32), axis=0)
    x = np.random.RandomState(1).randn(2, 6, 5, 4).astype(np.float32)
    flip = np.uint64([0b101001])

    def results():
        image = backend.pack_nchw(x, 1, 0, threshold=threshold, flip=flip, code="unsigned")
        return [case.conv2d(), case.conv2d(layout="NHWC"), grouped.conv2d(), image,
                backend.pack_nhwc(x.transpose(0, 2, 3, 1), 1, 1, threshold=threshold),
                grouped.conv2d_bits(thresholds(grouped.accum, 2), flip, out_pad=1, out_pad_value=0, out_code="signed"),
                backend.max_pool_bits(image[..., 0], 3, 2, 1, channels=6, image_pad=1, out_pad=1, planes=3, flip=flip)]
    native = results()
    with monkeypatch.context() as patch:
        patch.setattr(backend, "is_native", False)
        plain = results()
    for got, wanted in zip(plain, native):
        np.testing.assert_array_equal(got, wanted)
        assert got.dtype == wanted.dtype
