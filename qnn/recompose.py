"""Recompose: a saved symbol with its Q layers composed as they are on this machine.

    symbol, arg_params, aux_params = mx.model.load_checkpoint("out/net", 7)
    module = mx.mod.Module(qnn.recompose(symbol))

A QConvolution is composed of `_qnn_convolution` where tiles of bfloat16 multiply, else of MXNet's Convolution
(qnn/layers.py): a symbol of one machine gives the same outputs on the other, more slowly.
"""
from dataclasses import fields

import mxnet as mx

from . import layers
from . import symbol as operators
from .graph import Graph, splice_layer
from .options import ConvolutionOptions
from .q_layers import find_layers


def recompose(symbol):
    """The Symbol with every QConvolution composed as qnn.sym.QConvolution does it here: the same names, parameters and
    outputs; gradients differ in the order of their sums. Raises ValueError naming a layer whose marks are damaged."""
    graph = Graph.from_json(symbol.tojson())
    old = [layer for layer in find_layers(graph) if isinstance(layer.options, ConvolutionOptions)
           and _has_tiles(layer) != layers.takes_tiles(layer.options, layers.is_native())]
    for layer in old:
        _compose_anew(graph, layer)
    return mx.sym.load_json(graph.to_json()) if old else symbol


def _has_tiles(layer):
    """True where the layer is composed of _qnn_convolution."""
    mark = layer.node.attrs["__qnn_layer__"]
    return any(node.op == "_qnn_convolution" and node.attrs.get("__qnn_layer__") == mark
               for node in Graph([(layer.node, 0)]).nodes())


def _compose_anew(graph, layer):
    """Splices the layer in, built by qnn.sym itself on placeholder variables."""
    options = {field.name: getattr(layer.options, field.name) for field in fields(layer.options)}
    with mx.name.NameManager():  # an enclosing Prefix must not rename layers
        composed = operators.QConvolution(**{role: mx.sym.Variable(role) for role in layer.inputs}, **options)
    replacement = Graph.from_json(composed.tojson())
    for node in replacement.nodes():
        node.attrs["__qnn_layer__"] = layer.node.attrs["__qnn_layer__"]
    splice_layer(graph, layer.node, replacement, layer.inputs)
