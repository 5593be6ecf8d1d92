"""Load LUT: a trained graph of table layers becomes a LutNetwork, with exactly equal outputs.

    RealToBinary - DifferentiableLut - ... - AverageLut - BinaryToReal or GroupSum - anything of MXNet
      ->  _qnn_lut_network (counts) - division - the same rest

Tables absorb BatchNorm and thresholds; qnn.lut.tables decides them by the arithmetic of the layers themselves.
"""
import numpy as np

from qnn import lut_files
from qnn.graph import Graph, Node, entrances
from qnn.lut_network import Encoder, LutNetwork

from .logic.lower_head import table_of

PASSED = ("identity", "_copy", "Flatten", "flatten", "BlockGrad", "stop_gradient")
MAJORITIES = ("AverageLut", "MaxLut")
HEADS = ("BinaryToReal", "GroupSum", "Reduce")


def table_nodes(graph):
    """The table layers of a qnn.graph.Graph, inputs first."""
    return [node for node in graph.nodes() if node.op == "_qnn_lut" or node.attrs.get("__qnn_op__") in MAJORITIES]


def load_lut(graph, params):
    """(LutNetwork, entry of `graph` that the counts replace, divisors of the counts).

    params: {name: array}, arguments and states. Raises ValueError naming the layer that cannot be exported.
    """
    head = find_head(graph)
    entry, tables, encoder = entrances(head)["data"].inputs[0], [], None
    while True:
        node = skip(entry)
        if node.op == "_qnn_lut" or node.attrs.get("__qnn_op__") in MAJORITIES:
            connections, table, entry = table_layer(node, params)
            tables.insert(0, (connections, table))
            in_units = int(node.attrs["__qnn_in_units__"])
        elif node.op == "_qnn_thermometer":
            encoder = thermometer(node, params, in_units)
            entry = entrances(node)["data"].inputs[0]
        elif node.is_variable:
            break
        else:
            raise ValueError("convert: operator %s '%s' stands among table layers and is no table"
                             % (node.attrs.get("__qnn_op__", node.op), node.name))
    if not tables:
        raise ValueError("convert: '%s' has no table layer before it" % head.name)
    groups, divisors = head_groups(head, len(tables[-1][1]), encoder.num_frames if encoder else 1)
    return LutNetwork.chain(in_units, tables, groups=groups, encoder=encoder), (head, 0), divisors


def find_head(graph):
    """The layer that counts bits. Raises ValueError."""
    found = [node for node in graph.nodes() if node.attrs.get("__qnn_op__") in HEADS]
    if len(found) != 1:
        raise ValueError("convert: a network of table layers has one of %s behind them, got %d"
                         % (", ".join(HEADS), len(found)))
    return found[0]


def skip(entry):
    """The node behind identities and flattenings."""
    node = entry[0]
    while node.op in PASSED and "__qnn_op__" not in node.attrs:
        node = node.inputs[0][0]
    return node


def table_layer(node, params):
    """(connections (nodes, n), tables (nodes,), entry of the data) of one layer."""
    from qnn.lut import tables as trained
    op, mark = node.attrs["__qnn_op__"], node.attrs
    if mark.get("binarize", mark.get("__qnn_binarize__")) != "True":
        raise ValueError("convert: %s '%s' has real outputs, binarize=False; only bits become tables" % (op, node.name))
    if mark.get("__qnn_flatten__", "True") != "True":
        raise ValueError("convert: %s '%s' is part of a convolution, whose tables are shared by pixels; such layers "
                         "are not converted yet" % (op, node.name))
    if node.op == "_qnn_lut":
        entry = node.inputs[0]
        if trained.scores_of(node) is not None:
            entry = entry[0].inputs[0]
        return trained.wiring_of(node, params), trained.tables_of(node, params), entry
    nodes, n, in_units = (int(mark["__qnn_%s__" % key]) for key in ("num_nodes", "n", "in_units"))
    inner = entrances(node)
    if "connections" in inner:
        connections = np.asarray(params[skip((inner["connections"], 0)).name]).astype(np.int64)
    else:
        connections = np.arange(nodes * n).reshape(nodes, n) % in_units
    table = table_of(n, (lambda *x: 2 * sum(x) > n) if op == "AverageLut" else (lambda *x: any(x)))
    return connections, np.full(nodes, table, np.uint64), inner["data"].inputs[0]


def thermometer(node, params, in_units):
    """The Encoder of a RealToBinary layer whose bits are c * depth + d."""
    name = node.inputs[1][0].name
    thresholds = np.asarray(params[name], np.float32)
    frames, channels, depth = thresholds.shape
    count = in_units // depth
    thresholds = np.broadcast_to(thresholds, (frames, count, depth)) if channels == 1 else thresholds
    if thresholds.shape[1] * depth != in_units:
        raise ValueError("convert: RealToBinary '%s' makes %d bits of each of %d channels, the layer behind it reads %d"
                         % (node.name, depth, channels, in_units))
    return Encoder(count, np.repeat(np.arange(count), depth), thresholds.reshape(frames, -1))


def head_groups(head, nodes, frames):
    """(score of each node, divisors of the counts, one after the other). Raises ValueError where they would round
    differently from the layer."""
    mark, op = head.attrs, head.attrs["__qnn_op__"]
    if op == "GroupSum":
        if frames > 1:
            raise ValueError("convert: GroupSum '%s' stands before the mean over %d frames" % (head.name, frames))
        classes = int(mark["__qnn_num_classes__"])
        return np.arange(nodes) // (nodes // classes), [float(mark["__qnn_temperature__"])]
    depth = nodes // int(mark["__qnn_num_nodes__"]) if op == "Reduce" else int(mark["__qnn_depth_integration__"])
    integrated = 1 if op == "Reduce" else int(mark["__qnn_frame_integration__"])
    if integrated != frames:
        raise ValueError("convert: %s '%s' integrates %d frames of %d" % (op, head.name, integrated, frames))
    if depth > 1 and frames & (frames - 1):
        raise ValueError("convert: %s '%s' averages %d nodes of means over %d frames, which round one by one; use a "
                         "power of two, or one node a value" % (op, head.name, depth, frames))
    return np.arange(nodes) % (nodes // depth), [float(d) for d in (frames, depth) if d > 1]


def convert_graph(graph, params, name="lut"):
    """Puts the network into a copy of the graph. Returns (Graph, {new parameter: array}, LutNetwork)."""
    graph = graph.copy()
    network, entry, divisors = load_lut(graph, params)
    source = next(node for node in Graph([entry]).nodes() if node.is_variable and node.name not in params)
    node, arrays = lut_files.operator_node(network, (source, 0), name)
    for number, divisor in enumerate(divisors):
        node = Node("_div_scalar", "%s_mean%d" % (name, number), {"scalar": repr(divisor)}, [(node, 0)])
    graph.replace(entry, (node, 0))
    return graph, arrays, network
