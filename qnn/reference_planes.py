"""Planes: codes of several bits on planes of packed bits, and layers on them. Part of the definition, as reference.py.

    code      values a                               u = sum_i 2^i b_i     A = sum_i 2^i s_i, s = 2b - 1, gives a as
    bipolar   odd numbers -(2^k - 1) .. 2^k - 1      (a + 2^k - 1) / 2     A
    unsigned  0 .. 2^k - 1                           a                     (A + 2^k - 1) / 2
    signed    -2^(k-1) .. 2^(k-1) - 1                a + 2^(k-1)           (A - 1) / 2

Weights are bipolar planes w_j, or masked: a plane of signs (1 = +) and planes mask_j of the bits of |w| <= 2^k - 1;
ternary weights are masked with one plane. For planes i of the data and j of the weights

    m_ij  = popcount(a_i xor w_j),  masked popcount((a_i xor sign) and mask_j)
    accum = offset - step * sum_ij 2^(i+j) m_ij  =  sum of a * w,     step 2 for bipolar data, else 1

Codes come of sorted thresholds: u is the number of them that are reached.
"""
import numpy as np

from . import reference

ACT_CODES = ("bipolar", "unsigned", "signed")
WEIGHT_CODES = ("bipolar", "masked")


def code_range(planes, code):
    """(lowest, highest) value of a code of `planes` bits.

    >>> code_range(2, "bipolar"), code_range(2, "unsigned"), code_range(2, "signed"), code_range(1, "masked")
    ((-3, 3), (0, 3), (-2, 1), (-1, 1))
    """
    top = 2 ** planes - 1
    return {"bipolar": (-top, top), "masked": (-top, top), "unsigned": (0, top),
            "signed": (-(top + 1) // 2, top // 2)}[code]


def to_unsigned(a, planes, code):
    """u of values a: int64, 0 .. 2^planes - 1. ValueError for a value that the code does not have."""
    a = np.asarray(a).astype(np.int64)
    low, high = code_range(planes, code)
    if a.size and (a.min() < low or a.max() > high or (code == "bipolar" and (a % 2 == 0).any())):
        raise ValueError("%s codes of %d bits are %s from %d to %d, got values from %d to %d" % (
            code, planes, "odd numbers" if code == "bipolar" else "integers", low, high, a.min(), a.max()))
    return (a - low) // (2 if code == "bipolar" else 1)


def from_unsigned(u, planes, code):
    """Values of u, the inverse of to_unsigned: int64."""
    return np.asarray(u).astype(np.int64) * (2 if code == "bipolar" else 1) + code_range(planes, code)[0]


# ---- thresholds to codes ---------------------------------------------------------------------------------------------


def encode(x, threshold, flip=None):
    """u = number of t with reference.threshold_bits(x, threshold[t], flip).

    x: (N, C, H, W) floats; threshold: (2^k - 1, C) float32, or (2^k - 1, 1) for all channels, ascending; flip: (C,) or
    (1,) bool, None: False. NaN on either side counts. Returns int64 shaped like x.
    """
    flip = np.zeros(1, bool) if flip is None else flip
    return sum(reference.threshold_bits(x, row, flip).astype(np.int64) for row in np.asarray(threshold, np.float32))


def encode_integers(accum, threshold, flip=None):
    """u = number of t with reference.dot_bits(accum, threshold[t], flip).

    accum: (N, F, OH, OW) integers; threshold: (2^k - 1, F) int32, ascending; flip: (F,) bool, None: False.
    """
    flip = np.zeros(1, bool) if flip is None else flip
    return sum(reference.dot_bits(accum, row, flip).astype(np.int64) for row in np.asarray(threshold))


# ---- planes ----------------------------------------------------------------------------------------------------------


def plane_bits(u, planes):
    """Bits of u, lowest plane first: (planes,) + shape of u, bool."""
    return np.stack([np.asarray(u) >> i & 1 == 1 for i in range(planes)])


def pad_code(planes, code, pad_value):
    """u that padding has: 0 as a value where the code has one; bipolar: the highest for +1, else the lowest."""
    if code == "bipolar":
        return 2 ** planes - 1 if pad_value > 0 else 0
    return int(to_unsigned(0, planes, code))


def pack_codes(u, planes, pad=(0, 0), code="bipolar", pad_value=1, num_group=1):
    """Packed image of codes: (N, C, H, W) u -> (N, planes, H + 2 pad_h, W + 2 pad_w, num_group, words) uint64.

    The border is pad_code(); where bipolar data is padded with 0, the layer takes it back.
    """
    around = ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2)
    u = np.pad(np.asarray(u), around, constant_values=pad_code(planes, code, pad_value))
    return np.stack([reference.pack_nchw(np.where(bits, 1, -1), num_group=num_group)
                     for bits in plane_bits(u, planes)], axis=1)


def unpack_codes(image, channels):
    """Inverse of pack_codes, padding included: (N, P, H, W, num_group, words) -> (N, channels, H, W) int64 u."""
    bits = reference.unpack_rows(image, channels // image.shape[4]) > 0
    bits = bits.reshape(bits.shape[:4] + (channels,))
    return sum(bits[:, i].astype(np.int64) << i for i in range(image.shape[1])).transpose(0, 3, 1, 2)


def pack_weights(w, planes, code="bipolar"):
    """Rows of words of weight codes, plane by plane: (F, C, kh, kw) integers -> (planes, F, k_words) uint64, lowest
    plane first; masked: (1 + planes, ...), signs first, then the bits of |w|, and 0 has sign +.

    >>> pack_weights(np.array([[[[1]], [[0]], [[-1]]]]), 1, "masked").ravel()
    array([3, 5], dtype=uint64)
    """
    if code == "masked":
        magnitude = np.abs(from_unsigned(to_unsigned(w, planes, code), planes, code))
        bits = np.concatenate([np.asarray(w)[None] >= 0, plane_bits(magnitude, planes)])
    else:
        bits = plane_bits(to_unsigned(w, planes, code), planes)
    return np.stack([reference.pack_filters(np.where(plane, 1, -1)) for plane in bits])


# ---- layers ----------------------------------------------------------------------------------------------------------


def offset(w, act_planes, act_code="bipolar", weight_planes=1, weight_code="bipolar"):
    """offset of every filter, so that accum = offset - step * sum_ij 2^(i+j) m_ij. With top = 2^act_planes - 1:

        bipolar top S;  unsigned (top S + top sum w) / 2;  signed (top S - sum w) / 2
        S = sum|w| for masked weights, K (2^weight_planes - 1) for bipolar ones

    w: (F, ...) integers. Returns (F,) int32.
    """
    flat = np.asarray(w).astype(np.int64).reshape(len(w), -1)
    top, largest = 2 ** act_planes - 1, code_range(weight_planes, weight_code)[1]
    magnitude = np.abs(flat).sum(1) if weight_code == "masked" else np.full(len(flat), largest * flat.shape[1])
    shift = {"bipolar": 0, "unsigned": top, "signed": -1}[act_code] * flat.sum(1)
    return (top * magnitude if act_code == "bipolar" else (top * magnitude + shift) // 2).astype(np.int32)


def largest_accum(k, act_planes, weight_planes):
    """K (2^act_planes - 1) (2^weight_planes - 1): kernels take layers up to bits.MAX_K."""
    return k * (2 ** act_planes - 1) * (2 ** weight_planes - 1)


def counts(a, w, masks=None):
    """sum_ij 2^(i+j) m_ij. a: (P, N, k_words), w: (W, F, k_words) uint64; masked: w (F, k_words), masks (W, F,
    k_words). Returns (N, F) int64."""
    def count(plane, j):
        if masks is None:
            return reference.xgemm(plane, w[j])
        return np.stack([reference.popcount((plane ^ sign) & mask).sum(-1) for sign, mask in zip(w, masks[j])], axis=-1)
    num_weight = len(w if masks is None else masks)
    return sum(count(plane, j) << (i + j) for i, plane in enumerate(a) for j in range(num_weight))


def convolution(a, w, stride=(1, 1), dilate=(1, 1), pad=(0, 0), num_group=1, pad_value=0):
    """accum (N, F, OH, OW) int64 of values a (N, C, H, W) and weights w (F, C/num_group, kh, kw), integers both;
    padding has the value `pad_value`."""
    around = ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2)
    a = np.pad(np.asarray(a), around, constant_values=pad_value)
    return reference.convolution(a, w, stride, dilate, num_group).astype(np.int64)


def max_pool(u, kernel, stride, pad=(0, 0), convention="valid"):
    """Maximum of u over windows; positions outside do not take part. (N, C, H, W) integers >= 0 -> (N, C, OH, OW); a
    window that lies outside altogether, as 'full' may give, is 0."""
    u = np.asarray(u)
    oh, ow = (reference.pool_positions(*axis, convention) for axis in zip(u.shape[2:], kernel, stride, pad))
    behind = [max(0, (o - 1) * s + k - size - p)
              for o, s, k, size, p in zip((oh, ow), stride, kernel, u.shape[2:], pad)]
    padded = np.pad(u, ((0, 0), (0, 0), (pad[0], behind[0]), (pad[1], behind[1])))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))[:, :, ::stride[0], ::stride[1]]
    return windows[:, :, :oh, :ow].max(axis=(-1, -2))
