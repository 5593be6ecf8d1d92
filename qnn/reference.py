"""Reference: every operator of qnn in plain numpy. This file *is* the definition: C kernels, MXNet graphs and Verilog
are tested against it, integers exactly.

    1-bit layer:  y = (K + dot) / 2  in 0..K, or dot in -K..K with no_offset;  dot = sum_k q(x_k) q(w_k)
    others:       y = sum over terms of dot(codes, codes) * (scale * scale)      (quantizers: reference_quantizers.py)
    then          y = y * scale + bias
"""
import numpy as np

from .bits import WORD_BITS, WORD_DTYPE, words_for
from .reference_quantizers import (
    activation_terms,
    quantize_activation,
    quantize_k,
    quantize_weight,
    round_half_away,
    sign,
    ste_window,
    weight_terms,
)

__all__ = ["accumulate", "convolution", "dot_bits", "finish", "inner_image", "max_pool_bits", "pack_bits",
           "pack_filters", "pack_nchw", "pack_rows", "pad_image", "pool_positions", "popcount", "q_convolution",
           "q_convolution_grad", "q_fully_connected", "q_fully_connected_grad", "quantize_activation", "quantize_k",
           "quantize_weight", "round_half_away", "sign", "ste_window", "threshold_bits", "unpack_rows", "weight_scale",
           "xgemm"]

# ---- packing ---------------------------------------------------------------------------------------------------------


def pack_rows(x):
    """Packs the signs of the last axis, 64 a word, first element in bit 0.

    x: (..., K) numbers. Returns (..., ceil(K/64)) uint64; bits behind K are 0.

    >>> pack_rows(np.array([[1, -1, 1, 1]]))
    array([[13]], dtype=uint64)
    """
    bits = ~(np.asarray(x) < 0)
    words = words_for(bits.shape[-1])
    padded = np.zeros(bits.shape[:-1] + (words * WORD_BITS,), bool)
    padded[..., :bits.shape[-1]] = bits
    return np.packbits(padded, axis=-1, bitorder="little").view(WORD_DTYPE)


def unpack_rows(words, k):
    """Inverse of `pack_rows`: (..., k_words) uint64 -> (..., k) float32 of -1 and +1."""
    octets = np.ascontiguousarray(words, WORD_DTYPE).view(np.uint8)
    bits = np.unpackbits(octets, axis=-1, bitorder="little")[..., :k]
    return np.where(bits, np.float32(1), np.float32(-1))


