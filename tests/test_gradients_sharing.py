"""Shared weights, shared data and grad_req. lib_api operators and MXNet's clip ignore grad_req='add', and MXNet adds up
the gradients of eight or more readers through it: a layer that forgot the identity in front of an input fails here."""
import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn import reference

CONSUMERS = 12  # MXNET_EXEC_INPLACE_GRAD_SUM_CAP is 8


def _floats(rng, *shape):
    x = rng.randn(*shape).astype(np.float32)
    x[rng.rand(*shape) < 0.1] = -0.0
    return x


def _heads(rng, *shape):
    return rng.randint(-3, 4, shape).astype(np.float32)


def _bind(symbol, arrays, grad_req):
    executor = symbol.simple_bind(mx.cpu(), grad_req=grad_req, **{k: v.shape for k, v in arrays.items()})
    for name, array in arrays.items():
        executor.arg_dict[name][:] = mx.nd.array(array)
    for grad in executor.grad_arrays:
        if grad is not None:
            grad[:] = 0
    return executor


@pytest.mark.parametrize("op", ["QConvolution", "QFullyConnected"])
def test_twelve_layers_share_weight_and_data(op, operators):
    """Heads differ by layer, so that a lost or doubled contribution shows."""
    rng = np.random.RandomState(0)
    x, w = (_floats(rng, 2, 3, 5, 5), _floats(rng, 4, 3, 3, 3)) if op == "QConvolution" else (
        _floats(rng, 3, 9), _floats(rng, 4, 9))
    options = dict(kernel=(3, 3), num_filter=4, pad=(1, 1)) if op == "QConvolution" else dict(num_hidden=4)
    heads = _heads(rng, CONSUMERS, *((2, 4, 5, 5) if op == "QConvolution" else (3, 4)))
    data, weight = mx.sym.Variable("data"), mx.sym.Variable("w")
    net = mx.sym.Group([getattr(qnn.sym, op)(data, weight, **options) for _ in range(CONSUMERS)])
    executor = _bind(net, dict(data=x, w=w), "write")
    executor.forward(is_train=True)
    executor.backward([mx.nd.array(head) for head in heads])
    dx, dw = (reference.q_convolution_grad(x, w, heads.sum(0), pad=(1, 1)) if op == "QConvolution"
              else reference.q_fully_connected_grad(x, w, heads.sum(0)))
    np.testing.assert_array_equal(executor.grad_dict["data"].asnumpy(), dx)
    np.testing.assert_array_equal(executor.grad_dict["w"].asnumpy(), dw)


@pytest.mark.parametrize("backward_only", [False, True])
@pytest.mark.parametrize("act_bit", [1, 2])
def test_twelve_activations_share_data(act_bit, backward_only, operators):
    rng = np.random.RandomState(0)
    x, heads = rng.rand(40).astype(np.float32), _heads(rng, CONSUMERS, 40)
    data = mx.sym.Variable("data")
    options = dict(act_bit=act_bit, backward_only=backward_only)
    net = mx.sym.Group([qnn.sym.QActivation(data, **options) for _ in range(CONSUMERS)])
    executor = _bind(net, dict(data=x), "write")
    executor.forward(is_train=True)
    executor.backward([mx.nd.array(head) for head in heads])
    np.testing.assert_array_equal(executor.grad_dict["data"].asnumpy(), heads.sum(0))


@pytest.mark.parametrize("scaling,bits", [("filter", 1), ("layer", 1), ("none", 2), ("none", 32)])
def test_twelve_layers_share_weight_and_bias_of_every_kind(scaling, bits, operators):
    """Against one layer with the summed head: the gradient is linear in the head."""
    rng = np.random.RandomState(0)
    arrays = dict(data=_floats(rng, 3, 8), w=_floats(rng, 4, 8), b=_floats(rng, 4))
    heads = _heads(rng, CONSUMERS, 3, 4)
    data, w, b = (mx.sym.Variable(name) for name in arrays)
    grads = []
    for given in (heads, heads.sum(0, keepdims=True)):
        layers = [qnn.sym.QFullyConnected(data, w, b, num_hidden=4, no_bias=False, scaling=scaling, act_bit=bits,
                                          weight_bit=bits) for _ in given]
        executor = _bind(mx.sym.Group(layers), arrays, "write")
        executor.forward(is_train=True)
        executor.backward([mx.nd.array(head) for head in given])
        grads.append({name: executor.grad_dict[name].asnumpy() for name in arrays})
    for name in arrays:  # twelve float32 roundings of sums of up to 100
        np.testing.assert_allclose(grads[0][name], grads[1][name], rtol=1e-5, atol=2e-4)
        assert np.abs(grads[1][name]).max() > 1


@pytest.mark.parametrize("op", ["QActivation", "QActivation 2 bits", "backward_only", "QConvolution",
                                "QFullyConnected"])
def test_grad_req_add_over_three_backward_calls(op, operators):
    rng = np.random.RandomState(0)
    data = mx.sym.Variable("data")
    net = {"QActivation": lambda: qnn.sym.QActivation(data),
           "QActivation 2 bits": lambda: qnn.sym.QActivation(data, act_bit=2, grad_clip=0.5),
           "backward_only": lambda: qnn.sym.QActivation(data, backward_only=True),
           "QConvolution": lambda: qnn.sym.QConvolution(data, kernel=(2, 2), num_filter=3, pad=(1, 1), no_bias=False),
           "QFullyConnected": lambda: qnn.sym.QFullyConnected(data, num_hidden=3, no_bias=False)}[op]()
    shapes, out_shapes, _ = net.infer_shape(data=(2, 3, 4, 4))
    arrays = dict(zip(net.list_arguments(), (_floats(rng, *shape) for shape in shapes)))
    head = _heads(rng, *out_shapes[0])
    once, thrice = _bind(net, arrays, "write"), _bind(net, arrays, "add")
    for executor, times in ((once, 1), (thrice, 3)):
        for _ in range(times):
            executor.forward(is_train=True)
            executor.backward(mx.nd.array(head))
    for name in arrays:
        assert np.abs(once.grad_dict[name].asnumpy()).max() > 0
        np.testing.assert_array_equal(thrice.grad_dict[name].asnumpy(), 3 * once.grad_dict[name].asnumpy())


