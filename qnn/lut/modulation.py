"""Modulation and heads: real numbers to bits and back, on frames (copies of the sample) and on channels.

    RealToBinary   (N, C, ...) -> (N F, C D, ...): bit [n F + f, c D + d] = x[n, c] > threshold[f, c, d]
    BinaryToReal   (N F, K D, ...) -> (N, K, ...): mean over the frames and over nodes d K + k
    Reduce         (N, I O, ...) -> (N, O, ...): mean over nodes i O + o
    GroupSum       (N, K G) -> (N, K): (number of ones of nodes k G .. k G + G - 1) / temperature
    BitEncode      bit b of floor(x (2^B - 1)) as node b C + c

Signals between are bits 0 and 1. Source: BinaryBrain; GroupSum: difflogic (arXiv:2210.08277).
"""
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .initializers import LutThresholds
from .options import LayerOptions, Parameter


@dataclass
class RealToBinary(LayerOptions):
    """Thermometer code of real numbers, frames deep in time (frame_modulation) and `depth` channels wide.

    thresholds: None: uniform in input_range, (d + (f + 0.5)/F)/D of it; or (F, 1 or C, D) or (C, D) numbers, from
    qnn.reference_lut.fit_thermometer for instance. binary=False is the identity of one frame and channel.
    Gradient: sum of dy over frames and depth inside input_range, over its width.
    """

    op = "RealToBinary"
    frame_modulation: int = 1
    depth: int = 1
    input_range: tuple = (0.0, 1.0)
    thresholds: Any = None
    binary: bool = True
    channels: int = field(default=1, init=False, repr=False)

    def __post_init__(self):
        self.flag("binary")
        self.convert("input_range", lambda v: (float(v[0]), float(v[1])), "(low, high)", lambda v: v[0] < v[1])
        if self.thresholds is not None:
            self.convert("thresholds", lambda v: np.asarray(v, np.float32), "an array (frames, 1 or channels, depth)",
                         lambda v: v.ndim in (2, 3) and v.size and np.isfinite(v).all())
            self.thresholds = self.thresholds.reshape((-1,) + self.thresholds.shape[-2:])
            self.frame_modulation, self.channels, self.depth = self.thresholds.shape
        self.count("frame_modulation", "depth")
        if not self.binary and (self.frame_modulation, self.depth) != (1, 1):
            self.fail("binary", "True with modulation %d and depth %d" % (self.frame_modulation, self.depth), False)

    def attributes(self):
        marks = super().attributes()
        del marks["__qnn_thresholds__"]  # they are in the parameters
        return marks

    def parameters(self):
        if not self.binary:
            return []
        init = LutThresholds(*self.input_range, self.thresholds)
        return [Parameter("thresholds", (self.frame_modulation, self.channels, self.depth), init, is_state=True)]

    def compute(self, build, data, p):
        """The native operator."""
        if not self.binary:
            return data
        return build("_qnn_thermometer", data, p["thresholds"], frames=self.frame_modulation, depth=self.depth,
                     low=self.input_range[0], high=self.input_range[1])


@dataclass
class BinaryToReal(LayerOptions):
    """Mean of a modulated signal: over frame_integration consecutive frames, and over nodes d K + k of value k."""

    op = "BinaryToReal"
    frame_integration: int = 1
    depth_integration: int = 1

    def __post_init__(self):
        self.count("frame_integration", "depth_integration")

    def compute(self, build, data, _):
        """Two means."""
        if self.frame_integration > 1:
            data = build("mean", build("Reshape", data, shape=(-4, -1, self.frame_integration, -2)), axis=1)
        if self.depth_integration > 1:
            data = build("mean", build("Reshape", data, shape=(0, -4, self.depth_integration, -1, -2)), axis=1)
        return build("identity", data)


@dataclass
class Reduce(LayerOptions):
    """Mean over the nodes i O + o of an output o; num_nodes = O."""

    op = "Reduce"
    num_nodes: int = 0

    def __post_init__(self):
        self.count("num_nodes")

    def compute(self, build, data, _):
        """One mean."""
        return build("mean", build("Reshape", data, shape=(0, -4, -1, self.num_nodes, -2)), axis=1)


@dataclass
class GroupSum(LayerOptions):
    """Popcount head: class k has nodes k G .. k G + G - 1; scores are sums over `temperature`, which softens softmax
    and leaves the order."""

    op = "GroupSum"
    num_classes: int = 0
    temperature: float = 1.0

    def __post_init__(self):
        self.count("num_classes")
        self.convert("temperature", float, "a number above 0", lambda v: v > 0)

    def compute(self, build, data, _):
        """Sum, then division: the sum is exact."""
        sums = build("sum", build("Reshape", data, shape=(0, -4, self.num_classes, -1, -2)), axis=2)
        return build("_div_scalar", sums, scalar=self.temperature)


@dataclass
class BitEncode(LayerOptions):
    """floor(clip(x, 0, 1) (2^bits - 1)) as bits: (N, C, ...) -> (N, bits C, ...), bit b of channel c at b C + c. No
    gradient."""

    op = "BitEncode"
    bits: int = 1

    def __post_init__(self):
        self.count("bits")
        if self.bits > 23:
            self.fail("bits", "1..23", self.bits)

    def compute(self, build, data, _):
        """floor(q / 2^b) mod 2."""
        clipped = build("clip", build("BlockGrad", data), a_min=0.0, a_max=1.0)
        q = build("floor", build("_mul_scalar", clipped, scalar=float(2 ** self.bits - 1)))
        bits = [build("_mod_scalar", build("floor", build("_mul_scalar", q, scalar=0.5 ** b)), scalar=2.0)
                for b in range(self.bits)]
        return build("Concat", *bits, dim=1, num_args=self.bits)


LAYERS = (RealToBinary, BinaryToReal, Reduce, GroupSum, BitEncode)
