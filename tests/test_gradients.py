"""Gradients against the formulas of reference.py. Head gradients are small integers, so that every sum in float32 is
exact and 1-bit gradients are compared exactly: the offset map's 1/2, the inclusive window |x| <= grad_clip."""
import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn import reference

CONVOLUTIONS = {  # name: (data shape, weight shape, geometry)
    "one_channel": ((1, 1, 5, 5), (1, 1, 3, 3), {}),
    "odd_primes_padded": ((2, 7, 11, 5), (5, 7, 3, 2), dict(pad=(2, 1))),
    "strided_dilated": ((2, 3, 9, 8), (4, 3, 3, 2), dict(stride=(2, 3), dilate=(1, 2), pad=(1, 1))),
    "stride_leaves_a_rest": ((1, 2, 6, 6), (3, 2, 3, 3), dict(stride=(2, 2))),
    "groups": ((2, 6, 5, 5), (4, 3, 3, 3), dict(num_group=2, pad=(1, 1))),
    "depthwise": ((2, 5, 5, 5), (5, 1, 3, 3), dict(num_group=5, pad=(1, 1))),
}
ABOVE = np.nextafter(np.float32(1), np.float32(2))
EDGES = np.array([1, -1, ABOVE, -ABOVE, 0, -0.0, 0.5, -0.5, 1e-45, -1e-45, np.nan, np.inf, -np.inf], np.float32)


def _floats(rng, *shape):
    """Random floats around the window: some exactly on its edge, some zeros of both signs."""
    x = rng.randn(*shape).astype(np.float32)
    for value in (1, -1, ABOVE, 0.0, -0.0):
        x[rng.rand(*shape) < 0.07] = value
    return x


def _heads(rng, shape):
    return rng.randint(-3, 4, shape).astype(np.float32)


def _by_autograd(op, arrays, head, **options):
    """(output, gradients of all `arrays`) of qnn.nd's `op`."""
    arrays = [mx.nd.array(array) for array in arrays]
    for array in arrays:
        array.attach_grad()
    with mx.autograd.record():
        out = getattr(qnn.nd, op)(*arrays, no_bias=len(arrays) < 3, **options)
    out.backward(mx.nd.array(head))
    return out.asnumpy(), [array.grad.asnumpy() for array in arrays]


def _by_executor(op, arrays, head, **options):
    """The same of qnn.sym's `op`."""
    names = ["data", "layer_weight", "layer_bias"][:len(arrays)]
    symbol = getattr(qnn.sym, op)(mx.sym.Variable("data"), no_bias=len(arrays) < 3, name="layer", **options)
    executor = symbol.bind(mx.cpu(), [mx.nd.array(a) for a in arrays], [mx.nd.zeros(a.shape) for a in arrays])
    assert symbol.list_arguments() == names
    out = executor.forward(is_train=True)[0].asnumpy()
    executor.backward(mx.nd.array(head))
    return out, [array.asnumpy() for array in executor.grad_arrays]


RUNS = pytest.mark.parametrize("run", [_by_autograd, _by_executor], ids=["nd", "sym"])


# ---- 1-bit layers ----------------------------------------------------------------------------------------------------


@RUNS
@pytest.mark.parametrize("no_offset", [False, True])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution_gradients(case, no_offset, run, operators):
    x_shape, w_shape, geometry = CONVOLUTIONS[case]
    rng = np.random.RandomState(0)
    x, w = _floats(rng, *x_shape), _floats(rng, *w_shape)
    for pad_value in (1, -1, 0) if "pad" in geometry else (1,):
        options = dict(geometry, pad_value=pad_value, no_offset=no_offset)
        head = _heads(rng, reference.q_convolution(x, w, **options).shape)
        dx, dw = reference.q_convolution_grad(x, w, head, **options)
        _, grads = run("QConvolution", [x, w], head, kernel=w_shape[2:], num_filter=len(w), **options)
        np.testing.assert_array_equal(grads[0], dx)
        np.testing.assert_array_equal(grads[1], dw)


