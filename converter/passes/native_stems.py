"""NativeStems: a float first layer, and what lies between it and the first packing, becomes one native operator.

    [BatchNorm] -> Convolution -> [BatchNorm] -> [ReLU] -> [max Pooling] -> transpose
        ->  _qnn_stem_convolution
    the same -> BatchNorm -> transpose -> _qnn_pack
    Convolution -> tanh -> [max Pooling] -> BatchNorm -> transpose -> _qnn_pack
        ->  _qnn_stem_convolution -> _qnn_pack with float thresholds, which hold BatchNorm and tanh

MXNet merges Convolution and the BatchNorm behind it in inference. Rows are pooled while they are in cache, and floats
leave as the NHWC into which MXNet's have to be transposed. Nothing is taken on trust: the operators of the graph and
the native one run on random data when the network is converted (stem_numbers.py), and a layer whose outputs differ in
any bit stays MXNet's (on processors without AVX2, say, where oneDNN adds in another order).
"""
from dataclasses import dataclass, field

import numpy as np

from qnn import backend
from qnn.backend_stem import LANES, WINDOW
from qnn.graph import Node

from .arrange_nhwc import TO_NHWC
from .chains import is_max_pool, norm_statistics
from .fold_thresholds import give_thresholds
from .stem_numbers import equal_options, norm_of, probes_of, thresholds_of
from .tuples import numbers, text

MOST_CHANNELS = 4  # data of more lie in blocks, and oneDNN adds in another order


@dataclass
class Stem:
    """A match. conv: the node; source: what it or the BatchNorm before it reads; last: the node whose output is read by
    transposes, a list of nodes, and BatchNorms whose transposes are packed: packs, [(BatchNorm node, pack node)]."""

    conv: Node
    source: tuple
    last: Node
    before: object = None  # BatchNorm nodes on either side of the convolution
    behind: object = None
    activation: object = None
    pool: object = None
    transposes: list = field(default_factory=list)
    packs: list = field(default_factory=list)

    @property
    def has_tanh(self):
        return self.activation is not None and self.activation.attrs["act_type"] == "tanh"


class NativeStems:
    """Replaces the operators in front of the first packed layers."""

    name = "native_stems"

    def apply(self, model):
        layers = [node for node in model.graph.nodes() if node.op == "Convolution"] if backend.is_native else []
        stems = [_match(model, node) for node in layers]
        return sum(_replace(model, stem) for stem in stems if stem is not None)


def _match(model, conv):
    """The Stem around `conv`, or None."""
    readers = model.graph.consumers()
    if not _is_first_layer(model, conv):
        return None
    stem = Stem(conv, conv.inputs[0], conv)
    above, _ = conv.inputs[0]
    if norm_statistics(model, above) is not None:
        stem.before, stem.source = above, above.inputs[0]
    if not _is_data(stem.source):
        return None
    following = _only_reader(readers, stem.last)
    if following is not None and norm_statistics(model, following) is not None:
        stem.behind = stem.last = following
        following = _only_reader(readers, following)
    if following is not None and following.op == "Activation" and (
            following.attrs["act_type"] == "relu" or (following.attrs["act_type"] == "tanh" and stem.behind is None)):
        stem.activation = stem.last = following
        following = _only_reader(readers, following)
    if following is not None and following.op == "Pooling" and _is_pool(following):
        stem.pool = stem.last = following
    if not _find_ends(model, readers, stem):
        return None
    has_signs = all(model.code_of(pack).quantizer.is_sign for _, pack in stem.packs)
    return None if stem.has_tanh and (stem.transposes or not has_signs) else stem


def _is_first_layer(model, conv):
    attrs, arrays = conv.attrs, [model.arg_params.get(source.name) for source, _ in conv.inputs[1:]]
    if "__qnn_layer__" in attrs or any(array is None or array.dtype != np.float32 for array in arrays):
        return False
    return (len(numbers(conv, "kernel")) == 2 and set(numbers(conv, "dilate")) <= {1}
            and attrs.get("num_group", "1") == "1" and attrs.get("layout", "None") in ("None", "NCHW")
            and int(attrs["num_filter"]) % LANES == 0
            and arrays[0].ndim == 4 and arrays[0].shape[1] <= MOST_CHANNELS)


def _is_data(entry):
    """True for the data of the network, which lie in plain NCHW, also with scalars added or multiplied."""
    node, _ = entry
    while node.op.startswith("_") and node.op.endswith("_scalar"):
        node, _ = node.inputs[0]
    return node.is_variable


def _is_pool(node):
    kernel, pad = numbers(node, "kernel"), numbers(node, "pad", "(0, 0)")
    return (is_max_pool(node) and node.attrs.get("pooling_convention", "valid") == "valid" and max(kernel) <= WINDOW
            and all(p < k for k, p in zip(kernel, pad)))


def _only_reader(readers, node):
    found = readers[node]
    return found[0][0] if len(found) == 1 and found[0][1] == 0 else None


def _find_ends(model, readers, stem):
    """Fills in what reads the last node; False where something else does."""
    for reader, position in readers[stem.last]:
        if reader is None or position != 0:
            return False
        if _is_transpose(reader):
            stem.transposes.append(reader)
            continue
        transpose = _only_reader(readers, reader)
        if norm_statistics(model, reader) is None or transpose is None or not _is_transpose(transpose):
            return False
        pack = _only_reader(readers, transpose)
        if pack is None or pack.op != "_qnn_pack":
            return False
        stem.packs.append((reader, pack))
    return True


def _is_transpose(node):
    return node.op == "transpose" and node.attrs.get("axes") == TO_NHWC


def _replace(model, stem):
    """Puts the operator in the place of `stem`; False, and nothing changed, where its bits would be others."""
    probes = probes_of(model, stem)
    options = equal_options(model, stem, probes)
    norms = [norm_of(model, stem, node, probes) for node, _ in stem.packs]
    if options is None or None in norms:
        return False
    thresholds = [thresholds_of(model, stem, pack, norm) for (_, pack), norm in zip(stem.packs, norms)]
    if None in thresholds:
        return False
    node = _operator(model, stem, options)
    for transpose in stem.transposes:
        model.graph.replace((transpose, 0), (node, 0))
    for (_, pack), threshold in zip(stem.packs, thresholds):
        give_thresholds(model, pack, (node, 0), *threshold)
    return True


def _operator(model, stem, options):
    conv, norm, bias = stem.conv, options["norm"], options["bias"]
    attrs = {key: conv.attrs[key] for key in ("kernel", "num_filter", "stride", "pad") if key in conv.attrs}
    attrs.update({key: str(bool(value)) for key, value in (
        ("has_norm", norm is not None), ("has_bias", bias is not None), ("bias_first", options["bias_first"]),
        ("relu", options["relu"])) if value})
    if options["pool"]:
        attrs.update(zip(("pool_kernel", "pool_stride", "pool_pad"), map(text, options["pool"])))
    arrays = [("weight", options["weight"]), *zip(("mean", "slope", "shift"), norm or ()), ("bias", bias)]
    inputs = [model.entry("%s_stem_%s" % (conv.name, role), array) for role, array in arrays if array is not None]
    return Node("_qnn_stem_convolution", conv.name, attrs, [stem.source, *inputs])
