"""RemoveActivations: a QActivation that inference does not need goes away.

backward_only=True is the identity in the forward direction. A 1-bit QActivation is superfluous where a packed layer
reads it, because that layer takes signs itself and sign(sign(x)) = sign(x).
"""
from ..layers import find_layers
from .pack_weights import OPERATORS

PACKED = tuple(OPERATORS.values())


class RemoveActivations:
    """Packed layers read past 1-bit activations; activations of identity go altogether."""

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
            elif layer.options.act_bit == 1:
                for node in model.graph.nodes():
                    if node.op in PACKED and node.inputs[0] == entry:
                        node.inputs[0] = source
                        changes += 1
        return changes
