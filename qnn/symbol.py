"""qnn.sym: QActivation, QConvolution, QFullyConnected with the calling convention of mx.sym: names, automatic
variables, AttrScope, `attr`. Installed on mx.sym too, so that BMXNet scripts run unchanged.

    net = mx.sym.Variable("data")
    net = qnn.sym.QConvolution(qnn.sym.QActivation(net), kernel=(3, 3), num_filter=64, pad=(1, 1), name="conv1")

creates conv1_weight and ends in a node named conv1 that carries the options as attributes (`__qnn_op__` ...).
"""
import itertools

import mxnet as mx
import numpy as np

from . import layers
from .options import ActivationOptions, ConvolutionOptions, FullyConnectedOptions, legacy, residual_quantizer, trained

HIDDEN = ("ctx_group", "lr_mult", "wd_mult", "force_mirroring", "mirror_stage")  # MXNet takes them without underscores
_layer_ids = itertools.count()


class SymbolBuilder:
    """Builds the nodes of one layer; `leave` gives the last one the layer's name and marks. given: {"act_gamma": symbol
    or None, ...}, parameters of the quantizers that are shared with other layers."""

    def __init__(self, options, attr, given=()):
        self.options, self.attr, self.given = options, attr, dict(given)
        self.is_native = layers.is_native()
        self.layer = "%s#%d" % (options.name, next(_layer_ids))
        self.numbers = itertools.count()

    def enter(self, symbol, role):
        """A node of its own per input: `__qnn_input__` tells the converter where the layer begins, and keeps
        common-subexpression elimination from merging the nodes of layers that share an input. It is not called
        conv1_weight: attr_dict() would mix its attributes with the variable's, of which optimizers read __lr_mult__."""
        return self._node(mx.sym.identity, symbol, name=role + "_in", attr={"__qnn_input__": role})

    def enter_bias(self, symbol):
        """A bias enters as (num_filter, 1): see layers._product."""
        return None if symbol is None else self._node(mx.sym.expand_dims, symbol, axis=1, name="bias_in",
                                                      attr={"__qnn_input__": "bias"})

    def parameters(self, side, quantizer):
        """The quantizer's parameters, entered: those given, else variables; either bring shape and initial values, and
        take no weight decay, like other scales."""
        entered = []
        for role, shape, initial in quantizer.parameters:
            key = "%s_%s" % (side, role)
            symbol = _automatic(self.options, key, self.given.get(key), self.attr)
            if not isinstance(symbol, mx.sym.Symbol):
                self.options.fail(key, "a symbol", symbol)
            if symbol.get_children() is None:
                defaults = {"__shape__": str(shape), "__wd_mult__": "0.0",
                            "__init__": mx.init.Constant(np.float32(initial)).dumps()}
                symbol._set_attr(**{**defaults, **symbol.list_attr()})
            entered.append(self._node(mx.sym.expand_dims, symbol, axis=1, name=key + "_in",
                                      attr={"__qnn_input__": key}))
        return entered

    def with_shape(self, scale):
        """`scale`, known to be (1, 1): that of weights waits for their shape, which native operators cannot."""
        return self("_identity_with_attr_like_rhs", scale, self("_ones", shape=(1, 1)))

    def call(self, function, symbol):
        """function(mx.sym, symbol): what it makes belongs to the layer, under names of its own."""
        prefix = "%s_function%d_" % (self.options.name, next(self.numbers))
        with mx.AttrScope(__qnn_layer__=self.layer), mx.name.Prefix(prefix):
            return function(mx.sym, symbol)

    def __call__(self, op, *inputs, **attributes):
        name = "%s%d" % (op.strip("_").lower(), next(self.numbers))
        return self._node(layers.find(mx.sym, op), *inputs, name=name, **attributes)

    def _node(self, function, *inputs, name, attr=(), **attributes):
        with mx.name.NameManager():  # the layer's name has its prefix already
            return function(*inputs, name="%s_%s" % (self.options.name, name),
                            attr={"__qnn_layer__": self.layer, **dict(attr)}, **attributes)

    def leave(self, symbol):
        symbol._set_attr(name=self.options.name, **(self.attr or {}), **self.options.attributes())
        return symbol


def _automatic(options, role, symbol, attr):
    """The variable that MXNet's own operators create for a missing input: with `attr` and the current AttrScope."""
    return mx.sym.Variable("%s_%s" % (options.name, role), attr=attr) if symbol is None else symbol


def _name(op, name):
    current = mx.name.NameManager._current  # as MXNet's own operators do: NameManager.current warns of its deprecation
    if not hasattr(current, "value"):
        current.value = mx.name.NameManager()
    return current.value.get(name, op.lower())


def _options(kind, name, attr, unknown, **known):
    known.update(legacy(kind.op, name, unknown, known))
    options = kind(name=name, **known)
    for key in attr or ():
        if key not in HIDDEN and not (key.startswith("__") and key.endswith("__")):
            options.fail("attr", "a dict of __names__ (or %s)" % ", ".join(HIDDEN), key)
    return options


