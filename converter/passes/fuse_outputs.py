"""FuseOutputs: BatchNorm and residual additions behind a layer that gives floats are done while counts become floats.

    y = ((accum - mean) * slope + beta) + residual        every operation rounded by itself, as MXNet does

Two sums with the output of MXNet's own operators stay, because oneDNN rounds differently there. A sum in the blocked
layout of such an output, before a BatchNorm (chains.is_plain): a fused sum is plain. And a sum that reads the output of
a convolution, or of a BatchNorm behind it, alone: oneDNN merges all of them and adds before the bias.
"""
import numpy as np

from .chains import ADDITIONS, batch_norm, is_plain

CHOOSES_LAYOUT = ("Convolution", "Deconvolution", "FullyConnected", "Flatten")  # whatever the layout of what they read


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
            readers = model.graph.consumers()
            if _is_merged(readers, other) or (not is_plain(other) and _reaches_batch_norm(readers, node)):
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


def _is_merged(readers, entry):
    """True if oneDNN merges the convolution that gives `entry` with the only reader, an addition."""
    node, _ = entry
    if len(readers[node]) > 1:
        return False
    return node.op == "Convolution" or (node.op == "BatchNorm" and node.inputs[0][0].op == "Convolution")


def _reaches_batch_norm(readers, node):
    """True if a BatchNorm reads `node`, or what other operators make of it without choosing a layout of their own."""
    stack, seen = [node], set()
    while stack:
        for reader, position in readers[stack.pop()]:
            if reader is None or reader in seen or reader.op in CHOOSES_LAYOUT:
                continue
            if reader.op == "BatchNorm":
                return True
            if not reader.op.startswith("_qnn_") or ("has_residual" in reader.attrs and position > 1):
                seen.add(reader)
                stack.append(reader)
    return False
