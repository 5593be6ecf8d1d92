"""Layers by tables of counts, of every instruction set (those without tables count bits): sums at their limits, against
reference_planes.py. test_native_tiles.py has the geometry."""
import itertools

import numpy as np
import pytest
from test_native_planes import Case, same

from qnn import backend, reference
from qnn import reference_planes as planes_of

pytestmark = pytest.mark.usefixtures("isa")


@pytest.fixture(params=[False, True], ids=["chosen", "forced"], autouse=True)
def forced(request):
    backend.force_tiles(request.param)
    yield
    backend.force_tiles(False)


@pytest.mark.parametrize("words", [1, 6, 7, 8, 13, 14, 15, 21, 22])
def test_bytes_are_widened_in_time(words):
    """All bits differ, or none, or the low or high half of each byte: sums of bytes reach 224 after 7 words."""
    k = 64 * words
    halves = np.where(np.arange(k) % 8 < 4, 1, -1)
    rows = np.stack([np.ones(k), -np.ones(k), halves, -halves] * 8).astype(np.float32)
    y = backend.xgemm(backend.pack_rows(rows), backend.pack_panels(backend.pack_rows(rows)), k, 32, no_offset=True)
    same(y, rows @ rows.T)


@pytest.mark.parametrize("k", [65535, 65536, 65537])
def test_sums_of_16_bits(k):
    """Counts up to 65535 take tables, larger ones do not."""
    rs = np.random.RandomState(0)
    x, w = np.ones((13, k), np.float32), -np.ones((33, k), np.float32)
    x[5], w[20] = rs.choice([-1, 1], k), rs.choice([-1, 1], k)
    y = backend.xgemm(backend.pack_rows(x), backend.pack_panels(backend.pack_rows(w)), k, 33, no_offset=True)
    same(y, x.astype(np.int64) @ w.T.astype(np.int64))


@pytest.mark.parametrize("channels", [257, 258])
def test_sums_of_planes(channels):
    """15 * 17 * 257 = 65535; every sum of planes is doubled."""
    case = Case((1, channels, 17, 1), 33, (17, 1), (4, "unsigned"), (1, "bipolar"), (6, 0))
    case.a[:], case.w[:16] = 15, 1
    case.accum = planes_of.convolution(case.a, case.w, pad=(6, 0))
    panels = backend.pack_weights(case.w, 1, "bipolar")
    offset = planes_of.offset(case.w, 4, "unsigned", 1, "bipolar")
    same(backend.conv2d(case.image(), panels, channels, 33, **{**case.arguments, "offset": offset, "no_offset": True}),
         case.accum)


@pytest.mark.parametrize("num_filter", [32, 35, 48, 64, 81])
def test_blocks_of_images_and_planes(num_filter):
    """Blocks of 512 pixels end inside of images, whose planes lie between those of their neighbours."""
    for act, batch, size in itertools.product((1, 2, 3), (1, 30), (7, 24)):
        code = "bipolar" if act == 1 else "unsigned"
        case = Case((batch, 70, size, size), num_filter, (3, 2), (act, code), (2, "bipolar"), (1, 1), 0, stride=(1, 2))
        same(case.conv2d(), case.accum)


def test_bits_of_large_layers():
    case = Case((3, 64, 24, 24), 64, (3, 3), (1, "bipolar"), (1, "bipolar"), (1, 1), -1)
    threshold = np.random.RandomState(0).randint(-30, 30, 64).astype(np.int32)
    wanted = reference.pack_bits(reference.dot_bits(case.accum, threshold, np.zeros(64, bool)))
    np.testing.assert_array_equal(case.conv2d_bits(threshold)[:, :, :, 0], wanted)
    backend.set_threads(2)
    np.testing.assert_array_equal(case.conv2d_bits(threshold)[:, :, :, 0], wanted)
