"""Quantizers by name: `get` makes one of a name, a text, an object or a function; `evaluate_terms` computes one.

    get("dorefa(bits=4)") == get("dorefa", bits=4) == DoReFa(bits=4);   str(...) == "dorefa(bits=4)"

Formulas, gradients and papers: quantizers_binary.py, quantizers_uniform.py, quantizers_ternary.py,
quantizers_residual.py; in numpy: reference_quantizers.py.
"""
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from .quantizers_base import REGISTRY, Quantizer, parse, register
from .quantizers_binary import ApproxSign, DeterministicBinary, Sign, StochasticBinary, SwishSign
from .quantizers_residual import Isometric, ReBNet
from .quantizers_ternary import TTQ, TWN, Ternary
from .quantizers_uniform import DoReFa, DoReFaWeight, Fixed, QuantizedReLU

__all__ = ["ApproxSign", "DeterministicBinary", "DoReFa", "DoReFaWeight", "Fixed", "Function", "Identity", "Isometric",
           "Quantizer", "QuantizedReLU", "ReBNet", "Sign", "StochasticBinary", "SwishSign", "TTQ", "TWN", "Ternary",
           "evaluate_terms", "get", "of_bits"]


@register
@dataclass(frozen=True)
class Identity(Quantizer):
    """No quantization: 32 bits."""

    name = "identity"
    code = None

    @property
    def precision(self):
        return 32

    def terms(self, build, x):
        return [(x, None)]


@register
@dataclass(frozen=True)
class Function(Quantizer):
    """A function of the user's, f(F, x) with F = mx.sym or mx.nd, as hybrid_forward has it. It is opaque: the layer
    trains, and stays float in converted graphs. Of a saved graph only its name is left."""

    name = "function"
    code = None
    of: str = ""
    call: Any = field(default=None, compare=False, repr=False)

    @property
    def precision(self):
        return 32

    def arguments(self):
        return {"of": self.of}

    def terms(self, build, x):
        if self.call is None:
            raise ValueError("quantizer function: %r is a name of a saved graph, not a function" % self.of)
        return [(build.call(self.call, x), None)]


def get(quantizer, **arguments):
    """The Quantizer that `quantizer` means: an object, a name with arguments, "name(argument=value)", or a function.

    Raises ValueError naming the known ones, or the argument that is wrong and its range.
    """
    if isinstance(quantizer, str):
        name, written = parse(quantizer)
        if name not in REGISTRY:
            raise ValueError("unknown quantizer %r; known: %s" % (name, ", ".join(sorted(REGISTRY))))
        kind, arguments = REGISTRY[name], {**written, **arguments}
    elif isinstance(quantizer, type) and issubclass(quantizer, Quantizer):
        kind = quantizer
    elif arguments:
        raise ValueError("a quantizer that is made already takes no arguments, got %r" % sorted(arguments))
    elif isinstance(quantizer, Quantizer):
        return quantizer
    elif callable(quantizer):
        return Function(getattr(quantizer, "__name__", type(quantizer).__name__), quantizer)
    else:
        raise ValueError("a quantizer is a name, an object or a function f(F, x), got %r; names: %s"
                         % (quantizer, ", ".join(sorted(REGISTRY))))
    known = {f.name: f.default is MISSING for f in fields(kind) if f.name != "call"}
    unknown = sorted(set(arguments) - set(known))
    missing = sorted(name for name, is_needed in known.items() if is_needed and name not in arguments)
    if unknown or missing:
        raise ValueError("quantizer %s: %s argument %s; known: %s" % (
            kind.name, "unknown" if unknown else "missing", ", ".join(unknown or missing), ", ".join(known) or "none"))
    return kind(**arguments)


def of_bits(side, bits, grad_clip):
    """What act_bit and weight_bit mean: 1: sign, 2..31: DoReFa, 32: nothing. side: "act" or "weight"."""
    if bits == 32:
        return Identity()
    if bits == 1:
        return Sign(grad_clip)
    return DoReFa(bits, min(grad_clip, 1.0)) if side == "act" else DoReFaWeight(bits)


def evaluate_terms(quantizer, x, params=()):
    """[(codes, scale), ...] of an array, by the MXNet operators that the graph runs, in inference mode: bit-equal.

    x: numpy float32 array; params: arrays of the quantizer's parameters, in order. codes are float32 arrays shaped like
    x, scales None or np.float32.
    """
    import mxnet as mx
    import numpy as np

    from .layers import find

    class Builder:
        """Runs built-in operators on arrays."""

        is_native = False

        def __call__(self, op, *inputs, **attributes):
            return find(mx.nd, op)(*inputs, **attributes)

        def call(self, function, array):
            return function(mx.nd, array)

    arrays = [mx.nd.array(np.asarray(array, np.float32), dtype="float32") for array in (x, *params)]
    arrays[1:] = [array.expand_dims(1) for array in arrays[1:]]
    with mx.autograd.pause(train_mode=False):
        terms = get(quantizer).terms(Builder(), *arrays)
    return [(codes.asnumpy(), _number(scale)) for codes, scale in terms]


def _number(scale):
    import numpy as np

    if scale is None:
        return None
    return np.float32(scale if isinstance(scale, float) else scale.asnumpy().item())
