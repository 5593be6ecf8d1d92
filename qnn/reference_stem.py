"""Reference of float first layers: convolution [+ ReLU] [+ max-pooling] of a few channels, in MXNet's own roundings.

oneDNN computes a convolution of few channels as one chain of fused multiply-adds per output, over rows, columns and
channels of the kernel, in this order; bias begins the sum (AVX2) or is added at last (AVX-512). The same chain gives
the same bits.
"""
import numpy as np


def fma(a, b, c):
    """a * b + c of float32 arrays, rounded once. The product is exact in float64; a sum that float64 rounds is made odd
    there, so that float32 rounds as if it saw all digits."""
    with np.errstate(all="ignore"):
        product = np.asarray(a, np.float32).astype(np.float64) * np.asarray(b, np.float32).astype(np.float64)
        addend = np.asarray(c, np.float32).astype(np.float64)
        total = product + addend
        back = total - product
        rest = (product - (total - back)) + (addend - back)  # total + rest is exact
        bits = total.view(np.int64)
        is_even = (bits & 1 == 0) & (rest != 0) & np.isfinite(total)
        away = np.where((rest > 0) == (total > 0), 1, -1)  # towards rest, by one unit in the last place
        return np.where(is_even, bits + away, bits).view(np.float64).astype(np.float32)


def stem_convolution(x, weight, bias=None, bias_first=False, norm=None, relu=False, stride=(1, 1), pad=(0, 0),
                     pool=None):
    """x (N, C, H, W), weight (kh, kw, C, F), bias (F,), all float32 -> (N, OH, OW, F) float32.

    norm: (mean, slope, shift), (C,) each: data are (x - mean) * slope + shift, rounded three times; padding is 0 behind
    it. pool: ((kh, kw), (sh, sw), (ph, pw)) of a max-pooling, whose padding does not take part.
    """
    if norm is not None:
        mean, slope, shift = (part[:, None, None] for part in norm)
        x = ((x - mean) * slope + shift).astype(np.float32)
    x = np.pad(x, ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2))
    kernel = weight.shape[:2]
    height, width = ((size - k) // s + 1 for size, k, s in zip(x.shape[2:], kernel, stride))
    sums = np.zeros((len(x), height, width, weight.shape[3]), np.float32)
    if bias is not None and bias_first:
        sums += bias
    for row, column in np.ndindex(*kernel):
        taps = x[:, :, row:, column:][:, :, ::stride[0], ::stride[1]][:, :, :height, :width]
        for c in range(x.shape[1]):
            sums = fma(taps[:, c, :, :, None], weight[row, column, c], sums)
    if bias is not None and not bias_first:
        sums = sums + bias
    if relu:
        sums = np.where(sums > 0, sums, np.float32(0))
    return sums if pool is None else max_pool(sums, *pool)


def max_pool(x, kernel, stride, pad):
    """x (N, H, W, F) -> (N, OH, OW, F): largest of the part of each window that lies inside the image, along rows
    first. A NaN at the beginning of a window stays, others are passed over."""
    for axis in (2, 1):
        pads = [(0, 0)] * 4
        pads[axis] = (pad[axis - 1],) * 2
        x = np.pad(x, pads, constant_values=-np.inf)
        count = (x.shape[axis] - kernel[axis - 1]) // stride[axis - 1] + 1
        best, *others = (x.take(start + stride[axis - 1] * np.arange(count), axis) for start in range(kernel[axis - 1]))
        for other in others:
            best = np.where(other > best, other, best)
        x = best
    return x
