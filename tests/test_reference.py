"""reference.py is the definition that everything else is tested against; here it is tested against loops that are too
simple to be wrong, and against the identities that packing rests on: dot = K - 2*popcount(a xor w)."""
import doctest
import itertools

import numpy as np
import pytest

from qnn import bits, reference

TAILS = (1, 2, 63, 64, 65, 127, 128, 129, 191)
SPECIAL = np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-45, -1e-45, 1e-40, -1e-40, 3, -3], np.float32)
SPECIAL_SIGNS = np.array([1, 1, 1, 1, 1, -1, 1, -1, 1, -1, 1, -1], np.float32)


def _floats(rng, *shape):
    """Random floats with zeros of both signs among them."""
    x = rng.randn(*shape).astype(np.float32)
    x[rng.rand(*shape) < 0.1] = 0.0
    x[rng.rand(*shape) < 0.1] = -0.0
    return x


@pytest.mark.parametrize("module", [bits, reference], ids=lambda module: module.__name__)
def test_doctests(module):
    failed, attempted = doctest.testmod(module, extraglobs={"np": np})
    assert attempted > 0 and failed == 0


# ---- quantizers ------------------------------------------------------------------------------------------------------


def test_sign_of_zeros_nan_infinities_and_denormals():
    np.testing.assert_array_equal(reference.sign(SPECIAL), SPECIAL_SIGNS)
    assert reference.sign(SPECIAL).dtype == np.float32


def test_sign_of_integers():
    np.testing.assert_array_equal(reference.sign([-2, 0, 5]), [-1, 1, 1])


def test_ste_window_is_inclusive_and_closed_to_nan():
    above = np.nextafter(np.float32(1), np.float32(2))
    x = np.array([1, -1, above, -above, 0, np.nan, np.inf], np.float32)
    np.testing.assert_array_equal(reference.ste_window(x), [1, 1, 0, 0, 1, 0, 0])


def test_ste_window_compares_in_float32():
    assert reference.ste_window(np.float32(0.3), 0.3) == 1  # float32(0.3) > 0.3
    assert reference.ste_window(np.nextafter(np.float32(0.3), np.float32(1)), 0.3) == 0


def test_round_half_away_differs_from_rint_at_halves():
    x = np.array([0.5, 1.5, 2.5, -0.5, -2.5, 0.49999997, 8388607.5, 8388609, 0, -0.4], np.float32)
    np.testing.assert_array_equal(reference.round_half_away(x), [1, 2, 3, -1, -3, 0, 8388608, 8388609, 0, 0])


@pytest.mark.parametrize("k_bits", [2, 3, 4, 8])
def test_quantize_k_takes_all_levels_and_keeps_the_ends(k_bits):
    levels = 2 ** k_bits - 1
    values = np.unique(reference.quantize_k(np.linspace(0, 1, 40 * levels, dtype=np.float32), k_bits))
    np.testing.assert_array_equal(values, np.arange(levels + 1, dtype=np.float32) / np.float32(levels))


@pytest.mark.parametrize("k_bits", [2, 5, 8, 16, 31])
def test_quantize_k_is_idempotent_and_off_by_half_a_level_at_most(k_bits):
    x = np.random.RandomState(0).rand(500).astype(np.float32)
    once = reference.quantize_k(x, k_bits)
    np.testing.assert_array_equal(reference.quantize_k(once, k_bits), once)
    assert np.abs(once - x).max() <= 0.5 / (2 ** k_bits - 1) + 2 ** -23  # 2^-23: two float32 roundings below 1


def test_quantize_activation_of_every_kind():
    x = np.array([-1, 0.2, 0.5, 2], np.float32)
    np.testing.assert_array_equal(reference.quantize_activation(x, 1), [-1, 1, 1, 1])
    np.testing.assert_array_equal(reference.quantize_activation(x, 2), np.float32([0, 1, 2, 3]) / np.float32(3))
    np.testing.assert_array_equal(reference.quantize_activation(x, 32), x)


def test_quantize_weight_reaches_both_ends_and_survives_zeros():
    w = np.array([[-2, -0.1, 0.1, 2]], np.float32)
    quantized = reference.quantize_weight(w, 2)
    assert quantized[0, 0] == -1 and quantized[0, 3] == 1
    np.testing.assert_allclose(quantized[0, 1:3], [-1 / 3, 1 / 3], rtol=2 ** -22)  # 2 q - 1 loses up to two bits
    assert np.all(np.isfinite(reference.quantize_weight(np.zeros((2, 3)), 4)))
    np.testing.assert_array_equal(reference.quantize_weight(w, 32), w)


