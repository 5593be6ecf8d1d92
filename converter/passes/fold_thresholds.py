"""FoldThresholds: what lies between a layer and the next packing becomes thresholds, 2^k - 1 per channel for k bits.

    _qnn_pack(BatchNorm(Pooling(layer)))  ->  bits of the layer, pooled: _qnn_bits_convolution, _qnn_bits_max_pool
    _qnn_pack(BatchNorm(floats))          ->  _qnn_pack with a float threshold

Max-pooling commutes with a rising function; with a falling one it becomes a minimum, which on bits is: invert, OR,
invert. With s the step of the chain at the accumulator, b and a whether the parts before and behind the pooling fall:

    bit = (OR over the window of (s xor b)) xor a          s = (dot >= threshold) xor b xor a

Codes of several bits do the same with the maximum of codes, which count thresholds; xor inverts all their planes.
"""
import numpy as np

from qnn import bits, reference
from qnn.graph import Node
from qnn.thresholds import ALWAYS, NEVER, accumulators, float_thresholds, integer_thresholds

from .chains import is_plain, walk
from .tuples import numbers, text

GEOMETRY = ("channels", "kernel", "num_filter", "stride", "dilate", "pad", "num_group", "pad_value", "image_pad",
            "act_planes", "act_code", "weight_planes", "weight_code", "plane", "__act_bit__", "__weight_bit__")
MOST_PLANES = 4  # of a code that a layer writes by thresholds; wider ones are packed from floats
MOST_VALUES = 1 << 20  # accumulators that are tried


class FoldThresholds:
    """BatchNorm + sign -> thresholds; convolution + BatchNorm + max-pooling + sign stay packed bits."""

    name = "fold_thresholds"

    def apply(self, model):
        packs = [node for node in model.graph.nodes() if node.op == "_qnn_pack"]
        return sum(self._to_bits(model, pack) or self._to_float_threshold(model, pack) for pack in packs)

    # ---- a packed layer at the beginning of the chain -------------------------------------------------------------

    def _to_bits(self, model, pack):
        code = model.code_of(pack)
        chain = walk(model, pack.inputs[0], is_integer=True, is_sign=code.quantizer.is_sign)
        layer = chain.source[0]
        if code.planes > MOST_PLANES or not _can_give_bits(layer, pack) or not _is_private(model, layer, pack, chain):
            return False
        folded = _fold(model, layer, chain, code)
        is_flattened = chain.has_flatten and layer.attrs.get("flatten") != "True"  # it has one pixel otherwise
        if folded is None or (is_flattened and not self._read_unflattened(model, pack, layer)):
            return False
        threshold, flip_before, flip_after = folded
        codes = {} if code.quantizer.is_sign else {"planes": str(code.planes), "code": code.code}
        out = {"out_pad": pack.attrs["pad"], "out_pad_value": pack.attrs["pad_value"]}
        unpadded = {"out_pad": "(0, 0)", "out_pad_value": out["out_pad_value"]}
        attrs = {key: value for key, value in layer.attrs.items() if key in GEOMETRY}
        inputs = layer.inputs[:model.inputs_behind(layer)]
        inputs += [model.entry(layer.name + "_threshold", threshold), _flips(model, layer, flip_before)]
        attrs.update(unpadded if chain.pool else out, **{"out_" + key: value for key, value in codes.items()})
        node = Node("_qnn_bits_convolution", layer.name, attrs, inputs)
        if chain.pool:
            node = self._pool(model, chain.pool, node, flip_after, {**out, **codes})
        entry = node, 0
        if is_flattened:
            words = bits.words_for(int(layer.attrs["num_filter"]))
            shape = "(0, 1, -1, %d)" % words if code.planes == 1 else "(0, 0, 1, -1, %d)" % words
            entry = Node("Reshape", pack.name, {"shape": shape}, [entry]), 0
        model.graph.replace((pack, 0), entry)
        return True

    def _pool(self, model, pool, node, flip, out):
        attrs = {key: pool.attrs[key] for key in ("kernel", "stride", "pad", "pooling_convention") if key in pool.attrs}
        attrs.update(out, channels=node.attrs["num_filter"], image_pad="(0, 0)")
        inputs = [(node, 0)]
        if flip.any():
            attrs["has_flip"] = "True"
            inputs.append(_flips(model, pool, flip))
        return Node("_qnn_bits_max_pool", pool.name, attrs, inputs)

    def _read_unflattened(self, model, pack, layer):
        """Fully connected layers read the image itself: a kernel of (1, pixels) over channels, weights reordered."""
        readers = [node for node, _ in model.graph.consumers()[pack]]
        channels = int(layer.attrs["num_filter"])
        if any(numbers(pack, "pad")) or any(int(node.attrs["channels"]) % channels for node in readers):
            return False
        for node in readers:
            pixels = int(node.attrs["channels"]) // channels
            node.inputs[1] = _reordered(model, node, channels, pixels)
            node.attrs.update(channels=str(channels), kernel=text((1, pixels)))
        return True

    # ---- floats at the beginning of the chain ---------------------------------------------------------------------

    def _to_float_threshold(self, model, pack):
        code = model.code_of(pack)
        chain = walk(model, pack.inputs[0], is_integer=False, is_sign=code.quantizer.is_sign)
        if len(chain.after) != 1 or not is_plain(chain.source):
            return False
        norm = chain.after[0]
        threshold, is_falling = float_thresholds(lambda x: code.numbers(norm(x)), len(norm.mean), code.levels)
        give_thresholds(model, pack, chain.source, threshold, is_falling)
        return True


