"""Files of LUT networks: an ordinary MXNet checkpoint whose graph holds one operator, _qnn_lut_network.

    save(network, "out/net", 4)   ->   out/net-symbol.json, out/net-0004.params
    load("out/net", 4)            ->   LutNetwork; reads both strictly, without MXNet

Parameters: lut_connections int32 (nodes, 6), -1 behind the last input; lut_tables int64; lut_outputs int32; lut_starts
int32 (scores + 1,); lut_features int32 (bits,); lut_thresholds float32 (frames, bits). Attributes: layers (nodes of
each), num_features, unit, has_encoder, has_head. Without an encoder the operator takes x > 0.5 as bits, which fits 0/1
and -1/+1. A network of images has its LutNetwork.plan in __qnn_plan__, as JSON.
"""
import json

import numpy as np

from .files import FileFormatError, dump_params, load_params, write_atomically
from .graph import Graph, Node
from .lut_network import Encoder, LutLayer, LutNetwork

OPERATOR = "_qnn_lut_network"
DTYPES = {"connections": "int32", "tables": "int64", "outputs": "int32", "starts": "int32", "features": "int32",
          "thresholds": "float32"}
CODES = {"float32": "0", "int32": "4", "int64": "6"}
PLAN = "__qnn_plan__"
AXES = {"connections": 2, "thresholds": 2}


def operator_arrays(network):
    """{input of the operator: array} of a network."""
    if not network.num_nodes:
        raise ValueError("LutNetwork: a network without nodes cannot be saved")
    encoder = network.encoder or Encoder(network.num_inputs, np.arange(network.num_inputs),
                                         np.full((network.num_frames, network.num_inputs), 0.5))
    arrays = {**network.arrays, "features": encoder.features, "thresholds": encoder.thresholds}
    arrays["tables"] = arrays["tables"].view(np.int64)
    return {name: arrays[name] for name in DTYPES}


def operator_node(network, data, name="lut"):
    """(the operator's Node on entry `data`, {parameter name: array})."""
    arrays = operator_arrays(network)
    params = {"%s_%s" % (name, key): array for key, array in arrays.items()}
    variables = [(Node("null", key, {"__shape__": str(array.shape), "__dtype__": CODES[str(array.dtype)]}), 0)
                 for key, array in params.items()]
    attrs = {"layers": str(tuple(len(layer) for layer in network.layers)),
             "unit": repr(float(network.encoder.unit if network.encoder else 1.0)),
             "num_features": str(network.num_features), "has_encoder": str(network.encoder is not None),
             "has_head": str(network.groups is not None)}
    if network.plan:
        attrs[PLAN] = json.dumps(network.plan)
    return Node(OPERATOR, name, attrs, [data] + variables), params


def paths(prefix, epoch):
    """The two files of a checkpoint, as qnn.checkpoint.paths."""
    return "%s-symbol.json" % prefix, "%s-%04d.params" % (prefix, epoch)


def save(network, prefix, epoch=0):
    """Writes both files, or none; returns their paths. Raises OSError, ValueError."""
    node, params = operator_node(network, (Node("null", "data"), 0))
    symbol_path, params_path = paths(prefix, epoch)
    write_atomically({symbol_path: Graph([(node, 0)]).to_json().encode("utf-8"),
                      params_path: dump_params({"arg:" + name: array for name, array in params.items()})})
    return [symbol_path, params_path]


def load(prefix, epoch=0):
    """Reads the LUT network of a checkpoint. Raises OSError, or ValueError naming the file and what is wrong."""
    symbol_path, params_path = paths(prefix, epoch)
    graph = Graph.load(symbol_path)
    params = {name.partition(":")[2]: array for name, array in load_params(params_path).items()}
    return from_graph(graph, params, symbol_path, params_path)


def from_graph(graph, params, symbol_path="the symbol", params_path="the parameters"):
    """The LutNetwork of the one operator of a graph. params: {name: array}. Raises ValueError."""
    found = [node for node in graph.nodes() if node.op == OPERATOR]
    if len(found) != 1:
        raise FileFormatError("%s: one operator %s is expected, got %d" % (symbol_path, OPERATOR, len(found)))
    node, = found
    if len(node.inputs) != 1 + len(DTYPES):
        raise FileFormatError("%s: operator '%s' has %d inputs, expected %d"
                              % (symbol_path, node.name, len(node.inputs), 1 + len(DTYPES)))
    arrays = {}
    for (source, _), (key, dtype) in zip(node.inputs[1:], DTYPES.items()):
        if source.name not in params:
            raise FileFormatError("%s: parameter '%s' of %s is missing" % (params_path, source.name, symbol_path))
        array = params[source.name]
        if str(array.dtype) != dtype or array.ndim != AXES.get(key, 1):
            raise FileFormatError("%s: parameter '%s' is %s of %d dimensions, expected %s of %d" % (
                params_path, source.name, array.dtype, array.ndim, dtype, AXES.get(key, 1)))
        arrays[key] = array
    try:
        return from_arrays(arrays, node.attrs)
    except ValueError as error:
        raise FileFormatError("%s: %s" % (params_path, error)) from None


def from_arrays(arrays, attrs):
    """The LutNetwork of the operator's inputs and attributes."""
    sizes = [int(part) for part in attrs.get("layers", "").strip("()[] ").split(",") if part.strip()]
    ends = np.cumsum(sizes)
    if not sizes or min(sizes) < 1 or ends[-1] != len(arrays["tables"]):
        raise ValueError("layers %s are not the %d nodes" % (attrs.get("layers"), len(arrays["tables"])))
    tables = arrays["tables"].view(np.uint64)
    layers = [LutLayer(connections, part) for connections, part in zip(
        np.split(arrays["connections"], ends[:-1]), np.split(tables, ends[:-1]))]
    features, thresholds, starts = arrays["features"], arrays["thresholds"], arrays["starts"]
    counts = np.diff(starts)
    if len(starts) < 2 or starts[0] != 0 or starts[-1] != len(arrays["outputs"]) or (counts < 0).any():
        raise ValueError("starts of scores do not rise from 0 to the %d outputs" % len(arrays["outputs"]))
    has_encoder, has_head = attrs.get("has_encoder") == "True", attrs.get("has_head") == "True"
    num_features, unit = int(attrs.get("num_features", len(features))), float(attrs.get("unit", 255))
    encoder = Encoder(num_features, features, thresholds, unit)
    return LutNetwork(len(features), layers, arrays["outputs"],
                      np.repeat(np.arange(len(counts)), counts) if has_head else None,
                      encoder if has_encoder else None, len(counts), len(thresholds),
                      json.loads(attrs[PLAN]) if PLAN in attrs else None)

