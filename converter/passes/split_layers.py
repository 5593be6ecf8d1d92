"""SplitLayers: a packed layer from floats to floats becomes two operators, so that others can be fused to each half:

    image = _qnn_pack(data)                       signs of float activations, NHWC words, padded
    y     = _qnn_float_convolution(image, ...)    counts, mapped to floats
"""
from qnn.graph import Node

GEOMETRY = ("kernel", "num_filter", "stride", "dilate", "pad", "num_group", "pad_value")
DEFAULTS = {"stride": "(1, 1)", "dilate": "(1, 1)", "pad": "(0, 0)", "num_group": "1", "pad_value": "1"}


class SplitLayers:
    """_qnn_packed_convolution, _qnn_packed_fully_connected -> _qnn_pack + _qnn_float_convolution."""

    name = "split_layers"

    def apply(self, model):
        changes, flattened = 0, {}
        for node in model.graph.nodes():
            if node.op == "_qnn_packed_convolution":
                self._split(model, node, node.inputs[0], {key: node.attrs[key] for key in GEOMETRY})
            elif node.op == "_qnn_packed_fully_connected" and node.attrs["flatten"] == "True":
                source = node.inputs[0]
                if source[0].op != "Flatten":  # one for all its readers, so that they can share its bits
                    source = flattened.setdefault(source, (Node("Flatten", node.name + "_flatten", {}, [source]), 0))
                geometry = {"kernel": "(1, 1)", "num_filter": node.attrs["num_hidden"], **DEFAULTS}
                self._split(model, node, source, geometry)
            else:
                continue
            changes += 1
        return changes

    def _split(self, model, node, source, geometry):
        layout = {key: geometry[key] for key in ("pad", "pad_value", "num_group")}
        pack = Node("_qnn_pack", node.name + "_pack", {"layout": "NCHW", **layout}, [source])
        attrs = {**geometry, "channels": node.attrs["__channels__"], "image_pad": geometry["pad"], "layout": "NCHW"}
        attrs.update({key: node.attrs[key] for key in ("no_offset", "has_scale", "has_bias") if key in node.attrs})
        if "num_hidden" in node.attrs:
            attrs["flatten"] = "True"
        layer = Node("_qnn_float_convolution", node.name, attrs, [(pack, 0)] + node.inputs[1:])
        model.graph.replace((node, 0), (layer, 0))
