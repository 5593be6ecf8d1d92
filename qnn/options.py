"""Options: the arguments of the Q layers, checked once, with one error sentence each; the same for sym, nd and gluon.

Attributes of BMXNet's operators that change nothing here (cudnn_off, workspace, gradient_update_mode ...) are accepted
and dropped; unknown ones are an error that lists the known.
"""
import warnings
from dataclasses import dataclass, field, fields

SCALINGS = ("none", "layer", "filter")
LAYOUTS = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
IGNORED = ("workspace", "cudnn_tune", "cudnn_off", "gradient_update_mode", "quantization")


class OptionError(ValueError):
    """An argument of a Q layer is out of range; the message names operator, layer, argument, range and value."""


def _integer(value):
    number = int(value)
    if isinstance(value, float) and number != value:
        raise ValueError(value)
    return number


def _boolean(value):
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
    if value not in (True, False):
        raise ValueError(value)
    return bool(value)


def _tuple(value):
    """Sizes from a sequence or from MXNet's strings: "(3, 3)", "[3, 3]", and "(3L, 3L)" that Python 2 wrote."""
    if isinstance(value, str):
        value = [part.strip().rstrip("L") for part in value.strip("()[] ").split(",") if part.strip()]
    return tuple(_integer(v) for v in value)


@dataclass
class _Options:
    op = "operator"
    name: str = ""
    act_bit: int = 1
    grad_clip: float = 1.0

    def fail(self, argument, expected, got):
        layer = "%s '%s'" % (self.op, self.name) if self.name else self.op
        raise OptionError("%s: %s is %s, got %r" % (layer, argument, expected, got))

    def convert(self, argument, convert, expected, allowed=lambda value: True):
        value = getattr(self, argument)
        try:
            converted = convert(value)
        except (TypeError, ValueError, KeyError, OverflowError):
            self.fail(argument, expected, value)
        if not allowed(converted):
            self.fail(argument, expected, value)
        setattr(self, argument, converted)

    def __post_init__(self):
        self.convert("act_bit", _integer, "1..32", lambda v: 1 <= v <= 32)
        self.convert("grad_clip", float, "a number above 0", lambda v: v > 0)

    def attributes(self):
        """Marks of the layer's last node, {"__qnn_act_bit__": "1", ...}: the converter finds layers by them alone."""
        marks = {"__qnn_%s__" % f.name: str(getattr(self, f.name)) for f in fields(self) if f.name != "name"}
        return {"__qnn_op__": self.op, **marks}


@dataclass
class ActivationOptions(_Options):
    """QActivation: act_bit 1..32, backward_only (forward is the identity, the gradient window stays), grad_clip."""

    op = "QActivation"
    backward_only: bool = False

    def __post_init__(self):
        super().__post_init__()
        self.convert("backward_only", _boolean, "True or False")


@dataclass
class _LayerOptions(_Options):
    no_bias: bool = True
    weight_bit: int = 1
    no_offset: bool = False
    scaling: str = "none"

    def __post_init__(self):
        super().__post_init__()
        self.convert("weight_bit", _integer, "1..32", lambda v: 1 <= v <= 32)
        self.convert("no_bias", _boolean, "True or False")
        self.convert("no_offset", _boolean, "True or False")
        self.convert("scaling", str, "one of %s" % ", ".join(SCALINGS), lambda v: v in SCALINGS)

    @property
    def is_float(self):
        """32/32 bits: the plain MXNet operator."""
        return self.act_bit == self.weight_bit == 32

    @property
    def is_one_bit(self):
        return self.act_bit == self.weight_bit == 1

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
        self.convert("num_hidden", _integer, "a number above 0", lambda v: v > 0)
        self.convert("flatten", _boolean, "True or False")


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
        self.convert("kernel", _tuple, "a tuple of 1 to 3 sizes", lambda v: 1 <= len(v) <= 3 and min(v) > 0)
        rank = len(self.kernel)
        for argument, default, least in (("stride", 1, 1), ("dilate", 1, 1), ("pad", 0, 0)):
            self.convert(argument, lambda v, default=default: (_tuple(v) if v is not None else ()) or (default,) * rank,
                         "%d numbers from %d on, as kernel has" % (rank, least),
                         lambda v, least=least: len(v) == rank and min(v) >= least)
        self.convert("num_filter", _integer, "a number above 0", lambda v: v > 0)
        self.convert("num_group", _integer, "a divisor of num_filter=%d" % self.num_filter,
                     lambda v: v > 0 and self.num_filter % v == 0)
        self.convert("pad_value", _integer, "-1, 0 or 1", lambda v: v in (-1, 0, 1))
        self.layout = "" if self.layout in (None, "None", "") else self.layout
        self.convert("layout", str, "%s (transpose the data)" % LAYOUTS[rank], lambda v: v in ("", LAYOUTS[rank]))

    @property
    def border(self):
        """Value that the padding of the quantized data has: pad_value for 1-bit data, else 0."""
        return self.pad_value if self.act_bit == 1 else 0


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
        raise OptionError("%s: unknown argument %s; known: %s"
                          % (layer, ", ".join(map(repr, sorted(rest))), ", ".join(sorted(known))))
    if mode not in ("none", "forward", "backward"):
        raise OptionError("%s: scaling_mode is none, forward or backward, got %r" % (layer, mode))
    if mode == "backward":
        warnings.warn("%s: scaling_mode='backward' has no effect: gradients here are those of the forward pass" % layer,
                      stacklevel=4)
    return {"scaling": "layer"} if mode == "forward" else {}