@RUNS
@pytest.mark.parametrize("no_offset", [False, True])
@pytest.mark.parametrize("shape,num_hidden", [((1, 1), 1), ((3, 65), 17), ((7, 31), 5)])
def test_fully_connected_gradients(shape, num_hidden, no_offset, run, operators):
    rng = np.random.RandomState(0)
    x, w, bias = _floats(rng, *shape), _floats(rng, num_hidden, shape[1]), rng.randn(num_hidden).astype(np.float32)
    head = _heads(rng, (shape[0], num_hidden))
    dx, dw = reference.q_fully_connected_grad(x, w, head, no_offset=no_offset)
    _, grads = run("QFullyConnected", [x, w, bias], head, num_hidden=num_hidden, no_offset=no_offset)
    for grad, expected in zip(grads, (dx, dw, head.sum(0))):
        np.testing.assert_array_equal(grad, expected)


@RUNS
@pytest.mark.parametrize("flatten", [True, False])
def test_fully_connected_gradients_of_3d_data(flatten, run, operators):
    rng = np.random.RandomState(0)
    x = _floats(rng, 2, 3, 5)
    rows = x.reshape(2, 15) if flatten else x.reshape(6, 5)
    w, bias = _floats(rng, 4, rows.shape[1]), np.zeros(4, np.float32)
    head = _heads(rng, (len(rows), 4))
    dx, dw = reference.q_fully_connected_grad(rows, w, head)
    given = head if flatten else head.reshape(2, 3, 4)
    _, grads = run("QFullyConnected", [x, w, bias], given, num_hidden=4, flatten=flatten)
    for grad, expected in zip(grads, (dx.reshape(x.shape), dw, head.sum(0))):
        np.testing.assert_array_equal(grad, expected)


@RUNS
def test_the_window_is_inclusive_and_nan_has_no_gradient(run, operators):
    """1/2 per unit of head gradient where |x| <= 1, in data and in weights."""
    inside = np.float32([1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0])
    ones = np.ones((1, len(EDGES)), np.float32)
    head = np.float32([[4]])
    _, (dx, _) = run("QFullyConnected", [EDGES[None], ones], head, num_hidden=1)
    np.testing.assert_array_equal(dx[0], 2 * inside)
    _, (_, dw) = run("QFullyConnected", [ones, EDGES[None]], head, num_hidden=1)
    np.testing.assert_array_equal(dw[0], 2 * inside)


@RUNS
@pytest.mark.parametrize("grad_clip", [0.3, 0.5, 1.1, 2])
def test_grad_clip_is_compared_in_float32(grad_clip, run, operators):
    edge = np.float32(grad_clip)
    x = np.float32([[edge, -edge, np.nextafter(edge, np.float32(9)), -np.nextafter(edge, np.float32(9)), 0]])
    ones = np.ones((1, 5), np.float32)
    head = np.float32([[1]])
    _, (dx, _) = run("QFullyConnected", [x, ones], head, num_hidden=1, grad_clip=grad_clip, no_offset=True)
    np.testing.assert_array_equal(dx, [[1, 1, 0, 0, 1]])
    _, (_, dw) = run("QFullyConnected", [ones, x], head, num_hidden=1, grad_clip=grad_clip, no_offset=True)
    np.testing.assert_array_equal(dw, [[1, 1, 0, 0, 1]])


def test_convolution_1d_and_3d_gradients(operators):
    """1-D: as 2-D with one row. 3-D: as 2-D with the depth as one more row, where depth is 1."""
    rng = np.random.RandomState(0)
    x, w = _floats(rng, 2, 3, 9), _floats(rng, 4, 3, 3)
    head = _heads(rng, (2, 4, 6))
    dx, dw = reference.q_convolution_grad(x[:, :, None], w[:, :, None], head[:, :, None], stride=(1, 2), pad=(0, 2))
    _, grads = _by_autograd("QConvolution", [x, w], head, kernel=(3,), num_filter=4, stride=(2,), pad=(2,))
    np.testing.assert_array_equal(grads[0], dx[:, :, 0])
    np.testing.assert_array_equal(grads[1], dw[:, :, 0])
    _, grads = _by_autograd("QConvolution", [x[:, :, None, None], w[:, :, None, None]], head[:, :, None, None],
                            kernel=(1, 1, 3), num_filter=4, stride=(1, 1, 2), pad=(0, 0, 2))
    np.testing.assert_array_equal(grads[0][:, :, 0, 0], dx[:, :, 0])
    np.testing.assert_array_equal(grads[1][:, :, 0, 0], dw[:, :, 0])


