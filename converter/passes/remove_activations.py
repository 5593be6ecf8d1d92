"""RemoveActivations: a QActivation that inference does not need goes away.

backward_only=True is the identity in the forward direction. Otherwise it is superfluous where packed layers read it,
which take the same codes themselves: quantizing twice is quantizing once. Through max-pooling, too, because the largest
value has the largest code.
"""
from qnn.codes import data_code
from qnn.q_layers import find_layers

from .chains import is_identity, is_max_pool
from .pack_weights import OPERATORS

PACKED = tuple(OPERATORS.values())


class RemoveActivations:
    """Packed layers read past activations of their own codes; activations of identity go altogether."""

    name = "remove_activations"

    def apply(self, model):
        changes = 0
        for layer in find_layers(model.graph):
            if layer.op != "QActivation":
                continue
            entry, source = (layer.node, 0), layer.inputs["data"]
            if layer.options.backward_only or layer.options.act_bit == 32:
                model.graph.replace(entry, source)
                changes += 1
                continue
            code = data_code(layer.options.act_quantizer, model.trained(layer, "act"))
            if code is None or not code.is_idempotent:
                continue
            readers = model.graph.consumers()
            for reader, position in readers[layer.node]:
                if _takes_codes(model, readers, reader, position, code):
                    reader.inputs[position] = source
                    changes += 1
        return changes


def _takes_codes(model, readers, reader, position, code):
    """True if `reader` quantizes by `code`, or hands the order of its values on to nothing but such readers."""
    if reader is None or position != 0:
        return False
    if reader.op in PACKED:
        return code.quantizer.is_sign
    if reader.op == "_qnn_pack":
        return _same(model.data_codes[reader], code)
    if not code.quantizer.is_sign and (is_identity(reader) or reader.op == "Flatten" or is_max_pool(reader)):
        return all(_takes_codes(model, readers, *each, code) for each in readers[reader])
    return False


def _same(one, other):
    return one == other or (one.quantizer.is_sign and other.quantizer.is_sign)
