"""Metrics of latent weights, as functions and as mx.metric: how many signs flip, how many weights lie at the clip.

    flip ratio = #{i : q(w_i) before != q(w_i) after} / #weights        q(w) = -1 if w < 0 else +1
    saturation = #{i : |w_i| >= clip} / #weights

    module.fit(..., eval_metric=["acc", qnn.metrics.FlipRatio(module), qnn.metrics.Saturation(module)])
"""
import mxnet as mx
import numpy as np

from .latent import weight_values


def flip_ratio(before, after):
    """Share of elements whose sign differs, 0..1. before, after: arrays of one shape.

    >>> flip_ratio(np.array([0.1, -0.2, 0.0]), np.array([0.2, 0.3, -0.0]))
    0.3333333333333333
    """
    if np.shape(before) != np.shape(after):
        raise ValueError("flip_ratio: arrays of one shape are expected, got %s and %s"
                         % (np.shape(before), np.shape(after)))
    return float(np.mean((before < 0) != (after < 0)))


def saturation(weight, clip=1.0):
    """Share of elements with |w| >= clip, 0..1: where clipping holds them, or no gradient passes beyond."""
    return float(np.mean(np.abs(weight) >= np.float32(clip)))


class _WeightMetric(mx.metric.EvalMetric):
    """Average over weights; `update` looks at `source`, whatever labels and predictions it is given.

    source: a Module (looked at from the first batch on), a gluon Block, or a dict of parameters; weights: as
    qnn.latent.weight_values takes them.
    """

    def __init__(self, source, weights, name):
        super().__init__(name)
        self._source, self._weights = source, weights

    def values(self):
        """{name: numpy array} of the weights now."""
        return {name: value.asnumpy() for name, value in weight_values(self._source, self._weights).items()}

    def count(self, share, weight):
        """Takes `share` of the elements of `weight` into the average."""
        self.sum_metric += share * weight.size
        self.num_inst += weight.size


class FlipRatio(_WeightMetric):
    """Flip ratio per update, averaged since the last reset; the first update has nothing to compare with."""

    def __init__(self, source, weights=None, name="flip_ratio"):
        super().__init__(source, weights, name)
        self._before = {}

    def update(self, labels=None, preds=None):
        """Compares the weights with those of the last call."""
        for name, weight in self.values().items():
            if name in self._before:
                self.count(flip_ratio(self._before[name], weight), weight)
            self._before[name] = weight


class Saturation(_WeightMetric):
    """Saturation, averaged over updates since the last reset. clip: the limit of the weights."""

    def __init__(self, source, clip=1.0, weights=None, name="saturation"):
        super().__init__(source, weights, name)
        self._clip = clip

    def update(self, labels=None, preds=None):
        """Counts the weights at the clip now."""
        for weight in self.values().values():
            self.count(saturation(weight, self._clip), weight)