def test_add_with_twelve_consumers_over_three_backward_calls(operators):
    rng = np.random.RandomState(0)
    x, w, heads = _floats(rng, 3, 9), _floats(rng, 4, 9), _heads(rng, CONSUMERS, 3, 4)
    data, weight = mx.sym.Variable("data"), mx.sym.Variable("w")
    net = mx.sym.Group([qnn.sym.QFullyConnected(data, weight, num_hidden=4) for _ in range(CONSUMERS)])
    executor = _bind(net, dict(data=x, w=w), "add")
    for _ in range(3):
        executor.forward(is_train=True)
        executor.backward([mx.nd.array(head) for head in heads])
    dx, dw = reference.q_fully_connected_grad(x, w, heads.sum(0))
    np.testing.assert_array_equal(executor.grad_dict["data"].asnumpy(), 3 * dx)
    np.testing.assert_array_equal(executor.grad_dict["w"].asnumpy(), 3 * dw)


def test_autograd_add(operators):
    rng = np.random.RandomState(0)
    x, w, head = _floats(rng, 3, 9), _floats(rng, 4, 9), _heads(rng, 3, 4)
    arrays = [mx.nd.array(x), mx.nd.array(w)]
    for array in arrays:
        array.attach_grad("add")
    for _ in range(3):
        with mx.autograd.record():
            out = qnn.nd.QFullyConnected(*arrays, num_hidden=4)
        out.backward(mx.nd.array(head))
    for array, grad in zip(arrays, reference.q_fully_connected_grad(x, w, head)):
        np.testing.assert_array_equal(array.grad.asnumpy(), 3 * grad)


@pytest.mark.parametrize("wanted", ["data", "w", "b"])
def test_grad_req_null_for_all_but_one(wanted, operators):
    rng = np.random.RandomState(0)
    arrays = dict(data=_floats(rng, 2, 3, 5, 5), w=_floats(rng, 4, 3, 3, 3), b=_floats(rng, 4))
    net = qnn.sym.QConvolution(*(mx.sym.Variable(name) for name in arrays), kernel=(3, 3), num_filter=4, no_bias=False)
    head = _heads(rng, 2, 4, 3, 3)
    executor = _bind(net, arrays, {name: "write" if name == wanted else "null" for name in arrays})
    executor.forward(is_train=True)
    executor.backward(mx.nd.array(head))
    dx, dw = reference.q_convolution_grad(arrays["data"], arrays["w"], head)
    expected = dict(data=dx, w=dw, b=head.sum((0, 2, 3)))[wanted]
    np.testing.assert_array_equal(executor.grad_dict[wanted].asnumpy(), expected)
    assert [name for name, grad in executor.grad_dict.items() if grad is not None] == [wanted]


@pytest.mark.parametrize("hybridize", [False, True, "static"])
def test_one_gluon_block_called_ten_times(hybridize, operators):
    """Ten readers of one weight inside one graph; heads 1..10 sum to 55."""
    class TenTimes(mx.gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.layer = qnn.gluon.QDense(4, in_units=9, use_bias=True)

        def hybrid_forward(self, F, x):
            return F.add_n(*[self.layer(x) * (i + 1) for i in range(10)])

    rng = np.random.RandomState(0)
    x, w, head = _floats(rng, 3, 9), _floats(rng, 4, 9), _heads(rng, 3, 4)
    block = TenTimes()
    block.initialize()
    block.layer.weight.set_data(mx.nd.array(w))
    if hybridize:
        block.hybridize(static_alloc=hybridize == "static", static_shape=hybridize == "static")
    data = mx.nd.array(x)
    data.attach_grad()
    for _ in range(2):
        with mx.autograd.record():
            out = block(data)
        out.backward(mx.nd.array(head))
    dx, dw = reference.q_fully_connected_grad(x, w, head)
    np.testing.assert_array_equal(out.asnumpy(), 55 * reference.q_fully_connected(x, w))
    np.testing.assert_array_equal(data.grad.asnumpy(), 55 * dx)
    np.testing.assert_array_equal(block.layer.weight.grad().asnumpy(), 55 * dw)
    np.testing.assert_array_equal(block.layer.bias.grad().asnumpy(), 55 * head.sum(0))


def test_gluon_grad_req_add(operators):
    rng = np.random.RandomState(0)
    x, w, head = _floats(rng, 3, 9), _floats(rng, 4, 9), _heads(rng, 3, 4)
    block = qnn.gluon.QDense(4, in_units=9)
    block.initialize()
    block.weight.set_data(mx.nd.array(w))
    block.weight.grad_req = "add"
    for _ in range(3):
        with mx.autograd.record():
            out = block(mx.nd.array(x))
        out.backward(mx.nd.array(head))
    np.testing.assert_array_equal(block.weight.grad().asnumpy(), 3 * reference.q_fully_connected_grad(x, w, head)[1])


def test_builtin_clip_still_ignores_add():
    """The trap itself: once MXNet's clip adds, the identity in front of it has one reason less."""
    x = mx.nd.zeros((1,))
    x.attach_grad("add")
    for _ in range(3):
        with mx.autograd.record():
            out = mx.nd.clip(x, -1, 1)
        out.backward()
    assert x.grad.asscalar() == 1
