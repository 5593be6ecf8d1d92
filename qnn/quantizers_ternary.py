"""Ternary quantizers: -1, 0, +1, times a scale.

    ternary   +1 where x >= threshold, -1 where x < -threshold;  gradient 1 where |x| <= clip      (BNN-PYNQ's "W2")
    twn       +1 where w > D, -1 where w < -D,  D = 0.7 mean|w|;  scale = mean of |w| over |w| > D
              gradient unchanged                                          (Ternary Weight Networks, arXiv:1605.04711)
    ttq       the same with D = threshold * max|w| and two trained scales P, N: values P, 0, -N;
              dL/dw = P g, g, N g on the three regions, dL/dP = sum g over w > D, dL/dN = -sum g over w < -D
                                                             (Trained Ternary Quantization, arXiv:1612.01064)
D is one number per layer, computed from the weights inside the graph.
"""
from dataclasses import dataclass

from .quantizers_base import (
    LEAST,
    WEIGHT,
    Quantizer,
    magnitude,
    one,
    positive_numbers,
    register,
    tie,
    vector,
    whole,
    with_gradient,
)


@dataclass(frozen=True)
class _Ternary(Quantizer):
    @property
    def precision(self):
        return 2


@register
@dataclass(frozen=True)
class Ternary(_Ternary):
    """A fixed threshold, no scale. threshold=0.5 is fixed(bits=2, fraction=0, narrow=True). Weights need to start on
    both sides of it, as mx.init.Uniform(1) makes them: Xavier's are all 0 in wide layers."""

    name = "ternary"
    code = "ternary"
    threshold: float = 0.5
    clip: float = 1.0

    def __post_init__(self):
        self.check_positive("threshold")
        self.check_positive("clip", float("inf"))

    def terms(self, build, x):
        above = build("_greater_equal_scalar", x, scalar=self.threshold)
        below = build("_lesser_scalar", x, scalar=-self.threshold)
        surrogate = build("clip", x, a_min=-self.clip, a_max=self.clip)
        return [(with_gradient(build, build("elemwise_sub", above, below), surrogate), None)]


def outside(build, w, delta):
    """(w > delta, w < -delta) as 0 and 1; delta is a tensor of one element."""
    return (build("broadcast_greater", w, delta),
            build("broadcast_lesser", w, build("_mul_scalar", delta, scalar=-1.0)))


@register
@dataclass(frozen=True)
class TWN(_Ternary):
    """Ternary weights with the scale that is nearest to the weights they replace. delta: D / mean|w|."""

    name = "twn"
    code = "ternary"
    sides = (WEIGHT,)
    delta: float = 0.7

    def __post_init__(self):
        self.check_positive("delta")

    def terms(self, build, w):
        size = build("abs", build("BlockGrad", w))
        above, below = outside(build, w, build("_mul_scalar", whole(build, "mean", size), scalar=self.delta))
        is_kept = build("elemwise_add", above, below)
        count = build("_maximum_scalar", whole(build, "sum", is_kept), scalar=1.0)
        scale = build("elemwise_div", whole(build, "sum", build("elemwise_mul", size, is_kept)), count)
        scale = build("BlockGrad", build("_maximum_scalar", scale, scalar=LEAST))
        surrogate = tie(build, build("broadcast_div", w, scale), w)
        return [(with_gradient(build, build("elemwise_sub", above, below), surrogate), one(build, scale))]


@register
@dataclass(frozen=True)
class TTQ(_Ternary):
    """Two trained scales, |positive| and |negative|; their initial values are arguments. Two terms: 0, 1 and -1, 0."""

    name = "ttq"
    code = "ternary"
    sides = (WEIGHT,)
    num_terms = 2
    threshold: float = 0.05
    positive: float = 1.0
    negative: float = 1.0

    def __post_init__(self):
        self.check_positive("threshold")
        positive_numbers(self, "positive", 1)
        positive_numbers(self, "negative", 1)

    @property
    def parameters(self):
        return ("positive", (1,), (self.positive,)), ("negative", (1,), (self.negative,))

    def terms(self, build, w, positive, negative):
        """Between the thresholds dL/dw is that of the value: the positive term carries it, as 1/P."""
        positive, negative = magnitude(build, positive), magnitude(build, negative)
        limit = whole(build, "max", build("abs", build("BlockGrad", w)))
        above, below = map(lambda mask: build("BlockGrad", mask),
                           outside(build, w, build("_mul_scalar", limit, scalar=self.threshold)))
        inside = build("_rminus_scalar", build("elemwise_add", above, below), scalar=1.0)
        share = build("elemwise_add", above,
                      tie(build, build("broadcast_div", inside, vector(build, build("BlockGrad", positive))), above))
        up = with_gradient(build, above, build("elemwise_mul", w, share))
        down = with_gradient(build, build("_mul_scalar", below, scalar=-1.0), build("elemwise_mul", w, below))
        return [(up, positive), (down, negative)]
