"""Options of table layers: arguments checked once, one error sentence each; the same for sym, nd and gluon.

A layer is an options class with `parameters()`, what it keeps besides its input, and `compute(build, data,
parameters)`, its formula in MXNet's operators; front.py makes the functions and blocks of it.
"""
import zlib
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple, Optional

import numpy as np

from ..options import OptionError, Options, boolean, int_tuple, integer
from ..reference_lut import MAX_INPUTS, MIN_INPUTS
from . import connections

_scopes: list = [{}]


@contextmanager
def modes(**arguments):
    """Inside, layers that take one of these arguments, and are not given it, get it from here: binary, smooth,
    lut_binarize, parameter_lock, backward_break, momentum, ... Scopes nest.

    >>> with qnn.lut.modes(lut_binarize=True): net = qnn.sym.DifferentiableLut(data, num_nodes=8, in_units=64)
    """
    _scopes.append({**_scopes[-1], **arguments})
    try:
        yield
    finally:
        _scopes.pop()


class Parameter(NamedTuple):
    """What a layer keeps: a weight to train, or a state, which is saved and never trained."""

    role: str
    shape: tuple
    init: Any
    is_state: bool = False
    is_constant: bool = False  # an argument that no optimizer may change, where a state cannot stand


@dataclass
class LayerOptions(Options):
    """Base of all layers of this package."""

    def parameters(self) -> Sequence:
        """List of Parameter."""
        return ()

    def flag(self, *names):
        """Converts True and False."""
        for name in names:
            self.convert(name, boolean, "True or False")

    def count(self, *names):
        """Converts numbers from 1 on."""
        for name in names:
            self.convert(name, integer, "a number above 0", lambda v: v > 0)

    @classmethod
    def make(cls, name, arguments):
        """Options of `arguments`, completed by the scope; OptionError lists what is known."""
        known = [f.name for f in fields(cls) if f.init and f.name != "name"]
        unknown = sorted(set(arguments) - set(known))
        if unknown:
            raise OptionError("%s: unknown argument %s; known: %s"
                              % (cls.op, ", ".join(map(repr, unknown)), ", ".join(sorted(known))))
        scoped = {key: value for key, value in _scopes[-1].items() if key in known}
        return cls(name=name, **{**scoped, **arguments})


@dataclass
class WiredOptions(LayerOptions):
    """num_nodes nodes that read n of in_units inputs each.

    connection: random, serial, depthwise, pointwise (those two need in_shape and out_shape), or (num_nodes, n) indices.
    seed: of the wiring; None derives it from the layer's name, so that layers differ. flatten: data (N, ...) become
    (N, in_units); without, axis 1 holds the inputs and every position of the others is a frame.
    """

    num_nodes: int = 0
    in_units: int = 0
    n: int = 6
    connection: Any = "random"
    in_shape: Optional[tuple] = None
    out_shape: Optional[tuple] = None
    seed: Optional[int] = None
    flatten: bool = True
    given: Any = field(default=None, init=False, repr=False)

    kinds: ClassVar[tuple] = connections.KINDS

    def __post_init__(self):
        for shape, units in (("in_shape", "in_units"), ("out_shape", "num_nodes")):
            if getattr(self, shape) is not None:
                self.convert(shape, int_tuple, "a tuple of sizes", lambda v: v and min(v) > 0)
                if getattr(self, units) in (0, int(np.prod(getattr(self, shape)))):
                    setattr(self, units, int(np.prod(getattr(self, shape))))
                else:
                    self.fail(units, "the product of %s=%r" % (shape, getattr(self, shape)), getattr(self, units))
        self.count("num_nodes", "in_units")
        self.convert("n", integer, "%d..%d" % (MIN_INPUTS, MAX_INPUTS), lambda v: MIN_INPUTS <= v <= MAX_INPUTS)
        if self.in_units < self.n:
            self.fail("in_units", "at least n=%d: a node reads n different inputs" % self.n, self.in_units)
        self.flag("flatten")
        if not isinstance(self.connection, str):
            try:
                self.given = connections.check(self.connection, self.in_units, self.num_nodes, self.n)
            except (TypeError, ValueError) as error:
                raise OptionError("%s '%s': %s" % (self.op, self.name, error)) from None
            self.connection = "given"
        elif self.connection not in self.kinds:
            self.fail("connection", "one of %s, or indices (num_nodes, n)" % ", ".join(self.kinds), self.connection)
        self.seed = zlib.crc32(self.name.encode()) & 0x7FFFFFFF if self.seed is None else self.seed
        self.convert("seed", integer, "0..2**32 - 1, or None", lambda v: 0 <= v < 2 ** 32)
        try:
            if self.connection in connections.KINDS[2:]:
                connections.connect(self.connection, *self.sizes, self.seed, self.in_shape, self.out_shape)
        except ValueError as error:
            raise OptionError("%s '%s': %s" % (self.op, self.name, error)) from None

    @property
    def sizes(self):
        """(in_units, num_nodes, n)."""
        return self.in_units, self.num_nodes, self.n

    def wiring(self):
        """The Parameter `connections`."""
        from .initializers import LutWiring
        kind = "serial" if self.connection in ("given", "learned") else self.connection
        units = self.num_nodes * self.n if self.connection == "learned" else self.in_units
        given = None if self.given is None else self.given.tolist()
        init = LutWiring(kind, units, self.seed, self.in_shape, self.out_shape, given)
        return Parameter("connections", (self.num_nodes, self.n), init, is_state=True)

    def attributes(self):
        """Marks; given connections are in the parameters alone."""
        marks = super().attributes()
        del marks["__qnn_given__"]
        return marks
