"""Quantizers, the base: what a quantizer is, and the few compositions of MXNet's operators of which all are made.

    value = sum over terms of codes * scale ,   codes: small integers in float32, scale: 1, a number, or a tensor

A quantizer is written once, against `build(op, *inputs, **attributes)`, which makes nodes of a symbol or runs operators
on arrays (symbol.py, ndarray.py). Parameters of weights may have no shape yet while a symbol is made, so that only
element-wise operators may lie between weights and codes; broadcasts lie beside, behind BlockGrad, or end in `tie`.
"""
import ast
from dataclasses import MISSING, dataclass, fields
from typing import ClassVar, Optional

MAX = 3.4028234663852886e38  # of float32
LEAST = 1e-12  # below every scale that is divided by
DATA, WEIGHT = "act", "weight"  # sides; also the prefixes of the names of parameters
REGISTRY: dict[str, type] = {}


@dataclass(frozen=True)
class Quantizer:
    """One quantizer with its arguments; immutable, equal to others of the same arguments, and its own name as text.

    precision: bits of the value. code: what the integers of a term are: "bipolar" (odd, -(2^k-1)..2^k-1), "unsigned"
    (0..2^k-1), "signed" (-2^(k-1)..2^(k-1)-1), "ternary" (-1, 0, 1), or None: values are no integers (opaque).
    num_terms codes of term_bits bits each make a value. sides: "act", "weight", or both. is_sign: one term of -1 and +1
    without scale (in layers, the quantizers that BMXNet calls 1 bit). parameters: ((role, shape, initial value), ...)
    of what is trained.
    """

    name: ClassVar[str] = ""
    code: ClassVar[Optional[str]] = "bipolar"
    sides: ClassVar[tuple] = (DATA, WEIGHT)
    is_sign: ClassVar[bool] = False
    num_terms = 1

    @property
    def precision(self):
        return 1

    @property
    def term_bits(self):
        """Bits of one term's codes."""
        return self.precision

    @property
    def parameters(self):
        return ()

    def terms(self, build, x, *params):
        """[(codes, scale), ...]; value = sum codes * scale. Gradients of both go to x and params."""
        raise NotImplementedError

    def quantize(self, build, x, *params):
        """The values, shaped like x; products and sums in the order of the terms, each rounded once."""
        total = None
        for codes, scale in self.terms(build, x, *params):
            value = scaled(build, codes, scale)
            total = value if total is None else build("elemwise_add", total, value)
        return total

    def arguments(self):
        """{name: value} of those that are not at their defaults."""
        return {f.name: getattr(self, f.name) for f in fields(self)
                if f.default is MISSING or getattr(self, f.name) != f.default}

    def __str__(self):
        arguments = ", ".join("%s=%r" % item for item in self.arguments().items())
        return "%s(%s)" % (self.name, arguments) if arguments else self.name

    def fail(self, argument, expected):
        raise ValueError("quantizer %s: %s is %s, got %r" % (self.name, argument, expected, getattr(self, argument)))

    def check_integer(self, argument, low, high):
        value = getattr(self, argument)
        if isinstance(value, bool) or not hasattr(value, "__index__") or not low <= value <= high:
            self.fail(argument, "%d..%d" % (low, high))
        object.__setattr__(self, argument, int(value))

    def check_positive(self, argument, limit=MAX):
        value = getattr(self, argument)
        if isinstance(value, bool) or not _is_positive(value, limit):
            self.fail(argument, "a number above 0")
        object.__setattr__(self, argument, float(value))


def _is_positive(value, limit=MAX):
    try:
        return 0 < float(value) <= limit
    except (TypeError, ValueError):
        return False