def pack_nchw(x, pad=(0, 0), pad_value=1, num_group=1):
    """Packs an NCHW tensor along its channels, into NHWC words, with explicit spatial padding.

    x: (N, C, H, W) numbers; pad: (pad_h, pad_w); pad_value: +1 or -1 (0 packs as -1: the layer corrects for it).
    Returns (N, H + 2 pad_h, W + 2 pad_w, num_group, ceil(C/num_group/64)) uint64.
    """
    x = np.asarray(x)
    n, c, h, w = x.shape
    fill = 1.0 if pad_value > 0 else -1.0
    x = np.pad(x, ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2), constant_values=fill)
    grouped = x.transpose(0, 2, 3, 1).reshape(n, h + 2 * pad[0], w + 2 * pad[1], num_group, c // num_group)
    return pack_rows(grouped)


def pack_filters(w):
    """Packs convolution weights (F, C, kh, kw) into rows of words (F, kh*kw*ceil(C/64)), taps outermost, channels
    packed."""
    w = np.asarray(w)
    return pack_rows(w.transpose(0, 2, 3, 1)).reshape(w.shape[0], -1)


def popcount(words):
    """Number of 1 bits of each uint64 of an array, as int64."""
    octets = np.ascontiguousarray(words, WORD_DTYPE).view(np.uint8).reshape(np.shape(words) + (8,))
    return np.unpackbits(octets, axis=-1).sum(-1, dtype=np.int64)


def xgemm(a, w):
    """XNOR GEMM, counting differences: out[n, f] = sum_k popcount(a[n, k] xor w[f, k]).

    a: (N, k_words) uint64; w: (F, k_words) uint64. Returns (N, F) int64; the dot product of signs is K - 2*out.
    """
    return np.stack([popcount(a ^ row).sum(-1) for row in w], axis=-1)


def pad_image(words, channels, pad=(0, 0), pad_value=1):
    """A border around packed pixels: +1 as 1 bits of the `channels` that exist, -1 and 0 as 0 bits.

    words: (N, H, W, ceil(channels/64)) uint64. Returns (N, H + 2 pad_h, W + 2 pad_w, ceil(channels/64)) uint64.
    """
    n, h, w, pixel_words = words.shape
    out = np.empty((n, h + 2 * pad[0], w + 2 * pad[1], pixel_words), WORD_DTYPE)
    out[:] = pack_rows(np.full(channels, pad_value if pad_value else -1))
    out[:, pad[0]:pad[0] + h, pad[1]:pad[1] + w] = words
    return out


def inner_image(image, image_pad=(0, 0), pad=(0, 0)):
    """The part of a packed image with padding `image_pad` that a consumer with padding `pad` <= image_pad reads."""
    y, x = (present - wanted for present, wanted in zip(image_pad, pad))
    return image[:, y:image.shape[1] - y, x:image.shape[2] - x]


def threshold_bits(x, threshold, flip):
    """BatchNorm and sign as one comparison of floats: bit = not (x >= threshold if flip else x < threshold).

    x: (N, C, H, W), threshold: (C,) float32; flip: (C,) bool. NaN on either side gives 1. Returns bools shaped like x.
    """
    x, threshold = np.asarray(x, np.float32), np.asarray(threshold, np.float32).reshape(-1, 1, 1)
    return ~np.where(np.asarray(flip, bool).reshape(-1, 1, 1), x >= threshold, x < threshold)


def dot_bits(dot, threshold, flip):
    """BatchNorm and sign of integers as one comparison: bit = (dot >= threshold) xor flip.

    dot: (N, F, OH, OW) integers; threshold: (F,) int32, -2**31 is always, 2**31 - 1 never; flip: (F,) bool.
    """
    is_reached = np.asarray(dot) >= np.asarray(threshold).reshape(-1, 1, 1)
    return is_reached ^ np.asarray(flip, bool).reshape(-1, 1, 1)


def pack_bits(bits, pad=(0, 0), pad_value=1):
    """(N, C, H, W) bools -> packed, padded image (N, H + 2 pad_h, W + 2 pad_w, ceil(C/64)) uint64."""
    words = pack_rows(np.where(bits, 1, -1).transpose(0, 2, 3, 1))
    return pad_image(words, bits.shape[1], pad, pad_value)


def pool_positions(length, kernel, stride, pad, convention="valid"):
    """Windows along one axis: (length + 2 pad - kernel) / stride + 1, rounded down ('valid') or up ('full')."""
    return (length + 2 * pad - kernel + (stride - 1 if convention == "full" else 0)) // stride + 1


def max_pool_bits(words, kernel, stride, pad=(0, 0), convention="valid"):
    """Max-pooling of packed signs: bitwise OR over the window; positions outside the image do not take part.

    words: (N, H, W, pixel_words) uint64. Returns (N, OH, OW, pixel_words), OH = pool_positions(H, ...). A window that
    lies outside altogether, as 'full' may give, is 0.
    """
    oh, ow = (pool_positions(*axis, convention) for axis in zip(words.shape[1:3], kernel, stride, pad))
    behind = [max(0, (o - 1) * s + k - size - p)
              for o, s, k, size, p in zip((oh, ow), stride, kernel, words.shape[1:3], pad)]
    padded = np.pad(words, ((0, 0), (pad[0], behind[0]), (pad[1], behind[1]), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(1, 2))[:, ::stride[0], ::stride[1]]
    return np.bitwise_or.reduce(np.bitwise_or.reduce(windows[:, :oh, :ow], axis=-1), axis=-1)


# ---- layers ----------------------------------------------------------------------------------------------------------


def _windows(x, kernel, stride, dilate):
    """(N, C, H, W) -> (N, C, OH, OW, kh, kw), a read-only view."""
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilate)]
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))
    return view[:, :, ::stride[0], ::stride[1], ::dilate[0], ::dilate[1]]


