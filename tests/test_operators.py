"""Forward pass of the layers: qnn.nd, qnn.sym and the gluon blocks, of native and of built-in operators, against
reference.py: 1-bit layers exactly, at awkward sizes."""
import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn import reference

CONVOLUTIONS = {  # name: (data shape, weight shape, geometry)
    "one_channel_batch_1": ((1, 1, 5, 5), (1, 1, 3, 3), {}),
    "one_pixel": ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    "odd_primes": ((2, 7, 11, 5), (5, 7, 3, 2), {}),
    "word_minus_1": ((1, 63, 4, 3), (3, 63, 2, 2), {}),
    "word_plus_1": ((1, 65, 4, 3), (17, 65, 3, 3), dict(pad=(1, 1))),
    "strided": ((2, 3, 9, 8), (4, 3, 3, 3), dict(stride=(2, 3), pad=(1, 1))),
    "dilated": ((2, 3, 9, 8), (4, 3, 3, 3), dict(dilate=(2, 3), pad=(0, 2))),
    "kernel_and_pad_asymmetric": ((2, 5, 6, 7), (3, 5, 1, 5), dict(pad=(0, 2), stride=(1, 2))),
    "pad_of_the_height_only": ((1, 2, 4, 5), (2, 2, 3, 1), dict(pad=(1, 0))),
    "pad_beyond_the_kernel": ((1, 2, 3, 3), (2, 2, 2, 2), dict(pad=(3, 4))),
    "groups": ((2, 6, 5, 5), (4, 3, 3, 3), dict(num_group=2, pad=(1, 1))),
    "depthwise": ((2, 5, 5, 5), (5, 1, 3, 3), dict(num_group=5, pad=(1, 1))),
    "depthwise_multiplier_2": ((1, 3, 5, 4), (6, 1, 3, 3), dict(num_group=3, pad=(1, 2), dilate=(2, 1))),
    "everything": ((3, 6, 9, 7), (9, 2, 3, 2), dict(num_group=3, pad=(2, 1), stride=(2, 1), dilate=(2, 3))),
}
DENSE = {  # name: (data shape, num_hidden)
    "one_to_one": ((1, 1), 1),
    "word_minus_1": ((1, 63), 5),
    "word_plus_1": ((3, 65), 17),
    "odd_primes": ((7, 131), 11),
    "image": ((2, 3, 5, 7), 4),
}


def _floats(rng, *shape):
    """Random floats with zeros of both signs among them."""
    x = rng.randn(*shape).astype(np.float32)
    x[rng.rand(*shape) < 0.1] = 0.0
    x[rng.rand(*shape) < 0.1] = -0.0
    return x


def _bind(symbol, arrays, grad_req="null"):
    """Executor of `symbol` with the numpy `arrays` by name; the other arguments are inferred."""
    executor = symbol.simple_bind(mx.cpu(), grad_req=grad_req, **{k: v.shape for k, v in arrays.items()})
    for name, array in arrays.items():
        executor.arg_dict[name][:] = mx.nd.array(array)
    return executor


def _by_nd(op, x, w, bias=None, **options):
    arrays = [mx.nd.array(a) for a in (x, w, bias) if a is not None]
    return getattr(qnn.nd, op)(*arrays, no_bias=bias is None, **options).asnumpy()


def _by_symbol(op, x, w, bias=None, grad_req="null", **options):
    symbol = getattr(qnn.sym, op)(mx.sym.Variable("data"), no_bias=bias is None, name="layer", **options)
    arrays = dict(data=x, layer_weight=w, **({} if bias is None else {"layer_bias": bias}))
    return _bind(symbol, arrays, grad_req).forward(is_train=grad_req != "null")[0].asnumpy()


def _options(w, geometry):
    return dict(kernel=w.shape[2:], num_filter=len(w), **geometry)


