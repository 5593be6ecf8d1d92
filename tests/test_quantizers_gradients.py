"""Gradients of the quantizers against the formulas of the papers, in numpy (a straight-through gradient is not the
numeric one): of activations through QActivation, of weights through a layer on the identity matrix, of trained scales
through both; and what layers make of them."""
import mxnet as mx
import numpy as np
import pytest
from quantizer_cases import ACT, MODES, WEIGHT, arrays_of, data, initial, run_layer, weights

import qnn
from qnn import quantizers, reference_quantizers
from qnn.reference_quantizers import residuals

ULPS = dict(rtol=2 ** -20, atol=2 ** -20)  # a handful of float32 roundings of numbers around 1


def _swish(x, beta):
    x = np.clip(beta * x.astype(np.float64), -700, 700)
    return beta * (2 - x * np.tanh(x / 2)) / (1 + np.cosh(x))


def _isometric(x, gamma, levels, head):
    """Equations 7 and 8."""
    steps = [gamma[0] * 2.0 ** -level for level in range(levels)]
    rests = [rest.astype(np.float64) for rest, _ in residuals(x, steps)]
    dx = sum(step * (np.abs(rest) <= 1) for step, rest in zip(steps, rests)) * head
    dgamma = sum(2.0 ** -level * np.clip(rest, -1, 1) for level, rest in enumerate(rests))
    return dx, [np.array([(dgamma * head).sum()])]


def _rebnet(x, gamma, head):
    """Reverse sweep over out_l = g_l b_l, r_{l+1} = r_l - out_l, db_l/dr_l = 1 where |r_l| <= 1."""
    sizes, to_rest, dgamma = np.abs(gamma), np.zeros(x.shape), []
    for size, (rest, b) in reversed(list(zip(sizes, residuals(x, sizes)))):
        to_out = head - to_rest
        dgamma.insert(0, (to_out * b).sum())
        to_rest = to_rest + to_out * size * (np.abs(rest) <= 1)
    return to_rest, [np.array(dgamma) * np.sign(gamma)]


def expected_gradients(quantizer, x, params, head):
    """(gradient of x, [gradients of params]) for a head gradient of the values."""
    q, size = quantizers.get(quantizer), np.abs(x)
    if q.name == "isometric":
        return _isometric(x, params[0], q.levels, head)
    if q.name == "rebnet":
        return _rebnet(x, params[0], head)
    if q.name == "ttq":
        delta = np.float32(q.threshold) * size.max()
        up, down = x > delta, x < -delta
        slope = np.where(up, params[0], np.where(down, params[1], 1))
        return head * slope, [np.array([(head * up).sum()]), np.array([-(head * down).sum()])]
    if q.name == "fixed":
        high = 2 ** (q.bits - 1) - 1
        scaled = x * 2.0 ** q.fraction
        return head * ((scaled <= high) & (scaled >= (-high if q.narrow else -high - 1))), []
    if q.name == "dorefa_weight" and q.bits > 1:
        return head * (1 - np.tanh(x.astype(np.float64)) ** 2) / np.tanh(size.max()), []
    slopes = {
        "sign": lambda: size <= q.clip,
        "approx_sign": lambda: np.where(size <= 1, 2 - 2 * size, 0),
        "swish_sign": lambda: _swish(x, q.beta),
        "dorefa": lambda: (x >= 0) & (x <= 1) & (size <= q.clip),
        "quantized_relu": lambda: (x >= 0) & (x <= q.limit),
        "ternary": lambda: size <= q.clip,
    }
    unchanged = {"twn", "dorefa_weight", "deterministic_binary", "stochastic_binary", "identity"}
    return head * (1 if q.name in unchanged else slopes[q.name]()), []


def _head(*shape):
    return np.random.RandomState(7).randint(-3, 4, shape).astype(np.float32)


@pytest.mark.parametrize("text", ACT)
def test_gradient_of_activations(text, operators):
    x, head, params = data(6, 37), _head(6, 37), [mx.nd.array(p) for p in initial(text)]
    arrays = [mx.nd.array(x), *params]
    for array in arrays:
        array.attach_grad()
    with mx.autograd.record():
        out = qnn.nd.QActivation(arrays[0], quantizer=text, gamma=params[0] if params else None)
    out.backward(mx.nd.array(head))
    dx, dparams = expected_gradients(text, x, initial(text), head)
    np.testing.assert_allclose(arrays[0].grad.asnumpy(), dx, **ULPS)
    for array, expected in zip(params, dparams):  # sums of 222 numbers of up to 3
        np.testing.assert_allclose(array.grad.asnumpy(), expected, rtol=2 ** -18, atol=2 ** -14)
    assert np.any(dx != 0) and all(np.all(d != 0) for d in dparams)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("text", WEIGHT)
def test_gradient_of_weights(text, mode):
    """Data is the identity matrix, so that the output is the transposed values."""
    w, head = weights(5, 7), _head(7, 5)
    _, grads = run_layer(mode, "QFullyConnected", np.eye(7), w, None, head, num_hidden=5, act_quantizer="identity",
                         weight_quantizer=text)
    dw, dparams = expected_gradients(text, w, initial(text), head.T)
    np.testing.assert_allclose(grads.pop("weight"), dw, **ULPS)
    grads.pop("data")
    assert list(grads) == list(arrays_of("weight", text))
    for grad, expected in zip(grads.values(), dparams):
        np.testing.assert_allclose(grad, expected, **ULPS)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("act,weight", [("rebnet(levels=3)", "ttq"), ("isometric(levels=3)", "twn"),
                                        ("dorefa(bits=2)", "rebnet(levels=2)"), ("swish_sign", "dorefa_weight(bits=5)"),
                                        ("fixed(bits=4, fraction=2)", "dorefa_weight(bits=1)")])
