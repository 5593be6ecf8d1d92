"""Layers on matrix tiles, of every instruction set (those without tiles count), against reference_planes.py.

Tiles run wherever they can here: every width of a row, one or several images, rows and blocks."""
import itertools

import numpy as np
import pytest
from test_native_planes import CODES, Case, same

from qnn import backend, reference
from qnn import reference_planes as planes_of

pytestmark = pytest.mark.usefixtures("isa")
BIT = (1, "bipolar")


@pytest.fixture(autouse=True)
def forced():
    backend.force_tiles(True)
    yield
    backend.force_tiles(False)


def bits_of(case, num_filter):
    """(got, wanted) of a layer that gives bits."""
    rs = np.random.RandomState(0)
    threshold = rs.randint(-30, 30, num_filter).astype(np.int32)
    flip = rs.rand(num_filter) < 0.5
    packed = reference.pack_rows(np.where(flip, 1, -1))
    wanted = reference.pack_bits(reference.dot_bits(case.accum, threshold, flip), (1, 2), -1)
    return case.conv2d_bits(threshold, packed, out_pad=(1, 2), out_pad_value=-1)[:, :, :, 0], wanted


@pytest.mark.parametrize("width", list(range(1, 37)) + [47, 64, 65, 80])
def test_width(width):
    height = max(4, 40 // width + 3)
    for pad, num_filter in (((1, 1), 48), ((0, 2), 33)):
        case = Case((2, 20, height, width), num_filter, (3, 1 + pad[1]), BIT, BIT, pad, -1)
        same(case.conv2d(), case.accum)
        same(case.conv2d(layout="NHWC"), case.accum.transpose(0, 2, 3, 1))
        np.testing.assert_array_equal(*bits_of(case, num_filter))


@pytest.mark.parametrize("num_filter", [32, 33, 47, 48, 49, 63, 64, 65, 80])
@pytest.mark.parametrize("channels", [1, 63, 64, 65, 130])
def test_channels_and_filters(channels, num_filter):
    for batch, size, pad_value in ((1, 8, 1), (5, 3, 0), (3, 9, -1)):
        case = Case((batch, channels, size, size), num_filter, (3, 3), BIT, BIT, (1, 1), pad_value)
        same(case.conv2d(), case.accum)
        np.testing.assert_array_equal(*bits_of(case, num_filter))


@pytest.mark.parametrize("act_code, weight_code", CODES)
def test_planes(act_code, weight_code):
    for act, weight in itertools.product((1, 2, 3, 8), (1, 2, 6, 7, 8)):
        channels = 65 if act < 8 else 20  # accumulators reach up to 2**24
        for shape, kernel, pad in (((2, channels, 7, 5), (3, 3), (1, 1)), ((40, 2 * channels, 1, 1), (1, 1), (0, 0))):
            case = Case(shape, 49, kernel, (act, act_code), (weight, weight_code), pad)
            same(case.conv2d(), case.accum)


@pytest.mark.parametrize("geometry", [dict(stride=(2, 2)), dict(stride=(1, 3), pad=(2, 1)), dict(stride=(3, 1)),
                                      dict(dilate=(2, 3), pad=(2, 3)), dict(stride=(2, 1), dilate=(1, 2), pad=(1, 2)),
                                      dict(num_group=2, pad=(1, 1))], ids=str)
def test_geometry(geometry):
    for shape, act in (((1, 66, 33, 37), BIT), ((3, 6, 21, 19), (2, "unsigned"))):
        case = Case(shape, 64, (3, 3), act, BIT, **geometry)
        same(case.conv2d(), case.accum)


def test_extreme_codes():
    """8 x 7 bits, all values extreme: the largest bytes of both signs."""
    for act_code, weight_code in CODES:
        low, high = planes_of.code_range(8, act_code)
        for a, w in itertools.product((low, high), (-127, 127)):
            u = planes_of.pack_codes(np.full((1, 120, 6, 6), a - low) // (2 if act_code == "bipolar" else 1), 8)
            y = backend.conv2d(u, backend.pack_weights(np.full((32, 120, 2, 2), w), 7, weight_code), 120, 32, 2,
                               act_planes=8, act_code=act_code, weight_planes=7, weight_code=weight_code,
                               no_offset=True, offset=planes_of.offset(np.full((32, 120, 2, 2), w), 8, act_code, 7,
                                                                       weight_code))
            assert (y == 480 * a * w).all()


def test_blocks_and_threads():
    """Many blocks of many images, and few pixels with many filters: tasks by pixels, and by filters."""
    for shape, num_filter in (((40, 130, 13, 17), 40), ((1, 700, 70, 75), 33), ((1, 300, 6, 6), 600)):
        case = Case(shape, num_filter, (3, 3), BIT, BIT, (1, 1), 1)
        for threads in (1, 2, 3):
            backend.set_threads(threads)
            same(case.conv2d(), case.accum)
            np.testing.assert_array_equal(*bits_of(case, num_filter))


def test_residual():
    """scale, bias and what is added to the output, where tiles overlap."""
    case = Case((2, 64, 9, 21), 40, (3, 3), BIT, BIT, (1, 1), 1)
    rs = np.random.RandomState(0)
    scale, bias = rs.randn(40).astype(np.float32), rs.randn(40).astype(np.float32)
    residual = rs.randn(*case.accum.shape).astype(np.float32)
    for layout, axes in (("NCHW", (0, 1, 2, 3)), ("NHWC", (0, 2, 3, 1))):
        wanted = case.accum.astype(np.float32) * scale[:, None, None] + bias[:, None, None] + residual
        got = case.conv2d(layout=layout, scale=scale, bias=bias,
                          residual=np.ascontiguousarray(residual.transpose(axes)))
        same(got, wanted.transpose(axes))
