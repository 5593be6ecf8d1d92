"""_qnn_pack, _qnn_bits_convolution, _qnn_float_convolution and _qnn_bits_max_pool against reference.py, exactly."""
import mxnet as mx
import numpy as np
import pytest

import qnn  # noqa: F401  (registers the operators)
from qnn import backend, reference

pytestmark = pytest.mark.skipif(not backend.is_native, reason="qnn._native is not built")
op, sym = mx.nd._internal, mx.sym._internal
X = np.random.RandomState(0).randn(2, 70, 9, 7).astype(np.float32)
W = np.random.RandomState(1).randn(33, 70, 3, 3).astype(np.float32)


def words(array):
    """uint64 -> int64 NDArray: MXNet has no uint64."""
    return mx.nd.array(np.ascontiguousarray(array).view(np.int64), dtype="int64")


def image_of(array):
    """int64 NDArray -> uint64."""
    return array.asnumpy().view(np.uint64)


def packed(x, pad=(0, 0), pad_value=1, num_group=1):
    """reference.pack_nchw as the operators shape it: groups and words are one axis."""
    image = reference.pack_nchw(x, pad, pad_value, num_group)
    return image.reshape(image.shape[:3] + (-1,))


def weights(w, num_group=1):
    return words(backend.pack_panels(reference.pack_filters(w), num_group))


def flips(count, seed=2):
    """(bool, packed) of random directions."""
    flip = np.random.RandomState(seed).rand(count) < 0.5
    return flip, words(reference.pack_rows(np.where(flip, 1, -1)))


@pytest.mark.parametrize("pad, pad_value, num_group", [((0, 0), 1, 1), ((1, 2), -1, 2), ((2, 0), 1, 7)])
def test_pack(pad, pad_value, num_group):
    attributes = dict(pad=pad, pad_value=pad_value, num_group=num_group)
    wanted = packed(X, pad, pad_value, num_group)
    np.testing.assert_array_equal(image_of(op._qnn_pack(mx.nd.array(X), **attributes)), wanted)
    nhwc = mx.nd.array(np.ascontiguousarray(X.transpose(0, 2, 3, 1)))
    np.testing.assert_array_equal(image_of(op._qnn_pack(nhwc, layout="NHWC", **attributes)), wanted)
    threshold = np.random.RandomState(3).randn(70).astype(np.float32)
    flip, flip_words = flips(70)
    bits = np.where(reference.threshold_bits(X, threshold, flip), 1, -1)
    for data, layout in ((mx.nd.array(X), "NCHW"), (nhwc, "NHWC")):
        y = op._qnn_pack(data, mx.nd.array(threshold), flip_words, layout=layout, has_threshold=True, **attributes)
        np.testing.assert_array_equal(image_of(y), packed(bits, pad, pad_value, num_group))


@pytest.mark.parametrize("k", [1, 64, 130])
def test_pack_of_rows(k):
    x = np.random.RandomState(0).randn(5, k).astype(np.float32)
    for layout in ("NCHW", "NHWC"):
        y = op._qnn_pack(mx.nd.array(x), layout=layout)
        np.testing.assert_array_equal(image_of(y), reference.pack_rows(x)[:, None, None])


@pytest.mark.parametrize("pad, image_pad, pad_value, num_group", [
    ((0, 0), None, 1, 1), ((1, 1), None, 1, 1), ((1, 0), (1, 2), -1, 1), ((0, 0), (1, 1), 1, 1), ((1, 1), (2, 3), 0, 1),
    ((1, 1), None, 0, 1), ((1, 1), None, 1, 2)])