def QActivation(data=None, act_bit=1, backward_only=False, grad_clip=1.0, quantizer=None, levels=None, residual=None,
                gamma=None, name=None, attr=None, **unknown):
    """Quantizes activations: 1 bit: -1 if x < 0 else +1; 2..31 bits: round((2^k - 1) clip(x, 0, 1)) / (2^k - 1); 32: x.

    data: float32 symbol of any shape. grad_clip: the gradient passes where |x| <= grad_clip (and 0 <= x <= 1 for 2..31
    bits). backward_only=True: forward is the identity, the window stays, as BMXNet puts it in front of its layers.
    quantizer: another one, by name, object, or function f(F, x); act_bit is what it has, then. levels=M (1..4) with
    residual="rebnet" or "isometric" is short for those. Their trained scales are the variable <name>_act_gamma, or
    `gamma`, a symbol to share with a layer behind. See qnn/quantizers.py.
    Raises OptionError. Source: BMXNet (arXiv:1705.09864), DoReFa-Net (arXiv:1606.06160).
    """
    name = _name("QActivation", name)
    options = _options(ActivationOptions, name, attr, unknown, act_bit=act_bit, backward_only=backward_only,
                       grad_clip=grad_clip, act_quantizer=residual_quantizer(name, quantizer, levels, residual))
    given = trained(options, {"act_gamma": gamma})
    return layers.activation(SymbolBuilder(options, attr, given), _automatic(options, "data", data, attr), options)


def QConvolution(data=None, weight=None, bias=None, kernel=(), num_filter=0, stride=(), dilate=(), pad=(), num_group=1,
                 no_bias=True, act_bit=1, weight_bit=1, pad_value=1, no_offset=False, scaling="none", grad_clip=1.0,
                 layout=None, act_quantizer=None, weight_quantizer=None, act_gamma=None, weight_gamma=None,
                 weight_positive=None, weight_negative=None, name=None, attr=None, **unknown):
    """Convolution of quantized data with quantized weights: y = accum * scale + bias.

    data: (N, C, *spatial) float32; weight: (num_filter, C/num_group, *kernel); bias: (num_filter,).
    1-bit data and weights: accum = (K + dot)/2 in 0..K with K = C/num_group * prod(kernel), or dot in -K..K with
    no_offset=True; other bits: accum = dot. Data is quantized first, then padded by pad_value (+1 BMXNet v1, -1 BMXNet
    v2, 0 what Convolution does); data of 2..32 bits is padded with 0. scale: 1, mean|weight| ('layer'), mean|weight|
    per filter ('filter'), or that times K, the box-filtered mean over channels of |data| ('xnor'). 32/32 bits is
    Convolution itself. Latent weights are never overwritten; their gradient passes where |w| <= grad_clip.

    act_quantizer, weight_quantizer: in place of bits, by name, object, or function f(F, x) (qnn/quantizers.py). Theirs
    are the variables <name>_act_gamma, <name>_weight_gamma, <name>_weight_positive ..., unless given here as symbols.
    Values are integer codes times scales; y = sum over them of Convolution(codes, codes) * scale + bias. Sums of codes
    are exact up to 2^24, float32's integers. Raises OptionError. Source: BMXNet, XNOR-Net (arXiv:1603.05279) for
    scaling.
    """
    name = _name("QConvolution", name)
    options = _options(
        ConvolutionOptions, name, attr, unknown, kernel=kernel, num_filter=num_filter, stride=stride, dilate=dilate,
        pad=pad, num_group=num_group, no_bias=no_bias, act_bit=act_bit, weight_bit=weight_bit, pad_value=pad_value,
        no_offset=no_offset, scaling=scaling, grad_clip=grad_clip, layout=layout, act_quantizer=act_quantizer,
        weight_quantizer=weight_quantizer)
    given = trained(options, dict(act_gamma=act_gamma, weight_gamma=weight_gamma, weight_positive=weight_positive,
                                  weight_negative=weight_negative))
    bias = None if options.no_bias else _automatic(options, "bias", bias, attr)
    return layers.convolution(SymbolBuilder(options, attr, given), _automatic(options, "data", data, attr),
                              _automatic(options, "weight", weight, attr), bias, options)


def QFullyConnected(data=None, weight=None, bias=None, num_hidden=0, flatten=True, no_bias=True, act_bit=1,
                    weight_bit=1, no_offset=False, scaling="none", grad_clip=1.0, act_quantizer=None,
                    weight_quantizer=None, act_gamma=None, weight_gamma=None, weight_positive=None,
                    weight_negative=None, name=None, attr=None, **unknown):
    """Product of quantized data and weights: y = accum * scale + bias, as QConvolution has it.

    data: (N, ...) float32, flattened to (N, K), or (..., K) with flatten=False; weight: (num_hidden, K).
    Raises OptionError.
    """
    name = _name("QFullyConnected", name)
    options = _options(
        FullyConnectedOptions, name, attr, unknown, num_hidden=num_hidden, flatten=flatten, no_bias=no_bias,
        act_bit=act_bit, weight_bit=weight_bit, no_offset=no_offset, scaling=scaling, grad_clip=grad_clip,
        act_quantizer=act_quantizer, weight_quantizer=weight_quantizer)
    given = trained(options, dict(act_gamma=act_gamma, weight_gamma=weight_gamma, weight_positive=weight_positive,
                                  weight_negative=weight_negative))
    bias = None if options.no_bias else _automatic(options, "bias", bias, attr)
    return layers.fully_connected(SymbolBuilder(options, attr, given), _automatic(options, "data", data, attr),
                                  _automatic(options, "weight", weight, attr), bias, options)


QConvolution_v1 = QConvolution  # BMXNet's older operator of the same meaning
