"""Initializers of table layers; their arguments travel in the symbol file, so that Module and gluon find them there.

    LutTable(0.01)       Normal(0.5, 0.01), as BinaryBrain has it
    LutWiring(...)       connections by kind and seed, or given ones
    LutThresholds(...)   of a thermometer: uniform, or given ones
"""
import mxnet as mx
import numpy as np

from .. import reference_lut
from . import connections


@mx.init.register
class LutTable(mx.init.Initializer):
    """Entries of tables: Normal(0.5, sigma), by MXNet's generator: mx.random.seed."""

    def __init__(self, sigma=0.01):
        super().__init__(sigma=sigma)
        self.sigma = sigma

    def _init_weight(self, _, arr):
        arr[:] = mx.nd.random.normal(0.5, self.sigma, shape=arr.shape)


class _Fixed(mx.init.Initializer):
    """An array that its arguments say."""

    def _init_weight(self, name, arr):
        value = np.asarray(self.value(arr.shape), np.float32)
        if value.shape != arr.shape:
            raise ValueError("%s has shape %r, its initializer makes %r" % (name, arr.shape, value.shape))
        arr[:] = value


@mx.init.register
class LutWiring(_Fixed):
    """Connections of qnn.lut.connections, or `given` ones."""

    def __init__(self, kind="random", in_units=0, seed=0, in_shape=None, out_shape=None, given=None):
        given = None if given is None else np.asarray(given).tolist()
        super().__init__(kind=kind, in_units=in_units, seed=seed, in_shape=in_shape, out_shape=out_shape, given=given)

    def value(self, shape):
        """(num_nodes, n)."""
        k = self._kwargs
        if k["given"] is not None:
            return connections.check(k["given"], k["in_units"], *shape)
        return connections.connect(k["kind"], k["in_units"], *shape, k["seed"], k["in_shape"], k["out_shape"])


@mx.init.register
class LutThresholds(_Fixed):
    """Thresholds (frames, 1 or C, depth): uniform from low to high, or `given` ones."""

    def __init__(self, low=0.0, high=1.0, given=None):
        super().__init__(low=low, high=high, given=None if given is None else np.asarray(given, np.float64).tolist())

    def value(self, shape):
        """(frames, 1, depth), or the given ones."""
        k = self._kwargs
        if k["given"] is not None:
            return np.asarray(k["given"])
        return reference_lut.uniform_thresholds(shape[0], shape[2], k["low"], k["high"])


@mx.init.register
class LutGiven(_Fixed):
    """Tables of a BinaryLut as (num_nodes,) numbers, bit i entry i; 0 without them."""

    def __init__(self, tables=None):
        super().__init__(tables=None if tables is None else [int(table) for table in tables])

    def value(self, shape):
        """(num_nodes, 2^n) of 0 and 1."""
        tables = self._kwargs["tables"] or [0] * shape[0]
        return reference_lut.unpack_tables(np.array(tables, np.uint64), int(np.log2(shape[1])))
