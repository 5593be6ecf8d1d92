"""qnn.nd: QActivation, QConvolution, QFullyConnected on arrays, with the calling convention of mx.nd; recorded by
autograd. Formulas and arguments: qnn/symbol.py. Installed on mx.nd too.
"""
import mxnet as mx
import numpy as np

from . import layers
from .options import (
    ActivationOptions,
    ConvolutionOptions,
    FullyConnectedOptions,
    OptionError,
    legacy,
    residual_quantizer,
    trained,
)


class NDArrayBuilder:
    """Runs the operators of one layer at once; checks what a symbol checks when shapes and types are inferred."""

    def __init__(self, options, ctx, given=()):
        self.options, self.is_native, self.given = options, layers.is_native(ctx), dict(given)

    def enter(self, array, role):
        if not isinstance(array, mx.nd.NDArray):
            self.options.fail(role, "an NDArray", array)
        if array.stype != "default":
            self.options.fail(role, "a dense array (use .tostype('default'))", array.stype)
        if array.dtype != np.float32 and not getattr(self.options, "is_float", False):
            self.options.fail(role, "a float32 array (use .astype('float32'))", np.dtype(array.dtype).name)
        if array.size == 0:
            self.options.fail(role, "an array with elements", array.shape)
        return mx.nd.identity(array)

    def enter_bias(self, array):
        return None if array is None else self.enter(array, "bias").expand_dims(1)

    def parameters(self, side, quantizer):
        """The quantizer's parameters, checked: arrays have no automatic variables."""
        entered = []
        for role, shape, _ in quantizer.parameters:
            key = "%s_%s" % (side, role)
            array = self.enter(self.given.get(key), key)
            if array.shape != shape:
                self.options.fail(key, "an array of shape %s" % (shape,), array.shape)
            entered.append(array.expand_dims(1))
        return entered

    def with_shape(self, scale):
        """`scale`, known to be (1, 1)."""
        return scale

    def call(self, function, array):
        """function(mx.nd, array)."""
        return function(mx.nd, array)

    def __call__(self, op, *inputs, **attributes):
        return layers.find(mx.nd, op)(*inputs, **attributes)

    def leave(self, array):
        return array


def _run(layer, kind, arrays, given, unknown, out, name, **known):
    known.update(legacy(kind.op, name, unknown, known))
    options = kind(name=name or "", **known)
    given = trained(options, given)
    if kind is not ActivationOptions and not options.no_bias and arrays[2] is None:
        raise OptionError("%s: bias is an NDArray when no_bias=False, got None" % kind.op)
    if kind is not ActivationOptions and options.no_bias:
        arrays = arrays[:2] + (None,)
    result = layer(NDArrayBuilder(options, getattr(arrays[0], "ctx", None), given), *arrays, options)
    if out is None:
        return result
    result.copyto(out)
    return out


def QActivation(data, act_bit=1, backward_only=False, grad_clip=1.0, quantizer=None, levels=None, residual=None,
                gamma=None, out=None, name=None, **unknown):
    """Quantizes activations; see qnn.sym.QActivation. data: float32 array of any shape; returns the same shape."""
    return _run(layers.activation, ActivationOptions, (data,), dict(act_gamma=gamma), unknown, out, name,
                act_bit=act_bit, backward_only=backward_only, grad_clip=grad_clip,
                act_quantizer=residual_quantizer(name, quantizer, levels, residual))


def QConvolution(data, weight, bias=None, kernel=(), num_filter=0, stride=(), dilate=(), pad=(), num_group=1,
                 no_bias=True, act_bit=1, weight_bit=1, pad_value=1, no_offset=False, scaling="none", grad_clip=1.0,
                 layout=None, act_quantizer=None, weight_quantizer=None, act_gamma=None, weight_gamma=None,
                 weight_positive=None, weight_negative=None, out=None, name=None, **unknown):
    """Convolution of quantized data with quantized weights; see qnn.sym.QConvolution."""
    given = dict(act_gamma=act_gamma, weight_gamma=weight_gamma, weight_positive=weight_positive,
                 weight_negative=weight_negative)
    return _run(layers.convolution, ConvolutionOptions, (data, weight, bias), given, unknown, out, name, kernel=kernel,
                num_filter=num_filter, stride=stride, dilate=dilate, pad=pad, num_group=num_group, no_bias=no_bias,
                act_bit=act_bit, weight_bit=weight_bit, pad_value=pad_value, no_offset=no_offset, scaling=scaling,
                grad_clip=grad_clip, layout=layout, act_quantizer=act_quantizer, weight_quantizer=weight_quantizer)


def QFullyConnected(data, weight, bias=None, num_hidden=0, flatten=True, no_bias=True, act_bit=1, weight_bit=1,
                    no_offset=False, scaling="none", grad_clip=1.0, act_quantizer=None, weight_quantizer=None,
                    act_gamma=None, weight_gamma=None, weight_positive=None, weight_negative=None, out=None, name=None,
                    **unknown):
    """Product of quantized data and weights; see qnn.sym.QFullyConnected."""
    given = dict(act_gamma=act_gamma, weight_gamma=weight_gamma, weight_positive=weight_positive,
                 weight_negative=weight_negative)
    return _run(layers.fully_connected, FullyConnectedOptions, (data, weight, bias), given, unknown, out, name,
                num_hidden=num_hidden, flatten=flatten, no_bias=no_bias, act_bit=act_bit, weight_bit=weight_bit,
                no_offset=no_offset, scaling=scaling, grad_clip=grad_clip, act_quantizer=act_quantizer,
                weight_quantizer=weight_quantizer)


QConvolution_v1 = QConvolution
