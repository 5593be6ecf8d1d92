"""LUT networks: layers of nodes that each are a truth table of up to 6 inputs, an encoder before them, scores behind.

    y = bit sum_j x_j << j of the table                  x_j: any earlier signal
    signals: 0 .. num_inputs-1 the bits of a sample, then the nodes of the first layer, of the second ...

    network = LutNetwork(784, [LutLayer(connections, tables), ...], groups=np.arange(60) % 10)
    network.save("out/net", 4);  LutNetwork.load("out/net", 4)

The method is that of BinaryBrain (github.com/ryuz/BinaryBrain); qnn/reference_lut_network.py defines the numbers.
"""
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Optional

import numpy as np

from . import reference_lut_network

MAX_INPUTS = 6


class LutLayer:
    """Nodes evaluated together: connections (nodes, n) int32, n <= 6, tables (nodes,) uint64.

    An entry of -1 is no input; only the last entries of a row may be -1. Table bits that cannot be reached are cleared.
    Raises ValueError.
    """

    def __init__(self, connections, tables):
        connections, tables = np.asarray(connections), np.asarray(tables)
        if connections.ndim != 2 or connections.shape[1] > MAX_INPUTS or connections.dtype.kind not in "iu":
            raise ValueError("LutLayer: connections are integers of shape (nodes, n), n = 0..6, got %s of shape %s"
                             % (connections.dtype, connections.shape))
        if tables.shape != (len(connections),) or tables.dtype.kind not in "iu":
            raise ValueError("LutLayer: tables are one uint64 per node, (%d,), got %s of shape %s"
                             % (len(connections), tables.dtype, tables.shape))
        self.connections = np.full((len(connections), MAX_INPUTS), -1, np.int32)
        self.connections[:, :connections.shape[1]] = connections
        is_input = self.connections >= 0
        if connections.size and (connections.min() < -1 or (is_input[:, 1:] & ~is_input[:, :-1]).any()):
            raise ValueError("LutLayer: a connection is a signal from 0 on, or -1 behind the last input of a node")
        self.arities = is_input.sum(1).astype(np.uint8)
        self.tables = tables.astype(np.uint64) & used_bits(self.arities)

    def __len__(self):
        return len(self.tables)


def used_bits(arities):
    """Masks of the 2^n table bits that n inputs reach: (nodes,) -> (nodes,) uint64."""
    sizes = np.uint64(1) << np.asarray(arities, np.uint64)
    return np.where(sizes == 64, ~np.uint64(0), (np.uint64(1) << (sizes & np.uint64(63))) - np.uint64(1))


@dataclass
class Encoder:
    """Thermometer: bit i of frame f = x[features[i]] > thresholds[f, i].

    num_features: numbers of a sample; features: (bits,) int32; thresholds: (frames, bits) float32, (bits,) for one
    frame; unit: a byte v stands for the number float32(v) / float32(unit). Several frames are several evaluations of
    the network, whose scores are summed (BinaryBrain's frame modulation).
    """

    num_features: int
    features: np.ndarray
    thresholds: np.ndarray
    unit: float = 255.0

    def __post_init__(self):
        self.features = np.asarray(self.features, np.int32)
        self.thresholds = np.atleast_2d(np.asarray(self.thresholds, np.float32))
        if self.features.ndim != 1 or self.thresholds.shape[1:] != self.features.shape or not self.thresholds.size:
            raise ValueError("Encoder: features are (bits,), thresholds (frames, bits), got shapes %s and %s" % (
                self.features.shape, self.thresholds.shape))
        if self.features.min() < 0 or self.features.max() >= self.num_features:
            raise ValueError("Encoder: features are 0..%d, got %d..%d"
                             % (self.num_features - 1, self.features.min(), self.features.max()))
        if np.isnan(self.thresholds).any() or not self.unit > 0:
            raise ValueError("Encoder: thresholds are numbers and unit is above 0, got unit %r" % (self.unit,))

    @classmethod
    def uniform(cls, num_features, num_frames=1, bits=1, unit=255.0):
        """Thresholds (f + 0.5) / frames of the range 0..1, cut into `bits` parts: bit d*num_features + i of frame f is
        x[i] > (d + (f + 0.5)/frames) / bits."""
        steps = (np.arange(bits) + (np.arange(num_frames)[:, None] + 0.5) / num_frames) / bits
        return cls(num_features, np.tile(np.arange(num_features), bits), np.repeat(steps, num_features, axis=1), unit)

    @property
    def num_frames(self):
        return len(self.thresholds)

    @cached_property
    def levels(self):
        """The same comparisons of bytes: bit = v >= level, 0 (always) .. 256 (never): (frames, bits) uint16."""
        values = np.arange(256, dtype=np.float32) / np.float32(self.unit)  # rises with v, so that counts decide
        levels = np.searchsorted(values, self.thresholds.ravel(), "right")
        return levels.reshape(self.thresholds.shape).astype(np.uint16)


