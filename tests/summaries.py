"""Networks of the tests of qnn.summary, and what they have in common."""
import re

import mxnet as mx
import numpy as np

import qnn


def lenet(**options):
    """Convolution, 1-bit convolution with bias, max pooling, 1-bit fully connected, float head."""
    x = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(5, 5), num_filter=20, name="conv1")
    x = mx.sym.BatchNorm(x, name="bn1")
    x = qnn.sym.QActivation(x, name="qact")
    x = qnn.sym.QConvolution(x, kernel=(3, 3), num_filter=10, stride=(2, 2), no_bias=False, name="conv2", **options)
    x = mx.sym.BatchNorm(mx.sym.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool"), name="bn2")
    x = qnn.sym.QFullyConnected(x, num_hidden=7, name="fc1")
    x = mx.sym.FullyConnected(mx.sym.BatchNorm(x, name="bn3"), num_hidden=3, name="fc2")
    return mx.sym.SoftmaxOutput(x, name="softmax")


OFFSETS = 10 * 4  # of conv2: an int32 a filter
SHAPE = (2, 1, 28, 28)  # conv1 24x24, conv2 11x11, pool 5x5, fc1 reads 250


def symbol_shapes(symbol, shape=SHAPE):
    return dict(zip(symbol.list_arguments(), symbol.infer_shape(data=shape)[0]))


def is_trained_scale(name):
    """Of a quantizer: a parameter of the training graph, which is a scale and thresholds in the packed one."""
    return re.search("_act_gamma$|_weight_(gamma|positive|negative)$", name) is not None


def random_params(symbol, shape):
    rng = np.random.RandomState(0)
    _, _, aux_shapes = symbol.infer_shape(data=shape)
    args = {name: mx.nd.array(rng.normal(0, 1, s)) for name, s in symbol_shapes(symbol, shape).items()
            if name not in ("data", "softmax_label")}
    return args, {name: mx.nd.ones(s) for name, s in zip(symbol.list_auxiliary_states(), aux_shapes)}


def layer(result, name):
    return next(layer for layer in result.layers if layer.name == name)
