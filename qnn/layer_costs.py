"""Layer costs: what one node of a graph costs: parameters, multiply-accumulates (MACs), bytes.

    Convolution:    MACs = outputs * K ,  K = C/group * kernel_h * kernel_w     (taps in the padding count as well)
    FullyConnected: MACs = outputs * K ,  K = inputs of a row
    Deconvolution:  MACs = inputs * num_filter/group * kernel_h * kernel_w
    Other operators count no MACs.
"""
import re
from dataclasses import dataclass, field
from math import prod

import numpy as np

from .bits import words_for
from .files import DTYPES
from .graph import entrances
from .options import has_one_bit

FLOAT_BYTES, WORD_BYTES = 4, 8
INT64 = str(DTYPES.index("int64"))
PACKED = {"_qnn_packed_convolution": "packed QConvolution", "_qnn_packed_fully_connected": "packed QFullyConnected",
          "_qnn_bits_convolution": "bits to bits", "_qnn_float_convolution": "bits to floats"}
BETWEEN = {"_qnn_pack": "floats to bits", "_qnn_bits_max_pool": "Pooling of bits"}
QUANTIZED = ("QActivation", "QConvolution", "QFullyConnected")
FLOAT = ("Convolution", "FullyConnected", "Deconvolution", "Convolution_v1")


@dataclass
class Cost:
    """params and macs: {width in bits: count}; bits are None where nothing is quantized or multiplied."""

    kind: str
    act_bit: "int | None" = None
    weight_bit: "int | None" = None
    params: dict = field(default_factory=dict)
    macs: dict = field(default_factory=dict)
    bytes_float: int = 0
    bytes_packed: int = 0

    def add_params(self, width, count, bytes_packed):
        self.params[width] = self.params.get(width, 0) + count
        self.bytes_float += count * FLOAT_BYTES
        self.bytes_packed += bytes_packed

    def add_macs(self, count):
        self.macs[max(self.act_bit, self.weight_bit)] = count


def cost_of(node, shapes, counted):
    """The Cost of a node. shapes: {node: [output shapes]}; counted: variables to leave out, those met here get in."""
    if node.attrs.get("__qnn_op__") in QUANTIZED:
        return _quantized(node, shapes, counted)
    if "__qnn_op__" in node.attrs:  # a layer of qnn.lut: float32 tables, scores and states
        cost = Cost(node.attrs["__qnn_op__"])
        entered = [entrance.inputs[0] for role, entrance in entrances(node).items() if role != "data"]
        _add_variables(cost, entered + node.inputs[1:], shapes, counted)
        return cost
    if node.op in PACKED:
        return _packed(node, shapes, counted)
    if node.op in BETWEEN:
        cost = Cost(BETWEEN[node.op])
        _add_constants(cost, node.inputs[1:], shapes, counted)
        return cost
    cost = Cost(node.op)
    if node.op in FLOAT:
        weight = _shape(node.inputs[1], shapes)
        cost.act_bit = cost.weight_bit = 32
        positions = _shape(node.inputs[0], shapes) if node.op == "Deconvolution" else shapes[node][0]
        cost.add_macs(prod(positions) * prod(weight[1:]))
    _add_variables(cost, node.inputs, shapes, counted)
    return cost


def _shape(entry, shapes):
    return shapes[entry[0]][entry[1]]


def _new(entries, counted):
    """Variables among `entries` that nobody counted yet."""
    fresh = [node for node, _ in entries if node.is_variable and node not in counted]
    counted.update(fresh)
    return fresh


def _add_variables(cost, entries, shapes, counted):
    """Counts parameters that stay what they are, mostly float32."""
    for variable in _new(entries, counted):
        code = int(variable.attrs.get("__dtype__", "0"))
        item_bytes = np.dtype(DTYPES[code] if 0 <= code < len(DTYPES) else "float32").itemsize
        count = prod(shapes[variable][0])
        cost.add_params(8 * item_bytes, count, count * item_bytes)


def _quantized(node, shapes, counted):
    attrs, inputs = node.attrs, {role: entrance.inputs[0] for role, entrance in entrances(node).items()}
    cost = Cost(attrs["__qnn_op__"], int(attrs["__qnn_act_bit__"]))
    if "weight" not in inputs:
        _add_variables(cost, [entry for role, entry in inputs.items() if role != "data"], shapes, counted)
        return cost
    cost.weight_bit = int(attrs["__qnn_weight_bit__"])
    weight = _shape(inputs["weight"], shapes)
    cost.add_macs(prod(shapes[node][0]) * prod(weight[1:]))
    is_packable = (has_one_bit(attrs) and attrs["__qnn_scaling__"] != "xnor" and len(weight) in (2, 4)
                   and inputs["weight"][0].is_variable)
    for _ in _new([inputs["weight"]], counted):
        words = weight[0] * prod(weight[2:]) * words_for(weight[1])
        stored = words * WORD_BYTES if is_packable else prod(weight) * FLOAT_BYTES
        cost.add_params(cost.weight_bit, prod(weight), stored)
    if is_packable:
        cost.bytes_packed += {"layer": 1, "filter": weight[0]}.get(attrs["__qnn_scaling__"], 0) * FLOAT_BYTES
    _add_variables(cost, [entry for role, entry in inputs.items() if role not in ("data", "weight")], shapes, counted)
    return cost


def numbers(text):
    """The integers in an attribute's text: "(3, 3)" -> [3, 3]."""
    return [int(number) for number in re.findall(r"-?\d+", text or "")]


def _packed(node, shapes, counted):
    attrs, data = node.attrs, _shape(node.inputs[0], shapes)
    if "kernel" in attrs:
        filters, channels = int(attrs["num_filter"]), int(attrs.get("channels", data[1]))
        k = channels // int(attrs.get("num_group", 1)) * prod(numbers(attrs["kernel"]))
    else:
        filters = int(attrs["num_hidden"])
        k = data[-1] if attrs.get("flatten") == "False" else prod(data[1:])
    cost = Cost(PACKED[node.op], 1, 1)
    cost.add_macs(_count_outputs(node, shapes[node][0]) * k)
    weight, rest = node.inputs[1], node.inputs[2:]
    for _ in _new([weight], counted):
        cost.add_params(1, filters * k, prod(_shape(weight, shapes)) * WORD_BYTES)
    if attrs.get("has_scale", "").lower() in ("true", "1") and "has_mean" not in attrs:
        # made of the weights: bytes, but no parameters of its own
        cost.bytes_packed += sum(prod(shapes[scale][0]) * FLOAT_BYTES for scale in _new(rest[:1], counted))
    _add_constants(cost, rest, shapes, counted)
    return cost


def _count_outputs(node, shape):
    """Numbers that a packed layer computes; an image of bits holds them as words, inside its padding."""
    if node.op != "_qnn_bits_convolution":
        return prod(shape)
    pad = numbers(node.attrs["out_pad"])
    return shape[0] * (shape[1] - 2 * pad[0]) * (shape[2] - 2 * pad[1]) * int(node.attrs["num_filter"])


def _add_constants(cost, entries, shapes, counted):
    """What passes made of BatchNorm: thresholds and the like count as 32-bit parameters, words of flips as bytes."""
    flips = [entry for entry in entries if entry[0].attrs.get("__dtype__") == INT64]
    cost.bytes_packed += sum(prod(shapes[flip][0]) * WORD_BYTES for flip in _new(flips, counted))
    _add_variables(cost, entries, shapes, counted)
