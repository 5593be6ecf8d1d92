"""PackWeights: every layer whose data and weights are integers becomes native operators on packed bits: one for 1-bit
data and weights, a packing and products for codes of several bits."""
import numpy as np

from qnn import backend, bits, reference
from qnn.codes import scale_of
from qnn.graph import Node
from qnn.packing import packing_key, why_float
from qnn.q_layers import find_layers

from .. import plane_layers

OPERATORS = {"QConvolution": "_qnn_packed_convolution", "QFullyConnected": "_qnn_packed_fully_connected"}
ATTRIBUTES = {"QConvolution": ("kernel", "num_filter", "stride", "dilate", "pad", "num_group", "pad_value",
                               "no_offset"),
              "QFullyConnected": ("num_hidden", "flatten", "no_offset")}
WEIGHTED = ("Convolution", "Deconvolution", "FullyConnected")


def pack(weight, options):
    """Float weights (F, C/g, kh, kw) or (F, K) -> int64 panels, one-dimensional (see qnn/bits.py)."""
    is_convolution = options.op == "QConvolution"
    rows = reference.pack_filters(weight) if is_convolution else backend.pack_rows(weight)
    return bits.rows_to_panels(rows, options.num_group if is_convolution else 1).view(np.int64)


class PackWeights:
    """QConvolution / QFullyConnected of signs -> _qnn_packed_convolution / _qnn_packed_fully_connected; of codes of
    several bits -> the operators of plane_layers.py."""

    name = "pack_weights"

    def apply(self, model):
        layers = {layer.node: layer for layer in find_layers(model.graph) if layer.op in OPERATORS}
        reasons = {node: _why_float(model, layer) for node, layer in layers.items()}
        planes = {node: _planes(model, layer) for node, layer in layers.items()
                  if reasons[node] is None and not layer.options.is_one_bit}
        reasons.update((node, plane.why) for node, plane in planes.items())
        packable = [layer for node, layer in layers.items() if reasons[node] is None]
        names = _names(model.graph, packable)
        variables, flattened = {}, {}
        for node in model.graph.nodes():
            if node not in layers:
                _report_float(model, node)
                continue
            layer, options = layers[node], layers[node].options
            float_bytes = packed_bytes = _bytes(model, layer.inputs["weight"][0])
            note = ""
            if reasons[node] is None and node in planes:
                note = planes[node].note
                packed_bytes = plane_layers.replace(model, planes[node], names[node], variables, flattened)
            elif reasons[node] is None:
                packed_bytes = self._replace(model, layer, variables, names[node])
            model.report.add(layer.name, layer.op, options.act_bit, options.weight_bit, float_bytes, packed_bytes,
                             reasons[node], note)
        return len(packable)

    def _replace(self, model, layer, variables, name):
        """Puts the packed operator in the layer's place; returns the bytes of its weights and scale."""
        options = layer.options
        attrs = {key: str(getattr(options, key)) for key in ATTRIBUTES[layer.op]}
        attrs.update({k: v for k, v in layer.node.attrs.items() if k.startswith("__") and not k.startswith("__qnn_")})
        weight = model.parameter(layer.inputs["weight"][0].name, layer)
        attrs["__channels__"] = str(weight.shape[1] * getattr(options, "num_group", 1))  # words do not tell it
        values = {name: pack(weight, options)}
        if options.scaling != "none":
            attrs["has_scale"] = "True"
            values[model.free_name(layer.name + "_scale")] = scale_of(weight, options.scaling)
        inputs = [layer.inputs["data"]]
        for key, value in values.items():
            if key not in variables:
                variables[key] = model.variable(key, value, is_derived=True)
            inputs.append((variables[key], 0))
        if not options.no_bias:
            attrs["has_bias"] = "True"
            inputs.append(layer.inputs["bias"])
        model.graph.replace((layer.node, 0), (Node(OPERATORS[layer.op], layer.name, attrs, inputs), 0))
        return sum(value.nbytes for value in values.values())


def _why_float(model, layer):
    return why_float(layer, lambda variable: model.parameter(variable.name, layer).shape)


def _planes(model, layer):
    return plane_layers.plane_layer(model, layer, model.parameter(layer.inputs["weight"][0].name, layer))


def _names(graph, layers):
    """Names of the packed weights: the weight's own where only packed layers of one packing read it, else with a
    suffix."""
    readers = graph.consumers()
    packings = {}
    for layer in layers:
        packings.setdefault(layer.inputs["weight"][0], {}).setdefault(packing_key(layer), []).append(layer)
    names = {}
    for weight, groups in packings.items():
        read_here = sum(map(len, groups.values()))
        is_ours = read_here == len(readers[weight])
        for number, group in enumerate(groups.values()):
            suffix = "" if is_ours and number == 0 else "_packed" + (str(number + 1) if number else "")
            names.update({layer.node: weight.name + suffix for layer in group})
    return names


def _bytes(model, variable):
    return model.arg_params[variable.name].nbytes if variable.name in model.arg_params else 0


def _report_float(model, node):
    """Lists an ordinary layer with weights, which stays as it is."""
    if node.op in WEIGHTED and "__qnn_layer__" not in node.attrs and len(node.inputs) > 1:
        size = _bytes(model, node.inputs[1][0])
        model.report.add(node.name, node.op, 32, 32, size, size, "not a Q layer")
