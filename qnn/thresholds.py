"""Thresholds: BatchNorm followed by sign, as one comparison, exactly.

    sign(((x - mean) * (gamma / sqrt(var + eps))) + beta) = +1   <=>   x >= t    (gamma > 0; x < t for gamma < 0)

The formula is MXNet's own in float32, operation by operation, as it is on plain NCHW (tests hold it bit for bit).
Nothing is solved for t: for integer accumulators the function is evaluated at every value that can occur, for floats t
is found by bisection over the float32 numbers themselves. Every operation rounds monotonically, so one threshold is the
whole truth; a table that is not monotone (a NaN parameter, say) is refused. Source: FINN (arXiv:1612.07119, section
4.2.2).
"""
import numpy as np

ALWAYS, NEVER = np.iinfo(np.int32).min, np.iinfo(np.int32).max


class BatchNorm:
    """BatchNorm of inference. All parameters (channels,) float32; shift and slope are what MXNet computes with."""

    def __init__(self, gamma, beta, mean, var, eps):
        one = np.float32
        self.mean, self.beta = np.asarray(mean, one), np.asarray(beta, one)
        with np.errstate(all="ignore"):
            self.slope = (np.asarray(gamma, one) / np.sqrt(np.asarray(var, one) + one(eps))).astype(one)

    def __call__(self, x):
        """x: (channels, n) float32 -> the same shape."""
        with np.errstate(all="ignore"):
            return ((x - self.mean[:, None]) * self.slope[:, None] + self.beta[:, None]).astype(np.float32)

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


def integer_thresholds(function, num_filter, dots, values):
    """(threshold, is_falling): sign(function(value)) = +1  <=>  (dot >= threshold) xor is_falling, for every dot.

    function: (num_filter, n) float32 -> the same shape. threshold: (num_filter,) int32, ALWAYS and NEVER at the ends;
    is_falling: (num_filter,) bool. Returns None where some filter's table is no single step.
    """
    is_plus = ~(function(np.broadcast_to(values, (num_filter, len(values)))) < 0)
    is_falling = is_plus[:, 0] & ~is_plus[:, -1]
    steps = is_plus ^ is_falling[:, None]
    if (steps[:, 1:] < steps[:, :-1]).any():
        return None
    first = steps.argmax(axis=1)
    threshold = np.where(steps.any(axis=1), dots[first], NEVER)
    return np.where(steps[:, 0], ALWAYS, threshold).astype(np.int32), is_falling


def float_thresholds(batch_norm):
    """(threshold, is_falling): sign(batch_norm(x)) = +1  <=>  not (x < threshold), or not (x >= threshold) where it
    falls.

    threshold: (channels,) float32, infinite where every finite x gives the same sign; NaN gives +1 in both directions.
    """
    is_falling = batch_norm.is_falling
    channels = len(is_falling)
    low, high = np.full(channels, _key(-np.inf)), np.full(channels, _key(np.inf))  # the answer is in low..high
    while (low < high).any():
        middle = low + (high - low) // 2
        is_plus = ~(batch_norm(_float(middle)[:, None])[:, 0] < 0)
        is_reached = is_plus ^ is_falling
        low, high = np.where(is_reached | (low == high), low, middle + 1), np.where(is_reached, middle, high)
    return _float(low), is_falling


def _key(x):
    """float32 -> int64 in the same order, neighbours one apart; -0.0 and 0.0 share a key."""
    bits = np.asarray(x, np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, np.int64(-(2 ** 31)) - bits, bits)


def _float(key):
    key = np.asarray(key, np.int64)
    return np.where(key < 0, -(2 ** 31) - key, key).astype(np.int32).view(np.float32)