# ---- QActivation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backward_only", [False, True])
@pytest.mark.parametrize("grad_clip", [0.5, 1.0, 2.0])
def test_activation_gradient_is_the_window(grad_clip, backward_only, operators):
    rng = np.random.RandomState(0)
    data = np.concatenate([_floats(rng, 50), EDGES, EDGES / 2, EDGES * 2])
    head = _heads(rng, data.shape)
    x = mx.nd.array(data)
    x.attach_grad()
    with mx.autograd.record():
        out = qnn.nd.QActivation(x, grad_clip=grad_clip, backward_only=backward_only)
    out.backward(mx.nd.array(head))
    np.testing.assert_array_equal(out.asnumpy(), data if backward_only else reference.sign(data))
    np.testing.assert_array_equal(x.grad.asnumpy(), head * reference.ste_window(data, grad_clip))


@pytest.mark.parametrize("backward_only", [False, True])
@pytest.mark.parametrize("grad_clip", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("act_bit", [2, 8, 31])
def test_k_bit_activation_gradient(act_bit, grad_clip, backward_only, operators):
    """dy where 0 <= x <= 1 and |x| <= grad_clip; with backward_only where |x| <= grad_clip."""
    rng = np.random.RandomState(0)
    data = np.concatenate([_floats(rng, 50), EDGES[:-3], EDGES[:-3] / 2])
    head = _heads(rng, data.shape)
    x = mx.nd.array(data)
    x.attach_grad()
    with mx.autograd.record():
        out = qnn.nd.QActivation(x, act_bit=act_bit, grad_clip=grad_clip, backward_only=backward_only)
    out.backward(mx.nd.array(head))
    inside = reference.ste_window(data, grad_clip) * (1 if backward_only else (data >= 0) & (data <= 1))
    np.testing.assert_array_equal(x.grad.asnumpy(), head * inside)


def test_32_bit_activation_passes_everything(operators):
    x = mx.nd.array([-5, 0, 5])
    x.attach_grad()
    with mx.autograd.record():
        out = qnn.nd.QActivation(x, act_bit=32)
    out.backward(mx.nd.array([1, 2, 3]))
    np.testing.assert_array_equal(out.asnumpy(), [-5, 0, 5])
    np.testing.assert_array_equal(x.grad.asnumpy(), [1, 2, 3])


@pytest.mark.parametrize("backward_only", [False, True])
def test_activation_in_front_changes_no_gradient(backward_only, operators):
    rng = np.random.RandomState(0)
    x, w = _floats(rng, 2, 3, 5, 5), _floats(rng, 4, 3, 3, 3)
    head = _heads(rng, (2, 4, 5, 5))
    net = qnn.sym.QActivation(mx.sym.Variable("data"), backward_only=backward_only)
    net = qnn.sym.QConvolution(net, kernel=(3, 3), num_filter=4, pad=(1, 1), name="layer")
    executor = net.bind(mx.cpu(), [mx.nd.array(x), mx.nd.array(w)], [mx.nd.zeros(x.shape), mx.nd.zeros(w.shape)])
    executor.forward(is_train=True)
    executor.backward(mx.nd.array(head))
    dx, dw = reference.q_convolution_grad(x, w, head, pad=(1, 1))
    np.testing.assert_array_equal(executor.grad_arrays[0].asnumpy(), dx)
    np.testing.assert_array_equal(executor.grad_arrays[1].asnumpy(), dw)
