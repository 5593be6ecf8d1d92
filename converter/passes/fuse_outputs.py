"""FuseOutputs: BatchNorm and residual additions behind a layer that gives floats are done while counts become floats.

    y = ((accum - mean) * slope + beta) + residual        every operation rounded by itself, as MXNet does
"""
import numpy as np

from .chains import ADDITIONS, batch_norm


class FuseOutputs:
    """_qnn_float_convolution + BatchNorm + elemwise_add -> one _qnn_float_convolution."""

    name = "fuse_outputs"

    def apply(self, model):
        changes = 0
        for node in model.graph.nodes():
            if node.op == "BatchNorm":
                changes += self._fuse_batch_norm(model, node)
            elif node.op in ADDITIONS:
                changes += self._fuse_addition(model, node)
        return changes

    def _fuse_batch_norm(self, model, node):
        layer = _private_layer(model, node.inputs[0])
        norm = batch_norm(model, node)
        if layer is None or norm is None or {"has_scale", "has_bias", "has_residual", "has_mean"} & set(layer.attrs):
            return False
        layer.attrs.update(has_mean="True", has_scale="True", has_bias="True")
        for suffix, value in (("mean", norm.mean), ("slope", norm.slope), ("beta", norm.beta)):
            layer.inputs.append(model.entry("%s_%s" % (layer.name, suffix), np.ascontiguousarray(value)))
        model.graph.replace((node, 0), (layer, 0))
        return True

    def _fuse_addition(self, model, node):
        for mine, other in (node.inputs, node.inputs[::-1]):
            layer = _private_layer(model, mine)
            if layer is None or {"has_residual", "flatten"} & set(layer.attrs) or other[0].is_variable:
                continue
            layer.attrs["has_residual"] = "True"
            layer.inputs.append(other)
            model.graph.replace((node, 0), (layer, 0))
            return True
        return False


def _private_layer(model, entry):
    """The layer that gives `entry`, if nobody else reads it."""
    layer = entry[0]
    if layer.op != "_qnn_float_convolution":
        return None
    return layer if len(model.graph.consumers()[layer]) == 1 else None
