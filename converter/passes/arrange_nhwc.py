"""ArrangeNhwc: float activations between packed layers stay NHWC, as the packed images are; transposes stand at the
borders to MXNet's own operators only, and NCHW sources that packed layers read more than once are transposed once.

A packing of what MXNet's own convolutions made reads NHWC, too: MXNet turns oneDNN's blocks of 16 channels into NHWC in
one pass that copies 16 floats at a time, and into NCHW, which a native operator would get, one by one.
"""
from qnn.graph import Node

from .chains import is_blocked

LAYER = "_qnn_float_convolution"
TO_NCHW, TO_NHWC = "(0, 3, 1, 2)", "(0, 2, 3, 1)"


class ArrangeNhwc:
    """Sets the layout of _qnn_float_convolution and _qnn_pack, and puts transposes where layouts meet."""

    name = "arrange_nhwc"

    def apply(self, model):
        layers = [node for node in model.graph.nodes() if node.op == LAYER and node.attrs.get("flatten") != "True"]
        readers = model.graph.consumers()
        # A layer alone among NCHW operators would pay for two transposes and gain nothing.
        chosen = [node for node in layers if any(_reads_nhwc(reader, position) for reader, position in readers[node])
                  or "has_residual" in node.attrs]
        residuals = {node.inputs[-1] for node in chosen if "has_residual" in node.attrs}
        blocked = {node.inputs[0] for node in readers if node.op == "_qnn_pack" and is_blocked(node.inputs[0])}
        nhwc = {(node, 0): (node, 0) for node in chosen}
        for entry in (residuals | blocked) - set(nhwc):
            nhwc[entry] = Node("transpose", _name(entry) + "_nhwc", {"axes": TO_NHWC}, [entry]), 0
        nchw = {}
        for node in chosen:
            node.attrs["layout"] = "NHWC"
            if "has_residual" in node.attrs:
                node.inputs[-1] = nhwc[node.inputs[-1]]
        for entry, arranged in nhwc.items():
            for reader, position in readers[entry[0]]:
                if reader is None or reader in chosen or reader is arranged[0]:
                    continue
                if reader.inputs[position] != entry:
                    continue
                if _reads_nhwc(reader, position) and reader.op == "_qnn_pack":
                    reader.inputs[position], reader.attrs["layout"] = arranged, "NHWC"
                elif arranged is entry or entry[0] in chosen:
                    reader.inputs[position] = nchw.setdefault(entry, _to_nchw(entry))
            if entry[0] in chosen:
                model.graph.heads = [nchw.setdefault(entry, _to_nchw(entry)) if head == entry else head
                                     for head in model.graph.heads]
        return len(chosen) + len(blocked)


def _reads_nhwc(reader, position):
    return reader is not None and (reader.op == "_qnn_pack" or (
        reader.op == LAYER and "has_residual" in reader.attrs and position == len(reader.inputs) - 1))


def _to_nchw(entry):
    return Node("transpose", _name(entry) + "_nchw", {"axes": TO_NCHW}, [entry]), 0


def _name(entry):
    return entry[0].name if entry[1] == 0 else "%s%d" % (entry[0].name, entry[1])
