"""Small networks and their parameters, for tests that need a graph."""
import json

import mxnet as mx
import numpy as np

import qnn
from qnn.graph import Graph


def bind(symbol, shape, arg_params, aux_params=None, grad_req="null"):
    """Executor, parameters copied in with their dtypes."""
    types = {"data": np.float32, **{name: value.dtype for name, value in arg_params.items()}}
    executor = symbol.simple_bind(mx.cpu(), grad_req=grad_req, type_dict=types, data=shape)
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


def calibrated(symbol, data, seed=0):
    """Random parameters with BatchNorm statistics as training would leave them, those of this batch, so that signs go
    both ways; some gammas are 0, negative or tiny, and some means are integers, for ties."""
    args, auxs = random_params(symbol, data.shape, seed)
    random = np.random.RandomState(seed)
    norms = [node for node in Graph.from_json(symbol.tojson()).nodes()
             if node.op == "BatchNorm" and all(source.is_variable for source, _ in node.inputs[1:])]
    for node in norms:
        gamma, beta = (entry[0].name for entry in node.inputs[1:3])
        args[beta] = (random.randn(len(args[beta])) * 0.3).astype(np.float32)
        args[beta][::2] = 0
        args[gamma][1::7], args[gamma][5::11] = 0, -1e-20
    for node, values in zip(norms, _inputs_in_training(symbol, norms, data, args, auxs)):
        axes = tuple(axis for axis in range(values.ndim) if axis != int(node.attrs.get("axis", 1)) % values.ndim)
        mean, var = (entry[0].name for entry in node.inputs[3:])
        auxs[mean], auxs[var] = values.mean(axis=axes), values.var(axis=axes) + np.float32(0.1)
        auxs[mean][::3] = np.rint(auxs[mean][::3])
    return args, auxs


def _inputs_in_training(symbol, norms, data, args, auxs):
    """What every BatchNorm reads, in training mode."""
    if not norms:
        return []
    internals = symbol.get_internals()
    sources = [node.inputs[0][0] for node in norms]
    assert all(node.inputs[0][1] == 0 for node in norms)
    inputs = mx.sym.Group([internals[source.name if source.is_variable else source.name + "_output"]
                           for source in sources])
    names = inputs.list_arguments() + inputs.list_auxiliary_states()
    used = [{name: value for name, value in params.items() if name in names} for params in (args, auxs)]
    executor = bind(inputs, data.shape, *used, grad_req="write")  # oneDNN's graphs are for inference
    return [y.asnumpy() for y in executor.forward(is_train=True, data=mx.nd.array(data))]


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


# ---- architectures with Q layers, small: data (N, 3, 16, 16) --------------------------------------------------------


def _data():
    return mx.sym.Variable("data")


def _norm(net, name):
    return mx.sym.BatchNorm(net, fix_gamma=False, eps=2e-5, name=name)


def _pool(net, name, **options):
    return mx.sym.Pooling(net, kernel=(2, 2), stride=(2, 2), pool_type="max", name=name, **options)


def _conv(net, name, num_filter, **options):
    return qnn.sym.QConvolution(net, kernel=(3, 3), pad=(1, 1), num_filter=num_filter, name=name, **options)


def mlp():
    """LFC: fully connected layers of signs, the input binarized too."""
    net = mx.sym.Flatten(_data())
    for number, units in enumerate((70, 64, 33)):
        net = qnn.sym.QFullyConnected(qnn.sym.QActivation(net), num_hidden=units, name="fc%d" % number)
        net = _norm(net, "bn%d" % number)
    return qnn.sym.QFullyConnected(net, num_hidden=10, no_offset=True, name="out")