def convolution(x, w, stride=(1, 1), dilate=(1, 1), num_group=1):
    """Plain 2-D convolution without padding, accumulated in float64 (exact for integers).

    x: (N, C, H, W); w: (F, C/num_group, kh, kw). Returns (N, F, OH, OW) float64.
    """
    parts = [np.einsum("nchwij,fcij->nfhw", _windows(xg, w.shape[2:], stride, dilate).astype(np.float64),
                       wg.astype(np.float64), optimize=True)
             for xg, wg in zip(np.split(np.asarray(x), num_group, axis=1), np.split(np.asarray(w), num_group))]
    return np.concatenate(parts, axis=1)


def weight_scale(w, scaling):
    """Scale of a layer's output: 'none' 1, 'layer' mean|w|, 'filter' and 'xnor' mean|w| of each filter (XNOR-Net,
    arXiv:1603.05279)."""
    w = np.abs(np.asarray(w, np.float32))
    if scaling == "none":
        return np.ones(1, np.float32)
    return w.mean(keepdims=True).reshape(1) if scaling == "layer" else w.reshape(len(w), -1).mean(axis=1)


def accumulate(dot, k, no_offset):
    """What a layer of signs counts: (k + dot) / 2, or dot with no_offset."""
    return dot if no_offset else (dot + k) / 2


def finish(accum, shape=(1, -1), scale=None, bias=None, mean=None, residual=None):
    """y = ((accum - mean) * scale + bias) + residual in float32, every operation rounded by itself, absent ones left
    out.

    With scale = gamma / sqrt(var + eps) and bias = beta this is MXNet's BatchNorm on plain NCHW. shape: that (F,)
    takes.
    """
    out = np.asarray(accum, np.float32)
    out = out - np.asarray(mean, np.float32).reshape(shape) if mean is not None else out
    out = out * np.asarray(scale, np.float32).reshape(shape) if scale is not None else out
    out = out + np.asarray(bias, np.float32).reshape(shape) if bias is not None else out
    return out + np.asarray(residual, np.float32) if residual is not None else out


def _layer(product, act, weight, k, shape, has_offset, scale, bias, magnitudes):
    """sum over terms of product(codes, codes) * (scale * scale), each rounded to float32, in order; finished."""
    has_offset = has_offset and all(scale is None for _, scale in act + weight)
    total = None
    for data_codes, data_scale in act:
        for weight_codes, weight_scale_ in weight:
            out = accumulate(product(data_codes, weight_codes), k, not has_offset).astype(np.float32)
            scales = [np.float32(s) for s in (data_scale, weight_scale_) if s is not None]
            out = out * np.prod(scales, dtype=np.float32) if scales else out
            total = out if total is None else total + out
    if magnitudes is None:
        return finish(total, shape, scale, bias)
    return finish(finish(total, shape, scale) * magnitudes, shape, bias=bias)