def test_bits_convolution(pad, image_pad, pad_value, num_group):
    w = np.random.RandomState(4).randn(34, 70 // num_group, 3, 3).astype(np.float32)
    dot = reference.q_convolution(X, w, pad=pad, num_group=num_group, pad_value=pad_value, stride=(2, 1),
                                  no_offset=True)
    threshold = np.random.RandomState(5).randint(-30, 30, 34).astype(np.int32)
    flip, flip_words = flips(34)
    attributes = dict(channels=70, kernel=(3, 3), num_filter=34, stride=(2, 1), pad=pad, pad_value=pad_value,
                      num_group=num_group)
    if image_pad:
        attributes["image_pad"] = image_pad
    image = words(packed(X, image_pad or pad, pad_value, num_group))
    for out_pad, out_pad_value in (((0, 0), 1), ((1, 2), 1), ((1, 0), -1)):
        y = op._qnn_bits_convolution(image, weights(w, num_group), mx.nd.array(threshold, dtype="int32"), flip_words,
                                     out_pad=out_pad, out_pad_value=out_pad_value, **attributes)
        wanted = reference.pack_bits(reference.dot_bits(dot, threshold, flip), out_pad, out_pad_value)
        np.testing.assert_array_equal(image_of(y), wanted)


@pytest.mark.parametrize("present", [(), ("mean",), ("scale", "bias"), ("mean", "scale", "bias", "residual"),
                                     ("residual",)])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_float_convolution(layout, present):
    rs = np.random.RandomState(6)
    accum = reference.q_convolution(X, W, pad=(1, 1))
    arrays = {name: (rs.randn(*(accum.shape if name == "residual" else (33,))) * 9).astype(np.float32)
              for name in present}
    wanted = reference.finish(accum, (1, -1, 1, 1), **arrays)
    if layout == "NHWC":
        wanted = wanted.transpose(0, 2, 3, 1)
        arrays = {n: x.transpose(0, 2, 3, 1) if n == "residual" else x for n, x in arrays.items()}
    y = op._qnn_float_convolution(words(packed(X, (2, 1))), weights(W), *(mx.nd.array(x) for x in arrays.values()),
                                  channels=70, kernel=(3, 3), num_filter=33, pad=(1, 1), image_pad=(2, 1),
                                  layout=layout, **{"has_" + name: True for name in present})
    np.testing.assert_array_equal(y.asnumpy(), wanted)


def test_float_convolution_is_the_fully_connected_layer():
    x, w = X.reshape(2, -1), np.random.RandomState(7).randn(10, 70 * 63).astype(np.float32)
    image = op._qnn_pack(mx.nd.array(x))
    y = op._qnn_float_convolution(image, weights(w[:, :, None, None]), channels=70 * 63, kernel=(1, 1), num_filter=10,
                                  flatten=True)
    np.testing.assert_array_equal(y.asnumpy(), reference.q_fully_connected(x, w))
    y = op._qnn_float_convolution(words(packed(X)), weights(w.reshape(10, 70, 9, 7)), channels=70, kernel=(9, 7),
                                  num_filter=10, flatten=True, no_offset=True)
    np.testing.assert_array_equal(y.asnumpy(), reference.q_fully_connected(x, w, no_offset=True))


@pytest.mark.parametrize("convention", ["valid", "full"])
@pytest.mark.parametrize("has_flip", [False, True])
def test_bits_max_pool(convention, has_flip):
    flip, flip_words = flips(70)
    pooled = mx.nd.Pooling(mx.nd.array(reference.sign(X)), kernel=(3, 2), stride=(3, 2), pad=(1, 0), pool_type="max",
                           pooling_convention=convention).asnumpy()
    bits = (pooled > 0) ^ (flip & has_flip)[:, None, None]
    y = op._qnn_bits_max_pool(words(packed(X, (1, 2))), *([flip_words] * has_flip), kernel=(3, 2), stride=(3, 2),
                              pad=(1, 0), pooling_convention=convention, image_pad=(1, 2), out_pad=(0, 1), channels=70,
                              has_flip=has_flip)
    np.testing.assert_array_equal(image_of(y), reference.pack_bits(bits, (0, 1)))


def test_chain_in_an_executor():
    """float -> image -> image, pooled -> float: three packed operators and a pooling, bound once, run twice."""
    threshold = np.random.RandomState(8).randint(-50, 50, 33).astype(np.int32)
    flip, flip_words = flips(33)
    w2 = np.random.RandomState(9).randn(5, 33, 4, 3).astype(np.float32)
    variable = {name: mx.sym.Variable(name, dtype=dtype) for name, dtype in (
        ("data", "float32"), ("w1", "int64"), ("threshold", "int32"), ("flip", "int64"), ("w2", "int64"))}
    net = sym._qnn_pack(variable["data"], pad=(1, 1))
    net = sym._qnn_bits_convolution(net, variable["w1"], variable["threshold"], variable["flip"], channels=70,
                                    kernel=(3, 3), num_filter=33, pad=(1, 1))
    net = sym._qnn_bits_max_pool(net, kernel=(2, 2), stride=(2, 2), channels=33)
    net = sym._qnn_float_convolution(net, variable["w2"], channels=33, kernel=(4, 3), num_filter=5, flatten=True)
    executor = net.simple_bind(mx.cpu(), grad_req="null", data=X.shape)
    for name, value in (("w1", weights(W)), ("threshold", threshold), ("flip", flip_words), ("w2", weights(w2))):
        executor.arg_dict[name][:] = value
    for x in (X, -X):
        bits = reference.dot_bits(reference.q_convolution(x, W, pad=(1, 1), no_offset=True), threshold, flip)
        pooled = mx.nd.Pooling(mx.nd.array(np.where(bits, 1, -1)), kernel=(2, 2), stride=(2, 2), pool_type="max")
        wanted = reference.q_convolution(pooled.asnumpy(), w2)[:, :, 0, 0]
        np.testing.assert_array_equal(executor.forward(data=mx.nd.array(x))[0].asnumpy(), wanted)


IMAGE, PANELS = np.zeros((1, 5, 5, 1), np.int64), np.zeros(8 * 9, np.int64)


@pytest.mark.parametrize("call, text", [
    (lambda i, w: op._qnn_pack(mx.nd.zeros((2, 3, 4))), r"needs data of shape \(N, C, H, W\), .* got \(2, 3, 4\)"),
    (lambda i, w: op._qnn_pack(i), "_qnn_pack takes float32 data, got int64; cast it first"),
    (lambda i, w: op._qnn_pack(mx.nd.zeros((2, 3)), layout="CNHW"), "layout is NCHW or NHWC, got 'CNHW'"),
    (lambda i, w: op._qnn_pack(mx.nd.zeros((2, 3)), num_group=2), "needs channels that num_group divides"),
    (lambda i, w: op._qnn_pack(mx.nd.zeros((2, 3)), pad=(2 ** 31, 0)), "larger than an axis of MXNet"),
    (lambda i, w: op._qnn_pack(mx.nd.zeros((2, 3)), kernel=2), "_qnn_pack has no attribute 'kernel'"),
    (lambda i, w: op._qnn_float_convolution(i, w, channels=65, kernel=(3, 3), num_filter=8), "needs 2 words a pixel"),
    (lambda i, w: op._qnn_float_convolution(i, w, channels=64, kernel=(7, 3), num_filter=8), "does not fit a packed"),
    (lambda i, w: op._qnn_float_convolution(i, w, channels=64, kernel=(3, 2), num_filter=8),
     r"packed weights of shape \(48\)"),
    (lambda i, w: op._qnn_float_convolution(i, w, channels=64, kernel=(3, 3), num_filter=8, pad=(2, 2),
                                            image_pad=(1, 1)), "does not fit a packed"),
    (lambda i, w: op._qnn_float_convolution(i, w, channels=64, kernel=(3, 3), num_filter=8, flatten=True),
     "flattens outputs of one pixel only"),
    (lambda i, w: op._qnn_bits_convolution(i, w, mx.nd.zeros(8), w[:1], channels=64, kernel=(3, 3), num_filter=8),
     "takes int32 thresholds, got float32"),
    (lambda i, w: op._qnn_bits_max_pool(i, kernel=(6, 6)), "does not fit a packed image"),
    (lambda i, w: op._qnn_bits_max_pool(i, kernel=(2, 2), channels=65), "of 65 channels does not fit"),
])
def test_errors_are_sentences(call, text):
    with pytest.raises(mx.base.MXNetError, match=text):
        call(mx.nd.array(IMAGE, dtype="int64"), mx.nd.array(PANELS, dtype="int64")).asnumpy()
