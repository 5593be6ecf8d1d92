"""Thresholds: BatchNorm followed by a quantizer, as comparisons, exactly.

    sign(((x - mean) * (gamma / sqrt(var + eps))) + beta) = +1   <=>   x >= t    (gamma > 0; x < t for gamma < 0)

A quantizer of k bits has `levels` = 2^k - 1 thresholds, ascending, and its code counts those that x has reached (where
the function falls: those that it has not). The formula is MXNet's own in float32, operation by operation, as it is on
plain NCHW (tests hold it bit for bit). Nothing is solved for t: for integer accumulators the function is evaluated at
every value that can occur, for floats t is found by bisection over the float32 numbers themselves. Every operation
rounds monotonically, so the thresholds are the whole truth; a table that is not monotone (a NaN parameter, say) is
refused. Source: FINN (arXiv:1612.07119, section 4.2.2).
"""
import numpy as np

from .reference_stem import fma

ALWAYS, NEVER = np.iinfo(np.int32).min, np.iinfo(np.int32).max
CHUNK = 1 << 22  # table entries evaluated at a time


def sign_codes(x):
    """The quantizer of one bit: codes 0 and 1 for -1 and +1; NaN gives 1."""
    return (~(x < 0)).astype(np.int64)


class BatchNorm:
    """BatchNorm of inference. All parameters (channels,) float32; shift and slope are what MXNet computes with.
    is_fused: the product is not rounded before beta is added, as on oneDNN's blocked layout."""

    def __init__(self, gamma, beta, mean, var, eps, is_fused=False):
        one = np.float32
        self.mean, self.beta, self.is_fused = np.asarray(mean, one), np.asarray(beta, one), is_fused
        with np.errstate(all="ignore"):
            self.slope = (np.asarray(gamma, one) / np.sqrt(np.asarray(var, one) + one(eps))).astype(one)

    def __call__(self, x):
        """x: (channels, n) float32 -> the same shape."""
        with np.errstate(all="ignore"):
            centred = x - self.mean[:, None]
            if self.is_fused:
                return fma(centred, self.slope[:, None], self.beta[:, None])
            return (centred * self.slope[:, None] + self.beta[:, None]).astype(np.float32)

    @property
    def is_falling(self):
        """(channels,) bool: larger x, smaller result."""
        return self.slope < 0


def accumulators(k, no_offset, has_zero_padding):
    """(dots, values): every dot product of k signs that can occur, ascending, and the accumulator it makes, float32.

    Zero padding shortens the dot product at the border, so that every integer from -k to k occurs; else every second
    one.
    """
    dots = np.arange(-k, k + 1, 1 if has_zero_padding else 2, dtype=np.int64)
    return dots, (dots if no_offset else (k + dots) / 2).astype(np.float32)


def integer_thresholds(function, num_filter, integers, values, levels=1):
    """(threshold, is_falling): function(value) = number of thresholds that its integer has reached, or, where it falls,
    has not.

    function: (num_filter, n) float32 -> codes 0..levels of the same shape; integers: (n,) ascending, values: (n,) the
    accumulator that each makes. threshold: int32 (num_filter,), or (num_filter, levels) ascending where levels > 1,
    ALWAYS and NEVER at the ends; is_falling: (num_filter,) bool. Returns None where a filter's table is not monotone.
    """
    def codes(part):
        return function(np.broadcast_to(part, (num_filter, len(part))))

    ends = codes(values[[0, -1]])
    is_falling = ends[:, 0] > ends[:, 1]
    below = np.zeros((num_filter, levels), np.int64)  # how many integers have not reached each level
    last, step = np.zeros((num_filter, 1), np.int64), max(1, CHUNK // num_filter)
    for start in range(0, len(values), step):
        found = codes(values[start:start + step]).astype(np.int64)
        rising = np.where(is_falling[:, None], levels - found, found)
        if (np.diff(rising, axis=1, prepend=last) < 0).any():
            return None
        last = rising[:, -1:]
        for level in range(levels):
            below[:, level] += (rising <= level).sum(axis=1)
    threshold = np.append(integers, NEVER)[below]
    threshold = np.where(below == 0, ALWAYS, threshold).astype(np.int32)
    return (threshold[:, 0] if levels == 1 else threshold), is_falling


def float_thresholds(function, channels, levels=1):
    """(threshold, is_falling): function(x) = number of thresholds with not (x < threshold), or, where it falls, with
    not (x >= threshold).

    function: (channels, n) float32 -> codes 0..levels of the same shape, monotone. threshold: float32 (channels,), or
    (channels, levels) ascending where levels > 1, infinite where every finite x gives the same code; NaN gives the
    highest code in both directions.
    """
    largest = np.finfo(np.float32).max
    ends = function(np.tile(np.array([-largest, largest], np.float32), (channels, 1)))
    is_falling = ends[:, 0] > ends[:, 1]
    wanted = np.arange(1, levels + 1)
    low, high = (np.full((channels, levels), _key(end)) for end in (-np.inf, np.inf))  # the answer is in low..high
    while (low < high).any():
        middle = low + (high - low) // 2
        found = function(_float(middle))
        is_reached = np.where(is_falling[:, None], levels - found, found) >= wanted
        low, high = np.where(is_reached | (low == high), low, middle + 1), np.where(is_reached, middle, high)
    threshold = _float(low)
    return (threshold[:, 0] if levels == 1 else threshold), is_falling


def neighbours(x, reach):
    """The 2 reach + 1 float32 numbers around x, ascending."""
    return _float(_key(x) + np.arange(-reach, reach + 1))


def _key(x):
    """float32 -> int64 in the same order, neighbours one apart; -0.0 and 0.0 share a key."""
    bits = np.asarray(x, np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, np.int64(-(2 ** 31)) - bits, bits)


def _float(key):
    key = np.asarray(key, np.int64)
    return np.where(key < 0, -(2 ** 31) - key, key).astype(np.int32).view(np.float32)
