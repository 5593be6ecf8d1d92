"""Options: the arguments of the Q layers, checked once, with one error sentence each; the same for sym, nd and gluon.

Attributes of BMXNet's operators that change nothing here (cudnn_off, workspace, gradient_update_mode ...) are accepted
and dropped; unknown ones are an error that lists the known.
"""
import warnings
from dataclasses import dataclass, field, fields
from typing import Any

from . import quantizers

SCALINGS = ("none", "layer", "filter", "xnor")
LAYOUTS = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
MAX_PAD = 2 ** 29  # MXNet adds twice the pad to an axis in 32 bits
IGNORED = ("workspace", "cudnn_tune", "cudnn_off", "gradient_update_mode", "quantization")

TRAINED = {"QActivation": ("gamma", "levels", "residual"),
           "layers": ("act_gamma", "weight_gamma", "weight_negative", "weight_positive")}


class OptionError(ValueError):
    """An argument of a Q layer is out of range; the message names operator, layer, argument, range and value."""


def integer(value):
    """An int, or ValueError where that would round."""
    number = int(value)
    if isinstance(value, float) and number != value:
        raise ValueError(value)
    return number


def boolean(value):
    """A bool, also from MXNet's strings."""
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
    if value not in (True, False):
        raise ValueError(value)
    return bool(value)


def int_tuple(value):
    """Sizes from a sequence or from MXNet's strings: "(3, 3)", "[3, 3]", and "(3L, 3L)" that Python 2 wrote."""
    if isinstance(value, str):
        value = [part.strip().rstrip("L") for part in value.strip("()[] ").split(",") if part.strip()]
    return tuple(integer(v) for v in value)


@dataclass
class Options:
    """Checked arguments of a layer: subclasses add fields, and convert them in __post_init__."""

    op = "operator"
    name: str = ""

    @property
    def where(self):
        """How error sentences call the layer."""
        return "%s '%s'" % (self.op, self.name) if self.name else self.op

    def fail(self, argument, expected, got):
        raise OptionError("%s: %s is %s, got %r" % (self.where, argument, expected, got))

    def convert(self, argument, convert, expected, allowed=lambda value: True):
        value = getattr(self, argument)
        try:
            converted = convert(value)
        except (TypeError, ValueError, KeyError, OverflowError):
            self.fail(argument, expected, value)
        if not allowed(converted):
            self.fail(argument, expected, value)
        setattr(self, argument, converted)

    def attributes(self):
        """Marks of the layer's last node, {"__qnn_act_bit__": "1", ...}: the converter finds layers by them alone."""
        marks = {"__qnn_%s__" % f.name: str(getattr(self, f.name)) for f in fields(self) if f.name != "name"}
        return {"__qnn_op__": self.op, **marks}


@dataclass
class _Options(Options):
    act_bit: int = 1
    grad_clip: float = 1.0

    def __post_init__(self):
        self.convert("act_bit", integer, "1..32", lambda v: 1 <= v <= 32)
        self.convert("grad_clip", float, "a number above 0", lambda v: v > 0)

    def resolve(self, side):
        """Makes `act_quantizer` (side "act") or `weight_quantizer` the object that it, or else the bits, mean."""
        argument, bits = side + "_quantizer", side + "_bit"
        chosen, width = getattr(self, argument), getattr(self, bits)
        try:
            quantizer = quantizers.of_bits(side, width, self.grad_clip) if chosen is None else quantizers.get(chosen)
        except ValueError as error:
            raise OptionError("%s: %s: %s" % (self.where, argument, error)) from None
        if side not in quantizer.sides:
            self.fail(argument, "a quantizer for %s" % {"act": "data", "weight": "weights"}[side], str(quantizer))
        if width not in (1, quantizer.precision):
            self.fail(bits, "left out, or %d as %s has" % (quantizer.precision, quantizer), width)
        setattr(self, argument, quantizer)
        setattr(self, bits, quantizer.precision)

    def roles(self, side):
        """Names of what the quantizer of one side trains, in order: ["gamma"]."""
        return [role for role, _, _ in getattr(self, side + "_quantizer").parameters]

    @property
    def parameters(self):
        """{"act_gamma": (shape, initial values), ...} of what the quantizers train, in order."""
        return {"%s_%s" % (side, role): (shape, initial) for side in ("act", "weight")
                if hasattr(self, side + "_quantizer")
                for role, shape, initial in getattr(self, side + "_quantizer").parameters}


@dataclass
class ActivationOptions(_Options):
    """QActivation: act_bit 1..32 or act_quantizer, backward_only (forward is the identity, the gradient window stays),
    grad_clip."""

    op = "QActivation"
    backward_only: bool = False
    act_quantizer: Any = None

    def __post_init__(self):
        super().__post_init__()
        self.convert("backward_only", boolean, "True or False")
        self.resolve("act")
        if self.backward_only and self.parameters:
            self.fail("backward_only", "False for %s, which trains parameters" % self.act_quantizer, True)


@dataclass
class _LayerOptions(_Options):
    no_bias: bool = True
    weight_bit: int = 1
    no_offset: bool = False
    scaling: str = "none"
    act_quantizer: Any = None
    weight_quantizer: Any = None

    def __post_init__(self):
        super().__post_init__()
        self.convert("weight_bit", integer, "1..32", lambda v: 1 <= v <= 32)
        self.convert("no_bias", boolean, "True or False")
        self.convert("no_offset", boolean, "True or False")
        self.convert("scaling", str, "one of %s" % ", ".join(SCALINGS), lambda v: v in SCALINGS)
        self.resolve("act")
        self.resolve("weight")

    @property
    def is_float(self):
        """32/32 bits: the plain MXNet operator."""
        return self.act_quantizer == self.weight_quantizer == quantizers.Identity()

    @property
    def is_one_bit(self):
        """-1 and +1 on both sides, without scales of their own: what runs on one bit plane by itself."""
        return self.act_quantizer.is_sign and self.weight_quantizer.is_sign

    @property
    def has_offset(self):
        return self.is_one_bit and not self.no_offset


