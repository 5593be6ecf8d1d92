"""Fuse: a training graph of table layers that moves less memory: the same parameters, the same outputs, bit for bit.

    module = mx.mod.Module(qnn.lut.fuse(symbol))

    Columns - table layer          ->  the table layer reads the windows of the image itself
    table layer - AverageLut       ->  the table layer gives means or majorities of its neighbours

A lowered image is kh kw times as large as the image, and the nodes are n times as many as their means; both are only
passed on. Gradients of pixels add up in another order. What converts, and what is saved, is the symbol itself.
"""
import mxnet as mx

from ..graph import Graph
from .tables import NATIVE

PASSED = ("_copy", "identity")


def fuse(symbol):
    """The mx.sym.Symbol with its table layers fused to what stands around them, where nothing else reads what is
    between; others stay as they are. Arguments, states and outputs keep their names and shapes."""
    graph = Graph.from_json(symbol.tojson())
    readers = graph.consumers()
    for node in [node for node in graph.nodes() if node.op == NATIVE]:
        _take_windows(node)
        _take_means(graph, node, readers)
    return mx.sym.load_json(graph.to_json())


def _source(entry):
    """The entry behind identities."""
    while entry[0].op in PASSED:
        entry = entry[0].inputs[0]
    return entry


def _take_windows(node):
    columns, _ = _source(node.inputs[0])
    if columns.attrs.get("__qnn_op__") != "Columns":
        return
    lowered = columns.inputs[0][0]
    node.attrs.update(kernel=lowered.attrs["kernel"], stride=lowered.attrs["stride"])
    node.inputs[0] = lowered.inputs[0]


def _take_means(graph, node, readers):
    """readers: of the graph as it was, which is what nodes behind table layers still are."""
    reader = _only_reader(node, 0, readers)
    while reader is not None and reader.op in PASSED:
        reader = _only_reader(reader, 0, readers)
    if reader is None or reader.op != "_qnn_mean_of_groups":
        return
    has_bits = reader.attrs.get("binarize_input") == "True"
    is_majority = reader.attrs.get("binarize") == "True"
    if is_majority and has_bits and node.attrs.get("binarize") != "True":
        return
    node.attrs.update(group=reader.attrs["n"], is_majority=str(is_majority))
    graph.replace((reader, 0), (node, 0))


def _only_reader(node, index, readers):
    """The one node that reads output `index`, or None."""
    found = [reader for reader, position in readers[node] if reader is None or reader.inputs[position][1] == index]
    return found[0] if len(found) == 1 else None