def q_convolution(x, w, bias=None, stride=(1, 1), dilate=(1, 1), pad=(0, 0), num_group=1, act_bit=1, weight_bit=1,
                  pad_value=1, no_offset=False, scaling="none", act=None, weight=None):
    """QConvolution. x: (N, C, H, W), w: (F, C/num_group, kh, kw), bias: (F,) float32 -> (N, F, OH, OW) float32.

    act, weight: terms [(codes, scale), ...] of data and weights, as reference_quantizers.terms gives them, act_bit and
    weight_bit their precision; None: by bits. Codes of the data are padded with `pad_value` (with 0 where act_bit > 1;
    callers give 0 for 1-bit codes 0 and 1, of which -1 is none), then convolved with those of the weights; signs on
    both sides give (K + dot)/2 in place of dot.
    """
    act = activation_terms(x, act_bit) if act is None else act
    weight = weight_terms(w, weight_bit) if weight is None else weight
    border = ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2)
    fill = pad_value if act_bit == 1 else 0

    def product(data_codes, weight_codes):
        padded = np.pad(data_codes, border, constant_values=fill)
        return convolution(padded, weight_codes, stride, dilate, num_group)

    magnitudes = None
    if scaling == "xnor":
        n, c, h, width = x.shape
        means = np.abs(np.asarray(x, np.float32)).reshape(n, num_group, c // num_group, h, width).mean(2)
        box = np.full((len(w), 1) + w.shape[2:], 1 / np.prod(w.shape[2:]), np.float32)
        magnitudes = convolution(np.pad(means, border), box, stride, dilate, num_group).astype(np.float32)
    has_offset = act_bit == weight_bit == 1 and not no_offset
    return _layer(product, act, weight, np.prod(w.shape[1:]), (1, -1, 1, 1), has_offset,
                  None if scaling == "none" else weight_scale(w, scaling), bias, magnitudes)


def q_fully_connected(x, w, bias=None, act_bit=1, weight_bit=1, no_offset=False, scaling="none", act=None, weight=None):
    """QFullyConnected. x: (N, K), w: (num_hidden, K), bias: (num_hidden,) float32 -> (N, num_hidden) float32. act,
    weight: as q_convolution has them."""
    act = activation_terms(x, act_bit) if act is None else act
    weight = weight_terms(w, weight_bit) if weight is None else weight

    def product(data_codes, weight_codes):
        return data_codes.astype(np.float64) @ weight_codes.astype(np.float64).T

    magnitudes = np.abs(np.asarray(x, np.float32)).mean(1, keepdims=True) if scaling == "xnor" else None
    has_offset = act_bit == weight_bit == 1 and not no_offset
    return _layer(product, act, weight, w.shape[1], (1, -1), has_offset,
                  None if scaling == "none" else weight_scale(w, scaling), bias, magnitudes)


# ---- gradients of the 1-bit layers, scaling='none' -------------------------------------------------------------------


def q_fully_connected_grad(x, w, head_grad, no_offset=False, grad_clip=1.0):
    """(dx, dw) of a 1-bit QFullyConnected: the offset map's 1/2 and the clipped straight-through windows included."""
    half = 1.0 if no_offset else 0.5
    dx = half * (head_grad @ sign(w)) * ste_window(x, grad_clip)
    dw = half * (head_grad.T @ sign(x)) * ste_window(w, grad_clip)
    return dx.astype(np.float32), dw.astype(np.float32)


def q_convolution_grad(x, w, head_grad, stride=(1, 1), dilate=(1, 1), pad=(0, 0), num_group=1, pad_value=1,
                       no_offset=False, grad_clip=1.0):
    """(dx, dw) of a 1-bit QConvolution; padding is a constant and takes no gradient."""
    half = 1.0 if no_offset else 0.5
    (ph, pw), (kh, kw) = pad, w.shape[2:]
    xq = np.pad(sign(x), ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=pad_value).astype(np.float64)
    wq, dxq, dw = sign(w).astype(np.float64), np.zeros(xq.shape), np.zeros(w.shape)
    oh, ow = head_grad.shape[2:]
    for group in range(num_group):
        f = slice(group * len(w) // num_group, (group + 1) * len(w) // num_group)
        c = slice(group * w.shape[1], (group + 1) * w.shape[1])
        for i in range(kh):
            for j in range(kw):
                rows = slice(i * dilate[0], i * dilate[0] + (oh - 1) * stride[0] + 1, stride[0])
                cols = slice(j * dilate[1], j * dilate[1] + (ow - 1) * stride[1] + 1, stride[1])
                dxq[:, c, rows, cols] += np.einsum("nfhw,fc->nchw", head_grad[:, f], wq[f, :, i, j])
                dw[f, :, i, j] = np.einsum("nfhw,nchw->fc", head_grad[:, f], xq[:, c, rows, cols])
    inside = (slice(None), slice(None), slice(ph, xq.shape[2] - ph), slice(pw, xq.shape[3] - pw))
    dx = half * dxq[inside] * ste_window(x, grad_clip)
    return dx.astype(np.float32), (half * dw * ste_window(w, grad_clip)).astype(np.float32)
