"""Benchmark cases of whole networks: a binary network, converted, beside a float one, both by MXNet's executor."""
import mxnet as mx
import numpy as np

import qnn

from .benchmark_cases import Case, Twin
from .executors import executor_call
from .graph import Graph, Node, entrances
from .summary import profile

CALIBRATION = 8  # images of the batch that sets the statistics of random networks
LAYERS = {"QConvolution": ("Convolution", ("kernel", "stride", "dilate", "pad", "num_filter", "num_group", "no_bias")),
          "QFullyConnected": ("FullyConnected", ("num_hidden", "flatten", "no_bias"))}


def model_case(name, binary, twin, shape):
    """Case of the (symbol, args, auxs) `binary`, packed here unless it is already, and of `twin` (or None), for data of
    `shape`. Its binary MACs are those of all 1-bit layers: the share says how much of the time these would take at the
    rate of the popcount loop."""
    data = np.random.RandomState(0).standard_normal(shape).astype(np.float32)
    profiled = profile(binary[0], {"data": tuple(shape)}, {**binary[1], **binary[2]})
    macs = profiled.macs.get(1, 0)
    symbol, args, auxs = qnn.convert(*binary)[:3]
    packed = Twin(symbol, as_numpy(args), as_numpy(auxs), data)
    case = Case("model %s, batch %d" % (name, shape[0]), executor_call(packed), macs)
    if twin is not None:
        case.twin = Twin(twin[0], as_numpy(twin[1]), as_numpy(twin[2]), data)
    return case


def as_numpy(params):
    """Parameters as numpy arrays."""
    return {name: value if isinstance(value, np.ndarray) else value.asnumpy() for name, value in params.items()}


def random_network(symbol, shape, seed=0):
    """(symbol, args, auxs) with normal weights and BatchNorm statistics that fit them, so that signs behind a BatchNorm
    are balanced: data of `shape`, but more of it, runs through in training mode, and every BatchNorm gets the mean and
    variance of its input."""
    random = np.random.RandomState(seed)
    shape = (CALIBRATION,) + tuple(shape[1:])
    arg_shapes, _, aux_shapes = symbol.infer_shape(data=shape)
    args = {name: _random_parameter(name, arg_shape, random)
            for name, arg_shape in zip(symbol.list_arguments(), arg_shapes)
            if name != "data" and not name.endswith("label")}
    names = symbol.list_auxiliary_states()
    auxs = {name: np.zeros(aux_shape, np.float32) for name, aux_shape in zip(names, aux_shapes)}
    graph = Graph.from_json(symbol.tojson())
    norms = [node for node in graph.nodes() if node.op == "BatchNorm"]
    if norms:
        graph.heads = [node.inputs[0] for node in norms]
        data = random.standard_normal(shape).astype(np.float32)
        for norm, x in zip(norms, _outputs(mx.sym.load_json(graph.to_json()), args, auxs, data)):
            axes = tuple(axis for axis in range(x.ndim) if axis != 1)
            auxs[norm.inputs[3][0].name], auxs[norm.inputs[4][0].name] = x.mean(axes), x.var(axes)
    return symbol, args, auxs


def _random_parameter(name, shape, random):
    if name.endswith("weight"):
        return (random.standard_normal(shape) * np.sqrt(2 / max(1, np.prod(shape[1:])))).astype(np.float32)
    if name.endswith("gamma"):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    return (0.1 * random.standard_normal(shape)).astype(np.float32)


def _outputs(symbol, args, auxs, data):
    """All outputs in training mode, where BatchNorm takes the statistics of the batch. Bound with gradients: without,
    MXNet fuses operators for inference, and fails where a fused one is an output."""
    executor = symbol.simple_bind(mx.cpu(), grad_req="write", data=data.shape)
    for arrays, params in ((executor.arg_dict, {**args, "data": data}), (executor.aux_dict, auxs)):
        for name, array in arrays.items():
            array[:] = params[name]
    return [output.asnumpy() for output in executor.forward(is_train=True)]


def float_twin(graph):
    """The symbol with Convolution, FullyConnected and relu in the places of QConvolution, QFullyConnected and
    QActivation: the network that one would train in float."""
    graph = graph.copy()
    for node in graph.nodes():
        op = node.attrs.get("__qnn_op__")
        inputs = entrances(node)
        if op == "QActivation":
            plain = Node("Activation", node.name, {"act_type": "relu"}, [inputs["data"].inputs[0]])
        elif op in LAYERS:
            kind, names = LAYERS[op]
            attrs = {name: node.attrs["__qnn_%s__" % name] for name in names}
            roles = [role for role in ("data", "weight", "bias") if role in inputs]
            plain = Node(kind, node.name, attrs, [inputs[role].inputs[0] for role in roles])
        else:
            continue
        graph.replace((node, 0), (plain, 0))
    return mx.sym.load_json(graph.to_json())


def gluon_resnet18(num_classes=1000):
    """Symbol of gluon's resnet18_v1, the float network that MXNet's users have."""
    return mx.gluon.model_zoo.vision.resnet18_v1(classes=num_classes)(mx.sym.Variable("data"))
