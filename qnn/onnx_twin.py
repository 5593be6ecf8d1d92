"""ONNX twin: a float network of MXNet as an ONNX model, and as sessions of ONNX Runtime: float32 and int8.

Int8 is ONNX Runtime's own static quantization: weights int8 per channel, activations uint8, ranges from random data.
Both packages are optional.
"""
import logging
import os
import tempfile
import warnings

import numpy as np

from .graph import Graph
from .layer_costs import numbers

OPSET, IR_VERSION = 13, 7
ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "softrelu": "Softplus"}
ONE_TO_ONE = {"elemwise_add": "Add", "broadcast_add": "Add", "_plus": "Add", "relu": "Relu", "tanh": "Tanh",
              "_copy": "Identity", "softmax": "Softmax", "SoftmaxOutput": "Softmax", "Concat": "Concat"}
INSTALL = "pip install onnx onnxruntime"


def packages():
    """(onnx, onnxruntime); ImportError says what to install."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ImportError("%s is not installed: %s" % (error.name or "onnxruntime", INSTALL)) from None
    onnxruntime.set_default_logger_severity(3)
    return onnx, onnxruntime


def sessions(twin, num_threads):
    """{"onnxruntime": call, "onnxruntime-int8": call} for a Twin."""
    onnx, runtime = packages()
    with tempfile.TemporaryDirectory() as folder:
        plain, folded, int8 = (os.path.join(folder, name + ".onnx") for name in ("plain", "folded", "int8"))
        onnx.save(model(twin.symbol, {**twin.args, **twin.auxs}, twin.data.shape), plain)
        calls = {"onnxruntime": _call(runtime, plain, twin.data, num_threads)}
        _fold(runtime, plain, folded)
        _quantize(folded, int8, twin.data)
        calls["onnxruntime-int8"] = _call(runtime, int8, twin.data, num_threads)
    return calls


def _options(runtime, num_threads):
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
    return options


def _call(runtime, path, data, num_threads):
    session = runtime.InferenceSession(path, _options(runtime, num_threads), providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: data}
    return lambda: session.run(None, feed)[0]


def _fold(runtime, source, target):
    """BatchNorm into the convolution before it: quantized one by one they would not run as one operator."""
    options = _options(runtime, 1)
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = target
    runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _quantize(source, target, data):
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        """The data itself and its mirror image."""

        def __init__(self):
            self.batches = iter([{"data": data}, {"data": -data}])

        def get_next(self):
            return next(self.batches, None)

    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it logs advice, and a warning for every BatchNorm, on the root logger
    try:
        quantization.quantize_static(source, target, Reader(), per_channel=True,
                                     activation_type=quantization.QuantType.QUInt8,
                                     weight_type=quantization.QuantType.QInt8)
    finally:
        logging.disable(disabled)


# ---- the network as an ONNX model ----------------------------------------------------------------------------------


def model(symbol, params, shape):
    """onnx.ModelProto of a symbol with input "data" of `shape`. ValueError for an operator that is not known here."""
    import onnx
    from onnx import helper, numpy_helper
    graph = Graph.from_json(symbol.tojson())
    initializers = {name: np.asarray(value, np.float32) for name, value in params.items()}
    nodes: list = []
    for node in graph.nodes():
        if not node.is_variable:
            nodes += _translate(node, [_name(entry) for entry in node.inputs], initializers, helper)
    inputs = [helper.make_tensor_value_info("data", onnx.TensorProto.FLOAT, shape)]
    _, (out_shape, *_), _ = symbol.infer_shape(data=shape)
    outputs = [helper.make_tensor_value_info(_name(graph.heads[0]), onnx.TensorProto.FLOAT, out_shape)]
    used = {name for node in nodes for name in node.input}
    constants = [numpy_helper.from_array(value, name) for name, value in initializers.items() if name in used]
    made = helper.make_model(helper.make_graph(nodes, "twin", inputs, outputs, constants),
                             opset_imports=[helper.make_opsetid("", OPSET)])
    made.ir_version = IR_VERSION
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        onnx.checker.check_model(made)
    return made


def _name(entry):
    node, index = entry
    return node.name if node.is_variable else "%s_out%d" % (node.name, index)


def _is_on(attrs, name):
    return attrs.get(name, "False") in ("True", "true", "1")


def _window(attrs):
    """kernel_shape, strides and pads of ONNX."""
    kernel = numbers(attrs.get("kernel"))
    pads = numbers(attrs.get("pad")) or [0] * len(kernel)
    return {"kernel_shape": kernel, "strides": numbers(attrs.get("stride")) or [1] * len(kernel), "pads": 2 * pads}


def _translate(node, inputs, initializers, helper):
    """ONNX nodes for one node; may replace initializers."""
    attrs, output = node.attrs, _name((node, 0))

    def make(op, names, **options):
        return helper.make_node(op, names, [output], name=node.name, **options)

    if node.op == "Convolution":
        dilations = numbers(attrs.get("dilate")) or [1] * len(numbers(attrs["kernel"]))
        return [make("Conv", inputs, dilations=dilations, group=int(attrs.get("num_group", 1)), **_window(attrs))]
    if node.op == "FullyConnected":
        flat = output + "_flat"
        return [helper.make_node("Flatten", inputs[:1], [flat], name=node.name + "_flatten"),
                make("Gemm", [flat] + inputs[1:], transB=1)]
    if node.op == "BatchNorm":
        if attrs.get("fix_gamma", "True") in ("True", "true", "1"):
            initializers[inputs[1]] = np.ones_like(initializers[inputs[1]])
        return [make("BatchNormalization", inputs, epsilon=float(attrs.get("eps", 1e-3)))]
    if node.op == "Pooling" and _is_on(attrs, "global_pool"):
        return [make({"max": "GlobalMaxPool", "avg": "GlobalAveragePool"}[attrs.get("pool_type", "max")], inputs)]
    if node.op == "Pooling":
        op = {"max": "MaxPool", "avg": "AveragePool"}[attrs.get("pool_type", "max")]
        options = _window(attrs)
        if attrs.get("pooling_convention") == "full":
            options["ceil_mode"] = 1
        if op == "AveragePool":
            options["count_include_pad"] = 1
        return [make(op, inputs, **options)]
    if node.op == "Activation" and attrs.get("act_type") in ACTIVATIONS:
        return [make(ACTIVATIONS[attrs["act_type"]], inputs)]
    if node.op == "Flatten":
        return [make("Flatten", inputs)]
    if node.op in ONE_TO_ONE:
        axis = {"Concat": attrs.get("dim", 1), "SoftmaxOutput": 1, "softmax": attrs.get("axis", -1)}.get(node.op)
        options = {} if axis is None else {"axis": int(axis)}
        return [make(ONE_TO_ONE[node.op], inputs[:1] if node.op == "SoftmaxOutput" else inputs, **options)]
    raise ValueError("benchmark: operator %s of '%s' has no counterpart for ONNX Runtime here" % (node.op, node.name))
