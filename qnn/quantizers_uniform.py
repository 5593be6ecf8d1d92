"""Uniform quantizers: equal steps; n = 2^bits - 1.

    dorefa           codes = round(n clip(x, 0, 1)),        scale 1/n          (DoReFa-Net, arXiv:1606.06160, eq. 5)
    dorefa_weight    codes = 2 round(n (tanh(w) / (2 max|tanh(w)|) + 1/2)) - n,   scale 1/n      (same, eq. 9)
    quantized_relu   codes = round(clip(x, 0, limit) n / limit),   scale limit/n
    fixed            codes = floor(clip(x 2^fraction, low, high) + 1/2),   scale 2^-fraction      (two's complement)

round takes halves away from zero (they are never negative here); gradients pass straight through rounding, and where
clip does not cut. Codes are integers up to 24 bits, which is what float32 holds; beyond, they are rounded to float32,
and layers of them are as exact as float32 is.
"""
from dataclasses import dataclass

from .quantizers_base import (
    DATA,
    LEAST,
    WEIGHT,
    Quantizer,
    one,
    register,
    sign,
    tie,
    whole,
    window,
    with_gradient,
)


@dataclass(frozen=True)
class _Uniform(Quantizer):
    bits: int

    def __post_init__(self):
        self.check_integer("bits", 1, 31)

    @property
    def precision(self):
        return self.bits

    @property
    def steps(self):
        return float(2 ** self.bits - 1)


@register
@dataclass(frozen=True)
class DoReFa(_Uniform):
    """Activations in 0..1. The gradient passes where 0 <= x <= 1, and |x| <= clip."""

    name = "dorefa"
    code = "unsigned"
    sides = (DATA,)
    clip: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        self.check_positive("clip")

    def terms(self, build, x):
        x = window(build, x, self.clip) if self.clip < 1 else x
        unit = build("clip", x, a_min=0.0, a_max=1.0)
        return [(build("round_ste", build("_mul_scalar", unit, scalar=self.steps)), 1.0 / self.steps)]

    def quantize(self, build, x):
        """codes / n, as the paper has it: 1 stays 1, and the gradient stays 1."""
        return build("_div_scalar", self.terms(build, x)[0][0], scalar=self.steps)


@register
@dataclass(frozen=True)
class QuantizedReLU(_Uniform):
    """A ReLU that saturates at `limit`, in 2^bits levels."""

    name = "quantized_relu"
    code = "unsigned"
    sides = (DATA,)
    limit: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        self.check_positive("limit")

    def terms(self, build, x):
        cut = build("clip", x, a_min=0.0, a_max=self.limit)
        codes = build("round_ste", build("_mul_scalar", cut, scalar=self.steps / self.limit))
        return [(codes, self.limit / self.steps)]


@register
@dataclass(frozen=True)
class DoReFaWeight(_Uniform):
    """Weights in -1..1. The maximum is a constant to the gradient: it rescales the whole tensor, and one weight's
    update would otherwise depend on which weight is the largest. 1 bit: sign(w) mean|w|, gradient unchanged (eq. 7)."""

    name = "dorefa_weight"
    code = "bipolar"
    sides = (WEIGHT,)

    def terms(self, build, w):
        if self.bits == 1:
            return [scaled_sign(build, w)]
        squashed = build("tanh", w)
        limit = whole(build, "max", build("abs", build("BlockGrad", squashed)))
        limit = build("_mul_scalar", build("_maximum_scalar", limit, scalar=LEAST), scalar=2.0)
        unit = tie(build, build("broadcast_div", squashed, limit), w)
        codes = build("round_ste", build("_mul_scalar", build("_plus_scalar", unit, scalar=0.5), scalar=self.steps))
        codes = build("_minus_scalar", build("_mul_scalar", codes, scalar=2.0), scalar=self.steps)
        return [(codes, 1.0 / self.steps)]


def scaled_sign(build, w):
    """(sign(w), mean|w|), with value's gradient passing to w unchanged: the codes carry 1/scale."""
    scale = build("_maximum_scalar", whole(build, "mean", build("abs", build("BlockGrad", w))), scalar=LEAST)
    surrogate = tie(build, build("broadcast_div", w, scale), w)
    return with_gradient(build, sign(build, w, 1.0), surrogate), one(build, scale)


@register
@dataclass(frozen=True)
class Fixed(_Uniform):
    """Signed fixed point: low = -2^(bits-1) (one more with narrow), high = 2^(bits-1) - 1, in units of 2^-fraction.

    Ties go up, as AP_RND does it. The gradient passes where low <= x 2^fraction <= high. bits is 2..31.
    """

    name = "fixed"
    code = "signed"
    bits: int = 8
    fraction: int = 7
    narrow: bool = False

    def __post_init__(self):
        self.check_integer("bits", 2, 31)
        self.check_integer("fraction", -64, 64)
        if self.narrow not in (True, False):
            self.fail("narrow", "True or False")

    def terms(self, build, x):
        high = float(2 ** (self.bits - 1) - 1)
        low = -high if self.narrow else -high - 1
        cut = build("clip", build("_mul_scalar", x, scalar=2.0 ** self.fraction), a_min=low, a_max=high)
        codes = build("floor", build("_plus_scalar", cut, scalar=0.5))
        return [(with_gradient(build, codes, cut), 2.0 ** -self.fraction)]
