"""Plane layers: a layer of integer codes, from floats to floats, as native operators on bit planes.

    image = _qnn_pack(data, thresholds)                                codes of the data, plane by plane
    y     = _qnn_float_convolution(image, planes of weights) * scale   for every term, added up through `residual`
    y     = y * scale of the layer + bias                              behind, where they do not fit into the only term
"""
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from qnn import bits
from qnn.codes import product_of_scales, scale_of, weight_terms
from qnn.graph import Node
from qnn.packing import code_of_data, why_no_planes

from .passes.tuples import text

GEOMETRY = ("kernel", "stride", "dilate", "pad", "num_group")
FULLY_CONNECTED = {"kernel": (1, 1), "stride": (1, 1), "dilate": (1, 1), "pad": (0, 0), "num_group": 1}


@dataclass
class PlaneLayer:
    """A QLayer as codes. weight: its float array; data: a DataCode; weights: WeightTerms; why: a sentence that says why
    it cannot be packed; note: what the report says of it if it is."""

    layer: Any
    weight: np.ndarray
    data: Any
    weights: Any
    why: Optional[str] = None
    note: str = ""


def plane_layer(model, layer, weight):
    """The PlaneLayer of a QLayer with the float array `weight`."""
    data, is_read = code_of_data(layer, model.trained)
    weights = weight_terms(layer.options.weight_quantizer, weight, model.trained(layer, "weight"))
    note = "reads the codes of its QActivation: equal up to rounding" if is_read else ""
    return PlaneLayer(layer, weight, data, weights,
                      why_no_planes(layer.options, data, weights, int(np.prod(weight.shape[1:]))), note)


# ---- the nodes -------------------------------------------------------------------------------------------------------


def replace(model, plane, name, variables, flattened):
    """Puts native operators in the place of a PlaneLayer. name: of the packed weights; variables: {name: node} and
    flattened: {entry: entry} of what other layers have made already. Returns the bytes of weights and scales."""
    layer, data = plane.layer, plane.data
    geometry = _geometry(layer.options)
    source = layer.inputs["data"]
    if layer.op == "QFullyConnected" and source[0].op != "Flatten":
        source = flattened.setdefault(source, (Node("Flatten", layer.name + "_flatten", {}, [source]), 0))
    image, total, size = _image(model, plane, source, geometry), None, 0
    products = [(planes, term, product_of_scales(scale, term.scale))
                for planes, scale in zip(data.term_planes, data.scales()) for term in plane.weights]
    stored = [_panels(term, int(geometry["num_group"])) for term in plane.weights]
    panels = {id(term): _variable(model, name if number == 0 else "%s_%d" % (name, number + 1), words, variables)
              for number, (term, words) in enumerate(zip(plane.weights, stored))}
    for number, (planes, term, scale) in enumerate(products, 1):
        node_name = layer.name if number == len(products) else "%s_term%d" % (layer.name, number)
        total = _product(model, plane, geometry, node_name, image, planes, term, panels[id(term)], scale, total), 0
        size += 0 if scale is None else scale.nbytes
    model.graph.replace((layer.node, 0), _scale_and_bias(model, plane, total, is_single=len(products) == 1))
    return size + sum(words.nbytes for words in stored)


def _variable(model, name, value, variables):
    if name not in variables:
        variables[name] = model.variable(name, value)
    return variables[name]


def _geometry(options):
    if options.op == "QFullyConnected":
        values = {**FULLY_CONNECTED, "num_filter": options.num_hidden, "pad_value": 0}
    else:
        values = {key: getattr(options, key) for key in GEOMETRY}
        values.update(num_filter=options.num_filter, pad_value=options.border)
    return {key: text(value) if isinstance(value, tuple) else str(value) for key, value in values.items()}


def _image(model, plane, source, geometry):
    data, name = plane.data, plane.layer.name + "_pack"
    attrs = {"layout": "NCHW", **{key: geometry[key] for key in ("pad", "pad_value", "num_group")}}
    inputs = [source]
    if not data.quantizer.is_sign:
        attrs.update(has_threshold="True", planes=str(data.planes), code=data.code)
        inputs += model.thresholds_of(data, plane.layer.name)
    node = Node("_qnn_pack", name, attrs, inputs)
    model.data_codes[node] = data
    return node, 0


def _panels(term, num_group):
    """int64 panels of all planes, one behind the other."""
    return np.concatenate([bits.rows_to_panels(rows, num_group) for rows in term.rows()]).view(np.int64)


def _product(model, plane, geometry, name, image, planes, term, panels, scale, total):
    """The _qnn_float_convolution of one term; planes: (first, number) of its data; total: what it is added to."""
    layer, data = plane.layer, plane.data
    first, count = planes
    channels = plane.weight.shape[1] * int(geometry["num_group"])
    attrs = {**geometry, "channels": str(channels), "image_pad": geometry["pad"], "layout": "NCHW",
             "no_offset": "True", "act_planes": str(count), "act_code": data.code, "weight_planes": str(term.planes),
             "weight_code": term.code, "__act_bit__": str(data.planes), "__weight_bit__": str(layer.options.weight_bit)}
    if name != layer.name:
        attrs["__part_of__"] = layer.name
    if count != data.planes:
        attrs["plane"] = str(first)
    if layer.op == "QFullyConnected":
        attrs["flatten"] = "True"
    inputs = [image, (panels, 0)]
    offset = term.offset(data.code, count)
    if offset is not None:
        inputs.append(model.entry(name + "_offset", offset, is_derived=True))
    if scale is not None:
        attrs["has_scale"] = "True"
        inputs.append(model.entry(name + "_scale", scale, is_derived=True))
    if total is not None:
        attrs["has_residual"] = "True"
        inputs.append(total)
    node = Node("_qnn_float_convolution", name, attrs, inputs)
    model.plane_terms[node] = data, term
    return node


def _scale_and_bias(model, plane, total, is_single):
    """What the layer does behind its products: in the operator's own scale and bias where it has one term, and where
    they come in that order; else by MXNet's operators."""
    layer, options, node = plane.layer, plane.layer.options, total[0]
    shape = (1, -1) if layer.op == "QFullyConnected" else (1, -1, 1, 1)
    is_inside = is_single
    if options.scaling != "none":
        scale = scale_of(plane.weight, options.scaling)
        if is_single and "has_scale" not in node.attrs:
            node.attrs["has_scale"] = "True"
            node.inputs.append(model.entry(layer.name + "_scale", scale, is_derived=True))
        else:
            is_inside = False
            factor = model.entry(layer.name + "_scale", scale.reshape(shape), is_derived=True)
            total = Node("broadcast_mul", layer.name + "_scaled", {}, [total, factor]), 0
    if not options.no_bias:
        bias = layer.inputs["bias"]
        if is_inside:
            node.attrs["has_bias"] = "True"
            node.inputs.append(bias)
        else:
            bias = Node("Reshape", layer.name + "_bias_row", {"shape": text(shape)}, [bias]), 0
            total = Node("broadcast_add", layer.name + "_biased", {}, [total, bias]), 0
    return total
