"""Layers whose nodes are look-up tables: what each computes, as operators of MXNet and of native/.

    StochasticLut      y = sum_i W[i] prod_j (x_j if bit j of i else 1 - x_j)
    DifferentiableLut  the same, BatchNorm of fixed gamma and beta, and y > 0.5 (or clip to 0..1)
    BinaryLut          a fixed table            MicroMlp  the table of a small network, trained through
    AverageLut         mean, or majority        MaxLut    maximum: OR of bits

Formulas: qnn/reference_lut.py. Bits are 0 and 1. Source: BinaryBrain; learned connections: DWN (arXiv:2410.11112).
"""
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import mxnet as mx

from .initializers import LutGiven, LutTable
from .options import LayerOptions, Parameter, WiredOptions


def rows(build, data, options):
    """data with the inputs on axis 1."""
    return build("Flatten", data) if options.flatten else data


@dataclass
class StochasticLut(WiredOptions):
    """Layer of tables with n inputs, (N, in_units) -> (N, num_nodes); 2^n trained entries W a node, of initial value
    Normal(0.5, init_sigma).

    binary: inputs are bits, x > 0.5, and enter as 0.25 and 0.75 (smooth), which lets the gradient reach all entries, or
    as 0 and 1; else x is clipped to 0..1. binarize: y is a bit, y1 > 0.5. lut_binarize: W > 0.5 instead of W in forward
    and dx. batch_norm, gamma, beta, momentum: ((y1 - mean) rstd) gamma + beta before; gradient then stops outside (0,
    1).
    connection="learned": every input of a node chooses among all in_units by scores, which are trained; harden() ends
    it. parameter_lock: no gradient of W, moving statistics in training too. backward_break: no gradient of data.
    Raises OptionError.
    """

    op = "StochasticLut"
    kinds: ClassVar[tuple] = (*WiredOptions.kinds, "learned")
    binary: bool = False
    smooth: bool = True
    binarize: Optional[bool] = None
    lut_binarize: bool = True
    batch_norm: bool = False
    gamma: float = 0.3
    beta: float = 0.5
    momentum: float = 0.9
    parameter_lock: bool = False
    backward_break: bool = False
    init_sigma: float = 0.01

    clip_weight = True

    def __post_init__(self):
        super().__post_init__()
        self.binarize = self.default_binarize() if self.binarize is None else self.binarize
        self.flag("binary", "smooth", "binarize", "lut_binarize", "batch_norm", "parameter_lock", "backward_break")
        self.convert("momentum", float, "0..1, 1 excluded", lambda v: 0 <= v < 1)
        self.convert("init_sigma", float, "a number from 0 on", lambda v: v >= 0)
        for name in ("gamma", "beta"):
            self.convert(name, float, "a finite number", lambda v: abs(v) < 1e30)
        if self.connection == "learned" and not self.flatten:
            self.fail("flatten", "True where connections are learned", self.flatten)

    def default_binarize(self):
        """Whether outputs are bits, where nobody says."""
        return False

    @property
    def input(self):
        """real, smooth or hard: see reference_lut.lut_input."""
        return ("smooth" if self.smooth else "hard") if self.binary else "real"

    def attributes(self):
        """Marks of the node; what the operator's own attributes do not say."""
        return {**super().attributes(), "__qnn_input_mode__": self.input, "__qnn_clip_weight__": str(self.clip_weight)}

    def tables(self):
        """Parameters that the table is made of."""
        return [Parameter("weight", (self.num_nodes, 2 ** self.n), LutTable(self.init_sigma))]

    def parameters(self):
        """Tables, scores of learned connections, connections, moving statistics."""
        found = self.tables()
        if self.connection == "learned":
            shape = (self.num_nodes * self.n, self.in_units)
            found.append(Parameter("scores", shape, mx.init.Uniform(0.01)))
        found.append(self.wiring())
        if self.batch_norm:
            found.append(Parameter("moving_mean", (self.num_nodes,), mx.init.Zero(), is_state=True))
            found.append(Parameter("moving_var", (self.num_nodes,), mx.init.One(), is_state=True))
        return found

    def table(self, build, p):
        """Entries (num_nodes, 2^n)."""
        return p["weight"]

    def compute(self, build, data, p):
        """The layer: selection of learned inputs, then the native operator."""
        data = rows(build, data, self)
        data = build("BlockGrad", data) if self.backward_break else data
        in_nodes = self.in_units
        if self.connection == "learned":
            in_nodes = self.num_nodes * self.n
            data = select(build, data, p["scores"], in_nodes, self.in_units, self.parameter_lock)
        table = self.table(build, p)
        table = build("BlockGrad", table) if self.parameter_lock else table
        return self.operator(build, data, table, p, in_nodes)

    def operator(self, build, data, table, p, in_nodes, **attributes):
        """_qnn_lut with this layer's options. `mode` is 1 in inference, and 0 or 2 in training."""
        inputs = [data, table, p["connections"]]
        if self.batch_norm:
            mode = build("_ones", shape=(1,))
            mode = mode if self.parameter_lock else build("Dropout", mode, p=0.5)
            inputs += [mode, p["moving_mean"], p["moving_var"]]
        return build("_qnn_lut", *inputs, num_nodes=self.num_nodes, in_nodes=in_nodes, n=self.n, input=self.input,
                     batch_norm=self.batch_norm, binarize=self.binarize, lut_binarize=self.lut_binarize,
                     clip_weight=self.clip_weight, gamma=self.gamma, beta=self.beta, momentum=self.momentum,
                     data_grad=not self.backward_break, **attributes)[0]


