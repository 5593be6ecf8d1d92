"""Gluon blocks: QActivation, QDense, QConv1D, QConv2D, QConv3D: the arguments of gluon.nn.Dense and gluon.nn.Conv2D
and bits. Names and defaults follow BMXNet v2: `bits` is one number for data and weights or (act_bit, weight_bit).

    net.add(qnn.gluon.QActivation(), qnn.gluon.QConv2D(64, kernel_size=3, padding=1), mx.gluon.nn.BatchNorm())

Formulas: qnn/symbol.py. Blocks hybridize, export and load like gluon's own; parameters are called weight and bias.
Arguments are checked when a block is made: OptionError.
"""
from numbers import Integral
from typing import Any

import mxnet as mx
import numpy as np
from mxnet.gluon.nn.activations import Activation

from . import ndarray, symbol
from .options import (
    LAYOUTS,
    ActivationOptions,
    ConvolutionOptions,
    FullyConnectedOptions,
    OptionError,
    residual_quantizer,
    trained,
)


def _operators(F):
    return symbol if F is mx.sym else ndarray


def _both(bits):
    if isinstance(bits, (tuple, list)):
        if len(bits) != 2:
            raise OptionError("bits is one number or (act_bit, weight_bit), got %r" % (bits,))
        return tuple(bits)
    return bits, bits


class QActivation(mx.gluon.HybridBlock):
    """Quantizes activations to `bits`, or as `quantizer`, or levels= and residual= say; shape (N, ...) -> the same.
    gamma: a Parameter to share, as another block's act_gamma. See qnn.sym.QActivation."""

    def __init__(self, bits=1, backward_only=False, grad_clip=1.0, quantizer=None, levels=None, residual=None,
                 gamma=None, **kwargs):
        super().__init__(**kwargs)
        quantizer = residual_quantizer(self.name, quantizer, levels, residual)
        self._options = dict(act_bit=bits, backward_only=backward_only, grad_clip=grad_clip)
        checked = ActivationOptions(name=self.name, act_quantizer=quantizer, **self._options)
        self._options["quantizer"] = quantizer
        _add_parameters(self, checked, {"act_gamma": gamma})

    def hybrid_forward(self, F, x, act_gamma=None):
        return _operators(F).QActivation(x, name="fwd", gamma=act_gamma, **self._options)

    def __repr__(self):
        quantizer = self._options["quantizer"]
        return "QActivation(%s)" % ("%s bit" % self._options["act_bit"] if quantizer is None else quantizer)


def _add_parameters(block, options, given):
    """Gives `block` the parameters that its quantizers train: those given, else new ones with their initial values."""
    given = trained(options, given)
    for key, (shape, initial) in options.parameters.items():
        with block.name_scope():
            setattr(block, key, given.get(key) or block.params.get(
                key, shape=shape, init=mx.init.Constant(np.float32(initial)), wd_mult=0.0))