def cnv():
    """CNV: conv - BatchNorm - sign, pooling on either side of the BatchNorm, fully connected layers behind."""
    net = mx.sym.BatchNorm(_data(), fix_gamma=True, name="bn_data")
    net = _norm(_conv(net, "conv1", 30), "bn1")
    net = _norm(_pool(_conv(qnn.sym.QActivation(net), "conv2", 65, pad_value=-1), "pool2"), "bn2")
    net = _pool(_norm(_conv(net, "conv3", 64, no_bias=False, pad_value=0), "bn3"), "pool3")
    net = _norm(_conv(net, "conv4", 40, scaling="filter"), "bn4a")
    net = _norm(_pool(net, "pool4", pooling_convention="full"), "bn4b")
    net = qnn.sym.QFullyConnected(mx.sym.Flatten(net), num_hidden=50, name="fc1")
    net = mx.sym.Activation(_norm(net, "bn5"), act_type="tanh")
    return qnn.sym.QFullyConnected(net, num_hidden=10, name="fc2")


def resnet_v2():
    """BMXNet's ResNet: pre-activation units, the first shortcut of a stage a binary 1x1 convolution of stride 2."""
    net = mx.sym.Convolution(_data(), kernel=(3, 3), num_filter=16, pad=(1, 1), no_bias=True, name="conv0")
    for number, (filters, stride) in enumerate(((16, 1), (24, 2), (24, 1))):
        name = "unit%d" % number
        bits = qnn.sym.QActivation(_norm(net, name + "_bn1"), name=name + "_act1")
        body = _conv(bits, name + "_conv1", filters, stride=(stride, stride))
        body = _conv(qnn.sym.QActivation(_norm(body, name + "_bn2"), backward_only=True), name + "_conv2", filters)
        is_same = number == 2
        net = body + (net if is_same else qnn.sym.QConvolution(bits, kernel=(1, 1), num_filter=filters,
                                                                stride=(stride, stride), name=name + "_sc"))
    return mx.sym.Pooling(mx.sym.relu(_norm(net, "bn_last")), global_pool=True, kernel=(1, 1), pool_type="avg")


def bi_real():
    """Bi-Real / ResNetE: a shortcut around every convolution, BatchNorm behind it, average-pool and 1x1 to shrink."""
    net = mx.sym.Convolution(_data(), kernel=(3, 3), num_filter=16, pad=(1, 1), no_bias=True, name="conv0")
    net = _pool(mx.sym.relu(_norm(net, "bn0")), "pool0")
    for number, (filters, stride) in enumerate(((16, 1), (16, 1), (32, 2), (32, 1))):
        name, shortcut = "layer%d" % number, net
        if stride == 2:
            shortcut = mx.sym.Pooling(net, kernel=(2, 2), stride=(2, 2), pool_type="avg", name=name + "_pool")
            shortcut = _norm(mx.sym.Convolution(shortcut, kernel=(1, 1), num_filter=filters, no_bias=True,
                                                name=name + "_sc"), name + "_sc_bn")
        body = _norm(_conv(qnn.sym.QActivation(net), name + "_conv", filters, stride=(stride, stride), no_offset=True),
                     name + "_bn")
        net = body + shortcut
    return mx.sym.FullyConnected(mx.sym.Pooling(net, global_pool=True, kernel=(1, 1), pool_type="avg"), num_hidden=10,
                                 name="fc")


def dense_net():
    """BinaryDenseNet: every convolution reads all features so far, put together by Concat."""
    net = mx.sym.Convolution(_data(), kernel=(3, 3), num_filter=20, pad=(1, 1), no_bias=True, name="conv0")
    for number in range(3):
        name = "dense%d" % number
        net = mx.sym.Concat(net, _conv(qnn.sym.QActivation(_norm(net, name + "_bn")), name, 12), dim=1)
    return mx.sym.Pooling(mx.sym.relu(_norm(net, "bn_last")), global_pool=True, kernel=(1, 1), pool_type="avg")


ARCHITECTURES = {"mlp": mlp, "cnv": cnv, "resnet_v2": resnet_v2, "bi_real": bi_real, "dense_net": dense_net}


def bias_last(symbol):
    """A converted network whose float first layer rounds as on machines with AVX-512, where oneDNN adds the bias last;
    with AVX2 it begins the sums. A unit in the last place turns a sign here and there, and with it later ones: figures
    measured on one machine hold on another only so."""
    graph = json.loads(symbol.tojson())
    for node in graph["nodes"]:
        if node["op"] == "_qnn_stem_convolution":
            node["attrs"]["bias_first"] = "False"
    return mx.sym.load_json(json.dumps(graph))
