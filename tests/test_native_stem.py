"""Float first layers: reference against exact arithmetic and MXNet's Convolution, native kernels against the reference,
the operator's errors."""
from fractions import Fraction

import mxnet as mx
import numpy as np
import pytest

import qnn  # noqa: F401  (registers the operators)
from qnn import backend, reference_stem
from qnn.backend_stem import stem_convolution

CASES = [  # N, C, H, W, F, kernel, stride, pad, pool
    (2, 3, 37, 29, 64, (7, 7), (2, 2), (3, 3), ((3, 3), (2, 2), (1, 1))),
    (3, 1, 28, 28, 64, (5, 5), (1, 1), (0, 0), ((2, 2), (2, 2), (0, 0))),
    (1, 3, 32, 32, 16, (3, 3), (1, 1), (1, 1), None),
    (1, 4, 9, 13, 80, (3, 2), (1, 2), (2, 0), ((3, 2), (1, 3), (0, 1))),
    (2, 2, 5, 6, 112, (1, 1), (3, 1), (0, 0), ((4, 1), (1, 1), (3, 0))),
    (1, 2, 7, 1, 32, (3, 1), (1, 4), (0, 2), None),
]


def numbers(*shape, seed=0):
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def test_fma_rounds_once():
    """Against rational numbers: no float32 is nearer. A third of the sums cancel, a third are ties or nearly."""
    rs, count = np.random.RandomState(0), 3000
    a, b, c = (rs.standard_normal(count) * 2.0 ** rs.randint(-20, 20, count) for _ in range(3))
    a, b, c = (part.astype(np.float32) for part in (a, b, c))
    c[:1000] = -(a[:1000].astype(np.float64) * b[:1000]).astype(np.float32)
    a[1000:2000] = 1 + 2.0 ** -12
    b[1000:2000] = 1 + rs.randint(1, 1 << 12, 1000) * 2.0 ** -23
    c[1000:2000] = 2.0 ** -rs.randint(25, 60, 1000) * rs.choice([-1, 1], 1000)
    found = reference_stem.fma(a, b, c)
    for number, *parts in zip(found, a, b, c):
        exact = Fraction(float(parts[0])) * Fraction(float(parts[1])) + Fraction(float(parts[2]))
        distance = abs(Fraction(float(number)) - exact)
        for other in (np.nextafter(number, np.float32(np.inf)), np.nextafter(number, np.float32(-np.inf))):
            assert abs(Fraction(float(other)) - exact) >= distance
    assert (found != (a * b + c)).sum() > 500, "these numbers do not tell one rounding from two"


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("case", CASES, ids=lambda case: "%dx%dx%d" % case[1:4])
def test_against_reference(case, num_threads):
    backend.set_threads(num_threads)
    n, channels, height, width, num_filter, kernel, stride, pad, pool = case
    x, weight = numbers(n, channels, height, width), numbers(*kernel, channels, num_filter, seed=1)
    bias, norm = numbers(num_filter, seed=2), list(numbers(3, channels, seed=3))
    for options in ({}, {"bias": bias, "relu": True}, {"bias": bias, "bias_first": True, "norm": norm},
                    {"norm": norm, "relu": True}):
        geometry = {"stride": stride, "pad": pad, "pool": pool}
        np.testing.assert_array_equal(stem_convolution(x, weight, **options, **geometry),
                                      reference_stem.stem_convolution(x, weight, **options, **geometry))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("pool", [None, ((3, 2), (2, 1), (1, 0))])
def test_infinities_and_nan(pool):
    x = numbers(2, 2, 11, 12)
    x[0, 0, 3, 4], x[0, 1, 7, 7], x[1, 0, 0, 0] = np.inf, -np.inf, np.nan
    weight = numbers(3, 3, 2, 16, seed=1)
    for relu in (False, True):
        np.testing.assert_array_equal(stem_convolution(x, weight, relu=relu, pool=pool),
                                      reference_stem.stem_convolution(x, weight, relu=relu, pool=pool))


def mxnet_stem(x, weight, bias, stride, pad, pool):
    """The same by MXNet's operators, NHWC."""
    num_filter = weight.shape[3]
    net = mx.sym.Convolution(mx.sym.Variable("data"), kernel=weight.shape[:2], num_filter=num_filter, stride=stride,
                             pad=pad, no_bias=bias is None, name="conv")
    if pool is not None:
        net = mx.sym.Pooling(net, pool_type="max", **dict(zip(("kernel", "stride", "pad"), pool)))
    executor = net.simple_bind(mx.cpu(), grad_req="null", data=x.shape)
    executor.arg_dict["conv_weight"][:] = weight.transpose(3, 2, 0, 1)
    if bias is not None:
        executor.arg_dict["conv_bias"][:] = bias
    return executor.forward(is_train=False, data=mx.nd.array(x))[0].asnumpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("batch,size", [(1, 224), (2, 45), (64, 32)])
