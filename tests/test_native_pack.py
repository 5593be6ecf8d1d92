"""Packing kernels of every instruction set against reference.py, bit by bit."""
import numpy as np
import pytest
from native_cases import EDGES, floats

from qnn import backend, bits, reference

pytestmark = pytest.mark.usefixtures("isa")

LENGTHS = [1, 2, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 191, 577, 1009]


@pytest.mark.parametrize("k", LENGTHS)
def test_pack_rows_tail_words(k):
    x = floats(5, k, seed=k)
    words = backend.pack_rows(x)
    np.testing.assert_array_equal(words, reference.pack_rows(x))
    np.testing.assert_array_equal(backend.unpack_rows(words, k), reference.sign(x))


def test_pack_rows_special_values_at_every_position():
    for k in (64, 77):
        for value in EDGES:
            x = np.where(np.eye(k, dtype=bool), value, np.float32(-1))
            np.testing.assert_array_equal(backend.pack_rows(x), reference.pack_rows(x), err_msg=str(value))


def test_pack_rows_nan_payloads():
    payloads = np.array([0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFC00000, 0xFFFFFFFF], np.uint32)
    assert backend.pack_rows(payloads.view(np.float32)).tolist() == [0b111111]


def test_pack_rows_reads_strided_rows_in_place():
    x = floats(6, 200)
    np.testing.assert_array_equal(backend.pack_rows(x[:, 3:132]), reference.pack_rows(x[:, 3:132]))
    np.testing.assert_array_equal(backend.pack_rows(x[::2, :65]), reference.pack_rows(x[::2, :65]))
    np.testing.assert_array_equal(backend.pack_rows(x.T), reference.pack_rows(x.T))
    np.testing.assert_array_equal(backend.pack_rows(x[:, ::-1]), reference.pack_rows(x[:, ::-1]))


def test_pack_rows_misaligned_buffer():
    x = floats(3, 130)
    buffer = np.empty(x.nbytes + 1, np.uint8)
    misaligned = buffer[1:].view(np.float32).reshape(x.shape)
    misaligned[...] = x
    np.testing.assert_array_equal(backend.pack_rows(misaligned), reference.pack_rows(x))


def test_pack_rows_keeps_leading_dimensions():
    x = floats(2, 3, 4, 70)
    np.testing.assert_array_equal(backend.pack_rows(x), reference.pack_rows(x))


@pytest.mark.parametrize("num_filter, num_group", [(1, 1), (2, 1), (7, 1), (15, 1), (16, 1), (17, 1), (31, 1), (33, 1),
                                                   (48, 1), (6, 6), (34, 2), (96, 3)])
def test_pack_panels(num_filter, num_group):
    rows = np.random.RandomState(1).randint(0, 2 ** 63, (num_filter, 5)).astype(np.uint64)
    panels = backend.pack_panels(rows, num_group)
    np.testing.assert_array_equal(panels, bits.rows_to_panels(rows, num_group))
    np.testing.assert_array_equal(bits.panels_to_rows(panels, num_filter, num_group), rows)


@pytest.mark.parametrize("pad_value", [-1, 0, 1])
@pytest.mark.parametrize("shape, pad, num_group", [
    ((1, 1, 1, 1), (0, 0), 1), ((2, 3, 5, 7), (1, 2), 1), ((1, 64, 8, 8), (0, 0), 1), ((2, 65, 3, 4), (3, 0), 1),
    ((1, 130, 17, 31), (0, 1), 1), ((2, 128, 16, 16), (1, 1), 1), ((1, 6, 23, 29), (1, 1), 6),
    ((2, 134, 5, 3), (2, 1), 2), ((1, 63, 2, 300), (1, 1), 1)])
def test_pack_image(shape, pad, num_group, pad_value):
    x = floats(*shape)
    wanted = reference.pack_nchw(x, pad, pad_value, num_group)
    np.testing.assert_array_equal(backend.pack_nchw(x, pad, pad_value, num_group), wanted)
    nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(backend.pack_nhwc(nhwc, pad, pad_value, num_group), wanted)
    np.testing.assert_array_equal(backend.pack_nhwc(x.transpose(0, 2, 3, 1), pad, pad_value, num_group), wanted)
