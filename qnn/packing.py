"""Packing: which Q layers run on packed bits, and on which codes. The converter packs by these functions, and the
summary counts by them.

    data and weights of signs       panels of signs, one native operator
    other codes of 1..8 bits        planes of bits, thresholds for the data, a product for every pair of terms
    the rest                        stays float; a sentence says why

`trained(layer, side)` gives the arrays of what a quantizer trains, in order.
"""
from math import prod

from . import bits, reference_planes
from .codes import data_code
from .q_layers import layer_of

PASSING = ("_copy", "Dropout", "Flatten")  # codes of a QActivation come through, as they do through max-pooling


def why_float(layer, shape_of):
    """Why a QLayer cannot be packed, whatever its codes, as a sentence; None where it can. shape_of(variable): shape of
    its weights."""
    if layer.options.scaling == "xnor":
        return "scaling='xnor' multiplies by a map of float data"
    if layer.op == "QConvolution" and len(layer.options.kernel) != 2:
        return "a %d-D convolution: only 2-D ones are packed" % len(layer.options.kernel)
    weight, _ = layer.inputs["weight"]
    if not weight.is_variable:
        return "its weights are computed by the graph"
    fan_in = prod(shape_of(weight)[1:])
    if fan_in > bits.MAX_K // 2:
        return "fan-in %d is beyond what float32 counts exactly" % fan_in
    return None


def why_no_planes(options, data, weights, fan_in):
    """Why a layer that is not of signs on both sides cannot run on planes; None where it can. data: a DataCode or None;
    weights: WeightTerms or None."""
    if data is None or weights is None:
        side, quantizer = ("data", options.act_quantizer) if data is None else ("weights", options.weight_quantizer)
        return "its %s (%s) have no integer codes of 1..8 bits" % (side, quantizer)
    if getattr(options, "flatten", True) is False:
        return "flatten=False: only (N, K) data is packed"
    most = max(reference_planes.largest_accum(fan_in, data.term_planes[0][1], term.planes) for term in weights)
    if most > bits.MAX_K:
        return "fan-in %d of such codes is beyond what float32 counts exactly" % fan_in
    return None


def code_of_data(layer, trained):
    """(DataCode or None, is_read) of the data of a layer. is_read: they are the codes of its QActivation, as the layer
    itself has 32-bit data."""
    options = layer.options
    code = data_code(options.act_quantizer, trained(layer, "act"))
    is_read = code is None and options.act_bit == 32
    return (_code_of_activation(layer.inputs["data"], trained) if is_read else code), is_read


def _code_of_activation(entry, trained):
    """The DataCode of the QActivation that gives `entry`, or None."""
    node = entry[0]
    while node.op in PASSING and "__qnn_op__" not in node.attrs:
        node = node.inputs[0][0]
        if node.op == "Pooling" and node.attrs.get("pool_type", "max") == "max":
            node = node.inputs[0][0]
    if node.attrs.get("__qnn_op__") != "QActivation":
        return None
    activation = layer_of(node)
    code = data_code(activation.options.act_quantizer, trained(activation, "act"))
    return code if code is not None and code.is_idempotent else None


def packing_key(layer):
    """What tells packed weights of one array apart: layers of equal keys share them."""
    options = layer.options
    return layer.op, getattr(options, "num_group", 1), options.is_one_bit, str(options.weight_quantizer)