def test_gradients_through_a_layer(act, weight, mode):
    """The layer's sums of products have the gradients of values times values."""
    x, w, head = data(4, 9), weights(5, 9), _head(4, 5)
    _, grads = run_layer(mode, "QFullyConnected", x, w, None, head, num_hidden=5, act_quantizer=act,
                         weight_quantizer=weight)
    values = [reference_quantizers.values(reference_quantizers.terms(quantizers.get(text), array, *initial(text)))
              for text, array in ((act, x), (weight, w))]
    dx, dact = expected_gradients(act, x, initial(act), head @ values[1])
    dw, dweight = expected_gradients(weight, w, initial(weight), head.T @ values[0])
    for key, expected in zip(("data", "weight", *arrays_of("act", act), *arrays_of("weight", weight)),
                             (dx, dw, *dact, *dweight)):
        np.testing.assert_allclose(grads[key], expected, rtol=2 ** -16, atol=2 ** -14)


@pytest.mark.parametrize("text", ["isometric(levels=2)", "rebnet(levels=2)"])
def test_negative_gammas_count_as_positive_ones(text, operators):
    """Training may carry gamma below 0; it enters as |gamma|, and its gradient changes sign."""
    x, head, results = mx.nd.array(data(50)), mx.nd.array(_head(50)), []
    for sign in (1, -1):
        gamma = mx.nd.array(sign * initial(text)[0])
        gamma.attach_grad()
        with mx.autograd.record():
            out = qnn.nd.QActivation(x, quantizer=text, gamma=gamma)
        out.backward(head)
        results.append((out.asnumpy(), sign * gamma.grad.asnumpy()))
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("text", ["isometric(levels=2)", "rebnet(levels=2)"])
def test_gamma_of_zero_stays_finite(text, operators):
    x = mx.nd.array(data(50))
    gamma = mx.nd.zeros(quantizers.get(text).parameters[0][1])
    x.attach_grad(), gamma.attach_grad()
    with mx.autograd.record():
        out = qnn.nd.QActivation(x, quantizer=text, gamma=gamma)
    out.backward()
    for array in (out, x.grad, gamma.grad):
        assert np.all(np.isfinite(array.asnumpy()))


@pytest.mark.parametrize("text", ["twn", "ttq", "dorefa_weight(bits=1)", "dorefa_weight(bits=2)"])
def test_weights_of_zero_stay_finite_and_can_move(text):
    _, grads = run_layer("nd", "QFullyConnected", np.eye(3), np.zeros((2, 3), np.float32), None, np.ones((3, 2)),
                         num_hidden=2, act_quantizer="identity", weight_quantizer=text)
    assert all(np.all(np.isfinite(grad)) for grad in grads.values())
    assert np.all(grads["weight"] > 0)


@pytest.mark.parametrize("act,weight", [("isometric(levels=4)", "ttq"), ("rebnet(levels=4)", "rebnet(levels=4)"),
                                        ("swish_sign", "twn"), ("dorefa(bits=2)", "deterministic_binary")])
def test_gradients_add_up(act, weight, operators):
    """grad_req='add' over two backward passes, and ten layers that share data, weights and scales: ten times two."""
    x, w, head = data(3, 9), weights(4, 9), _head(3, 4)
    arrays = {"data": mx.nd.array(x), "weight": mx.nd.array(w), **arrays_of("act", act), **arrays_of("weight", weight)}
    grads = {}
    for layers, passes, req in ((1, 1, "write"), (10, 2, "add")):
        inputs = {key: mx.sym.Variable(key, shape=value.shape) for key, value in arrays.items()}
        outs = [qnn.sym.QFullyConnected(num_hidden=4, act_quantizer=act, weight_quantizer=weight, name="fc%d" % i,
                                        **inputs) for i in range(layers)]
        executor = mx.sym.Group(outs).simple_bind(mx.cpu(), grad_req=req)
        executor.copy_params_from(arrays)
        for _ in range(passes):
            executor.forward(is_train=True)
            executor.backward([mx.nd.array(head)] * layers)
        grads[req] = {key: grad.asnumpy() for key, grad in executor.grad_dict.items()}
    for key, grad in grads["write"].items():
        np.testing.assert_allclose(grads["add"][key], 20 * grad, rtol=2 ** -18, atol=2 ** -16, err_msg=key)
        assert np.any(grad != 0)


def test_magnitudes_of_windows_are_constants():
    """XNOR-Net's K takes no gradient: dx is that of the signs, times alpha K."""
    x, w, head = data(2, 6), weights(3, 6), _head(2, 3)
    _, grads = run_layer("nd", "QFullyConnected", x, w, None, head, num_hidden=3, act_quantizer="sign",
                         weight_quantizer="sign", scaling="xnor", no_offset=True)
    alpha, k = np.abs(w).mean(1), np.abs(x).mean(1, keepdims=True)
    expected = ((head * alpha * k) @ np.where(w < 0, -1, 1)) * (np.abs(x) <= 1)
    np.testing.assert_allclose(grads["data"], expected, **ULPS)
