"""Codes: what a quantized layer multiplies, as integers, and how they lie on bit planes.

    y = sum over terms of  dot(data code, weight code) * scale

Quantizers are evaluated by MXNet's own operators, those of the training graph: so codes and scales are the graph's to
the last bit. Data takes its codes by thresholds (qnn/thresholds.py), which hold whatever formula made them.
"""
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import quantizers, reference_planes
from .thresholds import float_thresholds, sign_codes

MOST_PLANES = 8


@dataclass(frozen=True)
class DataCode:
    """How the data of a layer is coded: a quantizer with its trained parameters, each a tuple of numbers. Planes hold
    the codes of all terms; of several terms (ReBNet's levels) each is a plane of signs, the first the highest."""

    quantizer: Any
    params: tuple = ()

    @property
    def code(self):
        """"bipolar", "unsigned" or "signed"."""
        return "signed" if self.quantizer.code == "ternary" else self.quantizer.code

    @property
    def planes(self):
        return self.quantizer.precision

    @property
    def levels(self):
        """Number of thresholds."""
        return 2 ** self.planes - 1

    @property
    def term_planes(self):
        """[(first plane, planes), ...] of the terms."""
        bits, count = self.quantizer.term_bits, self.quantizer.num_terms
        return [((count - 1 - term) * bits, bits) for term in range(count)]

    def terms(self, x):
        """[(codes, scale), ...] of a float32 array."""
        return quantizers.evaluate_terms(self.quantizer, x, [np.array(values, np.float32) for values in self.params])

    def scales(self):
        """The scale of each term; None for 1."""
        return [scale for _, scale in self.terms(np.zeros((1, 1), np.float32))]

    def numbers(self, x):
        """u in 0..levels of each element of a float32 array: what planes hold. A monotone function of x; NaN counts
        as the largest."""
        if self.quantizer.is_sign:
            return sign_codes(x)
        x = np.where(np.isnan(x), np.float32(np.inf), x)
        u = np.zeros(np.shape(x), np.int64)
        for (codes, _), (first, bits) in zip(self.terms(np.ascontiguousarray(x, np.float32)), self.term_planes):
            u += reference_planes.to_unsigned(codes, bits, self.code) << first
        return u

    def values(self):
        """(2^planes,) float32: what the training graph makes of each u."""
        u, total = np.arange(2 ** self.planes), np.zeros(2 ** self.planes, np.float32)
        for scale, (first, bits) in zip(self.scales(), self.term_planes):
            codes = reference_planes.from_unsigned(u >> first & (2 ** bits - 1), bits, self.code).astype(np.float32)
            total = total + codes * np.float32(1 if scale is None else np.ravel(scale)[0])
        return total

    @property
    def is_idempotent(self):
        """True where values are in the order of their codes, and quantizing them again gives these codes."""
        values = self.values()
        taken = np.unique(self.numbers(values))  # a narrow code leaves numbers out
        return (np.diff(values) >= 0).all() and (self.numbers(values[taken]) == taken).all()

    def thresholds(self):
        """float32 (levels,), ascending: u(x) = number of thresholds with not (x < threshold)."""
        threshold, is_falling = float_thresholds(self.numbers, 1, self.levels)
        assert not is_falling.any()
        return threshold.reshape(-1)


def data_code(quantizer, params=()):
    """The DataCode of a quantizer and its trained arrays; None where its values are no integers, or do not fit."""
    if quantizer.code is None or not 1 <= quantizer.precision <= MOST_PLANES:
        return None
    return DataCode(quantizer, tuple(tuple(np.ravel(array).tolist()) for array in params))


@dataclass(frozen=True)
class WeightTerm:
    """One term of the weights: integers shaped (num_filter, channels, *kernel) or (num_filter, K), their scale (None:
    1), "bipolar" or "masked", and the planes of that code."""

    codes: np.ndarray
    scale: Any
    code: str
    planes: int

    def offset(self, code, planes):
        """int32 (num_filter,) for data of this code; None where all filters have the same."""
        if self.code == code == "bipolar":
            return None
        return reference_planes.offset(self.codes, planes, code, self.planes, self.code)

    def rows(self):
        """(planes, num_filter, k_words) uint64, as they are stored: see reference_planes.pack_weights."""
        shape = self.codes.shape + (1, 1)
        return reference_planes.pack_weights(self.codes.reshape(shape[:4]), self.planes, self.code)


def weight_terms(quantizer, weight, params=()):
    """[WeightTerm, ...] of float weights; None where they are no integers, or do not fit on the planes."""
    if quantizer.code is None or quantizer.term_bits > MOST_PLANES:
        return None
    found = []
    for codes, scale in quantizers.evaluate_terms(quantizer, weight, params):
        codes = codes.astype(np.int64)
        if quantizer.code == "bipolar":
            found.append(WeightTerm(codes, scale, "bipolar", quantizer.term_bits))
        else:
            found.append(WeightTerm(codes, scale, "masked", max(1, int(np.abs(codes).max()).bit_length())))
    return found


def product_of_scales(one, other):
    """float32 (1,), or None for 1: multiplied as the layer does it."""
    if one is None or other is None:
        one = other if one is None else one
        return None if one is None else np.float32(one).reshape(1)
    return (np.float32(one) * np.float32(other)).reshape(1)


def scale_of(weight, scaling):
    """The scale of a layer, mean|w| of all weights or of each filter, by the MXNet operators of the training graph: the
    last bit counts."""
    import mxnet as mx
    axes = () if scaling == "layer" else tuple(range(1, weight.ndim))
    return mx.nd.mean(mx.nd.abs(mx.nd.array(weight)), axis=axes).reshape((-1,)).asnumpy()
