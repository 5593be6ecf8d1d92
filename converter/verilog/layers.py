"""Hardware layers: what a packed network computes, as integers alone, and the evaluation in numpy that Verilog is
tested against.

    Matrix    accum = sum_k w_k x_k;  code = number of thresholds that are <= accum     fully connected or convolution
    Pool      code = (max over the window) xor flip

A stream carries pixels (FC: one) row by row, channels inside, codes of `code_bits` bits: 1 bit is +1 or -1. Inputs of a
Matrix are ordered as they arrive: taps of the window outermost, channels inside. Directions of thresholds (`flip` of
the packed graph) are folded into the weights: accum < t  <=>  -accum >= 1 - t.
"""
from dataclasses import dataclass, field
from typing import Optional

import numpy as np


@dataclass(frozen=True)
class Window:
    """Geometry of a convolution or pooling over (height, width) pixels of `channels`; pad_value: +1, -1 or 0."""

    channels: int
    height: int
    width: int
    kernel: tuple
    stride: tuple = (1, 1)
    dilate: tuple = (1, 1)
    pad: tuple = (0, 0)
    pad_value: int = 1
    out_height: int = 0
    out_width: int = 0

    @property
    def taps(self):
        return self.kernel[0] * self.kernel[1]

    @property
    def pixels(self):
        """Number of output pixels."""
        return self.out_height * self.out_width

    def taps_of(self, image, fill):
        """(n, H, W, C) -> (n, OH*OW, taps, C); positions outside hold `fill`."""
        below = [max(0, (out - 1) * s + (k - 1) * d + 1 - size - p) for out, s, k, d, size, p in zip(
            (self.out_height, self.out_width), self.stride, self.kernel, self.dilate, image.shape[1:3], self.pad)]
        padded = np.pad(image, ((0, 0), (self.pad[0], below[0]), (self.pad[1], below[1]), (0, 0)),
                        constant_values=fill)
        taps = [padded[:, i * self.dilate[0]:, j * self.dilate[1]:][:, ::self.stride[0], ::self.stride[1]]
                [:, :self.out_height, :self.out_width]
                for i in range(self.kernel[0]) for j in range(self.kernel[1])]
        return np.stack(taps, axis=3).reshape(len(image), self.pixels, self.taps, -1)


@dataclass(frozen=True, eq=False)
class Matrix:
    """weight: (N, K) bool, True is +1. thresholds: (N, levels) int64 ascending, on the dot product; None: accumulators
    leave. window: None for a fully connected layer. code_bits, is_signed: of the inputs."""

    name: str
    weight: np.ndarray
    thresholds: Optional[np.ndarray] = None
    window: Optional[Window] = None
    code_bits: int = 1
    is_signed: bool = False

    @property
    def n(self):
        return self.weight.shape[0]

    @property
    def k(self):
        return self.weight.shape[1]

    @property
    def levels(self):
        return 0 if self.thresholds is None else self.thresholds.shape[1]

    @property
    def kind(self):
        """"bits", "masked" (bits with zero padding) or "codes": the input of the lanes, see rtl/qnn_lanes.v."""
        if self.code_bits > 1:
            return "codes"
        return "masked" if self.window and self.window.pad_value == 0 and any(self.window.pad) else "bits"

    @property
    def pixels(self):
        return self.window.pixels if self.window else 1

    @property
    def out_shape(self):
        """(height, width, channels)."""
        return (self.window.out_height, self.window.out_width, self.n) if self.window else (1, 1, self.n)

    @property
    def largest_code(self):
        """Largest absolute value of an input."""
        return 1 if self.code_bits == 1 else 2 ** (self.code_bits - 1) if self.is_signed else 2 ** self.code_bits - 1

    def dot(self, codes):
        """(n, H, W, C) codes -> (n, pixels, N) int64 dot products, positions padded with 0 counting nothing."""
        values = codes.astype(np.float32) if self.code_bits > 1 else codes.astype(np.float32) * 2 - 1
        if self.window:
            fill = 0 if self.code_bits > 1 else self.window.pad_value
            values = self.window.taps_of(values, fill).reshape(len(codes), self.pixels, self.k)
        else:
            values = values.reshape(len(codes), 1, self.k)
        signs = np.where(self.weight, np.float32(1), np.float32(-1)).T
        return np.rint(values @ signs).astype(np.int64)  # exact: |sum| < 2**24 is checked where networks are made

    def __call__(self, codes):
        """(n, H, W, C) codes -> (n, OH, OW, N): codes, or accumulators as the hardware has them."""
        dot = self.dot(codes)
        if self.thresholds is None:
            out = (self.k + dot) // 2 if self.kind == "bits" else dot
        else:
            out = (dot[..., None] >= self.thresholds).sum(-1)
        return out.reshape((len(codes),) + self.out_shape)