def test_weight_scale_of_layer_and_filter():
    w = np.array([[1, -3], [0, 2]], np.float32)
    np.testing.assert_array_equal(reference.weight_scale(w, "none"), [1])
    np.testing.assert_array_equal(reference.weight_scale(w, "layer"), [1.5])
    np.testing.assert_array_equal(reference.weight_scale(w, "filter"), [2, 1])


# ---- packing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", TAILS)
def test_pack_rows_round_trip_with_zero_tail(k):
    x = _floats(np.random.RandomState(0), 3, k)
    words = reference.pack_rows(x)
    assert words.shape == (3, bits.words_for(k)) and words.dtype == bits.WORD_DTYPE
    np.testing.assert_array_equal(reference.unpack_rows(words, k), reference.sign(x))
    for row, packed in zip(x, words):  # as one big number: bit j is element j, and nothing stands behind element k
        number = sum(int(word) << (64 * i) for i, word in enumerate(packed))
        assert number == sum(int(not value < 0) << j for j, value in enumerate(row))


def test_pack_rows_of_special_values():
    assert int(reference.pack_rows(SPECIAL)[0]) == sum(1 << j for j, s in enumerate(SPECIAL_SIGNS) if s > 0)


def test_popcount():
    words = np.array([[0, 1, 2 ** 64 - 1], [0x8000000000000000, 0x5555555555555555, 0xFF00]], np.uint64)
    np.testing.assert_array_equal(reference.popcount(words), [[0, 1, 64], [1, 32, 8]])


@pytest.mark.parametrize("k", TAILS)
def test_fully_connected_is_k_minus_twice_popcount(k):
    rng = np.random.RandomState(0)
    x, w = _floats(rng, 3, k), _floats(rng, 5, k)
    count = reference.xgemm(reference.pack_rows(x), reference.pack_rows(w))
    np.testing.assert_array_equal(reference.q_fully_connected(x, w, no_offset=True), k - 2 * count)
    np.testing.assert_array_equal(reference.q_fully_connected(x, w), k - count)  # the number of equal signs


@pytest.mark.parametrize("pad_value", [1, -1])
@pytest.mark.parametrize("channels,num_group", [(1, 1), (3, 1), (6, 2), (65, 1), (130, 2), (5, 5)])
def test_convolution_of_packed_words(channels, num_group, pad_value):
    rng = np.random.RandomState(0)
    x, w = _floats(rng, 2, channels, 5, 4), _floats(rng, 2 * num_group, channels // num_group, 3, 2)
    words, filters = reference.pack_nchw(x, (1, 2), pad_value, num_group), reference.pack_filters(w)
    assert words.shape == (2, 7, 8, num_group, bits.words_for(channels // num_group))
    windows = np.lib.stride_tricks.sliding_window_view(words, (3, 2), axis=(1, 2))  # n, oh, ow, group, word, kh, kw
    rows = windows.transpose(3, 0, 1, 2, 5, 6, 4).reshape(num_group, 2 * 5 * 7, -1)
    counts = [reference.xgemm(group, w_group) for group, w_group in zip(rows, np.split(filters, num_group))]
    dot = w[0].size - 2 * np.concatenate(counts, axis=1).reshape(2, 5, 7, -1).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(
        reference.q_convolution(x, w, pad=(1, 2), num_group=num_group, pad_value=pad_value, no_offset=True), dot)


@pytest.mark.parametrize("kernel,stride,pad", [((2, 2), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1)),
                                               ((3, 2), (1, 2), (1, 0)), ((5, 5), (5, 5), (0, 0))])
def test_max_pool_bits_is_max_pooling_of_signs(kernel, stride, pad):
    x = reference.sign(_floats(np.random.RandomState(0), 2, 70, 7, 5) - 0.8)  # mostly -1, so that windows differ
    words = reference.pack_nchw(x)[:, :, :, 0]
    pooled = reference.unpack_rows(reference.max_pool_bits(words, kernel, stride, pad), 70).transpose(0, 3, 1, 2)
    padded = np.pad(x, ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2), constant_values=-np.inf)
    expected = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))[:, :, ::stride[0], ::stride[1]]
    np.testing.assert_array_equal(pooled, expected.max((-1, -2)))
    assert np.any(pooled < 0) or kernel == (5, 5)


# ---- layers ----------------------------------------------------------------------------------------------------------

