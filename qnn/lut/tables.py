"""Tables of a trained network: wiring and truth tables of its layers, and the end of learned connections.

    for layer in table_layers(symbol): wiring_of(layer, params), tables_of(layer, params)
    symbol, args, auxs = harden(symbol, args, auxs)        scores become connections
"""
import numpy as np

from .. import backend
from ..graph import Graph

NATIVE = "_qnn_lut"


def is_table_layer(node):
    """True for the last node of a table layer, which the native operator is."""
    return node.op == NATIVE and "__qnn_op__" in node.attrs


def table_layers(graph):
    """Nodes of the table layers of a qnn.graph.Graph, inputs first."""
    return [node for node in graph.nodes() if is_table_layer(node)]


def gives_bits(node, has_bits):
    """True for a table layer whose outputs are bits: binarized ones, and binarized tables without BatchNorm, which read
    the entry itself where their inputs are bits. has_bits: the inputs of the network's first layer are bits."""
    mark = node.attrs
    if mark.get("binarize", mark.get("__qnn_binarize__")) == "True":
        return True
    return has_bits and mark.get("lut_binarize") == "True" and mark.get("input") in ("real", "hard") and mark.get(
        "batch_norm", "False") == "False"


def source_of(node, index):
    """Name of the variable behind input `index` of a node, past identity, BlockGrad and their like."""
    source = node.inputs[index][0]
    while not source.is_variable:
        source = source.inputs[0][0]
    return source.name


def scores_of(node):
    """Name of the scores of learned connections, or None. The selection is the data input of the operator."""
    if node.attrs.get("__qnn_connection__") != "learned":
        return None
    onehot = node.inputs[0][0].inputs[1][0]
    return source_of(onehot, 0)


def wiring_of(node, params):
    """(num_nodes, n) int64: the inputs that the layer's nodes read. params: {name: array}, arguments and states."""
    connections = array_of(params, source_of(node, 2)).astype(np.int64)
    scores = scores_of(node)
    return connections if scores is None else array_of(params, scores).argmax(1).astype(np.int64)[connections]


def tables_of(node, params):
    """(num_nodes,) uint64 truth tables of a layer, BatchNorm's moving statistics included: what inference computes.

    Raises ValueError for MicroMlp, whose table is computed by the graph: evaluate input 1 of the node and give it as
    params[node.name + "_computed"].
    """
    attrs = node.attrs
    name = node.name + "_computed" if attrs["__qnn_op__"] == "MicroMlp" else source_of(node, 1)
    if name not in params:
        raise ValueError("%s '%s': params have no %s" % (attrs["__qnn_op__"], node.name, name))
    is_normal = attrs.get("batch_norm") == "True"
    mean, var = (array_of(params, source_of(node, i)) if is_normal else None for i in (4, 5))
    return backend.lut_tables(array_of(params, name), attrs.get("input", "smooth"), is_normal,
                              attrs.get("lut_binarize") == "True", attrs.get("clip_weight") == "True",
                              float(attrs.get("gamma", 0.3)), float(attrs.get("beta", 0.5)), mean, var)


def array_of(params, name):
    """A parameter, NDArray or numpy array, as float32."""
    value = params[name]
    return np.asarray(value.asnumpy() if hasattr(value, "asnumpy") else value, np.float32)


def harden(symbol, arg_params, aux_params):
    """Ends learned connections: the graph reads its inputs directly, connections are the winners of the scores, which
    are gone. The same numbers, without the products. Returns (symbol, arg_params, aux_params), new ones."""
    import mxnet as mx
    graph = Graph.from_json(symbol.tojson())
    args, auxs = dict(arg_params), dict(aux_params)
    for node in table_layers(graph):
        scores = scores_of(node)
        if scores is None:
            continue
        wiring = wiring_of(node, {**args, **auxs})
        auxs[source_of(node, 2)] = mx.nd.array(wiring)
        del args[scores]
        product = node.inputs[0][0]
        node.inputs[0] = product.inputs[0]
        node.attrs.update(in_nodes=node.attrs["__qnn_in_units__"], __qnn_connection__="given")
    return mx.sym.load_json(graph.to_json()), args, auxs