@dataclass(frozen=True, eq=False)
class Pool:
    """Max-pooling of codes; positions outside do not take part. flip: (channels,) bool: bits inverted behind it."""

    name: str
    window: Window
    flip: np.ndarray
    code_bits: int = 1

    @property
    def out_shape(self):
        return self.window.out_height, self.window.out_width, self.window.channels

    def __call__(self, codes):
        largest = self.window.taps_of(codes, 0).max(axis=2)
        mask = np.where(self.flip, 2 ** self.code_bits - 1, 0)
        return (largest ^ mask).reshape((len(codes),) + self.out_shape)


@dataclass
class Network:
    """A chain of layers. in_shape: (height, width, channels) of codes; scale: value of code 1 where code_bits > 1.

    accumulators: "matches" 0..K = (K + dot)/2, or "dot": what the last layer gives; sha256: of the packed model.
    host_before, host_after: names of the operators that stay in software; source: see extract.
    """

    layers: list
    in_shape: tuple
    sha256: str = ""
    scale: float = 1.0
    host_before: list = field(default_factory=list)
    host_after: list = field(default_factory=list)
    argmax_reason: str = ""
    source: object = None
    family = __package__ + ".xnor"

    @property
    def code_bits(self):
        return self.layers[0].code_bits

    @property
    def is_signed(self):
        return getattr(self.layers[0], "is_signed", False)

    @property
    def out_shape(self):
        return self.layers[-1].out_shape

    @property
    def accumulators(self):
        return "matches" if self.layers[-1].kind == "bits" else "dot"

    def __call__(self, codes):
        """(n, height, width, channels) codes -> (n,) + out_shape of the last layer."""
        for layer in self.layers:
            codes = layer(codes)
        return codes

    def random_codes(self, count, seed=0):
        """(count, height, width, channels) random inputs; the share of ones differs from sample to sample.

        In front of a fully connected layer two of three samples stand at the threshold of some neuron, on either side:
        there a single wrong weight shows, which other samples tell with probability 1/sqrt(K) only.
        """
        random = np.random.RandomState(seed)
        shape = (count,) + tuple(self.in_shape)
        if self.code_bits > 1:
            low = -2 ** (self.code_bits - 1) if self.is_signed else 0
            return random.randint(low, low + 2 ** self.code_bits, shape)
        share = random.uniform(0.2, 0.8, (count, 1, 1, 1))
        codes = (random.uniform(size=shape) < share).astype(np.int64)
        layer = self.layers[0]
        if layer.window is None and layer.levels:
            for row in (row for row in range(count) if row % 3):
                neuron = random.randint(layer.n)
                threshold = layer.thresholds[neuron, random.randint(layer.levels)]
                matches = -(-(layer.k + threshold) // 2) - row % 3 + 1
                is_match = random.permutation(layer.k) < matches
                codes[row] = np.where(is_match, layer.weight[neuron], ~layer.weight[neuron]).reshape(self.in_shape)
        return codes