def select(build, data, scores, num_outputs, in_units, is_locked):
    """x[:, argmax of each row of scores], whose gradient takes the selection for a product with the scores:
    dx = dy S1, dscores = dy' x, with the one-hot matrix S1: straight through. scores: (num_outputs, in_units)."""
    best = build("one_hot", build("argmax", build("BlockGrad", scores), axis=1), depth=in_units)
    if not is_locked:  # scores - scores is 0 exactly, and has the gradient of scores
        best = build("elemwise_add", best, build("elemwise_sub", scores, build("BlockGrad", scores)))
    return build("FullyConnected", data, best, num_hidden=num_outputs, no_bias=True)


@dataclass
class DifferentiableLut(StochasticLut):
    """StochasticLut of bits with BatchNorm and binarized output: BinaryBrain's layer of that name. binary=False makes
    inputs real and clips the output to 0..1 instead. Arguments: see StochasticLut."""

    op = "DifferentiableLut"
    binary: bool = True
    lut_binarize: bool = False
    batch_norm: bool = True

    def default_binarize(self):
        return self.binary


@dataclass
class BinaryLut(WiredOptions):
    """Layer of fixed tables: bits (x > 0.5) in, bits out. tables: (num_nodes,) numbers, bit i the output for index i,
    or None: they come with the parameters (`table`, (num_nodes, 2^n) of 0 and 1). Gradient of data: of the multilinear
    form."""

    op = "BinaryLut"
    tables: Any = None

    def __post_init__(self):
        super().__post_init__()
        if self.tables is not None:
            limit = 1 << (1 << self.n)
            self.convert("tables", lambda v: [int(t) for t in v],
                         "%d numbers below 2^%d" % (self.num_nodes, 1 << self.n),
                         lambda v: len(v) == self.num_nodes and all(0 <= t < limit for t in v))

    def attributes(self):
        marks = super().attributes()
        del marks["__qnn_tables__"]
        return marks

    def parameters(self):
        """The tables and the wiring, both states."""
        return [Parameter("table", (self.num_nodes, 2 ** self.n), LutGiven(self.tables), is_state=True), self.wiring()]

    def compute(self, build, data, p):
        """The native operator with a weight that is a state."""
        return build("_qnn_lut", rows(build, data, self), p["table"], p["connections"], num_nodes=self.num_nodes,
                     in_nodes=self.in_units, n=self.n, input="hard", binarize=True, lut_binarize=True, is_fixed=True)[0]


