"""Layer costs: what one node of a graph costs: parameters, multiply-accumulates (MACs), bytes.

    Convolution:    MACs = outputs * K ,  K = C/group * kernel_h * kernel_w     (taps in the padding count as well)
    FullyConnected: MACs = outputs * K ,  K = inputs of a row
    Deconvolution:  MACs = inputs * num_filter/group * kernel_h * kernel_w
    Other operators count no MACs; nor do the products of a layer's terms, but for the last, which stands for the layer.
"""
import re
from math import prod

import numpy as np

from .costs import WORD_BYTES, Cost
from .graph import entrances
from .lut.tables import gives_bits
from .quantized_costs import cost_of_q_layer
from .reference_lut import MAX_INPUTS

PACKED = {"_qnn_packed_convolution": "packed QConvolution", "_qnn_packed_fully_connected": "packed QFullyConnected",
          "_qnn_bits_convolution": "bits to bits", "_qnn_float_convolution": "bits to floats"}
STEM = "_qnn_stem_convolution"
BETWEEN = {"_qnn_pack": "floats to bits", "_qnn_bits_max_pool": "Pooling of bits", STEM: "float stem"}
QUANTIZED = ("QActivation", "QConvolution", "QFullyConnected")
TABLE_BYTES = WORD_BYTES + MAX_INPUTS * np.dtype("int32").itemsize
FLOAT = ("Convolution", "FullyConnected", "Deconvolution", "Convolution_v1")


def cost_of(node, ledger):
    """The Cost of a node, of what the Ledger has not counted yet."""
    if node.attrs.get("__qnn_op__") in QUANTIZED:
        return cost_of_q_layer(node, ledger)
    if "__qnn_op__" in node.attrs:
        return _lut(node, ledger)
    if node.op in PACKED:
        return _packed(node, ledger)
    cost = Cost(BETWEEN.get(node.op, node.op))
    if node.op == STEM:
        cost.act_bit = cost.weight_bit = 32
        cost.add_macs(_stem_pixels(node, ledger) * prod(ledger.shape(node.inputs[1])))
    if node.op in FLOAT:
        cost.act_bit = cost.weight_bit = 32
        positions = ledger.shape(node.inputs[0]) if node.op == "Deconvolution" else ledger.shapes[node][0]
        cost.add_macs(prod(positions) * prod(ledger.shape(node.inputs[1])[1:]))
    ledger.keep(cost, node.inputs)
    return cost


def _stem_pixels(node, ledger):
    """Pixels that its convolution gives, before the pooling."""
    batch, _, *size = ledger.shape(node.inputs[0])
    kernel, stride, pad = (numbers(node.attrs.get(key)) or [default] * 2
                           for key, default in (("kernel", 1), ("stride", 1), ("pad", 0)))
    return batch * prod((n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel, stride, pad))


def _lut(node, ledger):
    """A layer of qnn.lut: float32 tables, scores and states, which become a table and its connections where the layer
    gives bits (qnn/lut_files.py)."""
    cost = Cost(node.attrs["__qnn_op__"])
    entered = [entrance.inputs[0] for role, entrance in entrances(node).items() if role != "data"]
    ledger.keep(cost, entered + node.inputs[1:])
    if gives_bits(node, has_bits=True):
        cost.bytes_packed = int(node.attrs["__qnn_num_nodes__"]) * TABLE_BYTES
    return cost


def numbers(text):
    """The integers in an attribute's text: "(3, 3)" -> [3, 3]."""
    return [int(number) for number in re.findall(r"-?\d+", text or "")]


def _packed(node, ledger):
    attrs, data, weight = node.attrs, ledger.shape(node.inputs[0]), node.inputs[1]
    if "kernel" in attrs:
        filters, channels = int(attrs["num_filter"]), int(attrs.get("channels", data[1]))
        k = channels // int(attrs.get("num_group", 1)) * prod(numbers(attrs["kernel"]))
    else:
        filters = int(attrs["num_hidden"])
        k = data[-1] if attrs.get("flatten") == "False" else prod(data[1:])
    cost = Cost(PACKED[node.op], int(attrs.get("__act_bit__", 1)), int(attrs.get("__weight_bit__", 1)))
    if "__part_of__" not in attrs:
        cost.add_macs(_count_outputs(node, ledger.shapes[node][0]) * k)
        if ledger.is_first("params", weight[0]):
            cost.add_params(cost.weight_bit, filters * k)
    ledger.add_bytes(cost, weight)
    ledger.keep(cost, node.inputs[2:])
    return cost


def _count_outputs(node, shape):
    """Numbers that a packed layer computes; an image of bits, (N, [planes,] H, W, words), holds them inside its
    padding."""
    if node.op != "_qnn_bits_convolution":
        return prod(shape)
    pad, (height, width) = numbers(node.attrs["out_pad"]), shape[-3:-1]
    return shape[0] * (height - 2 * pad[0]) * (width - 2 * pad[1]) * int(node.attrs["num_filter"])
