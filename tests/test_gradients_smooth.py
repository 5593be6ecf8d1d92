"""Gradients with float parts: scales, biases, k-bit weights; by numpy formulas, and by finite differences where a layer
is smooth: biases anywhere, weights through their scale where no sign can flip."""
import mxnet as mx
import numpy as np
import pytest
from mxnet.test_utils import check_numeric_gradient

import qnn
from qnn import reference


def _grads(op, arrays, head, **options):
    arrays = [mx.nd.array(array) for array in arrays]
    for array in arrays:
        array.attach_grad()
    with mx.autograd.record():
        out = getattr(qnn.nd, op)(*arrays, no_bias=len(arrays) < 3, **options)
    out.backward(mx.nd.array(head))
    return [array.grad.asnumpy() for array in arrays]


def _operands(num_hidden=4, k=6):
    """Integers and halves: sums are exact in float32; |w| partly outside the window; no weight is 0."""
    rng = np.random.RandomState(0)
    x = rng.choice([-1.5, -0.5, 0.5, 1], (3, k)).astype(np.float32)
    w = rng.choice([-2, -1, -0.5, 0.5, 1, 2], (num_hidden, k)).astype(np.float32)
    return x, w, rng.randint(-3, 4, (3, num_hidden)).astype(np.float32)


@pytest.mark.parametrize("no_offset", [False, True])
@pytest.mark.parametrize("scaling", ["layer", "filter"])
def test_scale_gradient(scaling, no_offset, operators):
    """y = accum s, s = mean|w|:  dw = s dw_1bit + sign(w)/n sum(dy accum),  dx = dx_1bit of s dy."""
    x, w, head = _operands()
    scale = reference.weight_scale(w, scaling)
    accum = reference.q_fully_connected(x, w, no_offset=no_offset)
    dx, dw = reference.q_fully_connected_grad(x, w, head * scale, no_offset=no_offset)
    through_scale = (head * accum).sum(0) if scaling == "filter" else (head * accum).sum(keepdims=True)[0]
    dw = dw + np.sign(w) * through_scale[:, None] / (w.shape[1] if scaling == "filter" else w.size)
    grads = _grads("QFullyConnected", [x, w, np.zeros(4)], head, num_hidden=4, scaling=scaling, no_offset=no_offset)
    for grad, expected in zip(grads, (dx, dw, head.sum(0))):
        np.testing.assert_allclose(grad, expected, rtol=2 ** -21, atol=2 ** -18)  # sums of 12 terms of up to 36
    assert np.abs(dw - grads[1]).max() < np.abs(through_scale).max() / w.size / 100  # it would show


@pytest.mark.parametrize("scaling", ["layer", "filter"])
def test_scale_gradient_of_convolution(scaling, operators):
    rng = np.random.RandomState(0)
    x = rng.randn(2, 4, 5, 5).astype(np.float32)
    w = rng.choice([-2, -1, -0.5, 0.5, 1, 2], (4, 2, 3, 3)).astype(np.float32)
    geometry = dict(pad=(1, 1), num_group=2, stride=(2, 2))
    accum = reference.q_convolution(x, w, **geometry)
    head = rng.randint(-3, 4, accum.shape).astype(np.float32)
    scale = reference.weight_scale(w, scaling).reshape(1, -1, 1, 1)
    dx, dw = reference.q_convolution_grad(x, w, head * scale, **geometry)
    per_filter = (head * accum).sum((0, 2, 3))
    through_scale = per_filter / w[0].size if scaling == "filter" else np.full(4, per_filter.sum() / w.size)
    dw = dw + np.sign(w) * through_scale.reshape(-1, 1, 1, 1)
    grads = _grads("QConvolution", [x, w], head, kernel=(3, 3), num_filter=4, scaling=scaling, **geometry)
    np.testing.assert_allclose(grads[0], dx, rtol=2 ** -20, atol=2 ** -17)
    np.testing.assert_allclose(grads[1], dw, rtol=2 ** -20, atol=2 ** -15)


