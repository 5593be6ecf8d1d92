"""Q layers: finds them in a training graph, by the attributes that qnn/symbol.py leaves on their nodes, never by
names."""
from dataclasses import dataclass, field

from .graph import entrances
from .options import ActivationOptions, ConvolutionOptions, FullyConnectedOptions

KINDS = {kind.op: kind for kind in (ActivationOptions, ConvolutionOptions, FullyConnectedOptions)}


@dataclass
class QLayer:
    """One Q layer of a graph. `node` is its last node, `options` its options, `entrances` its first nodes by role."""

    node: object
    options: object
    entrances: dict = field(default_factory=dict)

    @property
    def inputs(self):
        """{"data": entry, "weight": entry, ...} outside the layer, as the graph is now: other layers may have been
        replaced."""
        return {role: node.inputs[0] for role, node in self.entrances.items()}

    @property
    def op(self):
        return self.options.op

    @property
    def name(self):
        return self.node.name


def find_layers(graph):
    """All Q layers of a qnn.graph.Graph in graph order, as QLayer objects.

    Raises ValueError naming the layer when its attributes are damaged.
    """
    return [layer_of(node) for node in graph.nodes() if node.attrs.get("__qnn_op__") in KINDS]


def layer_of(node):
    """The QLayer whose last node this is."""
    kind, prefix = KINDS[node.attrs["__qnn_op__"]], "__qnn_"
    known = kind.__dataclass_fields__
    options = {key[len(prefix):-2]: value for key, value in node.attrs.items() if key.startswith(prefix)}
    layer = QLayer(node, kind(name=node.name, **{key: value for key, value in options.items() if key in known}),
                   entrances(node))
    needed = {"data", "weight"} if kind is not ActivationOptions else {"data"}
    missing = needed - set(layer.entrances)
    if missing:
        raise ValueError("%s '%s': input %s cannot be found; was the graph edited after it was made by qnn.sym?"
                         % (layer.op, node.name, ", ".join(sorted(missing))))
    return layer
