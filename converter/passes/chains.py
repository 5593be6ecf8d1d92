"""Chains: the operators between a layer and the packing of its output, as far as they can be folded into thresholds.

    source -> [scale, bias] -> BatchNorm -> tanh -> max Pooling -> Flatten -> ... -> _qnn_pack

Walking up from _qnn_pack, `walk` collects steps until an operator that cannot be folded. A step is what lies between
two values of which only the sign, or the order, matters in the end.
"""
from dataclasses import dataclass, field

import numpy as np

from qnn.thresholds import BatchNorm

from .tuples import numbers

MONOTONE = ("tanh", "_qnn_sign")  # sign(f(x)) = sign(x), and f is monotone
ADDITIONS = ("elemwise_add", "_plus", "_Plus", "_grad_add")
KEEPS_LAYOUT = ADDITIONS + ("Activation", "BatchNorm", "Dropout", "LeakyReLU", "Pooling", "_copy")
IDENTITIES = ("_copy", "Dropout", "_qnn_ste_identity")


@dataclass
class Chain:
    """source: the entry that the chain begins at. before, after: BatchNorms on either side of the pooling, in the order
    in which they run. pool: the Pooling node or None. has_flatten: a Flatten is among the steps. nodes: all of them."""

    source: tuple
    before: list = field(default_factory=list)
    after: list = field(default_factory=list)
    pool: object = None
    has_flatten: bool = False
    nodes: list = field(default_factory=list)


def batch_norm(model, node, is_fused=False):
    """The BatchNorm of a node, or None where it is none that can be folded."""
    statistics = norm_statistics(model, node)
    return None if statistics is None else BatchNorm(*statistics, is_fused=is_fused)


def norm_statistics(model, node):
    """(gamma, beta, mean, var, eps) of a BatchNorm over channels whose parameters are known, else None."""
    sources = [source for source, _ in node.inputs[1:5]]
    params = {**model.arg_params, **model.aux_params}
    if node.op != "BatchNorm" or node.attrs.get("axis", "1") != "1":
        return None
    if not all(source.is_variable and source.name in params for source in sources):
        return None
    gamma, beta, mean, var = (params[source.name] for source in sources)
    is_fixed = node.attrs.get("fix_gamma", "True") in ("True", "1", "true")
    return np.ones_like(gamma) if is_fixed else gamma, beta, mean, var, float(node.attrs.get("eps", "1e-3"))


def walk(model, entry, is_integer, is_sign=True):
    """The Chain that ends at `entry`. Past a Pooling or a Flatten only where `is_integer`: the source is then a layer
    whose every accumulator can be tried. is_sign: nothing but signs are taken at the end."""
    chain = Chain(entry)
    while True:
        node, index = chain.source
        if index != 0 or not _step(model, node, chain, is_integer, is_sign):
            return chain
        chain.nodes.append(node)
        chain.source = node.inputs[0]


def _step(model, node, chain, is_integer, is_sign):
    norms = chain.before + chain.after
    if is_identity(node):
        return True
    if node.op in MONOTONE or (node.op == "Activation" and node.attrs.get("act_type") == "tanh"):
        return is_sign and not norms  # what a BatchNorm reads must be known to the last bit
    if node.op == "BatchNorm":
        folded = batch_norm(model, node)
        if folded is None or (norms and not is_integer):
            return False
        (chain.before if chain.pool else chain.after).insert(0, folded)
        return True
    if not is_integer:
        return False
    if node.op == "Flatten" and not norms and not chain.has_flatten:
        chain.has_flatten = True
        return True
    if node.op == "Pooling" and chain.pool is None and is_max_pool(node):
        chain.pool = node
        return True
    return False


def is_plain(entry):
    """True where the training graph certainly holds plain NCHW: outputs of Q layers, and sums of them.

    What MXNet's own operators hand to BatchNorm may lie in oneDNN's blocked layout, where BatchNorm rounds differently,
    or be merged with it into one convolution. Such a BatchNorm cannot be folded to the last bit, and stays.
    """
    node, _ = entry
    if node.op in ADDITIONS:
        return all(is_plain(source) for source in node.inputs)
    return node.op == "_qnn_float_convolution" or (is_identity(node) and is_plain(node.inputs[0]))


def is_blocked(entry):
    """True where MXNet likely holds oneDNN's blocked layout: outputs of its own convolutions, and what keeps their
    layout. Only speed depends on it."""
    node, _ = entry
    while node.op in KEEPS_LAYOUT:
        node, _ = node.inputs[0]
    return node.op in ("Convolution", "Deconvolution")


def is_identity(node):
    """In inference; Dropout(mode='always') drops there, too."""
    return node.op in IDENTITIES and node.attrs.get("mode", "training") == "training"


def is_max_pool(node):
    """Max-pooling, every window of which holds at least one element: the largest of none is no value of the layer."""
    attrs, kernel = node.attrs, numbers(node, "kernel")
    if attrs.get("pool_type", "max") != "max" or attrs.get("global_pool", "False") != "False" or len(kernel) != 2:
        return False
    convention = attrs.get("pooling_convention", "valid")
    reach = map(sum, zip(numbers(node, "stride", "(1, 1)"), numbers(node, "pad", "(0, 0)")))
    return convention == "valid" or (convention == "full" and all(r <= k for r, k in zip(reach, kernel)))
