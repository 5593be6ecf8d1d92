"""The packed operators on codes of several planes against reference_planes.py, exactly."""
import mxnet as mx
import numpy as np
import pytest

import qnn  # noqa: F401  (registers the operators)
from qnn import backend, reference
from qnn import reference_planes as planes_of

pytestmark = pytest.mark.skipif(not backend.is_native, reason="qnn._native is not built")
op, sym = mx.nd._internal, mx.sym._internal
RS = np.random.RandomState(0)
X = RS.randn(2, 70, 9, 7).astype(np.float32)
FLIP = RS.rand(70) < 0.5
THRESHOLD = {planes: np.sort(RS.randn(2 ** planes - 1, 70).astype(np.float32), axis=0) for planes in (2, 3)}


def words(array):
    """uint64 -> int64 NDArray: MXNet has no uint64."""
    return mx.nd.array(np.ascontiguousarray(array).view(np.int64), dtype="int64")


def integers(array):
    return mx.nd.array(array, dtype="int32")


def flip_words(flip):
    return words(reference.pack_rows(np.where(flip, 1, -1)))


def packed(u, planes, pad=(0, 0), code="bipolar", pad_value=1, num_group=1):
    """reference_planes.pack_codes as the operators shape it: groups and words are one axis."""
    image = planes_of.pack_codes(u, planes, pad, code, pad_value, num_group)
    return image.reshape(image.shape[:4] + (-1,))