def positive_numbers(quantizer, argument, count):
    """The initial value of a trained parameter: `count` numbers above 0, kept as a tuple."""
    value = getattr(quantizer, argument)
    numbers = tuple(value) if hasattr(value, "__len__") and not isinstance(value, str) else (value,)
    if len(numbers) != count or not all(map(_is_positive, numbers)):
        quantizer.fail(argument, "%d number%s above 0" % (count, "s" * (count > 1)))
    object.__setattr__(quantizer, argument, tuple(map(float, numbers)) if count > 1 else float(numbers[0]))


def register(kind):
    """Makes a Quantizer class known to `get` under its name."""
    REGISTRY[kind.name] = kind
    return kind


def parse(text):
    """(name, arguments) of "dorefa(bits=4)" or "sign". Raises ValueError."""
    problem = ValueError("a quantizer is written NAME or NAME(ARGUMENT=NUMBER, ...), got %r" % (text,))
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if isinstance(tree, ast.Name):
            return tree.id, {}
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or tree.args:
            raise problem
        return tree.func.id, {str(word.arg): _literal(word.value) for word in tree.keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise problem from None


def _literal(node):
    return float("inf") if isinstance(node, ast.Name) and node.id == "inf" else ast.literal_eval(node)


# ---- compositions ----------------------------------------------------------------------------------------------------


def sign(build, x, clip):
    """sign with STE. Of built-ins, 1 - 2 (x < 0) with the gradient of clip, which lets that of NaN pass; the maximum
    with the lowest float32, elsewhere the identity, stops it. sign_ste of random numbers takes longer than that."""
    if build.is_native:
        return build("_qnn_sign", x, grad_clip=clip)
    doubled = build("_mul_scalar", build("_lesser_scalar", x, scalar=0.0), scalar=2.0)
    clipped = build("clip", build("_maximum_scalar", x, scalar=-MAX), a_min=-clip, a_max=clip)
    return with_gradient(build, build("_rminus_scalar", doubled, scalar=1.0), clipped)


def window(build, x, clip):
    """Identity whose gradient passes where |x| <= clip."""
    if build.is_native:
        return build("_qnn_ste_identity", x, grad_clip=clip)
    inside = build("_lesser_equal_scalar", build("abs", x), scalar=clip)
    return build("where", inside, x, build("BlockGrad", x))


def ghost(build, x):
    """0 with the gradient of x: sign_ste makes 0 of NaN, too, which is inf - inf."""
    return build("sign_ste", build("elemwise_sub", x, build("BlockGrad", x)))


def with_gradient(build, value, surrogate):
    """`value` exactly, with the gradient of `surrogate` of the same shape."""
    return build("elemwise_add", build("BlockGrad", value), ghost(build, surrogate))


def tie(build, result, x):
    """`result`, with its shape tied to that of x: broadcasts do not tell x, a weight, its shape."""
    return build("_identity_with_attr_like_rhs", result, x)


def magnitude(build, parameter):
    """|parameter|, at least LEAST: training may carry a scale to 0 and below, where its sign would swap codes."""
    return build("_maximum_scalar", build("abs", parameter), scalar=LEAST)


def whole(build, reduction, x):
    """A reduction over all elements, of as many axes as x has."""
    return build(reduction, x, keepdims=True)


def one(build, scale):
    """A tensor of one element as (1, 1), the shape of scales and parameters."""
    return build("Reshape", scale, shape=(1, 1))


def vector(build, scale):
    """(1, 1) -> (1,), which broadcasts against any shape. By SliceChannel, as mx.viz.print_summary trips over vectors
    that other operators make."""
    return build("SliceChannel", scale, num_outputs=1, axis=1, squeeze_axis=True)


def scaled(build, codes, scale):
    """codes * scale, scale being None, a number, or a tensor (1, 1). MXNet's gradient of a broadcast takes as long as a
    convolution."""
    if scale is None:
        return codes
    if isinstance(scale, float):
        return build("_mul_scalar", codes, scalar=scale)
    if build.is_native:
        return build("_qnn_scale", codes, build.with_shape(scale))
    return tie(build, build("broadcast_mul", codes, vector(build, scale)), codes)