@pytest.mark.parametrize("weight_bit", [2, 4, 8, 31])
def test_k_bit_weight_gradient(weight_bit, operators):
    """dW = g (1 - tanh(w)^2) / max|tanh|, the maximum being a constant; g is the gradient of the quantized weights."""
    rng = np.random.RandomState(0)
    x, w, head = rng.rand(3, 6).astype(np.float32), rng.randn(4, 6).astype(np.float32), rng.randint(-3, 4, (3, 4))
    xq = reference.quantize_activation(x, 2)
    tanh = np.tanh(w.astype(np.float64))
    expected = (head.T @ xq) * (1 - tanh ** 2) / np.abs(tanh).max()
    dx, dw = _grads("QFullyConnected", [x, w], head, num_hidden=4, act_bit=2, weight_bit=weight_bit)
    # 1 - tanh^2 cancels: an error of 2^-23 in tanh^2 stays; times a head of up to 9
    np.testing.assert_allclose(dw, expected, rtol=2 ** -20, atol=2 ** -19)
    np.testing.assert_allclose(dx, head @ reference.quantize_weight(w, weight_bit), rtol=2 ** -20, atol=2 ** -18)


def test_k_bit_weights_have_no_window(operators):
    """grad_clip is about 1-bit weights: tanh squashes the others."""
    w = np.float32([[0.1, 2.5, -3.5]])
    _, dw = _grads("QFullyConnected", [np.ones((1, 3)), w], np.float32([[1]]), num_hidden=1, act_bit=32, weight_bit=4,
                   grad_clip=0.5)
    assert np.all(dw > 0)


@pytest.mark.parametrize("act_bit,weight_bit", [(1, 32), (32, 1)])
def test_one_bit_on_one_side_only(act_bit, weight_bit, operators):
    """The float side gets the plain gradient, the 1-bit side the window; no offset, so no 1/2."""
    x, w, head = _operands()
    dx, dw = _grads("QFullyConnected", [x, w], head, num_hidden=4, act_bit=act_bit, weight_bit=weight_bit)
    xq, wq = reference.quantize_activation(x, act_bit), reference.quantize_weight(w, weight_bit)
    np.testing.assert_array_equal(dx, (head @ wq) * (reference.ste_window(x) if act_bit == 1 else 1))
    np.testing.assert_array_equal(dw, (head.T @ xq) * (reference.ste_window(w) if weight_bit == 1 else 1))


@pytest.mark.parametrize("scaling", ["none", "filter"])
@pytest.mark.parametrize("op", ["QConvolution", "QFullyConnected"])
def test_bias_by_finite_differences(op, scaling, operators):
    rng = np.random.RandomState(0)
    shape = (2, 3, 4, 4) if op == "QConvolution" else (2, 5)
    options = dict(kernel=(2, 2), num_filter=3) if op == "QConvolution" else dict(num_hidden=3)
    symbol = getattr(qnn.sym, op)(mx.sym.Variable("data"), no_bias=False, scaling=scaling, name="layer", **options)
    shapes, _, _ = symbol.infer_shape(data=shape)
    location = {name: rng.randn(*s).astype(np.float32) for name, s in zip(symbol.list_arguments(), shapes)}
    check_numeric_gradient(symbol, location, grad_nodes=["layer_bias"], numeric_eps=1e-2, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("scaling", ["layer", "filter"])
@pytest.mark.parametrize("op", ["QConvolution", "QFullyConnected"])
def test_scale_by_finite_differences(op, scaling, operators):
    """Outside the window the straight-through part is 0 and no sign flips: what is left, the scale, is smooth."""
    rng = np.random.RandomState(0)
    shape = (1, 2, 3, 3) if op == "QConvolution" else (2, 5)
    options = dict(kernel=(2, 2), num_filter=3) if op == "QConvolution" else dict(num_hidden=3)
    symbol = getattr(qnn.sym, op)(mx.sym.Variable("data"), scaling=scaling, name="layer", **options)
    shapes, _, _ = symbol.infer_shape(data=shape)
    values = (rng.choice([-1, 1], s) * rng.uniform(1.5, 2, s) for s in shapes)
    location = dict(zip(symbol.list_arguments(), values))
    check_numeric_gradient(symbol, location, numeric_eps=1e-2, rtol=1e-2, atol=1e-2)