@dataclass
class MicroMlp(StochasticLut):
    """Nodes that are small networks, y1 = W1 . relu(W0 x + b0) + b1 with `hidden` units, on bits 0 and 1: a network of
    n bits is a table of 2^n entries, so it is trained as one. Then BatchNorm and binarization, as DifferentiableLut.

    Weights: Uniform(1/sqrt(n)). The gradient of data is the table's slope between 0 and 1.
    """

    op = "MicroMlp"
    binary: bool = True
    smooth: bool = False
    lut_binarize: bool = False
    batch_norm: bool = True
    hidden: int = 16

    clip_weight = False

    def __post_init__(self):
        super().__post_init__()
        self.count("hidden")
        if not self.binary or self.smooth or self.lut_binarize:
            self.fail("binary, smooth, lut_binarize", "True, False, False: inputs are bits",
                      (self.binary, self.smooth, self.lut_binarize))

    def default_binarize(self):
        return True

    def tables(self):
        """Two layers of weights and biases."""
        nodes, init = self.num_nodes, mx.init.Uniform(self.n ** -0.5)
        return [Parameter("hidden_weight", (nodes * self.hidden, self.n), init),
                Parameter("hidden_bias", (nodes * self.hidden, 1), init),
                Parameter("out_weight", (nodes, self.hidden, 1), init), Parameter("out_bias", (nodes, 1), init)]

    def table(self, build, p):
        """y1 at all corners: (num_nodes, 2^n)."""
        index = build("_arange", start=0, stop=2 ** self.n)
        bits = [build("_mod_scalar", build("floor", build("_mul_scalar", index, scalar=0.5 ** j)), scalar=2.0)
                for j in range(self.n)]
        corners = build("stack", *bits, axis=0, num_args=self.n)
        hidden = build("broadcast_add", build("dot", p["hidden_weight"], corners), p["hidden_bias"])
        hidden = build("Reshape", build("relu", hidden), shape=(-4, self.num_nodes, self.hidden, 0))
        out = build("sum", build("broadcast_mul", hidden, p["out_weight"]), axis=1)
        return build("broadcast_add", out, p["out_bias"])


@dataclass
class AverageLut(WiredOptions):
    """Mean of n inputs, or their majority with binarize: more than n/2 of the bits x > 0.5; a tie is 0. The gradient of
    both is dy/n to every input. binarize_input=False spares the comparison where the inputs are 0 and 1 already."""

    op = "AverageLut"
    connection: Any = "serial"
    binarize: bool = True
    binarize_input: bool = True

    def __post_init__(self):
        super().__post_init__()
        self.flag("binarize", "binarize_input")

    def parameters(self):
        """The wiring, unless neighbours follow one another."""
        return [] if self.is_reshape else [self.wiring()._replace(is_state=False, is_constant=True)]

    @property
    def is_reshape(self):
        """Serial, and every input used once."""
        return self.connection == "serial" and self.in_units == self.num_nodes * self.n

    def inputs(self, build, data, p):
        """(N, num_nodes * n, ...): the inputs of a node follow one another."""
        data = rows(build, data, self)
        if self.is_reshape:
            return data
        index = build("Reshape", build("BlockGrad", p["connections"]), shape=(-1,))
        return build("take", data, index, axis=1, mode="clip")

    def compute(self, build, data, p):
        """The majority has the gradient of the mean."""
        return build("_qnn_mean_of_groups", self.inputs(build, data, p), n=self.n, binarize=self.binarize,
                     binarize_input=self.binarize_input)


@dataclass
class MaxLut(AverageLut):
    """Maximum of n inputs: OR of bits with binarize (x > 0.5). The gradient goes to the first largest input."""

    op = "MaxLut"

    def compute(self, build, data, p):
        """pick() at the arg-max, whose gradient is that of one input."""
        inputs = build("Reshape", self.inputs(build, data, p), shape=(0, -4, self.num_nodes, self.n, -2))
        best = build("argmax", build("BlockGrad", inputs), axis=2)
        largest = build("pick", inputs, best, axis=2)
        if not self.binarize:
            return largest
        bits = build("_greater_scalar", build("BlockGrad", largest), scalar=0.5)
        return build("elemwise_add", bits, build("elemwise_sub", largest, build("BlockGrad", largest)))


LAYERS: tuple = (StochasticLut, DifferentiableLut, BinaryLut, MicroMlp, AverageLut, MaxLut)
assert all(issubclass(kind, LayerOptions) for kind in LAYERS)
