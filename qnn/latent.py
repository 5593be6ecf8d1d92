"""Latent weights: the float parameters behind quantized weights: which ones they are, and where their values stand.

    quantized_weights(symbol)   ["fc1_weight", "fc2_weight"]        variables that Q layers quantize, in graph order
    weight_values(module)       {"fc1_weight": NDArray, ...}        of a Module, a block, a Trainer's params or a dict
"""
import re

import mxnet as mx

from . import gluon
from .graph import Graph, entrances

LAYERS = ("QConvolution", "QFullyConnected")


def quantized_weights(network):
    """Names of the weights that the Q layers of a Symbol or a gluon Block quantize, in order, each once."""
    if isinstance(network, mx.gluon.Block):
        return _weights_of_block(network)
    if not isinstance(network, mx.sym.Symbol):
        raise ValueError("quantized_weights: a Symbol or a gluon Block is expected, got %s" % type(network).__name__)
    names = []
    for node in Graph.from_json(network.tojson()).nodes():
        if node.attrs.get("__qnn_op__") in LAYERS and _is_quantized(node.attrs):
            source = entrances(node)["weight"].inputs[0][0]
            names += [source.name] if source.is_variable else []
    return list(dict.fromkeys(names))


def _is_quantized(marks):
    return marks.get("__qnn_weight_quantizer__", "") not in ("", "identity") or marks["__qnn_weight_bit__"] != "32"


def _weights_of_block(block):
    names = []

    def visit(child):
        if isinstance(child, gluon._Layer) and _is_quantized(child.kind(name="", **child._options).attributes()):
            names.append(child.weight.name)
    block.apply(visit)
    return list(dict.fromkeys(names))


def select(weights, names):
    """Those of `names` that `weights` means: a list of names, or a regular expression that matches whole names."""
    if isinstance(weights, str):
        return [name for name in names if re.fullmatch(weights, name)]
    return [name for name in names if name in set(weights)]


def weight_values(source, weights=None):
    """{name: NDArray} of the weights of `source`: a bound Module, a gluon Block, or a dict of parameters.

    weights: names or a regular expression; by default those that Q layers quantize, and for a dict those that end in
    _weight. Values of a Module are those on its first device.
    """
    if isinstance(source, mx.gluon.Block):
        values = {name: parameter.data() for name, parameter in source.collect_params().items()}
        default = quantized_weights(source) if weights is None else ()
    elif isinstance(source, dict):
        values, default = source, ".*_weight"
    else:
        values = source._exec_group.execs[0].arg_dict
        default = quantized_weights(source.symbol) if weights is None else ()
    return {name: values[name] for name in select(default if weights is None else weights, values)}
