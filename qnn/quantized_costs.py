"""Quantized costs: what a Q layer of a training graph costs; bytes_packed is what `qnn convert --no-fuse` stores of it.

    1-bit layer     num_filter * kernel_h * kernel_w * ceil(C/group/64) words, a float per scale
    other codes     as many words for every plane of the weights, and one plane more for masked ones (qnn/codes.py);
                    an offset per filter and a scale for every product; 2^planes - 1 thresholds and a word of flips,
                    once for all layers of equal data codes
    float layers    float32
"""
from math import prod

import numpy as np

from .bits import words_for
from .codes import data_code, product_of_scales, weight_terms
from .costs import FLOAT_BYTES, WORD_BYTES, Cost
from .packing import PASSING, code_of_data, packing_key, why_float, why_no_planes
from .q_layers import layer_of
from .quantizers_base import MAX


def cost_of_q_layer(node, ledger):
    """The Cost of a Q layer, given its last node."""
    layer = layer_of(node)
    if layer.op == "QActivation":
        return _activation(layer, ledger)
    options, inputs = layer.options, layer.inputs
    cost = Cost(layer.op, options.act_bit, options.weight_bit)
    data, weights = plane_codes(layer, ledger)
    is_packed = data is not None or is_packed_signs(layer, ledger)
    if data is not None:
        cost.act_bit = data.planes
    shape = ledger.shape(inputs["weight"])
    cost.add_macs(prod(ledger.shapes[node][0]) * prod(shape[1:]))
    ledger.add_params(cost, inputs["weight"], options.weight_bit)
    trained = [entry for role, entry in inputs.items() if role not in ("data", "weight", "bias")]
    if not is_packed:
        ledger.add_bytes(cost, inputs["weight"])
        ledger.keep(cost, trained)
    for entry in trained:
        ledger.add_params(cost, entry)
    if is_packed:
        _add_panels(cost, layer, shape, weights, ledger)
        cost.bytes_packed += {"layer": 1, "filter": shape[0]}.get(options.scaling, 0) * FLOAT_BYTES
    if data is not None:
        _add_products(cost, shape[0], data, weights, ledger)
    if "bias" in inputs:
        ledger.keep(cost, [inputs["bias"]])
    return cost


def is_packed_signs(layer, ledger):
    """True for a layer of signs on both sides that runs on packed bits."""
    return layer.options.is_one_bit and why_float(layer, lambda variable: ledger.shape((variable, 0))) is None


def plane_codes(layer, ledger):
    """(DataCode, WeightTerms) of a layer that runs on planes of bits; (None, None) for others. Weights whose values are
    not known are taken to need all their planes."""
    if layer.options.is_one_bit or why_float(layer, lambda variable: ledger.shape((variable, 0))) is not None:
        return None, None
    entry = layer.inputs["weight"]
    data, _ = code_of_data(layer, ledger.trained)
    quantizer, weight = layer.options.weight_quantizer, None
    if quantizer.code == "signed":  # the other codes tell their planes
        weight = ledger.array(entry[0].name)
    weight = np.full((1, 1), -MAX, np.float32) if weight is None else weight
    weights = weight_terms(quantizer, weight, ledger.trained(layer, "weight"))
    why = why_no_planes(layer.options, data, weights, prod(ledger.shape(entry)[1:]))
    return (data, weights) if why is None else (None, None)


def _add_panels(cost, layer, shape, weights, ledger):
    words = shape[0] * prod(shape[2:]) * words_for(shape[1])
    planes = 1 if weights is None else sum(term.planes + (term.code == "masked") for term in weights)
    if ledger.is_first("panels", layer.inputs["weight"], packing_key(layer)):
        cost.bytes_packed += planes * words * WORD_BYTES


def _add_products(cost, filters, data, weights, ledger):
    """Offsets and scales of the products, thresholds of the data."""
    for scale in data.scales():
        for term in weights:
            has_offset = not data.code == term.code == "bipolar"
            has_scale = product_of_scales(scale, term.scale) is not None
            cost.bytes_packed += (has_offset * filters + has_scale) * FLOAT_BYTES
    if not data.quantizer.is_sign and ledger.is_first("thresholds", data):
        cost.bytes_packed += data.levels * FLOAT_BYTES + WORD_BYTES


def _activation(layer, ledger):
    """What a QActivation trains is not stored where packed layers take all its codes themselves."""
    cost = Cost(layer.op, layer.options.act_bit)
    trained = [entry for role, entry in layer.inputs.items() if role != "data"]
    for entry in trained:
        ledger.add_params(cost, entry)
    code = data_code(layer.options.act_quantizer, ledger.trained(layer, "act"))
    if trained and not _is_taken(layer.node, code, ledger):
        ledger.keep(cost, trained)
    return cost


def _is_taken(node, code, ledger):
    """True if packed layers of this code are all that reads `node`, or what hands on the order of its values."""
    if code is None or not code.is_idempotent:
        return False
    for reader, position in ledger.readers[node]:
        if reader is None or position != 0:
            return False
        if reader in ledger.layer_of_data:
            other = ledger.layer_of_data[reader]
            if other.attrs["__qnn_op__"] == "QActivation" or plane_codes(layer_of(other), ledger)[0] != code:
                return False
        elif not (reader.op in PASSING or _is_max_pool(reader)) or not _is_taken(reader, code, ledger):
            return False
    return True


def _is_max_pool(node):
    return node.op == "Pooling" and node.attrs.get("pool_type", "max") == "max"