@pytest.mark.parametrize("kernel,stride,pad,pool", [((7, 7), (2, 2), (3, 3), ((3, 3), (2, 2), (1, 1))),
                                                    ((3, 3), (1, 1), (1, 1), None), ((5, 5), (1, 1), (0, 0), None)])
def test_mxnet_adds_in_this_order(kernel, stride, pad, pool, batch, size, has_bias):
    """What the converter relies on where it finds it: with AVX2 MXNet's own Convolution gives these bits."""
    if not any(row["name"] == "avx2" and row["is_usable"] for row in backend.isa_table()):
        pytest.skip("oneDNN adds in this order with AVX2 and AVX-512, which this processor does not have")
    x, weight = numbers(batch, 3, size, size), numbers(*kernel, 3, 64, seed=1)
    bias = numbers(64, seed=2) if has_bias else None
    geometry = {"stride": stride, "pad": pad, "pool": pool}
    ours = [stem_convolution(x, weight, bias, first, **geometry) for first in (False, True)]
    theirs = mxnet_stem(x, weight, bias, **geometry)
    assert any(np.array_equal(theirs, y) for y in ours)


@pytest.mark.parametrize("change,sentence", [
    ({"weight": numbers(3, 3, 2, 20)}, "filters must be a multiple of 16, got 20"),
    ({"weight": numbers(3, 3, 1, 16)}, "channels of weight must be 2, got 1"),
    ({"weight": numbers(9, 3, 2, 16)}, r"a kernel of \(9, 3\) does not fit images of \(8, 9\) with pad \(0, 0\)"),
    ({"bias": numbers(15)}, r"shape of bias must be \(16,\), got \(15,\)"),
    ({"norm": numbers(3, 3)}, r"shape of mean must be \(2,\), got \(3,\)"),
    ({"pool": ((65, 2), (1, 1), (0, 0))}, r"a pooling window is 1..64 and larger than its pad, got \(65, 2\)"),
    ({"pool": ((2, 2), (1, 1), (0, 2))}, r"a pooling window is 1..64 .*, got \(2, 2\) with pad \(0, 2\)"),
    ({"pool": ((7, 2), (1, 1), (0, 0))}, r"a pooling window of \(7, 2\) does not fit images of \(6, 7\)"),
    ({"stride": 0}, "stride must be two integers >= 1")])
def test_errors(change, sentence):
    arguments = {"x": numbers(1, 2, 8, 9), "weight": numbers(3, 3, 2, 16), **change}
    if "norm" in arguments:
        arguments["norm"] = list(arguments["norm"])
    with pytest.raises(ValueError, match="stem_convolution: " + sentence):
        stem_convolution(**arguments)


def test_types():
    with pytest.raises(TypeError, match="stem_convolution: x must be float32, got float64"):
        stem_convolution(np.zeros((1, 1, 4, 4)), numbers(3, 3, 1, 16))


OPERATOR = {"kernel": (3, 3), "num_filter": 16}


def operator(shape=(1, 2, 8, 9), weight=(3, 3, 2, 16), **attributes):
    data, variable = mx.sym.Variable("data"), mx.sym.Variable("weight", shape=weight)
    return mx.sym._internal._qnn_stem_convolution(data, variable, **{**OPERATOR, **attributes}).infer_shape(data=shape)


@pytest.mark.parametrize("change,sentence", [
    ({"num_filter": 20}, "does not fit data of shape"), ({"kernel": (9, 3)}, "does not fit data of shape"),
    ({"pool_kernel": (7, 7)}, r"pool_kernel \(7, 7\)"), ({"pool_kernel": (2, 2), "pool_pad": (2, 0)}, "does not fit"),
    ({"weight": (3, 3, 1, 16)}, "needs weight of shape"), ({"shape": (1, 2, 8)}, r"needs data of shape \(N, C, H, W\)"),
    ({"shape": (1, 0, 8, 9)}, "unknown dimensions"), ({"dilate": (2, 2)}, "has no attribute 'dilate'"),
    ({"has_norm": True}, "Not enough argument to call operator _qnn_stem_convolution"),
    ({"kernel": (3, 3, 3)}, "kernel is a tuple of 2 sizes")])
def test_operator_errors(change, sentence):
    with pytest.raises(mx.MXNetError, match=sentence):
        operator(**change)


def test_operator_shape():
    assert operator(pad=(1, 0), pool_kernel=(2, 3), pool_stride=(2, 1))[1] == [(1, 4, 5, 16)]
