"""Reference: every operator of qnn in plain numpy. This file *is* the definition: C kernels, MXNet graphs and Verilog
are tested against it, integers exactly.

    1-bit layer:  y = (K + dot) / 2  in 0..K, or dot in -K..K with no_offset;  dot = sum_k q(x_k) q(w_k)
    then          y = y * scale + bias
"""
import numpy as np

from .bits import WORD_BITS, WORD_DTYPE, words_for

# ---- quantizers ------------------------------------------------------------------------------------------------------


def sign(x):
    """q(x) = -1 if x < 0 else +1, as float32: 0, -0.0 and NaN give +1 (BMXNet's det_sign)."""
    return np.where(np.asarray(x) < 0, np.float32(-1), np.float32(1))


def ste_window(x, grad_clip=1.0):
    """Gradient of the clipped straight-through estimator: 1 where |x| <= grad_clip (inclusive), else 0; 0 for NaN."""
    return (np.abs(np.asarray(x)) <= np.float32(grad_clip)).astype(np.float32)


def round_half_away(x):
    """Rounds to the nearest integer, halves away from zero (C's roundf, MXNet's round), in float32."""
    x = np.asarray(x, np.float32)
    return np.trunc(x) + np.sign(x) * (np.abs(x - np.trunc(x)) >= np.float32(0.5))


def quantize_k(x, k_bits):
    """round((2^k - 1) x) / (2^k - 1), computed in float32. x in [0, 1]. (DoReFa-Net, arXiv:1606.06160, eq. 5)"""
    levels = np.float32(2 ** k_bits - 1)
    return (round_half_away(np.asarray(x, np.float32) * levels) / levels).astype(np.float32)


def quantize_activation(x, act_bit):
    """1 bit: sign(x); 2..31 bits: quantize_k(clip(x, 0, 1)); 32 bits: x."""
    x = np.asarray(x, np.float32)
    if act_bit == 1:
        return sign(x)
    return x if act_bit == 32 else quantize_k(np.clip(x, 0, 1), act_bit)


def quantize_weight(w, weight_bit):
    """1 bit: sign(w); 2..31 bits: 2 quantize_k(tanh(w) / (2 max|tanh(w)|) + 1/2) - 1 (DoReFa-Net, eq. 9); 32 bits:
    w."""
    w = np.asarray(w, np.float32)
    if weight_bit == 1:
        return sign(w)
    if weight_bit == 32:
        return w
    squashed = np.tanh(w)
    limit = np.maximum(np.abs(squashed).max(), np.float32(1e-12))
    return 2 * quantize_k(squashed / (2 * limit) + np.float32(0.5), weight_bit) - 1


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
    """Scale of a layer's output: 'none' 1, 'layer' mean|w|, 'filter' mean|w| of each filter (XNOR-Net,
    arXiv:1603.05279)."""
    w = np.abs(np.asarray(w, np.float32))
    if scaling == "none":
        return np.ones(1, np.float32)
    return w.mean(keepdims=True).reshape(1) if scaling == "layer" else w.reshape(len(w), -1).mean(axis=1)


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


def _finish(dot, k, shape, is_one_bit, no_offset, scale, bias, mean=None, residual=None):
    accum = (dot + k) / 2 if is_one_bit and not no_offset else dot
    return finish(accum.astype(np.float32), shape, scale, bias, mean, residual)


def q_convolution(x, w, bias=None, stride=(1, 1), dilate=(1, 1), pad=(0, 0), num_group=1, act_bit=1, weight_bit=1,
                  pad_value=1, no_offset=False, scaling="none"):
    """QConvolution. x: (N, C, H, W), w: (F, C/num_group, kh, kw), bias: (F,) float32 -> (N, F, OH, OW) float32.

    Data is quantized, then padded with `pad_value` (with 0 where act_bit > 1), then convolved with quantized weights.
    """
    xq = quantize_activation(x, act_bit)
    fill = pad_value if act_bit == 1 else 0
    xq = np.pad(xq, ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2), constant_values=fill)
    dot = convolution(xq, quantize_weight(w, weight_bit), stride, dilate, num_group)
    scale = None if scaling == "none" else weight_scale(w, scaling)
    return _finish(dot, np.prod(w.shape[1:]), (1, -1, 1, 1), act_bit == weight_bit == 1, no_offset, scale, bias)


def q_fully_connected(x, w, bias=None, act_bit=1, weight_bit=1, no_offset=False, scaling="none"):
    """QFullyConnected. x: (N, K), w: (num_hidden, K), bias: (num_hidden,) float32 -> (N, num_hidden) float32."""
    dot = quantize_activation(x, act_bit).astype(np.float64) @ quantize_weight(w, weight_bit).astype(np.float64).T
    scale = None if scaling == "none" else weight_scale(w, scaling)
    return _finish(dot, w.shape[1], (1, -1), act_bit == weight_bit == 1, no_offset, scale, bias)


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
