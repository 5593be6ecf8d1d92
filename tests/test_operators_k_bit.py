"""Layers of 2..31 bits (DoReFa, in float32) against reference.py, and of 32/32 bits, which are MXNet's own operators.

Quantized activations are equal bit for bit: clip, multiply, round and divide are each one float32 operation. Quantized
weights hang on tanh, which may differ by an ulp between numpy and MXNet; weights near a rounding edge could then fall
to different levels, so tests of few bits keep away from edges; at many bits a level is no larger than an ulp."""
import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn import reference

BITS = (2, 3, 4, 7, 8, 15, 16, 23, 24, 25, 31)


def _weights_off_edges(rng, shape, k_bits):
    """Weights of which tanh(w)/(2 max) + 1/2 is at least 0.01 levels from every rounding edge."""
    levels = 2 ** k_bits - 1
    unit = (rng.randint(0, levels + 1, shape) + rng.uniform(-0.45, 0.45, shape)).clip(0, levels) / levels
    unit.flat[0] = 1.0
    return np.arctanh((2 * unit - 1) * 0.9).astype(np.float32)


def _weights(rng, shape, k_bits):
    return _weights_off_edges(rng, shape, k_bits) if k_bits < 20 else rng.randn(*shape).astype(np.float32)


def _data(rng, *shape):
    """Floats around [0, 1], half of them outside."""
    return (2 * rng.rand(*shape) - 0.5).astype(np.float32)


def _tolerance(x, w, k_bits):
    """Products of k terms summed in any order in float32: k * 2^-24 per unit of sum |x w|; weights are off by two ulps,
    or by one level where levels are finer than 2^-20."""
    k = w[0].size
    return (k + 4) * 2 ** -24 * k + (k * 2 ** -(k_bits - 2) if k_bits > 20 else 0)


@pytest.mark.parametrize("act_bit", BITS)
def test_activation_equals_reference_bit_for_bit(act_bit, operators):
    levels = min(2 ** act_bit - 1, 4095)
    halves = (np.arange(levels) + 0.5) / levels  # where rounding half away from zero differs from half to even
    x = np.concatenate([_data(np.random.RandomState(0), 500), halves, [0, -0.0, 1, 1.5, -1, np.inf, -np.inf, 1e-45]])
    x = x.astype(np.float32)
    expected = reference.quantize_activation(x, act_bit)
    np.testing.assert_array_equal(qnn.nd.QActivation(mx.nd.array(x), act_bit=act_bit).asnumpy(), expected)
    symbol = qnn.sym.QActivation(mx.sym.Variable("x"), act_bit=act_bit)
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", x=x.shape)
    np.testing.assert_array_equal(executor.forward(x=mx.nd.array(x))[0].asnumpy(), expected)


@pytest.mark.parametrize("weight_bit", [2, 3, 4, 8])
def test_quantized_weights_equal_reference(weight_bit, operators):
    """The identity matrix as 32-bit data shows the quantized weights themselves."""
    w, x = _weights_off_edges(np.random.RandomState(0), (5, 7), weight_bit), mx.nd.array(np.eye(7))
    out = qnn.nd.QFullyConnected(x, mx.nd.array(w), num_hidden=5, act_bit=32, weight_bit=weight_bit)
    levels = (out.asnumpy().T + 1) / 2 * (2 ** weight_bit - 1)
    np.testing.assert_allclose(levels, np.rint(levels), atol=2 ** -14)
    np.testing.assert_allclose(out.asnumpy().T, reference.quantize_weight(w, weight_bit), rtol=0, atol=2 ** -22)


def test_quantized_weights_of_zeros_are_finite(operators):
    out = qnn.nd.QFullyConnected(mx.nd.ones((2, 3)), mx.nd.zeros((4, 3)), num_hidden=4, act_bit=2, weight_bit=2)
    assert np.all(np.isfinite(out.asnumpy()))


@pytest.mark.parametrize("act_bit,weight_bit", [(2, 2), (4, 8), (8, 4), (16, 24), (31, 31), (1, 4), (4, 1), (1, 32),
                                                (32, 1), (2, 32), (32, 2)])
def test_convolution_of_mixed_bits(act_bit, weight_bit, operators):
    rng = np.random.RandomState(0)
    x, bias = _data(rng, 2, 4, 7, 6), np.float32([1, -2, 3, 0.5])
    w = _weights(rng, (4, 2, 3, 2), weight_bit)
    options = dict(stride=(2, 1), dilate=(1, 2), pad=(1, 1), num_group=2, act_bit=act_bit, weight_bit=weight_bit)
    expected = reference.q_convolution(x, w, bias, **options)
    out = qnn.nd.QConvolution(mx.nd.array(x), mx.nd.array(w), mx.nd.array(bias), no_bias=False, kernel=(3, 2),
                              num_filter=4, **options).asnumpy()
    np.testing.assert_allclose(out, expected, rtol=2 ** -23, atol=max(2 ** -20, _tolerance(x, w, weight_bit)))
    assert np.ptp(out) > 1


