"""Benchmark cases of one layer: what runs, how many binary MACs it has, and the float network that does the same work.

    gemm   packed words x packed weights -> floats, in C:  M filters, N pixels, K inputs
    conv   float NHWC in, pack, convolution of signs or codes, scale and bias, float NHWC out, in C, nothing left out
    fc     one row of floats in, pack, binary layer, floats out, through Python; "packed": of bits that are there
    train  forward and backward of QConvolution by MXNet's executor, beside Convolution
"""
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

import numpy as np

from . import backend, reference, reference_planes
from .backend_images import CODES
from .bits import WORD_DTYPE, words_for

PAPER = (64, 12800, 6400)  # 5x5, 64 filters, 256 channels, batch 200 (arXiv:1705.09864)
GEMM_SHAPES = ((64, 4096, 576), (64, 3136, 576), (128, 784, 1152), (128, 1024, 1152), (256, 196, 2304),
               (256, 256, 2304), (512, 49, 4608), (512, 64, 4608), PAPER)
CONV_SHAPES = {  # name: batch, channels, height and width, filters, kernel, pad
    "64@56": (1, 64, 56, 64, 3, 1), "128@28": (1, 128, 28, 128, 3, 1), "256@14": (1, 256, 14, 256, 3, 1),
    "512@7": (1, 512, 7, 512, 3, 1), "paper": (200, 256, 12, 64, 5, 0)}
FC_SIZES = (1024, 4096)
TRAIN_SHAPES = ((16, 64, 28, 28), (32, 128, 14, 14))


@dataclass
class Twin:
    """A float network, for the peers: symbol, parameters (numpy), data (numpy)."""

    symbol: Any
    args: dict
    auxs: dict
    data: np.ndarray
    is_training: bool = False


@dataclass
class Case:
    """run: call to measure; macs: binary MACs of a call; num_bytes: weights that a call streams, 0 if it uses them more
    than once; product: (M, N, K) of the matrix product inside, for peers that only multiply matrices; one_bit, pairs:
    the same layer of 1-bit data and weights, and how many of these the planes of this one are."""

    name: str
    run: Callable
    macs: int = 0
    num_bytes: int = 0
    twin: Optional[Twin] = None
    product: tuple = field(default=())
    one_bit: Optional[Callable] = None
    pairs: int = 1


@dataclass(frozen=True)
class Codes:
    """Bits and codes (reference_planes.py) of a layer; act_code None: bipolar for one bit, else unsigned."""

    act_bit: int = 1
    weight_bit: int = 1
    act_code: Optional[str] = None
    weight_code: str = "bipolar"

    @property
    def data(self):
        return self.act_code or ("bipolar" if self.act_bit == 1 else "unsigned")

    @property
    def name(self):
        weight = "T" if self.weight_code == "masked" else self.weight_bit
        return "W%sA%d%s" % (weight, self.act_bit, " " + self.act_code if self.act_code else "")


ONE_BIT = Codes()


