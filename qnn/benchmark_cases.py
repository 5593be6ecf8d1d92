"""Benchmark cases of one layer: what runs, how many binary MACs it has, and the float network that does the same work.

    gemm   packed words x packed weights -> floats, in C:  M filters, N pixels, K inputs
    conv   float NHWC in, sign + pack, binary convolution, scale and bias, float NHWC out, in C, nothing left out
    fc     one row of floats in, pack, binary layer, floats out, through Python; "packed": of bits that are there
    train  forward and backward of QConvolution by MXNet's executor, beside Convolution
"""
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

import numpy as np

from . import backend, reference
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
    than once; product: (M, N, K) of the matrix product inside, for peers that only multiply matrices."""

    name: str
    run: Callable
    macs: int = 0
    num_bytes: int = 0
    twin: Optional[Twin] = None
    product: tuple = field(default=())


def _floats(*shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _panels(num_filter, k):
    return backend.pack_panels(backend.pack_rows(_floats(num_filter, k)))


def select(kind, text=None):
    """Cases of a kind one after the other, which frees their memory; only those with `text` in their name."""
    if kind not in KINDS:
        raise ValueError('unknown benchmark "%s"; known: %s' % (kind, ", ".join(sorted(KINDS))))
    make, entries = KINDS[kind]
    return (make(*entry) for entry in entries() if not text or text in case_name(kind, *entry))


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


def conv_case(name, batch, channels, size, num_filter, kernel, pad):
    """One layer of `size` x `size` pixels and `kernel` x `kernel` taps, stride 1."""
    import mxnet as mx
    x, weight = _floats(batch, size, size, channels), _floats(num_filter, channels, kernel, kernel)
    scale, bias = np.abs(_floats(num_filter)), _floats(num_filter)
    panels = backend.pack_panels(reference.pack_filters(weight))
    out = size + 2 * pad - kernel + 1
    run = (conv2d_call(x, panels, num_filter, kernel, pad, scale, bias) if backend.is_native
           else lambda: backend.conv2d(backend.pack_nhwc(x, (pad, pad)), panels, channels, num_filter, (kernel, kernel),
                                       pad=(pad, pad), scale=scale, bias=bias, layout="NHWC"))
    symbol = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(kernel, kernel), num_filter=num_filter,
                                pad=(pad, pad), no_bias=True, name="conv")
    twin = Twin(symbol, {"conv_weight": weight}, {}, np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    product = (num_filter, batch * out * out, channels * kernel * kernel)
    return Case(case_name("conv", name), run, int(np.prod(product, dtype=np.int64)), twin=twin, product=product)


def conv2d_call(x, panels, num_filter, kernel, pad, scale=None, bias=None):
    """Call of the two C functions that make NHWC floats of NHWC floats."""
    ffi, lib = backend.ffi, backend.lib
    batch, height, width, channels = x.shape
    shape = ffi.new("qnn_conv2d_shape *", {
        "batch": batch, "channels": channels, "height": height, "width": width, "num_filter": num_filter,
        "num_group": 1, "kernel_h": kernel, "kernel_w": kernel, "stride_h": 1, "stride_w": 1, "dilate_h": 1,
        "dilate_w": 1, "pad_h": pad, "pad_w": pad, "pad_value": 1})
    image = backend._empty((lib.qnn_conv2d_image_words(shape),), WORD_DTYPE)
    height, width = lib.qnn_conv2d_out_height(shape), lib.qnn_conv2d_out_width(shape)
    y = backend._empty((batch, height, width, num_filter), np.float32)
    output, arrays = backend._output("conv2d", num_filter, scale, bias, False)
    source, target = backend._floats(x), backend._floats(y)
    packed, weights = backend._words(image), backend._words(panels)

    def call(alive=(x, panels, image, arrays)):
        backend._check("pack_nhwc", lib.qnn_pack_nhwc(source, shape, packed))
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