@pytest.mark.parametrize("act_bit,weight_bit", [(2, 2), (1, 2), (2, 1), (8, 8), (31, 31)])
def test_fully_connected_of_mixed_bits(act_bit, weight_bit, operators):
    rng = np.random.RandomState(0)
    x = _data(rng, 3, 11)
    w = _weights(rng, (5, 11), weight_bit)
    expected = reference.q_fully_connected(x, w, act_bit=act_bit, weight_bit=weight_bit)
    symbol = qnn.sym.QFullyConnected(mx.sym.Variable("x"), num_hidden=5, act_bit=act_bit, weight_bit=weight_bit,
                                     name="fc")
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", x=x.shape)
    out = executor.forward(x=mx.nd.array(x), fc_weight=mx.nd.array(w))[0].asnumpy()
    np.testing.assert_allclose(out, expected, rtol=2 ** -23, atol=max(2 ** -20, _tolerance(x, w, weight_bit)))


def test_k_bit_layers_pad_with_zero_and_have_no_offset(operators):
    """pad_value and the map to (K + dot)/2 belong to 1-bit layers: all-zero data gives zero, whatever the border."""
    w = mx.nd.array(np.random.RandomState(0).randn(2, 3, 3, 3))
    for act_bit, weight_bit in ((2, 2), (8, 1), (2, 32)):
        out = qnn.nd.QConvolution(mx.nd.zeros((1, 3, 4, 4)), w, kernel=(3, 3), num_filter=2, pad=(1, 1), pad_value=1,
                                  act_bit=act_bit, weight_bit=weight_bit)
        np.testing.assert_array_equal(out.asnumpy(), 0)


def test_one_bit_data_with_float_weights_pad_with_pad_value(operators):
    w = np.random.RandomState(0).randint(-3, 4, (2, 1, 3, 3)).astype(np.float32)
    x = np.zeros((1, 1, 1, 1), np.float32)
    for pad_value in (1, -1, 0):
        out = qnn.nd.QConvolution(mx.nd.array(x), mx.nd.array(w), kernel=(3, 3), num_filter=2, pad=(1, 1),
                                  pad_value=pad_value, act_bit=1, weight_bit=32).asnumpy()
        border = w.sum((1, 2, 3)) - w[:, 0, 1, 1]
        np.testing.assert_array_equal(out.ravel(), w[:, 0, 1, 1] + pad_value * border)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("geometry", [dict(), dict(stride=(2, 1), pad=(1, 2)), dict(num_group=2, dilate=(2, 1))])
def test_32_bit_convolution_is_convolution(geometry, with_bias, operators):
    rng = np.random.RandomState(0)
    arrays = [mx.nd.array(a) for a in (rng.randn(2, 4, 7, 6), rng.randn(6, 4 // geometry.get("num_group", 1), 3, 2),
                                       rng.randn(6))][:3 if with_bias else 2]
    options = dict(kernel=(3, 2), num_filter=6, no_bias=not with_bias, **geometry)
    expected = mx.nd.Convolution(*arrays, **options).asnumpy()
    out = qnn.nd.QConvolution(*arrays, act_bit=32, weight_bit=32, **options).asnumpy()
    np.testing.assert_array_equal(out.view(np.int32), expected.view(np.int32))


@pytest.mark.parametrize("flatten", [True, False])
@pytest.mark.parametrize("with_bias", [False, True])
def test_32_bit_fully_connected_is_fully_connected(with_bias, flatten, operators):
    rng = np.random.RandomState(0)
    x = mx.nd.array(rng.randn(3, 5, 7))
    arrays = [x, mx.nd.array(rng.randn(4, 35 if flatten else 7)), mx.nd.array(rng.randn(4))][:3 if with_bias else 2]
    options = dict(num_hidden=4, no_bias=not with_bias, flatten=flatten)
    expected = mx.nd.FullyConnected(*arrays, **options).asnumpy()
    out = qnn.nd.QFullyConnected(*arrays, act_bit=32, weight_bit=32, **options).asnumpy()
    np.testing.assert_array_equal(out.view(np.int32), expected.view(np.int32))


def test_32_bit_layers_have_the_gradients_of_the_plain_operator(operators):
    rng = np.random.RandomState(0)
    x, w, b = (mx.nd.array(a) for a in (rng.randn(2, 3, 6, 6), rng.randn(4, 3, 3, 3), rng.randn(4)))
    grads = []
    for operator, extra in ((mx.nd.Convolution, {}), (qnn.nd.QConvolution, dict(act_bit=32, weight_bit=32))):
        for array in (x, w, b):
            array.attach_grad()
        with mx.autograd.record():
            out = operator(x, w, b, kernel=(3, 3), num_filter=4, no_bias=False, **extra)
        out.backward(out)
        grads.append([array.grad.asnumpy() for array in (x, w, b)])
    for ours, plain in zip(*grads):
        np.testing.assert_array_equal(ours, plain)


def test_32_bit_layers_take_float64():
    """They are the plain operators, which do."""
    x, w = mx.nd.ones((2, 3), dtype="float64"), mx.nd.ones((4, 3), dtype="float64")
    assert qnn.nd.QFullyConnected(x, w, num_hidden=4, act_bit=32, weight_bit=32).dtype == np.float64


def test_per_layer_scale_of_k_bit_layers(operators):
    """scaling multiplies k-bit outputs too."""
    rng = np.random.RandomState(0)
    x, w = _data(rng, 3, 8), _weights_off_edges(rng, (4, 8), 2)
    for scaling in ("layer", "filter"):
        options = dict(act_bit=2, weight_bit=2, scaling=scaling)
        expected = reference.q_fully_connected(x, w, **options)
        out = qnn.nd.QFullyConnected(mx.nd.array(x), mx.nd.array(w), num_hidden=4, **options)
        np.testing.assert_allclose(out.asnumpy(), expected, rtol=2 ** -21, atol=2 ** -20)
