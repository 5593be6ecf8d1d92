"""Costs: how parameters, multiply-accumulates (MACs) and bytes of a network are counted: each parameter once, for the
first node that reads it, and each stored array once.

    bytes_float = 4 * parameters            bytes_packed = bytes of the arrays that packed networks store
"""
from dataclasses import dataclass, field
from math import prod

import numpy as np

from .files import DTYPES
from .graph import entrances

FLOAT_BYTES, WORD_BYTES = 4, 8
INT64 = str(DTYPES.index("int64"))


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

    def add_params(self, width, count):
        self.params[width] = self.params.get(width, 0) + count
        self.bytes_float += count * FLOAT_BYTES

    def add_macs(self, count):
        self.macs[max(self.act_bit, self.weight_bit)] = count


class Ledger:
    """What is known of a graph while its nodes are costed, and what has been counted of it.

    shapes: {node: [output shapes]}; inputs: variables that are data, no parameters; array(name): the numpy array of a
    parameter, or None where only its shape is known."""

    def __init__(self, graph, shapes, inputs, array):
        self.shapes, self.inputs, self.array, self._counted = shapes, inputs, array, set()
        self.readers = graph.consumers()
        self.layer_of_data = {entrances(node).get("data"): node for node in graph.nodes()
                              if "__qnn_op__" in node.attrs}

    def shape(self, entry):
        return self.shapes[entry[0]][entry[1]]

    def is_first(self, *key):
        """True at the first call with this key."""
        is_first = key not in self._counted
        self._counted.add(key)
        return is_first

    def is_parameter(self, entry):
        return entry[0].is_variable and entry[0] not in self.inputs

    def trained(self, layer, side):
        """Arrays of what a quantizer of a QLayer trains; where they are not known, their initial values."""
        quantizer, found = getattr(layer.options, side + "_quantizer"), []
        for role, shape, initial in quantizer.parameters:
            array = self.array(layer.inputs["%s_%s" % (side, role)][0].name)
            found.append(np.broadcast_to(np.float32(initial), shape) if array is None else array)
        return found

    def add_params(self, cost, entry, width=None):
        """Counts a parameter that no node before has read. width: None: of its dtype, mostly 32."""
        if self.is_parameter(entry) and self.is_first("params", entry[0]):
            cost.add_params(8 * item_bytes(entry[0]) if width is None else width, prod(self.shape(entry)))

    def add_bytes(self, cost, entry):
        """Counts the bytes of an array that is stored as it is."""
        if self.is_parameter(entry) and self.is_first("bytes", entry[0]):
            cost.bytes_packed += prod(self.shape(entry)) * item_bytes(entry[0])

    def keep(self, cost, entries):
        """Counts parameters that stay what they are. What the converter derived of others has bytes alone."""
        for entry in entries:
            if not is_derived(entry[0]):
                self.add_params(cost, entry)
            self.add_bytes(cost, entry)


def item_bytes(variable):
    code = int(variable.attrs.get("__dtype__", "0"))
    return np.dtype(DTYPES[code] if 0 <= code < len(DTYPES) else "float32").itemsize


def is_derived(variable):
    """True for what weights and quantizers determine (converter/model.py marks it), and for words of flips."""
    return "__derived__" in variable.attrs or variable.attrs.get("__dtype__") == INT64