class _Layer(mx.gluon.HybridBlock):
    """Parameters and bits, common to QDense and the convolutions."""

    kind: Any = None

    def __init__(self, units, in_units, bits, activation, use_bias, weight_initializer, bias_initializer, options,
                 act_gamma=None, **kwargs):
        super().__init__(**kwargs)
        act_bit, weight_bit = _both(bits)
        self._options = dict(options, act_bit=act_bit, weight_bit=weight_bit, no_bias=not use_bias)
        checked = self.kind(name=self.name, **self._options)
        weight_shape = (units, in_units // getattr(checked, "num_group", 1)) + getattr(checked, "kernel", ())
        with self.name_scope():
            self.weight = self.params.get("weight", shape=weight_shape, init=weight_initializer,
                                          allow_deferred_init=True)
            self.bias = self.params.get("bias", shape=(units,), init=bias_initializer,
                                        allow_deferred_init=True) if use_bias else None
            self.act = Activation(activation, prefix=activation + "_") if activation else None
        _add_parameters(self, checked, {"act_gamma": act_gamma})

    def hybrid_forward(self, F, x, weight, bias=None, **trained):
        out = getattr(_operators(F), self.kind.op)(x, weight, bias, name="fwd", **trained, **self._options)
        return self.act(out) if self.act else out

    def __repr__(self):
        shape = self.weight.shape
        sides = ["%s_quantizer=%s" % (side, self._options[side + "_quantizer"])
                 if self._options[side + "_quantizer"] is not None
                 else "%s_bit=%s" % (side, self._options[side + "_bit"]) for side in ("act", "weight")]
        return "%s(%s -> %s, %s)" % (type(self).__name__, (shape[1] or None) if len(shape) > 1 else None, shape[0],
                                     ", ".join(sides))


class QDense(_Layer):
    """Fully connected layer on quantized data and weights. (N, ...) -> (N, units); see qnn.sym.QFullyConnected.

    units, activation, use_bias, flatten, weight_initializer, bias_initializer, in_units: as gluon.nn.Dense (use_bias is
    False here, as everywhere in qnn); bits, no_offset, scaling, grad_clip, act_quantizer, weight_quantizer: as
    QFullyConnected; act_gamma: a Parameter to share, as a QActivation's act_gamma.
    """

    kind = FullyConnectedOptions

    def __init__(self, units, bits=1, activation=None, use_bias=False, flatten=True, no_offset=False, scaling="none",
                 grad_clip=1.0, weight_initializer=None, bias_initializer="zeros", in_units=0, act_quantizer=None,
                 weight_quantizer=None, **kwargs):
        options = dict(num_hidden=units, flatten=flatten, no_offset=no_offset, scaling=scaling, grad_clip=grad_clip,
                       act_quantizer=act_quantizer, weight_quantizer=weight_quantizer)
        super().__init__(units, in_units, bits, activation, use_bias, weight_initializer, bias_initializer,
                         options, **kwargs)


class _Conv(_Layer):
    kind = ConvolutionOptions
    rank = 0

    def __init__(self, channels, kernel_size, strides=1, padding=0, dilation=1, groups=1, layout=None, in_channels=0,
                 bits=1, activation=None, use_bias=False, pad_value=1, no_offset=False, scaling="none", grad_clip=1.0,
                 weight_initializer=None, bias_initializer="zeros", act_quantizer=None, weight_quantizer=None,
                 **kwargs):
        kernel, strides, padding, dilation = (
            (size,) * self.rank if isinstance(size, Integral) else tuple(size)
            for size in (kernel_size, strides, padding, dilation))
        if len(kernel) != self.rank:
            raise OptionError("%s: kernel_size is a number or %d numbers, got %r"
                              % (type(self).__name__, self.rank, kernel_size))
        options = dict(kernel=kernel, num_filter=channels, stride=strides, pad=padding, dilate=dilation,
                       num_group=groups, layout=layout or LAYOUTS[self.rank], pad_value=pad_value,
                       no_offset=no_offset, scaling=scaling, grad_clip=grad_clip, act_quantizer=act_quantizer,
                       weight_quantizer=weight_quantizer)
        super().__init__(channels, in_channels, bits, activation, use_bias, weight_initializer, bias_initializer,
                         options, **kwargs)


class QConv1D(_Conv):
    """1-D convolution on quantized data and weights. (N, C, W) -> (N, channels, OW); see qnn.sym.QConvolution."""

    rank = 1


class QConv2D(_Conv):
    """2-D convolution on quantized data and weights. (N, C, H, W) -> (N, channels, OH, OW); see qnn.sym.QConvolution.

    Arguments as gluon.nn.Conv2D (use_bias is False here), plus bits, pad_value, no_offset, scaling, grad_clip,
    act_quantizer, weight_quantizer, act_gamma.
    """

    rank = 2


class QConv3D(_Conv):
    """3-D convolution on quantized data and weights. (N, C, D, H, W) -> (N, channels, OD, OH, OW)."""

    rank = 3
