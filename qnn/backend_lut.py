"""Backend for table layers: forward, backward, truth tables and thermometer code on numpy arrays. Part of backend.py.

The formulas are those of reference_lut.py; without the native module it computes them.
"""
import numpy as np

from . import backend, checks, reference_lut
from .reference_lut import MAX_INPUTS, MIN_INPUTS

INPUTS = ("real", "smooth", "hard")


def _layer(name, weight, mode, shape, in_nodes, options):
    weight = checks.array(name, "weight", weight, np.float32, 2)
    n = int(weight.shape[1]).bit_length() - 1
    if weight.shape[1] != 2 ** n or not MIN_INPUTS <= n <= MAX_INPUTS:
        raise ValueError("%s: weight must have 4, 8, 16, 32 or 64 entries a node, got shape %s" % (name, weight.shape))
    if mode not in INPUTS:
        raise ValueError("%s: mode is %s, got %r" % (name, ", ".join(INPUTS), mode))
    fields = dict(outer=shape[0], inner=int(np.prod(shape[2:], dtype=int)), in_nodes=in_nodes,
                  num_nodes=len(weight), n=n, input=INPUTS.index(mode), **options)
    return weight, n, backend.ffi.new("qnn_lut_layer *", fields) if backend.is_native else None


def _stats(name, batch_norm, mean, var, num_nodes):
    """[2][num_nodes] floats: given statistics, or room for those of the frames."""
    stats = np.zeros((2, num_nodes), np.float32)
    if batch_norm and mean is not None:
        for row, argument, value in ((0, "mean", mean), (1, "var", var)):
            stats[row] = checks.array(name, argument, value, np.float32, 1)
    return stats


def _frames(name, x, connections, n, num_nodes):
    x = checks.array(name, "x", x, np.float32)
    if x.ndim < 2:
        raise ValueError("%s: x must be (frames, in_nodes, ...), got shape %s" % (name, x.shape))
    connections = np.asarray(connections)
    checks.expect(name, "shape of connections", connections.shape, (num_nodes, n))
    if connections.size and not (0 <= connections.min() and connections.max() < x.shape[1]):
        raise ValueError("%s: connections must be 0..%d, got %d..%d"
                         % (name, x.shape[1] - 1, connections.min(), connections.max()))
    return x, checks.array(name, "connections", connections.astype(np.float32), np.float32)


def _options(batch_norm, binarize, lut_binarize, clip_weight, gamma, beta):
    return dict(batch_norm=int(batch_norm), binarize=int(binarize), lut_binarize=int(lut_binarize),
                clip_weight=int(clip_weight), gamma=gamma, beta=beta)


def lut_forward(x, connections, weight, mode="smooth", batch_norm=True, binarize=True, lut_binarize=False,
                clip_weight=True, gamma=0.3, beta=0.5, mean=None, var=None):
    """(y, stats): x (outer, in_nodes, ...) -> y (outer, num_nodes, ...). See reference_lut.lut_forward."""
    name, options = "lut_forward", _options(batch_norm, binarize, lut_binarize, clip_weight, gamma, beta)
    weight, n, layer = _layer(name, weight, mode, np.shape(x), np.shape(x)[1], options)
    x, connections = _frames(name, x, connections, n, len(weight))
    stats = _stats(name, batch_norm, mean, var, len(weight))
    y = backend._empty((x.shape[0], len(weight)) + x.shape[2:], np.float32)
    f = backend._floats
    backend._check(name, backend.lib.qnn_lut_train_forward(
        f(x), f(connections), f(weight), layer, mean is None, f(stats), f(y)))
    return y, stats


def lut_backward(x, connections, weight, dy, mode="smooth", batch_norm=True, lut_binarize=False, clip_weight=True,
                 gamma=0.3, beta=0.5, stats=None, is_training=True, has_dx=True):
    """(dx or None, dweight). See reference_lut.lut_backward. stats: of lut_forward."""
    name, options = "lut_backward", _options(batch_norm, False, lut_binarize, clip_weight, gamma, beta)
    weight, n, layer = _layer(name, weight, mode, np.shape(x), np.shape(x)[1], options)
    x, connections = _frames(name, x, connections, n, len(weight))
    dy = checks.array(name, "dy", dy, np.float32)
    checks.expect(name, "shape of dy", dy.shape, (x.shape[0], len(weight)) + x.shape[2:])
    stats = np.zeros((2, len(weight)), np.float32) if stats is None else stats
    stats = checks.array(name, "stats", stats, np.float32, 2)
    checks.expect(name, "shape of stats", stats.shape, (2, len(weight)))
    dx, dweight = (backend._empty(shape, np.float32) for shape in (x.shape, weight.shape))
    f = backend._floats
    backend._check(name, backend.lib.qnn_lut_train_backward(
        f(x), f(connections), f(weight), layer, is_training, f(stats), f(dy), f(dx) if has_dx else backend.ffi.NULL,
        f(dweight)))
    return dx if has_dx else None, dweight


def lut_tables(weight, mode="smooth", batch_norm=True, lut_binarize=False, clip_weight=True, gamma=0.3, beta=0.5,
               mean=None, var=None):
    """(num_nodes,) uint64 truth tables, decided by the arithmetic of forward. See reference_lut.lut_tables."""
    options = _options(batch_norm, True, lut_binarize, clip_weight, gamma, beta)
    weight, _, layer = _layer("lut_tables", weight, mode, (1, 1), 1, options)
    if not backend.is_native:
        return reference_lut.lut_tables(weight, mode, batch_norm, lut_binarize, clip_weight, gamma, beta, mean, var)
    stats = _stats("lut_tables", batch_norm, mean, var, len(weight))
    tables = backend._empty((len(weight),), np.uint64)
    backend._check("lut_tables", backend.lib.qnn_lut_train_tables(
        backend._floats(weight), layer, backend._floats(stats), backend._words(tables)))
    return tables