@dataclass
class FullyConnectedOptions(_LayerOptions):
    """QFullyConnected: num_hidden, flatten, and what every Q layer takes."""

    op = "QFullyConnected"
    num_hidden: int = 0
    flatten: bool = True

    def __post_init__(self):
        super().__post_init__()
        self.convert("num_hidden", integer, "a number above 0", lambda v: v > 0)
        self.convert("flatten", boolean, "True or False")


@dataclass
class ConvolutionOptions(_LayerOptions):
    """QConvolution: Convolution's arguments, pad_value (what 1-bit data are padded with: +1, -1, 0) and more."""

    op = "QConvolution"
    kernel: tuple = ()
    num_filter: int = 0
    stride: tuple = ()
    dilate: tuple = ()
    pad: tuple = ()
    num_group: int = 1
    pad_value: int = 1
    layout: str = field(default="")

    def __post_init__(self):
        super().__post_init__()
        self.convert("kernel", int_tuple, "a tuple of 1 to 3 sizes", lambda v: 1 <= len(v) <= 3 and min(v) > 0)
        rank = len(self.kernel)
        for argument, default, least in (("stride", 1, 1), ("dilate", 1, 1), ("pad", 0, 0)):
            self.convert(argument,
                         lambda v, default=default: (int_tuple(v) if v is not None else ()) or (default,) * rank,
                         "%d numbers from %d on, as kernel has" % (rank, least),
                         lambda v, least=least: len(v) == rank and min(v) >= least)
        if max(self.pad) > MAX_PAD:
            self.fail("pad", "up to %d" % MAX_PAD, self.pad)
        self.convert("num_filter", integer, "a number above 0", lambda v: v > 0)
        self.convert("num_group", integer, "a divisor of num_filter=%d" % self.num_filter,
                     lambda v: v > 0 and self.num_filter % v == 0)
        self.convert("pad_value", integer, "-1, 0 or 1", lambda v: v in (-1, 0, 1))
        self.layout = "" if self.layout in (None, "None", "") else self.layout
        self.convert("layout", str, "%s (transpose the data)" % LAYOUTS[rank], lambda v: v in ("", LAYOUTS[rank]))

    @property
    def border(self):
        """Code that the padding of the quantized data has: pad_value for data of -1 and +1, else 0."""
        return self.pad_value if self.act_bit == 1 and self.act_quantizer.code == "bipolar" else 0


def residual_quantizer(name, quantizer, levels, residual):
    """QActivation's `quantizer`, or what its `levels` and `residual` mean. Raises OptionError."""
    layer = "QActivation '%s'" % name if name else "QActivation"
    if levels is None and residual is None:
        return quantizer
    if quantizer is not None:
        raise OptionError("%s: quantizer is left out where levels and residual are given, got %r" % (layer, quantizer))
    if residual not in ("rebnet", "isometric"):
        raise OptionError("%s: residual is 'rebnet' or 'isometric' where levels is given, got %r" % (layer, residual))
    try:
        return quantizers.get(residual, levels=levels)
    except ValueError as error:
        raise OptionError("%s: %s" % (layer, error)) from None


def trained(options, given):
    """`given` without what is None: {"act_gamma": symbol or array, ...}. Raises OptionError for what nothing trains."""
    given = {key: value for key, value in given.items() if value is not None}
    for key, value in given.items():
        if key not in options.parameters:
            options.fail(key, "left out: %s has no such parameter" % (
                getattr(options, key.split("_")[0] + "_quantizer", "a QActivation")), value)
    return given


def has_one_bit(marks):
    """True where these marks are of a layer of signs on both sides; older graphs have no marks of quantizers."""
    def is_sign(side):
        text = marks.get("__qnn_%s_quantizer__" % side)
        return marks.get("__qnn_%s_bit__" % side) == "1" and (text is None or quantizers.get(text).is_sign)
    return is_sign("act") and is_sign("weight")


def legacy(op, name, unknown, known):
    """Takes BMXNet's extra attributes out of `unknown`; returns {"scaling": ...} for its scaling_mode.

    Raises OptionError for attributes that nobody knows, and for binarized_weights_only, which marks a packed model.
    """
    layer = "%s '%s'" % (op, name) if name else op
    rest = {k: v for k, v in unknown.items() if k not in IGNORED}
    mode = rest.pop("scaling_mode", "none")
    if str(rest.pop("binarized_weights_only", False)).lower() in ("true", "1"):
        raise OptionError("%s: binarized_weights_only marks a packed BMXNet model; convert it with "
                          "`qnn convert --from bmxnet PREFIX EPOCH`" % layer)
    if rest:
        known = {"quantizer" if name == "act_quantizer" and op == "QActivation" else name for name in known}
        known.update(TRAINED["QActivation" if op == "QActivation" else "layers"])
        raise OptionError("%s: unknown argument %s; known: %s"
                          % (layer, ", ".join(map(repr, sorted(rest))), ", ".join(sorted(known))))
    if mode not in ("none", "forward", "backward"):
        raise OptionError("%s: scaling_mode is none, forward or backward, got %r" % (layer, mode))
    if mode == "backward":
        warnings.warn("%s: scaling_mode='backward' has no effect: gradients here are those of the forward pass" % layer,
                      stacklevel=4)
    return {"scaling": "layer"} if mode == "forward" else {}
