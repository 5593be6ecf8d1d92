"""Binary quantizers: -1 if x < 0 else +1, no scale; they differ in the gradient, and one draws lots while it trains.

    sign                   dq/dx = 1 where |x| <= clip                                 (BinaryNet, arXiv:1602.02830)
    approx_sign            dq/dx = 2 - 2|x| where |x| <= 1                             (Bi-Real Net, arXiv:1808.00278)
    swish_sign             dq/dx = beta (2 - beta x tanh(beta x / 2)) / (1 + cosh(beta x))    (BNN+, arXiv:1812.11800)
    deterministic_binary   dq/dx = 1                                                   (BinaryConnect, arXiv:1511.00363)
    stochastic_binary      dq/dx = 1;  P(q = +1) = clip((x + 1)/2, 0, 1) in training, sign(x) in inference      (same)
"""
from dataclasses import dataclass

from .quantizers_base import MAX, WEIGHT, Quantizer, ghost, register, sign, whole, with_gradient


@register
@dataclass(frozen=True)
class Sign(Quantizer):
    """sign with the clipped straight-through gradient: it passes where |x| <= clip (inclusive), everywhere with
    clip=inf."""

    name = "sign"
    is_sign = True
    clip: float = 1.0

    def __post_init__(self):
        self.check_positive("clip", float("inf"))

    def terms(self, build, x):
        return [(sign(build, x, self.clip), None)]


@register
@dataclass(frozen=True)
class ApproxSign(Quantizer):
    """sign with the derivative of a parabola on either side of 0, 0 outside [-1, 1] (Bi-Real Net, eq. 9)."""

    name = "approx_sign"
    is_sign = True

    def terms(self, build, x):
        """y = c (2 - |c|) with c = clip(x, -1, 1) has that derivative and the sign of x, even where x is denormal."""
        c = build("clip", build("_maximum_scalar", x, scalar=-MAX), a_min=-1.0, a_max=1.0)
        y = build("elemwise_mul", c, build("_rminus_scalar", build("abs", c), scalar=2.0))
        return [(sign(build, y, 2.0), None)]  # |y| <= 1: the window of 2 passes it all


@register
@dataclass(frozen=True)
class SwishSign(Quantizer):
    """sign with the derivative of 2 s (1 + beta x (1 - s)) - 1, s = sigmoid(beta x) (BNN+, eq. 4)."""

    name = "swish_sign"
    is_sign = True
    beta: float = 5.0

    def __post_init__(self):
        self.check_positive("beta")

    def terms(self, build, x):
        """The derivative is a constant factor, computed as 2 beta s (1 - s) (2 + t (1 - 2s)) with t = -|beta x|: it is
        even, no cosh overflows, and 1 - s does not cancel. ghost(x) is 0: multiplying it changes gradients alone."""
        t = build("_mul_scalar", build("abs", build("BlockGrad", x)), scalar=-self.beta)
        t = build("clip", t, a_min=-80.0, a_max=0.0)
        s = build("sigmoid", t)
        bell = build("elemwise_mul", s, build("_rminus_scalar", s, scalar=1.0))
        skew = build("elemwise_mul", t, build("_rminus_scalar", build("_mul_scalar", s, scalar=2.0), scalar=1.0))
        factor = build("elemwise_mul", bell, build("_plus_scalar", skew, scalar=2.0))
        factor = build("_mul_scalar", build("BlockGrad", factor), scalar=2.0 * self.beta)
        slope = ghost(build, build("elemwise_mul", ghost(build, x), factor))
        return [(build("elemwise_add", build("BlockGrad", sign(build, x, 1.0)), slope), None)]


@register
@dataclass(frozen=True)
class DeterministicBinary(Quantizer):
    """BinaryConnect's sign of weights: their gradient passes unchanged; keep them within -1..1 by clipping."""

    name = "deterministic_binary"
    is_sign = True
    sides = (WEIGHT,)

    def terms(self, build, x):
        return [(with_gradient(build, sign(build, x, 1.0), x), None)]


@register
@dataclass(frozen=True)
class StochasticBinary(Quantizer):
    """BinaryConnect's lots: +1 with probability clip((w + 1)/2, 0, 1) in training, sign(w) in inference. The generator
    is MXNet's: mx.random.seed."""

    name = "stochastic_binary"
    is_sign = True
    sides = (WEIGHT,)

    def terms(self, build, x):
        """Dropout tells training from inference inside one graph: what it makes of a one is 1 in inference only. Cast
        tells its type: Dropout cannot wait for it."""
        w = build("BlockGrad", x)
        probability = build("clip", build("_mul_scalar", build("_plus_scalar", w, scalar=1.0), scalar=0.5), a_min=0.0,
                            a_max=1.0)
        is_up = build("_lesser", build("uniform_like", w), probability)
        drawn = build("_minus_scalar", build("_mul_scalar", is_up, scalar=2.0), scalar=1.0)
        one = build("Cast", whole(build, "max", build("ones_like", w)), dtype="float32")
        is_one = build("Dropout", one, p=0.5)
        is_training = build("_not_equal_scalar", is_one, scalar=1.0)
        fixed = sign(build, w, 1.0)
        change = build("broadcast_mul", build("elemwise_sub", drawn, fixed), is_training)
        return [(with_gradient(build, build("elemwise_add", fixed, change), x), None)]