def give_thresholds(model, pack, source, threshold, is_falling):
    """Lets `pack` compare the floats of `source` with float_thresholds()."""
    threshold = np.ascontiguousarray(threshold.T)
    pack.attrs["has_threshold"] = "True"
    pack.inputs = [source, model.entry(pack.name + "_threshold", threshold), _flips(model, pack, is_falling)]


def _can_give_bits(layer, pack):
    """Layers whose output goes nowhere but into thresholds, and packings whose groups begin on word borders."""
    if layer.op != "_qnn_float_convolution" or {"has_mean", "has_residual"} & set(layer.attrs):
        return False
    groups = int(pack.attrs["num_group"])
    return groups == 1 or int(layer.attrs["num_filter"]) // groups % bits.WORD_BITS == 0


def _is_private(model, layer, pack, chain):
    """True if nothing but this chain reads the layer, so that its floats are needed nowhere."""
    readers = model.graph.consumers()
    allowed = set(chain.nodes) | {pack}
    return all(reader in allowed for node in [layer] + chain.nodes for reader, _ in readers[node])


def _reachable(model, layer):
    """(integers, values) that the counts of a layer can be, as qnn.thresholds.accumulators gives them; None for too
    many."""
    attrs = layer.attrs
    if layer in model.plane_terms:
        most = model.largest_accumulator(layer)
        return accumulators(most, True, True) if most <= MOST_VALUES else None
    fan_in = int(attrs["channels"]) // int(attrs["num_group"]) * int(np.prod(numbers(layer, "kernel")))
    has_zeros = attrs["pad_value"] == "0" and any(numbers(layer, "pad"))
    return accumulators(fan_in, attrs.get("no_offset") == "True", has_zeros)


def _fold(model, layer, chain, code):
    """(threshold, flip_before, flip_after) of the chain behind `layer`, or None where its steps are not in order."""
    num_filter, reachable = int(layer.attrs["num_filter"]), _reachable(model, layer)
    own, own_falls = _own_output(model, layer, num_filter)
    if own is None or reachable is None:
        return None
    integers, values = reachable

    def function(x, steps=(own, *chain.before, *chain.after)):
        for step in steps:
            x = step(x)
        return x

    if chain.pool and not np.isfinite(function(np.tile(values, (num_filter, 1)), (own, *chain.before))).all():
        return None  # the largest of some NaN is not defined
    folded = integer_thresholds(lambda x: code.numbers(function(x)), num_filter, integers, values, code.levels)
    if folded is None:
        return None
    threshold, is_falling = np.ascontiguousarray(folded[0].T), folded[1]
    before, after = (np.logical_xor.reduce([n.is_falling for n in norms] or [np.zeros(num_filter, bool)])
                     for norms in (chain.before, chain.after))
    before = before ^ own_falls
    if chain.pool is None:
        return threshold, is_falling, np.zeros(num_filter, bool)
    is_constant = ((threshold == ALWAYS) | (threshold == NEVER)).reshape(-1, num_filter).all(axis=0)
    before, after = before & ~is_constant, after & ~is_constant
    return (threshold, before, after) if (before ^ after == is_falling).all() else None


def _own_output(model, layer, num_filter):
    """(function, is_falling) of the layer's own scale and bias; (None, None) where they are not constants."""
    params = {**model.arg_params, **model.packed_params}
    sources = [source for source, _ in layer.inputs[model.inputs_behind(layer):]]
    if not all(source.is_variable and source.name in params for source in sources):
        return None, None
    arrays = [np.broadcast_to(params[source.name].ravel(), num_filter)[:, None] for source in sources]
    scale = arrays.pop(0) if layer.attrs.get("has_scale") == "True" else None
    bias = arrays.pop(0) if layer.attrs.get("has_bias") == "True" else None

    def function(x):
        x = x if scale is None else (x * scale).astype(np.float32)
        return x if bias is None else (x + bias).astype(np.float32)

    return function, np.zeros(num_filter, bool) if scale is None else (scale < 0)[:, 0]


def _flips(model, node, flip):
    """The entry of a new variable: which channels are inverted, as packed words."""
    words = reference.pack_rows(np.where(flip, 1, -1)).view(np.int64)
    return model.entry(node.name + "_flip", words)


def _reordered(model, node, channels, pixels):
    """Weights of a fully connected layer over flattened NCHW -> over NHWC pixels, as a kernel of (1, pixels)."""
    variable, num_filter = node.inputs[1][0], int(node.attrs["num_filter"])
    planes = int(node.attrs.get("weight_planes", "1")) + (node.attrs.get("weight_code") == "masked")
    panels = []
    for plane in np.split(model.packed_params[variable.name].view(bits.WORD_DTYPE), planes):
        rows = bits.panels_to_rows(plane, num_filter)
        signs = reference.unpack_rows(rows, channels * pixels).reshape(num_filter, channels, 1, pixels)
        panels.append(bits.rows_to_panels(reference.pack_filters(signs)).view(np.int64))
    value = np.concatenate(panels)
    if len(model.graph.consumers()[variable]) > 1:
        return model.entry(variable.name, value)
    return model.variable(variable.name, value), 0  # takes the place of the old one, and its name