GEOMETRIES = {
    "plain": dict(),
    "strided": dict(stride=(2, 3)),
    "dilated": dict(dilate=(2, 1)),
    "padded": dict(pad=(2, 1)),
    "grouped": dict(num_group=2),
    "all": dict(stride=(2, 1), dilate=(1, 2), pad=(1, 2), num_group=2),
}


def _loops(xq, wq, stride, dilate, num_group):
    """The sum over taps, one output at a time; xq is padded already."""
    n, f, (kh, kw), per_group = len(xq), len(wq), wq.shape[2:], len(wq) // num_group
    oh = (xq.shape[2] - (kh - 1) * dilate[0] - 1) // stride[0] + 1
    ow = (xq.shape[3] - (kw - 1) * dilate[1] - 1) // stride[1] + 1
    out = np.zeros((n, f, oh, ow))
    for b, o, i, j in itertools.product(range(n), range(f), range(oh), range(ow)):
        for c, r, s in itertools.product(range(wq.shape[1]), range(kh), range(kw)):
            row, col = i * stride[0] + r * dilate[0], j * stride[1] + s * dilate[1]
            out[b, o, i, j] += xq[b, o // per_group * wq.shape[1] + c, row, col] * wq[o, c, r, s]
    return out


@pytest.mark.parametrize("pad_value", [1, 0, -1])
@pytest.mark.parametrize("case", GEOMETRIES)
def test_q_convolution_against_loops(case, pad_value):
    geometry = dict(dict(stride=(1, 1), dilate=(1, 1), pad=(0, 0), num_group=1), **GEOMETRIES[case])
    rng = np.random.RandomState(0)
    x, w, bias = _floats(rng, 2, 4, 7, 6), _floats(rng, 4, 4 // geometry["num_group"], 3, 2), np.float32([1, -2, 0, 3])
    ph, pw = geometry["pad"]
    xq = np.full((2, 4, 7 + 2 * ph, 6 + 2 * pw), float(pad_value))
    xq[:, :, ph:ph + 7, pw:pw + 6] = reference.sign(x)
    dot = _loops(xq, reference.sign(w), geometry["stride"], geometry["dilate"], geometry["num_group"])
    expected = (dot + w[0].size) / 2 + bias.reshape(1, -1, 1, 1)
    np.testing.assert_array_equal(reference.q_convolution(x, w, bias, pad_value=pad_value, **geometry), expected)


@pytest.mark.parametrize("no_offset", [True, False])
@pytest.mark.parametrize("case", GEOMETRIES)
def test_q_convolution_grad_by_unit_steps(case, no_offset):
    """The product is linear in each quantized operand: one step of 1 in an element gives its gradient exactly."""
    geometry = dict(dict(stride=(1, 1), dilate=(1, 1), pad=(0, 0), num_group=1), **GEOMETRIES[case])
    rng = np.random.RandomState(0)
    x, w = reference.sign(rng.randn(1, 4, 6, 5)), reference.sign(rng.randn(2, 4 // geometry["num_group"], 3, 2))
    pad, plain = geometry.pop("pad"), geometry
    edges = ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2)

    def product(x, w):
        return reference.convolution(np.pad(x, edges, constant_values=-1), w, **plain)

    head = rng.randint(-3, 4, product(x, w).shape).astype(np.float32)
    half = 1 if no_offset else 0.5
    dx, dw = reference.q_convolution_grad(x, w, head, pad=pad, pad_value=-1, no_offset=no_offset, **plain)
    for operand, grad in ((x, dx), (w, dw)):
        for index in itertools.islice(np.ndindex(operand.shape), 0, None, 3):
            before = (head * product(x, w)).sum()
            operand[index] += 1
            assert grad[index] == half * ((head * product(x, w)).sum() - before), index
            operand[index] -= 1


def test_grads_vanish_outside_the_window():
    rng = np.random.RandomState(0)
    x, w, head = 3 * _floats(rng, 4, 9), 3 * _floats(rng, 5, 9), np.ones((4, 5), np.float32)
    dx, dw = reference.q_fully_connected_grad(x, w, head, grad_clip=0.5)
    assert np.all(dx[np.abs(x) > 0.5] == 0) and np.all(dw[np.abs(w) > 0.5] == 0)
    full_dx, full_dw = reference.q_fully_connected_grad(x, w, head, grad_clip=1e9)
    np.testing.assert_array_equal(full_dx, 0.5 * head @ reference.sign(w))
    np.testing.assert_array_equal(full_dw, 0.5 * head.T @ reference.sign(x))
