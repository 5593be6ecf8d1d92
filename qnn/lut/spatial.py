"""Layers on images of bits, (N, C, H, W): pooling, up-sampling, shuffling, faults, and the lowering of convolutions.

    Convolution2d         a table layer on every window: (C kh kw) inputs, one frame per pixel
    StochasticMaxPooling  1 - prod(1 - x) over the window: OR of independent bits
    Shuffle               y[i unit + j] = x[j (C / unit) + i]
    UpSampling            every pixel a block, or (fill=False) its middle and zeros
    InsertBitError        flips bits with probability error_rate, in training
"""
from dataclasses import dataclass

from ..options import int_tuple
from .options import LayerOptions


@dataclass
class Window(LayerOptions):
    """kernel, stride and pad of two numbers."""

    kernel: tuple = ()
    stride: tuple = ()

    def __post_init__(self):
        self.convert("kernel", int_tuple, "two sizes", lambda v: len(v) == 2 and min(v) > 0)
        self.convert("stride", lambda v: int_tuple(v) or self.default_stride(), "two sizes",
                     lambda v: len(v) == 2 and min(v) > 0)

    def default_stride(self):
        """Stride where none is given."""
        return (1, 1)


@dataclass
class Columns(Window):
    """Windows of an image as inputs: (N, C, H, W) -> (N, C kh kw, OH, OW), input (c kh + i) kw + j the pixel (i, j) of
    channel c. pad: 0 bits around, or the border mode reflect or edge."""

    op = "Columns"
    pad: tuple = (0, 0)
    border: str = "constant"

    def __post_init__(self):
        super().__post_init__()
        self.convert("pad", int_tuple, "two numbers from 0 on", lambda v: len(v) == 2 and min(v) >= 0)
        self.convert("border", str, "constant, reflect or edge", lambda v: v in ("constant", "reflect", "edge"))

    def compute(self, build, data, _):
        """im2col; the shape of its pixels is that of a pooling of the same window, of which nothing else is used."""
        if any(self.pad):
            (top, left), value = self.pad, {"constant_value": 0} if self.border == "constant" else {}
            data = build("Pad", data, mode=self.border, pad_width=(0, 0, 0, 0, top, top, left, left), **value)
        columns = build("im2col", data, kernel=self.kernel, stride=self.stride)
        plane = build("slice_axis", build("BlockGrad", data), axis=1, begin=0, end=1)
        pixels = build("Pooling", plane, kernel=self.kernel, stride=self.stride, pool_type="max")
        return build("reshape_like", columns, pixels, lhs_begin=2, lhs_end=3, rhs_begin=2, rhs_end=4)


@dataclass
class StochasticMaxPooling(Window):
    """1 - prod(1 - x) over windows that do not overlap (stride = kernel) and tile the image; the gradient is
    dy prod_others(1 - x)."""

    op = "StochasticMaxPooling"

    def __post_init__(self):
        super().__post_init__()
        if self.stride != self.kernel:
            self.fail("stride", "the kernel %r: windows do not overlap" % (self.kernel,), self.stride)

    def default_stride(self):
        return self.kernel

    def compute(self, build, data, _):
        """A product of slices: prod()'s own gradient divides by x, which may be 0."""
        (kh, kw), product = self.kernel, None
        zeros = build("_rminus_scalar", data, scalar=1.0)
        for i in range(kh):
            for j in range(kw):
                part = build("slice", zeros, begin=(None, None, i, j), end=(None,) * 4, step=(1, 1, kh, kw))
                product = part if product is None else build("elemwise_mul", product, part)
        return build("_rminus_scalar", product, scalar=1.0)


@dataclass
class Shuffle(LayerOptions):
    """y[i unit + j] = x[j (C / unit) + i] on axis 1."""

    op = "Shuffle"
    unit: int = 0

    def __post_init__(self):
        self.count("unit")

    def compute(self, build, data, _):
        """(unit, C / unit) transposed."""
        split = build("Reshape", data, shape=(0, -4, self.unit, -1, -2))
        return build("Reshape", build("SwapAxis", split, dim1=1, dim2=2), shape=(0, -3, -2))


@dataclass
class UpSampling(LayerOptions):
    """Every pixel becomes a scale x scale block of its copies (fill), or of zeros with the pixel in the middle."""

    op = "UpSampling"
    scale: int = 2
    fill: bool = True

    def __post_init__(self):
        self.count("scale")
        self.flag("fill")

    def compute(self, build, data, _):
        """Nearest neighbour; without fill, times a mask that repeats: index mod scale == scale // 2."""
        up = build("UpSampling", data, scale=self.scale, sample_type="nearest", num_args=1)
        if self.fill:
            return up
        for axis in (2, 3):
            index = build("_mod_scalar", build("arange_like", up, axis=axis), scalar=float(self.scale))
            mask = build("_equal_scalar", index, scalar=float(self.scale // 2))
            mask = build("Reshape", mask, shape=(1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1))
            up = build("broadcast_mul", up, mask)
        return up


@dataclass
class InsertBitError(LayerOptions):
    """In training, flips bits (or zeroes them: mask_mode="zero") with probability error_rate; the gradient of a flipped
    bit changes its sign, that of a zeroed bit is 0."""

    op = "InsertBitError"
    error_rate: float = 0.0
    mask_mode: str = "flip"

    def __post_init__(self):
        self.convert("error_rate", float, "0..1, 1 excluded", lambda v: 0 <= v < 1)
        self.convert("mask_mode", str, "flip or zero", lambda v: v in ("flip", "zero"))

    def compute(self, build, data, _):
        """Dropout of ones is 0 where a bit is hit, and has no zeros in inference."""
        ones = build("ones_like", build("BlockGrad", data))
        hit = build("_equal_scalar", build("Dropout", ones, p=self.error_rate), scalar=0.0)
        loss = build("_mul_scalar", hit, scalar=2.0 if self.mask_mode == "flip" else 1.0)
        gain = build("_rminus_scalar", loss, scalar=1.0)
        kept = build("elemwise_mul", data, gain)
        return build("elemwise_add", kept, hit) if self.mask_mode == "flip" else kept


LAYERS = (Columns, StochasticMaxPooling, Shuffle, UpSampling, InsertBitError)