def layer(act_code, weight_code, num_filter=33, pad=(1, 1), pad_value=0, num_group=1, seed=1):
    """(values, weights, accum, inputs behind the image, attributes) of a 3x3 layer of 2-bit data and weights."""
    rs = np.random.RandomState(seed)
    a = planes_of.from_unsigned(rs.randint(0, 4, X.shape), 2, act_code)
    low, high = planes_of.code_range(2, weight_code)
    w = rs.choice(np.arange(low, high + 1, 2 if weight_code == "bipolar" else 1), (num_filter, 70 // num_group, 3, 3))
    inputs = [words(backend.pack_weights(w, 2, weight_code, num_group))]
    if (act_code, weight_code) != ("bipolar", "bipolar"):
        inputs.append(integers(planes_of.offset(w, 2, act_code, 2, weight_code)))
    attributes = dict(channels=70, kernel=(3, 3), num_filter=num_filter, pad=pad, pad_value=pad_value,
                      num_group=num_group, act_planes=2, act_code=act_code, weight_planes=2, weight_code=weight_code)
    return a, w, planes_of.convolution(a, w, pad=pad, num_group=num_group), inputs, attributes


def image_of(a, code, pad=(1, 1), num_group=1):
    return words(packed(planes_of.to_unsigned(a, 2, code), 2, pad, code, 0, num_group))


CODES = [(act, weight) for act in planes_of.ACT_CODES for weight in planes_of.WEIGHT_CODES]


@pytest.mark.parametrize("code, pad, pad_value, num_group", [("bipolar", (1, 2), -1, 2), ("unsigned", (1, 0), 0, 1),
                                                             ("signed", (2, 1), 0, 7), ("signed", (0, 0), 1, 1)])
@pytest.mark.parametrize("planes", [2, 3])
def test_pack(planes, code, pad, pad_value, num_group):
    threshold = THRESHOLD[planes]
    attributes = dict(pad=pad, pad_value=pad_value, num_group=num_group, has_threshold=True, planes=planes, code=code)
    for data, layout in ((X, "NCHW"), (X.transpose(0, 2, 3, 1), "NHWC")):
        y = op._qnn_pack(mx.nd.array(data), mx.nd.array(threshold), flip_words(FLIP), layout=layout, **attributes)
        wanted = packed(planes_of.encode(X, threshold, FLIP), planes, pad, code, pad_value, num_group)
        np.testing.assert_array_equal(y.asnumpy().view(np.uint64), wanted)
        shared = mx.nd.array(threshold[:, :1]), flip_words([True])
        y = op._qnn_pack(mx.nd.array(data), *shared, layout=layout, **attributes)
        wanted = packed(planes_of.encode(X, threshold[:, :1], [True]), planes, pad, code, pad_value, num_group)
        np.testing.assert_array_equal(y.asnumpy().view(np.uint64), wanted)


@pytest.mark.parametrize("act_code, weight_code", CODES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_float_convolution(layout, act_code, weight_code):
    a, _, accum, inputs, attributes = layer(act_code, weight_code)
    rs = np.random.RandomState(2)
    arrays = {name: rs.randn(*(accum.shape if name == "residual" else (33,))).astype(np.float32)
              for name in ("mean", "scale", "bias", "residual")}
    wanted = reference.finish(accum, (1, -1, 1, 1), **arrays)
    if layout == "NHWC":
        wanted, arrays["residual"] = wanted.transpose(0, 2, 3, 1), arrays["residual"].transpose(0, 2, 3, 1)
    y = op._qnn_float_convolution(image_of(a, act_code, (2, 1)), *inputs, *(mx.nd.array(x) for x in arrays.values()),
                                  image_pad=(2, 1), layout=layout, has_mean=True, has_scale=True, has_bias=True,
                                  has_residual=True, **attributes)
    np.testing.assert_array_equal(y.asnumpy(), wanted)
    y = op._qnn_float_convolution(image_of(a, act_code), *inputs, **attributes)
    np.testing.assert_array_equal(y.asnumpy(), accum.astype(np.float32))


@pytest.mark.parametrize("act_code, weight_code", CODES)
@pytest.mark.parametrize("num_group", [1, 2])
def test_bits_convolution(num_group, act_code, weight_code):
    a, _, accum, inputs, attributes = layer(act_code, weight_code, 34, num_group=num_group)
    flip = np.random.RandomState(3).rand(34) < 0.5
    image = image_of(a, act_code, num_group=num_group)
    for planes, code in ((1, "bipolar"), (2, "unsigned"), (2, "signed"), (4, "bipolar")):
        threshold = np.sort(np.random.RandomState(4).randint(-200, 200, (2 ** planes - 1, 34)), axis=0).astype(np.int32)
        wanted = packed(planes_of.encode_integers(accum, threshold, flip), planes, (1, 2), code, 0)
        y = op._qnn_bits_convolution(image, *inputs, integers(threshold if planes > 1 else threshold[0]),
                                     flip_words(flip), out_pad=(1, 2), out_pad_value=0, out_planes=planes,
                                     out_code=code, **attributes)
        np.testing.assert_array_equal(y.asnumpy().view(np.uint64), wanted if planes > 1 else wanted[:, 0])


def test_one_plane_of_several():
    """Levels of a residual binarization, chained through the residual input."""
    u = np.random.RandomState(5).randint(0, 8, X.shape)
    w = np.where(np.random.RandomState(6).rand(33, 70, 3, 3) < 0.5, -1, 1)
    image, weight = words(packed(u, 3, (1, 1), pad_value=0)), words(backend.pack_weights(w))
    y, wanted = [], None
    for plane, scale in ((2, 0.61), (1, 0.33), (0, 0.07)):
        signs = np.where(planes_of.plane_bits(u, 3)[plane], 1, -1)
        term = planes_of.convolution(signs, w, pad=(1, 1)).astype(np.float32) * np.float32(scale)
        wanted = term if wanted is None else wanted + term
        y = [op._qnn_float_convolution(image, weight, mx.nd.array([scale]), *y, channels=70, kernel=(3, 3),
                                       num_filter=33, pad=(1, 1), pad_value=0, plane=plane, no_offset=True,
                                       has_scale=True, has_residual=bool(y))]
        np.testing.assert_array_equal(y[0].asnumpy(), wanted)


def test_ternary_fully_connected_layer():
    x, w = X.reshape(2, -1), np.random.RandomState(7).randint(-1, 2, (10, 70 * 63))
    image = op._qnn_pack(mx.nd.array(x))
    y = op._qnn_float_convolution(image, words(backend.pack_weights(w[:, :, None, None], 1, "masked")),
                                  integers(planes_of.offset(w, 1, "bipolar", 1, "masked")), channels=70 * 63,
                                  kernel=(1, 1), num_filter=10, flatten=True, weight_code="masked")
    np.testing.assert_array_equal(y.asnumpy(), reference.sign(x) @ w.T.astype(np.float32))


@pytest.mark.parametrize("convention", ["valid", "full"])
@pytest.mark.parametrize("has_flip", [False, True])
def test_bits_max_pool(convention, has_flip):
    u = np.random.RandomState(8).randint(0, 8, X.shape)
    pooled = mx.nd.Pooling(mx.nd.array(u), kernel=(3, 2), stride=(3, 2), pad=(1, 0), pool_type="max",
                           pooling_convention=convention).asnumpy().astype(np.int64)
    if has_flip:
        pooled = np.where(FLIP[:, None, None], 7 - pooled, pooled)
    y = op._qnn_bits_max_pool(words(packed(u, 3, (1, 2))), *([flip_words(FLIP)] * has_flip), kernel=(3, 2),
                              stride=(3, 2), pad=(1, 0), pooling_convention=convention, image_pad=(1, 2),
                              out_pad=(0, 1), channels=70,
                              has_flip=has_flip, planes=3, code="signed", out_pad_value=0)
    np.testing.assert_array_equal(y.asnumpy().view(np.uint64), packed(pooled, 3, (0, 1), "signed", 0))


def test_chain_in_an_executor():
    """float -> 2-bit image -> 2-bit image, pooled -> float: all shapes follow from the data's."""
    rs = np.random.RandomState(9)
    threshold = np.sort(rs.randint(-200, 200, (3, 33)), axis=0).astype(np.int32)
    w, w2 = rs.randint(-1, 2, (33, 70, 3, 3)), rs.choice([-3, -1, 1, 3], (5, 33, 4, 3))
    values = {"t": THRESHOLD[2], "f": flip_words(FLIP), "w": words(backend.pack_weights(w, 1, "masked")),
              "o": planes_of.offset(w, 2, "unsigned", 1, "masked"), "t1": threshold,
              "f1": flip_words(np.zeros(33, bool)), "w2": words(backend.pack_weights(w2, 2)),
              "o2": planes_of.offset(w2, 2, "signed", 2)}
    v = {"data": mx.sym.Variable("data"), **{name: mx.sym.Variable(name, dtype=str(np.dtype(value.dtype)))
                                              for name, value in values.items()}}
    net = sym._qnn_pack(v["data"], v["t"], v["f"], pad=(1, 1), pad_value=0, has_threshold=True, planes=2,
                        code="unsigned")
    net = sym._qnn_bits_convolution(net, v["w"], v["o"], v["t1"], v["f1"], channels=70, kernel=(3, 3), num_filter=33,
                                    pad=(1, 1), pad_value=0, act_planes=2, act_code="unsigned", weight_code="masked",
                                    out_planes=2, out_code="signed")
    net = sym._qnn_bits_max_pool(net, kernel=(2, 2), stride=(2, 2), channels=33, planes=2, code="signed")
    net = sym._qnn_float_convolution(net, v["w2"], v["o2"], channels=33, kernel=(4, 3), num_filter=5, flatten=True,
                                     act_planes=2, act_code="signed", weight_planes=2)
    executor = mx.sym.load_json(net.tojson()).simple_bind(mx.cpu(), grad_req="null", data=X.shape)
    for name, value in values.items():
        executor.arg_dict[name][:] = value
    for x in (X, -X):
        u = planes_of.encode(x, THRESHOLD[2], FLIP)
        u = planes_of.encode_integers(planes_of.convolution(u, w, pad=(1, 1)), threshold)
        u = planes_of.max_pool(u, (2, 2), (2, 2))
        wanted = planes_of.convolution(planes_of.from_unsigned(u, 2, "signed"), w2)[:, :, 0, 0]
        np.testing.assert_array_equal(executor.forward(data=mx.nd.array(x))[0].asnumpy(), wanted.astype(np.float32))


IMAGE, PANELS = np.zeros((1, 2, 5, 5, 1), np.int64), np.zeros(8 * 9, np.int64)
GEOMETRY = dict(channels=64, kernel=(3, 3), num_filter=8)


@pytest.mark.parametrize("call, text", [
    (lambda i, w: op._qnn_pack(mx.nd.zeros((2, 3)), planes=2), "of several planes needs thresholds"),
    (lambda i, w: op._qnn_pack(mx.nd.zeros((2, 3)), planes=9), r"planes is 1..8, got '9'"),
    (lambda i, w: op._qnn_pack(mx.nd.zeros((2, 3)), pad=(1, 1), code="signed"), "pads unsigned and signed codes"),
    (lambda i, w: op._qnn_pack(mx.nd.zeros((2, 3)), code="ternary"), "code is bipolar, unsigned or signed, got"),
    (lambda i, w: op._qnn_float_convolution(i, w, **GEOMETRY), r"reads 1 planes from plane=\(absent\) on, got"),
    (lambda i, w: op._qnn_float_convolution(i, w, plane=2, **GEOMETRY), "reads 1 planes from plane=2 on"),
    (lambda i, w: op._qnn_float_convolution(i, w, plane=-1, **GEOMETRY), "reads 1 planes from plane=-1 on"),
    (lambda i, w: op._qnn_float_convolution(i, w, act_planes=2.5, **GEOMETRY), r"act_planes is 1..8, got '2.5'"),
    (lambda i, w: op._qnn_float_convolution(i, w, act_planes=2, weight_code="ternary", **GEOMETRY), "bipolar or ma"),
    (lambda i, w: op._qnn_float_convolution(i, w, mx.nd.zeros(8), act_planes=2, act_code="signed", **GEOMETRY),
     "takes int32 offset, got float32"),
    (lambda i, w: op._qnn_float_convolution(i, w, mx.nd.zeros(8, dtype="int32"), act_planes=2, weight_code="masked",
                                            **GEOMETRY), r"needs packed weights of shape \(144\)"),
    (lambda i, w: op._qnn_float_convolution(i, w, mx.nd.zeros(7, dtype="int32"), act_planes=2, act_code="signed",
                                            **GEOMETRY), r"needs offset of shape \(8\), got \(7\)"),
    (lambda i, w: op._qnn_bits_convolution(i, w, mx.nd.zeros(8, dtype="int32"), w[:1], act_planes=2, out_planes=2,
                                           **GEOMETRY), r"needs thresholds of shape \(3, 8\), got \(8\)"),
    (lambda i, w: op._qnn_bits_convolution(i, w, mx.nd.zeros(8, dtype="int32"), w[:1], act_planes=2, out_planes=5,
                                           **GEOMETRY), r"out_planes is 1..4, got '5'"),
    (lambda i, w: op._qnn_bits_max_pool(i, kernel=(2, 2)), "of 1 planes does not fit a packed image"),
])
def test_errors_are_sentences(call, text):
    with pytest.raises(mx.base.MXNetError, match=text):
        call(mx.nd.array(IMAGE, dtype="int64"), mx.nd.array(PANELS, dtype="int64")).asnumpy()


def test_accumulators_above_two_to_the_24():
    image = mx.nd.zeros((1, 8, 5, 5, 1), dtype="int64")
    with pytest.raises(mx.base.MXNetError, match=r"accumulators may pass 2\^24 \(8 x 8 bits\)"):
        op._qnn_float_convolution(image, mx.nd.zeros(576, dtype="int64"), act_planes=8, weight_planes=8, **GEOMETRY)