# ---- 1-bit convolution -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pad_value", [1, -1, 0])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution_equals_reference(case, pad_value, operators):
    x_shape, w_shape, geometry = CONVOLUTIONS[case]
    rng = np.random.RandomState(0)
    x, w = _floats(rng, *x_shape), _floats(rng, *w_shape)
    for no_offset in (False, True):
        options = dict(geometry, pad_value=pad_value, no_offset=no_offset)
        expected = reference.q_convolution(x, w, **options)
        np.testing.assert_array_equal(_by_nd("QConvolution", x, w, **_options(w, options)), expected)
        np.testing.assert_array_equal(_by_symbol("QConvolution", x, w, **_options(w, options)), expected)


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution_bound_with_gradients_equals_reference(case, operators):
    x_shape, w_shape, geometry = CONVOLUTIONS[case]
    rng = np.random.RandomState(0)
    x, w = _floats(rng, *x_shape), _floats(rng, *w_shape)
    np.testing.assert_array_equal(_by_symbol("QConvolution", x, w, grad_req="write", **_options(w, geometry)),
                                  reference.q_convolution(x, w, **geometry))


@pytest.mark.parametrize("scaling", ["none", "layer", "filter"])
@pytest.mark.parametrize("case", ["odd_primes", "everything"])
def test_convolution_with_bias_and_scaling(case, scaling, operators):
    """Bias alone costs one rounding, the same one everywhere. The mean of 12..210 weights may differ by the order of
    summation: 2^-22 is four roundings, more than sums of so few lose in practice."""
    x_shape, w_shape, geometry = CONVOLUTIONS[case]
    rng = np.random.RandomState(0)
    x, w, bias = _floats(rng, *x_shape), _floats(rng, *w_shape), rng.randn(w_shape[0]).astype(np.float32)
    for given in (bias, None):
        expected = reference.q_convolution(x, w, given, scaling=scaling, **geometry)
        tolerance = 0 if scaling == "none" else 2 ** -22 * np.abs(expected).max()
        for run in (_by_nd, _by_symbol):
            out = run("QConvolution", x, w, given, scaling=scaling, **_options(w, geometry))
            np.testing.assert_allclose(out, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("scaling", ["layer", "filter"])
def test_scaling_is_exact_where_the_mean_is(scaling, operators):
    """Weights of +-1/2, +-1, +-2, 32 a filter: sums and means have no rounding, products one."""
    rng = np.random.RandomState(0)
    x, bias = _floats(rng, 2, 8, 6, 6), np.float32([0.1, -0.2, 0.3, 7])
    w = (rng.choice([-2, -1, -0.5, 0.5, 1, 2], (4, 8, 2, 2))).astype(np.float32)
    expected = reference.q_convolution(x, w, bias, scaling=scaling)
    for run in (_by_nd, _by_symbol):
        np.testing.assert_array_equal(run("QConvolution", x, w, bias, scaling=scaling, **_options(w, {})), expected)


def test_convolution_1d(operators):
    rng = np.random.RandomState(0)
    x, w = _floats(rng, 2, 6, 13), _floats(rng, 4, 3, 5)
    for pad_value in (1, -1, 0):
        out = [run("QConvolution", x, w, kernel=(5,), num_filter=4, stride=(2,), dilate=(2,), pad=(3,), num_group=2,
                   pad_value=pad_value) for run in (_by_nd, _by_symbol)]
        expected = reference.q_convolution(x[:, :, None], w[:, :, None], stride=(1, 2), dilate=(1, 2), pad=(0, 3),
                                           num_group=2, pad_value=pad_value)[:, :, 0]
        np.testing.assert_array_equal(out[0], expected)
        np.testing.assert_array_equal(out[1], expected)


def test_convolution_3d(operators):
    """A 3-D convolution is the sum over depth taps of 2-D ones."""
    rng = np.random.RandomState(0)
    x, w = _floats(rng, 2, 3, 5, 4, 6), _floats(rng, 4, 3, 3, 2, 3)
    for pad_value in (1, -1, 0):
        xq = np.pad(reference.sign(x), ((0, 0), (0, 0), (1, 1), (0, 0), (2, 2)), constant_values=pad_value)
        depths = [sum(reference.convolution(xq[:, :, 2 * depth + tap], reference.sign(w)[:, :, tap], (1, 2))
                      for tap in range(3)) for depth in range(3)]
        expected = (np.stack(depths, axis=2) + w[0].size) / 2
        for run in (_by_nd, _by_symbol):
            out = run("QConvolution", x, w, kernel=(3, 2, 3), num_filter=4, stride=(2, 1, 2), pad=(1, 0, 2),
                      pad_value=pad_value)
            np.testing.assert_array_equal(out, expected)


# ---- 1-bit fully connected -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("no_offset", [False, True])
@pytest.mark.parametrize("case", DENSE)
def test_fully_connected_equals_reference(case, no_offset, operators):
    shape, num_hidden = DENSE[case]
    rng = np.random.RandomState(0)
    x = _floats(rng, *shape)
    flat = x.reshape(len(x), -1)
    w, bias = _floats(rng, num_hidden, flat.shape[1]), rng.randn(num_hidden).astype(np.float32)
    for given in (None, bias):
        expected = reference.q_fully_connected(flat, w, given, no_offset=no_offset)
        for run in (_by_nd, _by_symbol):
            out = run("QFullyConnected", x, w, given, num_hidden=num_hidden, no_offset=no_offset)
            np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("scaling", ["none", "layer", "filter"])
@pytest.mark.parametrize("shape", [(2, 8), (2, 3, 8), (2, 3, 5, 8), (1, 1, 1)])
def test_fully_connected_without_flatten(shape, scaling, operators):
    rng = np.random.RandomState(0)
    x, bias = _floats(rng, *shape), np.float32([1, -2, 0.1])
    w = rng.choice([-2, -1, -0.5, 0.5, 1, 2], (3, shape[-1])).astype(np.float32)
    for given in (None, bias):
        expected = reference.q_fully_connected(x.reshape(-1, shape[-1]), w, given, scaling=scaling)
        for run in (_by_nd, _by_symbol):
            out = run("QFullyConnected", x, w, given, num_hidden=3, flatten=False, scaling=scaling)
            assert out.shape == shape[:-1] + (3,)
            if scaling == "layer":  # a mean of 24 is no power of two
                np.testing.assert_allclose(out.reshape(-1, 3), expected, rtol=2 ** -22)
            else:
                np.testing.assert_array_equal(out.reshape(-1, 3), expected)


# ---- QActivation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (2, 3, 4), (2, 1, 3, 5), (1, 2, 3, 2, 2), (1, 1, 2, 1, 2, 3)])
def test_activation_of_every_rank(shape, operators):
    x = _floats(np.random.RandomState(0), *shape)
    for act_bit in (1, 2, 32):
        symbol = qnn.sym.QActivation(mx.sym.Variable("data"), act_bit=act_bit)
        expected = reference.quantize_activation(x, act_bit)
        np.testing.assert_array_equal(qnn.nd.QActivation(mx.nd.array(x), act_bit=act_bit).asnumpy(), expected)
        np.testing.assert_array_equal(_bind(symbol, dict(data=x)).forward()[0].asnumpy(), expected)


def test_activation_larger_than_one_thread_takes(operators):
    x = _floats(np.random.RandomState(0), 3, 101, 331)
    np.testing.assert_array_equal(qnn.nd.QActivation(mx.nd.array(x)).asnumpy(), reference.sign(x))
    image, w = x[:, :, None, :], _floats(np.random.RandomState(1), 1, 101, 2, 3)
    np.testing.assert_array_equal(_by_nd("QConvolution", image, w, kernel=(2, 3), num_filter=1, pad=(1, 2)),
                                  reference.q_convolution(image, w, pad=(1, 2)))


@pytest.mark.parametrize("act_bit", [1, 2, 32])
def test_backward_only_is_the_identity(act_bit, operators):
    x = _floats(np.random.RandomState(0), 3, 4)
    out = qnn.nd.QActivation(mx.nd.array(x), act_bit=act_bit, backward_only=True).asnumpy()
    np.testing.assert_array_equal(out.view(np.int32), x.view(np.int32))  # -0.0 stays -0.0


@pytest.mark.parametrize("backward_only", [False, True])
def test_activation_in_front_changes_nothing(backward_only, operators):
    rng = np.random.RandomState(0)
    x, w = _floats(rng, 2, 3, 5, 5), _floats(rng, 4, 3, 3, 3)
    data = qnn.sym.QActivation(mx.sym.Variable("data"), backward_only=backward_only)
    symbol = qnn.sym.QConvolution(data, kernel=(3, 3), num_filter=4, pad=(1, 1), name="layer")
    out = _bind(symbol, dict(data=x, layer_weight=w)).forward()[0].asnumpy()
    np.testing.assert_array_equal(out, reference.q_convolution(x, w, pad=(1, 1)))


def test_special_values_in_data_and_weights(operators):
    """0, -0.0, NaN, infinities and denormals, in data and in weights, of both signs."""
    special = np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-45, -1e-45, 1e-40, -1e-40, 3, -3], np.float32)
    signs = np.array([1, 1, 1, 1, 1, -1, 1, -1, 1, -1, 1, -1], np.float32)
    np.testing.assert_array_equal(qnn.nd.QActivation(mx.nd.array(special)).asnumpy(), signs)
    x, w = special.reshape(1, 12), np.stack([np.roll(special, i) for i in range(3)])
    expected = reference.q_fully_connected(signs.reshape(1, 12), reference.sign(w))
    for run in (_by_nd, _by_symbol):
        np.testing.assert_array_equal(run("QFullyConnected", x, w, num_hidden=3), expected)
        image, filters = x.reshape(1, 3, 2, 2), w.reshape(3, 3, 2, 2)
        np.testing.assert_array_equal(run("QConvolution", image, filters, kernel=(2, 2), num_filter=3, pad=(1, 1)),
                                      reference.q_convolution(image, filters, pad=(1, 1)))


