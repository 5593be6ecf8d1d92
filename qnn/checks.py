"""Checks: what backend.py demands of arrays and shapes, with errors that name function, argument, expected and got."""
import numpy as np


def array(name, argument, x, dtype, ndim=None):
    """x as a contiguous, aligned array of `dtype`; another dtype is an error: converting would round signs away."""
    x = np.asarray(x)
    if x.dtype != dtype:
        raise TypeError("%s: %s must be %s, got %s; convert it with .astype"
                        % (name, argument, np.dtype(dtype), x.dtype))
    if ndim is not None and x.ndim != ndim:
        raise ValueError("%s: %s must have %d dimensions, got shape %s" % (name, argument, ndim, x.shape))
    if x.size == 0:
        raise ValueError("%s: %s is empty, shape %s" % (name, argument, x.shape))
    if x.flags.c_contiguous and x.flags.aligned:  # np.require takes 2 us to find that out
        return x
    return np.require(x, requirements=["C", "A"])


def pair(name, argument, value, least):
    """(int, int) from an int or a pair, each >= least."""
    two = (value, value) if isinstance(value, (int, np.integer)) else tuple(value)
    if len(two) != 2 or any(int(v) != v or v < least for v in two):
        raise ValueError("%s: %s must be two integers >= %d, got %r" % (name, argument, least, value))
    return int(two[0]), int(two[1])


def expect(name, argument, got, wanted):
    """Nothing, if got == wanted."""
    if got != wanted:
        raise ValueError("%s: %s must be %r, got %r" % (name, argument, wanted, got))


def groups(name, what, count, num_group):
    """Nothing, if num_group divides the `count` channels or filters."""
    if num_group < 1 or count % num_group:
        raise ValueError("%s: num_group must divide the %d %s, got %r" % (name, count, what, num_group))


def one_of(name, argument, value, known):
    """Nothing, if value is one of the known names."""
    if value not in known:
        raise ValueError("%s: %s is %s, got %r" % (name, argument, " or ".join(known), value))


def within(name, argument, value, least, most):
    """Nothing, if value is an integer from least to most."""
    if not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise ValueError("%s: %s is %d..%d, got %r" % (name, argument, least, most, value))


def padding(name, code, pad, pad_value, prefix=""):
    """pad_value as an int: -1, 0 or +1; 0 where a code that is not bipolar is padded."""
    one_of(name, prefix + "code", code, ("bipolar", "unsigned", "signed"))
    if pad_value not in (-1, 0, 1):
        raise ValueError("%s: %spad_value is -1, 0 or +1, got %r" % (name, prefix, pad_value))
    if code != "bipolar" and any(pad) and pad_value != 0:
        raise ValueError("%s: %s codes are padded with %spad_value=0, got %r" % (name, code, prefix, pad_value))
    return int(pad_value)
