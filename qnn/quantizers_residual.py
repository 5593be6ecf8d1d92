"""Residual binarization: several signs, each of what the ones before left over; gammas are trained, M = levels = 1..4.

    r_1 = x,   b_l = sign(r_l),   r_{l+1} = r_l - gamma_l b_l,   value = sum gamma_l b_l

rebnet: M gammas, every operation differentiated as it stands, signs by STE     (ReBNet, arXiv:1711.01243). M terms.
isometric: gamma_l = gamma / 2^(l-1), one gamma: with s = gamma / 2^(M-1) all signs together are one integer,

    A = 2u - (2^M - 1),   u = clamp(floor(x / (2s)) + 2^(M-1), 0, 2^M - 1),   value = A s         (one term of M bits)
    d value / d gamma = sum 2^-(l-1) clip(r_l, -1, 1)                                                         (eq. 7)
    d value / d x     = sum 2^-(l-1) gamma 1[|r_l| <= 1]                                                      (eq. 8)

(Chen and Tanaka, isometric residual binarization). Gammas enter as |gamma|, at least 1e-12. Quantizing a value again
gives its codes again where every |gamma_l| is larger than the sum of those behind it: always for isometric, for rebnet
not at its own initial values (M..1)/sum from M = 3 on.
"""
from dataclasses import dataclass
from typing import Optional

from .quantizers_base import (
    Quantizer,
    ghost,
    magnitude,
    positive_numbers,
    register,
    scaled,
    sign,
    tie,
    vector,
    with_gradient,
)


@dataclass(frozen=True)
class _Residual(Quantizer):
    levels: int

    @property
    def precision(self):
        return self.levels


@register
@dataclass(frozen=True)
class ReBNet(_Residual):
    """gamma: the initial (gamma_1, ..., gamma_M); None: (M, ..., 1) / sum."""

    name = "rebnet"
    gamma: Optional[tuple] = None

    def __post_init__(self):
        self.check_integer("levels", 1, 4)
        if self.gamma is not None:
            positive_numbers(self, "gamma", self.levels)

    @property
    def num_terms(self):
        return self.levels

    @property
    def term_bits(self):
        return 1

    @property
    def parameters(self):
        total = self.levels * (self.levels + 1) // 2
        initial = tuple((self.levels - level) / total for level in range(self.levels))
        given = self.gamma if self.levels > 1 else (self.gamma,)
        return (("gamma", (self.levels,), initial if self.gamma is None else given),)

    def terms(self, build, x, gamma):
        sizes, rest, found = magnitude(build, gamma), x, []
        for level in range(self.levels):
            size = build("slice_axis", sizes, axis=0, begin=level, end=level + 1)
            codes = sign(build, rest, 1.0)
            found.append((codes, size))
            if level + 1 < self.levels:
                rest = build("elemwise_sub", rest, scaled(build, codes, size))
        return found


@register
@dataclass(frozen=True)
class Isometric(_Residual):
    """gamma: the initial gamma; None: 2^(M-1) / (2^M - 1), for which the levels sum to 1."""

    name = "isometric"
    gamma: Optional[float] = None

    def __post_init__(self):
        self.check_integer("levels", 1, 4)
        if self.gamma is not None:
            positive_numbers(self, "gamma", 1)

    @property
    def parameters(self):
        gamma = 2 ** (self.levels - 1) / (2 ** self.levels - 1) if self.gamma is None else self.gamma
        return (("gamma", (1,), (gamma,)),)

    def terms(self, build, x, gamma):
        """The scale is a constant to the gradient, which goes through the codes alone: they carry that of
        e = gamma sum 2^-(l-1) clip(r_l, -1, 1), r_l being x minus a constant, divided by the scale."""
        size = magnitude(build, gamma)
        scale = build("_mul_scalar", build("BlockGrad", size), scalar=2.0 ** (1 - self.levels))
        if build.is_native:
            return [(build("_qnn_isometric", x, size, levels=self.levels), scale)]
        codes = self._codes(build, build("BlockGrad", x), scale)
        surrogate = scaled(build, self._surrogate(build, x, size), size)
        surrogate = tie(build, build("broadcast_div", surrogate, vector(build, scale)), x)
        return [(with_gradient(build, codes, surrogate), scale)]

    def _codes(self, build, x, scale):
        """A. NaN takes the uppermost code, as it takes +1 of a sign: it is not below the last threshold."""
        half, top = 2.0 ** (self.levels - 1), 2.0 ** self.levels - 1
        quotient = build("broadcast_div", x, vector(build, build("_mul_scalar", scale, scalar=2.0)))
        u = build("clip", build("_plus_scalar", build("floor", quotient), scalar=half), a_min=0.0, a_max=top)
        codes = build("_minus_scalar", build("_mul_scalar", u, scalar=2.0), scalar=top)
        is_below = build("_lesser_scalar", quotient, scalar=half - 1)
        return build("where", is_below, codes, build("_mul_scalar", build("ones_like", codes), scalar=top))

    def _surrogate(self, build, x, size):
        """sum 2^-(l-1) clip(r_l, -1, 1) with the gradient of each r_l going to x as it is."""
        rest, passing, total = build("BlockGrad", x), ghost(build, x), None
        for level in range(self.levels):
            clipped = build("clip", build("elemwise_add", rest, passing), a_min=-1.0, a_max=1.0)
            part = build("_mul_scalar", clipped, scalar=2.0 ** -level)
            total = part if total is None else build("elemwise_add", total, part)
            if level + 1 < self.levels:
                step = build("_mul_scalar", build("BlockGrad", size), scalar=2.0 ** -level)
                rest = build("elemwise_sub", rest, scaled(build, sign(build, rest, 1.0), step))
                rest = build("BlockGrad", rest)
        return total
