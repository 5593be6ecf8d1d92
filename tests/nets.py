"""Small networks and their parameters, for tests that need a graph."""
import mxnet as mx
import numpy as np

import qnn


def bind(symbol, shape, arg_params, aux_params=None):
    """Executor without gradients, parameters copied in with their dtypes."""
    types = {"data": np.float32, **{name: value.dtype for name, value in arg_params.items()}}
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", type_dict=types, data=shape)
    for arrays, params in ((executor.arg_dict, arg_params), (executor.aux_dict, aux_params or {})):
        for name, value in params.items():
            arrays[name][:] = value if isinstance(value, mx.nd.NDArray) else mx.nd.array(value, dtype=value.dtype)
    return executor


def run(symbol, data, arg_params, aux_params=None):
    """First output of a symbol in inference mode."""
    return bind(symbol, data.shape, arg_params, aux_params).forward(is_train=False, data=mx.nd.array(data))[0].asnumpy()


def random_params(symbol, shape, seed=0):
    """(arg_params, aux_params) for data of `shape`: normal weights with some exact zeros, BatchNorm statistics that
    suit accumulators around the middle of their range, gammas of both signs."""
    random = np.random.RandomState(seed)
    arg_shapes, _, aux_shapes = symbol.infer_shape(data=shape)
    args = {}
    for name, arg_shape in zip(symbol.list_arguments(), arg_shapes):
        if name != "data" and not name.endswith("label"):
            value = random.randn(*arg_shape).astype(np.float32)
            value.ravel()[::17] = 0
            args[name] = value
    auxs = {name: (random.rand(*aux_shape) * 20 + 1).astype(np.float32)
            for name, aux_shape in zip(symbol.list_auxiliary_states(), aux_shapes)}
    return args, auxs


def small_cnn():
    """Float conv, two binary convs, a binary and a float fully connected layer, BatchNorm between: data
    (N, 3, 9, 9)."""
    net = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=20, name="conv1")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn1")
    net = qnn.sym.QActivation(net, name="qact1")
    net = qnn.sym.QConvolution(net, kernel=(3, 3), num_filter=17, pad=(1, 1), name="conv2")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn2")
    net = mx.sym.Pooling(net, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool2")
    net = qnn.sym.QConvolution(net, kernel=(3, 2), num_filter=16, no_offset=True, no_bias=False, name="conv3")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn3")
    net = qnn.sym.QFullyConnected(net, num_hidden=33, name="fc1")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn4")
    return mx.sym.FullyConnected(net, num_hidden=10, name="fc2")
