"""Hardware layers: what a packed network computes, as integers alone, and the evaluation in numpy that Verilog is
tested against.

    Matrix    accum = sum_k w_k x_k;  code = number of thresholds that are <= accum     fully connected or convolution
    Pool      code = (max over the window) xor flip

A stream carries pixels (FC: one) row by row, channels inside, each a number u = 0 .. 2^code_bits - 1, whose value its
code says (qnn/reference_planes.py; one bit: +1 or -1). Inputs of a Matrix are ordered as they arrive: taps of the
window outermost, channels inside. Directions of thresholds (`flip` of the packed graph) are folded into the weights:
accum < t  <=>  -accum >= 1 - t.

Hardware counts matches: bits of u that equal the sign of the weight, by their value and the weight's magnitude.

    matches = sum_k |w_k| sum_i 2^i (u_ki xnor sign_k),  accum = step * matches + offset_n
"""
from dataclasses import dataclass, field
from typing import Optional

import numpy as np

from qnn import reference_planes


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
    """weight: (N, K) bool, True is +; magnitude: (N, K) integers >= 0, None: 1. thresholds: (N, levels) int64,
    ascending, on the dot product; None: accumulators leave. window: None for a fully connected layer. code_bits, code
    ("bipolar", "unsigned", "signed"): of the inputs."""

    name: str
    weight: np.ndarray
    thresholds: Optional[np.ndarray] = None
    window: Optional[Window] = None
    code_bits: int = 1
    code: str = "bipolar"
    magnitude: Optional[np.ndarray] = None

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
        """"masked" (padding with a 0 that the code does not have) or "bits": what lanes read, see rtl/qnn_lanes.v."""
        is_masked = self.code == "bipolar" and self.window and self.window.pad_value == 0 and any(self.window.pad)
        return "masked" if is_masked else "bits"

    @property
    def pixels(self):
        return self.window.pixels if self.window else 1

    @property
    def out_shape(self):
        """(height, width, channels)."""
        return (self.window.out_height, self.window.out_width, self.n) if self.window else (1, 1, self.n)

    @property
    def weight_bits(self):
        """Bits of a weight in hardware: its sign, and its magnitude where that is not always 1."""
        return 1 if self.magnitude is None else 1 + max(1, int(self.magnitude.max()).bit_length())

    @property
    def most(self):
        """An upper bound of the matches, and of the dot product of bipolar codes."""
        return self.k * (2 ** self.code_bits - 1) * (1 if self.magnitude is None else 2 ** (self.weight_bits - 1) - 1)

    @property
    def values(self):
        """(N, K) int64 weights."""
        return np.where(self.weight, 1, -1) * (1 if self.magnitude is None else self.magnitude)

    @property
    def step(self):
        """What a match adds to the dot product."""
        return 2 if self.code == "bipolar" else 1

    @property
    def offset(self):
        """(N,) dot product where nothing matches."""
        top, values = 2 ** self.code_bits - 1, self.values
        all_of_them, rest = top * np.abs(values).sum(1), {"bipolar": 0, "unsigned": -top, "signed": 1}[self.code]
        return -all_of_them if self.code == "bipolar" else -(all_of_them + rest * values.sum(1)) // 2

    @property
    def pad_number(self):
        """u of positions outside the image; of masked layers it does not matter."""
        return reference_planes.pad_code(self.code_bits, self.code, self.window.pad_value)

    def dot(self, codes):
        """(n, H, W, C) codes -> (n, pixels, N) int64 dot products, positions padded with 0 counting nothing."""
        values = reference_planes.from_unsigned(codes, self.code_bits, self.code).astype(np.float32)
        if self.window:
            fill = 0 if self.kind == "masked" else int(reference_planes.from_unsigned(
                self.pad_number, self.code_bits, self.code))
            values = self.window.taps_of(values, fill).reshape(len(codes), self.pixels, self.k)
        else:
            values = values.reshape(len(codes), 1, self.k)
        weights = self.values.astype(np.float32).T
        return np.rint(values @ weights).astype(np.int64)  # exact: |sum| < 2**24 is checked where networks are made

    def leaving(self, dot):
        """Dot products as accumulators that leave the hardware: matches, or the dot products of masked layers."""
        return (dot - self.offset) // self.step if self.kind == "bits" else dot

    def __call__(self, codes):
        """(n, H, W, C) codes -> (n, OH, OW, N): codes, or accumulators as the hardware has them."""
        dot = self.dot(codes)
        if self.thresholds is None:
            out = self.leaving(dot)
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
    """A chain of layers. in_shape: (height, width, channels) of codes; scale: value of code 1 in data of integers.

    accumulators: "matches" or "dot": what the last layer gives; sha256: of the packed model.
    host_before, host_after: names of the operators that stay in software; has_front: data of integers enter as they
    are; source: (converted model, node of _qnn_pack, node of the last layer).
    """

    layers: list
    in_shape: tuple
    sha256: str = ""
    scale: float = 1.0
    host_before: list = field(default_factory=list)
    host_after: list = field(default_factory=list)
    argmax_reason: str = ""
    has_front: bool = False
    source: object = None
    family = __package__ + ".xnor"

    @property
    def code_bits(self):
        return self.layers[0].code_bits

    @property
    def code(self):
        return getattr(self.layers[0], "code", "bipolar")

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
            return random.randint(0, 2 ** self.code_bits, shape)
        share = random.uniform(0.2, 0.8, (count, 1, 1, 1))
        codes = (random.uniform(size=shape) < share).astype(np.int64)
        layer = self.layers[0]
        if isinstance(layer, Matrix) and layer.window is None and layer.levels and layer.magnitude is None:
            for row in (row for row in range(count) if row % 3):
                neuron = random.randint(layer.n)
                threshold = layer.thresholds[neuron, random.randint(layer.levels)]
                matches = -(-(layer.k + threshold) // 2) - row % 3 + 1
                is_match = random.permutation(layer.k) < matches
                codes[row] = np.where(is_match, layer.weight[neuron], ~layer.weight[neuron]).reshape(self.in_shape)
        return codes
