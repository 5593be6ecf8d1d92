"""Connections: which inputs each node of a table layer reads: (num_nodes, n) int64, made from a kind and a seed.

    random     cards: a shuffled deck of the inputs; a node draws n different ones; a used-up deck is shuffled again.
               No input twice in a node; how often inputs are used differs by at most 1
    serial     node k reads k n .. k n + n - 1, modulo the number of inputs
    depthwise  (C, H, W) -> (C, h, w): random inside every channel
    pointwise  (C, H, W) -> (D, H, W): random inside every pixel
"""
import numpy as np

KINDS = ("random", "serial", "depthwise", "pointwise")


def random(in_units, num_nodes, n, seed):
    """Deals cards. Raises ValueError where a node needs more different inputs than there are."""
    _need(in_units >= n, "a node of %d different inputs cannot be wired to %d" % (n, in_units))
    generator = np.random.RandomState(seed)
    result = np.empty((num_nodes, n), np.int64)
    deck = generator.permutation(in_units)
    for node in range(num_nodes):
        hand, deck = deck[:n], deck[n:]
        if len(hand) < n:  # the rest comes from a new deck, whose cards of this hand are put back on top
            fresh = generator.permutation(in_units)
            is_held = np.isin(fresh, hand)
            others = fresh[~is_held]
            hand, deck = np.concatenate([hand, others[:n - len(hand)]]), others[n - len(hand):]
            deck = np.concatenate([fresh[is_held], deck])
        result[node] = hand
    return result


def serial(in_units, num_nodes, n):
    """Neighbours: a tree when in_units = n num_nodes. Raises ValueError where a node would read an input twice."""
    _need(in_units >= n, "a node of %d different inputs cannot be wired to %d" % (n, in_units))
    return np.arange(num_nodes * n).reshape(num_nodes, n) % in_units


def depthwise(in_shape, out_shape, n, seed):
    """Random inside channels, each with cards of its own. Shapes (C, H, W) and (C, h, w)."""
    channels, size, nodes = in_shape[0], int(np.prod(in_shape[1:])), int(np.prod(out_shape[1:]))
    _need(out_shape[0] == channels, "depthwise keeps the channels, got %r and %r" % (in_shape, out_shape))
    seeds = np.random.RandomState(seed).randint(2 ** 31, size=channels)
    return np.concatenate([random(size, nodes, n, s) + c * size for c, s in enumerate(seeds)])


def pointwise(in_shape, out_shape, n, seed):
    """Random over the channels of a pixel. Shapes (C, H, W) and (D, H, W)."""
    size = int(np.prod(in_shape[1:]))
    _need(tuple(in_shape[1:]) == tuple(out_shape[1:]),
          "pointwise keeps the pixels, got %r and %r" % (in_shape, out_shape))
    seeds = np.random.RandomState(seed).randint(2 ** 31, size=size)
    per_pixel = [random(in_shape[0], out_shape[0], n, s) * size + p for p, s in enumerate(seeds)]
    return np.stack(per_pixel, 1).reshape(-1, n)


def connect(kind, in_units, num_nodes, n, seed=0, in_shape=None, out_shape=None):
    """The connections of one of KINDS. in_shape and out_shape: of depthwise and pointwise. Raises ValueError."""
    if kind == "random":
        return random(in_units, num_nodes, n, seed)
    if kind == "serial":
        return serial(in_units, num_nodes, n)
    _need(kind in KINDS, "connection is one of %s, got %r" % (", ".join(KINDS), kind))
    _need(in_shape and out_shape, "%s needs in_shape and out_shape" % kind)
    return (depthwise if kind == "depthwise" else pointwise)(tuple(in_shape), tuple(out_shape), n, seed)


def check(connections, in_units, num_nodes, n):
    """User-given connections as an int64 array. Raises ValueError that names the first wrong one."""
    array = np.asarray(connections)
    _need(array.shape == (num_nodes, n), "connections have shape (num_nodes, n) = %r, got %r"
          % ((num_nodes, n), array.shape))
    wrong = np.argwhere((array < 0) | (array >= in_units) | (array != np.floor(array)))
    if len(wrong):
        node, k = wrong[0]
        raise ValueError("input %d of node %d is wired to %s, inputs are 0..%d"
                         % (k, node, array[node, k], in_units - 1))
    return array.astype(np.int64)


def _need(condition, sentence):
    if not condition:
        raise ValueError(sentence)