def test_no_offset_means_dot_and_offset_means_count(operators):
    x, w = np.float32([[1, 1, -1, -1, 1]]), np.float32([[1, -1, -1, -1, -1]])
    assert _by_nd("QFullyConnected", x, w, num_hidden=1, no_offset=True) == 1  # 3 equal signs, 2 different ones
    assert _by_nd("QFullyConnected", x, w, num_hidden=1) == 3


def test_latent_weights_are_not_overwritten(operators):
    """BMXNet's gradient_update_mode 'bb' quantized them in place."""
    rng = np.random.RandomState(0)
    x, w = mx.nd.array(_floats(rng, 2, 5)), mx.nd.array(_floats(rng, 3, 5))
    before = x.asnumpy(), w.asnumpy()
    qnn.nd.QFullyConnected(x, w, num_hidden=3).wait_to_read()
    np.testing.assert_array_equal(x.asnumpy(), before[0])
    np.testing.assert_array_equal(w.asnumpy(), before[1])
    executor = _bind(qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=3, name="layer"),
                     dict(data=before[0], layer_weight=before[1]), grad_req="write")
    executor.forward(is_train=True)
    executor.backward(mx.nd.ones((2, 3)))
    np.testing.assert_array_equal(executor.arg_dict["layer_weight"].asnumpy(), before[1])
    np.testing.assert_array_equal(executor.arg_dict["data"].asnumpy(), before[0])


def test_installed_on_mxnet_as_in_bmxnet(operators):
    rng = np.random.RandomState(0)
    x, w = _floats(rng, 2, 3, 5, 5), _floats(rng, 4, 3, 3, 3)
    expected = reference.q_convolution(x, w)
    for name in ("QConvolution", "QConvolution_v1"):
        out = getattr(mx.nd, name)(mx.nd.array(x), mx.nd.array(w), kernel=(3, 3), num_filter=4)
        np.testing.assert_array_equal(out.asnumpy(), expected)
        symbol = getattr(mx.sym, name)(data=mx.sym.Variable("data"), kernel=(3, 3), num_filter=4, name="layer")
        np.testing.assert_array_equal(_bind(symbol, dict(data=x, layer_weight=w)).forward()[0].asnumpy(), expected)
    assert mx.sym.QActivation is qnn.sym.QActivation and mx.nd.QFullyConnected is qnn.nd.QFullyConnected


def test_nd_out_argument(operators):
    x, out = mx.nd.array([[-1, 2]]), mx.nd.zeros((1, 2))
    assert qnn.nd.QActivation(x, out=out) is out
    np.testing.assert_array_equal(out.asnumpy(), [[-1, 1]])
