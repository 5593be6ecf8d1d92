"""Packed parameters: weights and thresholds of a packed layer as plain numbers, all neurons rising.

    sum over t of (accum >= t) xor flip  =  number of t' <= accum',   accum' = -accum and t' = 1 - t where flip
"""
import numpy as np

from qnn import bits, reference
from qnn.thresholds import ALWAYS, NEVER

from ..passes.tuples import numbers


def planes_of(node, side):
    """(planes, code) of the data ("act"), weights ("weight") or output ("out") of a packed layer."""
    return int(node.attrs.get(side + "_planes", "1")), node.attrs.get(side + "_code", "bipolar")


def has_offset(node):
    """True where a packed layer has the input `offset` behind its weights."""
    return {planes_of(node, side)[1] for side in ("act", "weight")} != {"bipolar"}


def weights(node, params):
    """(signs (F, K) bool, magnitude (F, K) int64, None where all are 1) in stream order."""
    num_filter, channels = int(node.attrs["num_filter"]), int(node.attrs["channels"])
    taps = int(np.prod(numbers(node, "kernel")))
    planes, code = planes_of(node, "weight")
    stored = params[node.inputs[1][0].name].view(bits.WORD_DTYPE).reshape(planes + (code == "masked"), -1)
    rows = [bits.panels_to_rows(panels, num_filter).reshape(num_filter, taps, -1) for panels in stored]
    on = np.stack([reference.unpack_rows(row, channels).reshape(num_filter, -1) > 0 for row in rows])
    if code == "masked":
        signs, magnitude = on[0], sum(plane.astype(np.int64) << i for i, plane in enumerate(on[1:]))
    else:
        values = sum(np.where(plane, 1, -1) << i for i, plane in enumerate(on))
        signs, magnitude = values > 0, np.abs(values)
    return signs, None if (magnitude == 1).all() else magnitude


def thresholds(node, params):
    """(thresholds (levels, F) int64, flip (F,) bool) of a layer that gives bits or codes."""
    first = 3 if has_offset(node) else 2
    threshold, flip = (params[node.inputs[first + i][0].name] for i in range(2))
    threshold = np.atleast_2d(threshold.astype(np.int64))
    return threshold, reference.unpack_rows(flip.view(bits.WORD_DTYPE), threshold.shape[1]) > 0


def rising(signs, threshold, flip, limit):
    """(signs (F, K), thresholds (F, levels) ascending) of neurons that all rise: those with a flip have their weights
    inverted. threshold: (levels, F). What cannot be reached is cut to one beyond: [-limit, limit + 1]."""
    start = np.where(flip, 1 - threshold, threshold)
    start = np.where(threshold == ALWAYS, np.where(flip, limit + 1, -limit), start)
    start = np.where(threshold == NEVER, np.where(flip, -limit, limit + 1), start)
    return signs ^ flip[:, None], np.sort(np.clip(start, -limit, limit + 1), axis=0).T