@dataclass
class LutNetwork:
    """num_inputs: bits of a sample; layers: [LutLayer]; outputs: (outputs,) signals, by default the last layer.

    groups: (outputs,) score that each output counts for; None: no head, every output is a result of its own.
    num_scores: number of scores where the last of them may have no output. num_frames: of samples given as bits; an
    encoder says it itself. plan: {"shape", "steps"}, how a network of images was laid out from tables that all its
    positions share (converter/lut_signals.py), which hardware needs; None where nobody knows. Raises ValueError naming
    the layer.
    """

    num_inputs: int
    layers: list
    outputs: Optional[np.ndarray] = None
    groups: Optional[np.ndarray] = None
    encoder: Optional[Encoder] = None
    num_scores: Optional[int] = None
    num_frames: int = 1
    plan: Optional[dict] = None

    def __post_init__(self):
        self.check_inputs()
        end = self.num_inputs
        for number, layer in enumerate(self.layers):
            highest = layer.connections.max(initial=-1)
            if highest >= end:
                raise ValueError("LutNetwork: layer %d reads signal %d, but only 0..%d come before it"
                                 % (number, highest, end - 1))
            end += len(layer)
        if self.outputs is None:
            self.outputs = np.arange(end - len(self.layers[-1]) if self.layers else 0, end)
        self.outputs = np.asarray(self.outputs, np.int32)
        if self.outputs.ndim != 1 or not self.outputs.size or self.outputs.min() < 0 or self.outputs.max() >= end:
            raise ValueError("LutNetwork: outputs are signals 0..%d, at least one" % (end - 1))
        self.check_groups()

    def check_inputs(self):
        if self.num_inputs < 1 or self.num_frames < 1:
            raise ValueError("LutNetwork: num_inputs and num_frames are above 0, got %r and %r"
                             % (self.num_inputs, self.num_frames))
        if self.encoder is None:
            return
        if len(self.encoder.features) != self.num_inputs:
            raise ValueError("LutNetwork: the encoder makes %d bits, the network has %d inputs"
                             % (len(self.encoder.features), self.num_inputs))
        self.num_frames = self.encoder.num_frames

    def check_groups(self):
        count = len(self.outputs)
        groups = np.arange(count) if self.groups is None else np.asarray(self.groups)
        if groups.shape != (count,) or groups.dtype.kind not in "iu" or groups.min() < 0:
            raise ValueError("LutNetwork: groups name the score of each of the %d outputs, got shape %s"
                             % (count, groups.shape))
        self.num_scores = count if self.groups is None else int(self.num_scores or groups.max() + 1)
        if groups.max() >= self.num_scores:
            raise ValueError("LutNetwork: groups are 0..%d, got %d" % (self.num_scores - 1, groups.max()))
        if self.groups is not None:
            self.groups = groups.astype(np.int32)

    @classmethod
    def chain(cls, num_inputs, layers, **options):
        """A network whose layers, pairs (connections, tables), read outputs of the layer before only: index 0 is that
        layer's first node."""
        begin, end, made = 0, num_inputs, []
        for connections, tables in layers:
            connections = np.asarray(connections)
            if connections.size and connections.max() >= end - begin:
                raise ValueError("LutNetwork: layer %d reads output %d of the %d before it"
                                 % (len(made), connections.max(), end - begin))
            made.append(LutLayer(np.where(connections < 0, -1, connections + begin), tables))
            begin, end = end, end + len(made[-1])
        return cls(num_inputs, made, **options)

    @property
    def num_nodes(self):
        return sum(len(layer) for layer in self.layers)

    @property
    def num_features(self):
        return self.encoder.num_features if self.encoder else self.num_inputs

    @cached_property
    def arrays(self):
        """The arrays of the C struct qnn_lut_network."""
        groups = np.arange(len(self.outputs)) if self.groups is None else self.groups
        order = np.argsort(groups, kind="stable")
        starts = np.searchsorted(groups[order], np.arange(self.num_scores + 1))
        layers: Any = self.layers or [LutLayer(np.zeros((0, 6), np.int32), np.zeros(0, np.uint64))]
        return {"arities": np.concatenate([layer.arities for layer in layers]),
                "connections": np.concatenate([layer.connections for layer in layers]),
                "tables": np.concatenate([layer.tables for layer in layers]),
                "outputs": np.ascontiguousarray(self.outputs[order]), "starts": starts.astype(np.int32)}

    def encode(self, x):
        """Bits of samples, by the encoder: (N, ...) numbers or bytes -> (N, frames, num_inputs) bool."""
        x = np.asarray(x)
        x = x.reshape(len(x), -1)
        if self.encoder is None:
            raise ValueError("LutNetwork: there is no encoder; give bits")
        if x.dtype == np.uint8:
            return x[:, None, self.encoder.features] >= self.encoder.levels[None]
        return reference_lut_network.encode(x.astype(np.float32), self.encoder.features, self.encoder.thresholds)

    def reference_scores(self, bits):
        """Scores by numpy, slowly: bits (N, frames, num_inputs) bool -> (N, num_scores) int32."""
        groups = np.arange(len(self.outputs)) if self.groups is None else self.groups
        layers = [(layer.connections, layer.tables) for layer in self.layers]
        return reference_lut_network.lut_scores(np.asarray(bits, bool), layers, self.outputs, groups, self.num_scores)

    def save(self, prefix, epoch=0):
        """Writes an MXNet checkpoint that qnn.load reads; returns its two paths."""
        from .lut_files import save
        return save(self, prefix, epoch)

    @staticmethod
    def load(prefix, epoch=0):
        """Reads what save has written. Raises OSError, or ValueError naming the file."""
        from .lut_files import load
        return load(prefix, epoch)

    def summary(self):
        """One line a layer: nodes, how many of each number of inputs."""
        lines = ["%d features" % self.num_features] if self.encoder else []
        lines.append("%d bits%s" % (self.num_inputs, " in %d frames" % self.num_frames if self.num_frames > 1 else ""))
        for number, layer in enumerate(self.layers):
            sizes = np.bincount(layer.arities, minlength=7)
            lines.append("layer %-3d %6d nodes   %s" % (number, len(layer), "  ".join(
                "LUT%d %d" % (n, count) for n, count in enumerate(sizes) if count)))
        lines.append("%d outputs, %s" % (len(self.outputs), "no head" if self.groups is None
                                         else "%d classes" % self.num_scores))
        lines.append("%d nodes" % self.num_nodes)
        return "\n".join(lines)