def _floats(*shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _panels(num_filter, k):
    return backend.pack_panels(backend.pack_rows(_floats(num_filter, k)))


def select(kind, text=None, codes=ONE_BIT):
    """Cases of a kind one after the other, which frees their memory; only those with `text` in their name.

    codes: bits of the layers of conv."""
    if kind not in KINDS:
        raise ValueError('unknown benchmark "%s"; known: %s' % (kind, ", ".join(sorted(KINDS))))
    make, entries = KINDS[kind]
    more = {} if codes == ONE_BIT else {"codes": codes}
    return (make(*entry, **more) for entry in entries() if not text or text in case_name(kind, *entry))


def case_name(kind, *entry):
    """Name of a case, without making it."""
    if kind == "fc":
        return "fc %d%s" % (entry[0], " packed" * entry[1])
    return "%s %s" % (kind, entry[0] if kind == "conv" else "x".join(map(str, entry)))


def gemm_case(m, n, k):
    """m filters, n pixels, k inputs."""
    a, panels, y = backend.pack_rows(_floats(n, k)), _panels(m, k), np.empty((n, m), np.float32)
    run = xgemm_call(a, panels, m, k, y) if backend.is_native else lambda: backend.xgemm(a, panels, k, m)
    return Case(case_name("gemm", m, n, k), run, m * n * k, twin=fully_connected_twin(n, m, k), product=(m, n, k))


def xgemm_call(a, panels, num_filter, k, y):
    """Call of the C function alone."""
    ffi, lib = backend.ffi, backend.lib
    pointers = [backend._words(a), backend._words(panels)]
    output, target = ffi.new("qnn_output *"), backend._floats(y)

    def call(alive=(a, panels)):
        backend._check("xgemm", lib.qnn_xgemm(*pointers, len(a), num_filter, k, output, target))
        return y
    return call


def conv_case(name, batch, channels, size, num_filter, kernel, pad, codes=ONE_BIT):
    """One layer of `size` x `size` pixels and `kernel` x `kernel` taps, stride 1."""
    import mxnet as mx
    x, weight = _floats(batch, size, size, channels), _floats(num_filter, channels, kernel, kernel)
    out, pairs = size + 2 * pad - kernel + 1, codes.act_bit * codes.weight_bit
    symbol = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(kernel, kernel), num_filter=num_filter,
                                pad=(pad, pad), no_bias=True, name="conv")
    twin = Twin(symbol, {"conv_weight": weight}, {}, np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    product = (num_filter, batch * out * out, channels * kernel * kernel)
    one_bit = None if codes == ONE_BIT else layer_call(x, weight, pad, ONE_BIT)
    return Case(" ".join([case_name("conv", name)] + [codes.name] * bool(one_bit)), layer_call(x, weight, pad, codes),
                pairs * int(np.prod(product, dtype=np.int64)), twin=twin, product=product, one_bit=one_bit, pairs=pairs)


def weight_codes(weight, planes, code):
    """Codes (F, ...) of normal weights: signs, several bits with as many of each, ternary ones by TWN's 0.7 mean|w|."""
    if code == "masked":
        return (np.sign(weight) * (np.abs(weight) > 0.7 * np.abs(weight).mean())).astype(np.int64)
    if planes == 1:
        return reference.sign(weight)
    steps = np.quantile(weight, np.arange(1, 2 ** planes) / 2 ** planes)
    return reference_planes.from_unsigned(np.searchsorted(steps, weight), planes, code)


def layer_call(x, weight, pad, codes):
    """Call that packs NHWC floats, several bits by thresholds of each channel, and makes NHWC floats of them."""
    num_filter, channels, kernel, _ = weight.shape
    w = weight_codes(weight, codes.weight_bit, codes.weight_code)
    panels = backend.pack_weights(w, codes.weight_bit, codes.weight_code)
    options = dict(act_planes=codes.act_bit, act_code=codes.data, weight_planes=codes.weight_bit,
                   weight_code=codes.weight_code)
    if codes.data != "bipolar" or codes.weight_code != "bipolar":
        options["offset"] = reference_planes.offset(w, *options.values())
    threshold = None
    if codes.act_bit > 1:
        steps = np.quantile(x, np.arange(1, 2 ** codes.act_bit) / 2 ** codes.act_bit)
        threshold = np.repeat(steps.astype(np.float32)[:, None], channels, 1)
    pad_value = 1 if codes.data == "bipolar" else 0
    scale, bias = np.abs(_floats(num_filter)), _floats(num_filter)
    if backend.is_native:
        return conv2d_call(x, panels, num_filter, kernel, pad, pad_value, scale, bias, threshold, **options)
    return lambda: backend.conv2d(
        backend.pack_nhwc(x, pad, pad_value, threshold=threshold, code=codes.data), panels, channels, num_filter,
        kernel, pad=pad, pad_value=pad_value, scale=scale, bias=bias, layout="NHWC", **options)


def conv2d_call(x, panels, num_filter, kernel, pad, pad_value, scale, bias, threshold, act_planes, act_code,
                weight_planes, weight_code, offset=None):
    """Call of the two C functions that make NHWC floats of NHWC floats."""
    ffi, lib = backend.ffi, backend.lib
    batch, height, width, channels = x.shape
    shape = ffi.new("qnn_conv2d_shape *", {
        "batch": batch, "channels": channels, "height": height, "width": width, "num_filter": num_filter,
        "num_group": 1, "kernel_h": kernel, "kernel_w": kernel, "stride_h": 1, "stride_w": 1, "dilate_h": 1,
        "dilate_w": 1, "pad_h": pad, "pad_w": pad, "pad_value": pad_value, "act_planes": act_planes,
        "act_code": CODES[act_code], "weight_planes": weight_planes, "weight_code": CODES[weight_code]})
    image = backend._empty((lib.qnn_conv2d_image_words(shape),), WORD_DTYPE)
    height, width = lib.qnn_conv2d_out_height(shape), lib.qnn_conv2d_out_width(shape)
    y = backend._empty((batch, height, width, num_filter), np.float32)
    output, arrays = backend._output("conv2d", num_filter, scale, bias, False, offset=offset)
    source, target = backend._floats(x), backend._floats(y)
    packed, weights = backend._words(image), backend._words(panels)
    limits = None if threshold is None else backend._floats(threshold)

    def call(alive=(x, panels, image, arrays, offset, threshold)):
        status = (lib.qnn_pack_nhwc(source, shape, packed) if limits is None
                  else lib.qnn_pack_thresholds_nhwc(source, shape, limits, channels, ffi.NULL, packed))
        backend._check("pack_nhwc", status)
        backend._check("conv2d", lib.qnn_conv2d(packed, weights, shape, output, 1, target))
        return y
    return call


def fc_case(size, is_packed):
    """`size` neurons of `size` inputs each, of floats or of packed bits."""
    x, panels = _floats(1, size), _panels(size, size)
    words = backend.pack_rows(x)
    run = ((lambda: backend.xgemm(words, panels, size, size)) if is_packed
           else lambda: backend.xgemm(backend.pack_rows(x), panels, size, size))
    return Case(case_name("fc", size, is_packed), run, size * size,
                size * words_for(size) * WORD_DTYPE.itemsize, fully_connected_twin(1, size, size), (size, 1, size))


def fully_connected_twin(rows, num_hidden, k):
    """FullyConnected of MXNet without bias."""
    import mxnet as mx
    symbol = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=num_hidden, no_bias=True, name="fc")
    return Twin(symbol, {"fc_weight": _floats(num_hidden, k)}, {}, _floats(rows, k))


def train_case(*shape):
    """A training step of one layer, forward, gradients of data and weight: 3x3, pad 1, as many filters as channels."""
    import mxnet as mx

    from . import symbol
    from .executors import executor_call
    options = dict(kernel=(3, 3), num_filter=shape[1], pad=(1, 1), no_bias=True, name="conv")
    args = {"conv_weight": 0.1 * _floats(shape[1], shape[1], 3, 3)}
    binary, plain = (Twin(layer(mx.sym.Variable("data"), **options), args, {}, _floats(*shape), is_training=True)
                     for layer in (symbol.QConvolution, mx.sym.Convolution))
    return Case(case_name("train", *shape), executor_call(binary), twin=plain)


KINDS = {  # kind: (case of one entry, entries)
    "gemm": (gemm_case, lambda: GEMM_SHAPES), "conv": (conv_case, lambda: [(n, *s) for n, s in CONV_SHAPES.items()]),
    "fc": (fc_case, lambda: [(size, is_packed) for size in FC_SIZES for is_packed in (False, True)]),
    "train": (train_case, lambda: TRAIN_SHAPES)}
