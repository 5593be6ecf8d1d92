"""Isometric codes, products with a scale and their gradients: native functions against reference_quantizers.py,
operators against the composition of MXNet's own."""
import mxnet as mx
import numpy as np
import pytest
from quantizer_cases import SPECIAL

import qnn
from qnn import backend, layers, reference_quantizers
from qnn.reference_quantizers import residuals

pytestmark = pytest.mark.skipif(not backend.is_native, reason="qnn._native is not built")
SIZES = [1, 3, 4, 5, 4095, 4097, 100003]


def numbers(n, seed=0):
    x = np.random.RandomState(seed).randn(n).astype(np.float32)
    edges = np.concatenate([SPECIAL, np.float32([np.nan, -np.nan, np.inf, -np.inf])])[:n]
    x[:len(edges)] = edges
    return x


def call(function, *arrays, outputs):
    function(*(backend._floats(a) if isinstance(a, np.ndarray) else a for a in arrays),
             *(backend._floats(a) for a in outputs))
    return outputs


@pytest.mark.parametrize("gamma", [0.1, 2 / 3, 1.0, 1e-12])
@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_isometric_codes(levels, gamma):
    gamma = np.float32(gamma)
    for n in SIZES:
        x, codes = numbers(n, n), np.empty(n, np.float32)
        call(backend.lib.qnn_isometric, x, n, gamma, levels, outputs=[codes])
        np.testing.assert_array_equal(codes, reference_quantizers.isometric(x, np.float32([gamma]), levels)[0][0])


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_isometric_gradients(levels, num_threads):
    """Equations 8 and 7, both over the scale of the codes."""
    before, gamma = backend.threads(), np.float32(0.66)
    backend.set_threads(num_threads)
    try:
        for n in SIZES:
            x = np.nan_to_num(numbers(n, n), nan=0.5, posinf=3, neginf=-3)
            head = np.random.RandomState(n).randint(-3, 4, n).astype(np.float32)
            dx, dgamma = call(backend.lib.qnn_isometric_grad, x, head, n, gamma, levels,
                              outputs=[np.empty(n, np.float32), np.empty(1, np.float32)])
            shares = 2.0 ** -np.arange(levels)
            rests = [rest for rest, _ in residuals(x, gamma * shares.astype(np.float32))]
            slopes = sum(2 ** (levels - 1) * share * (np.abs(rest) <= 1) for share, rest in zip(shares, rests))
            np.testing.assert_array_equal(dx, (slopes * head).astype(np.float32))
            parts = sum(share * np.clip(rest.astype(np.float64), -1, 1) for share, rest in zip(shares, rests)) * head
            scale = gamma * 2.0 ** (1 - levels)
            np.testing.assert_allclose(dgamma, parts.sum() / scale, rtol=0, atol=2 ** -22 * np.abs(parts).sum() / scale)
    finally:
        backend.set_threads(before)


@pytest.mark.parametrize("n", SIZES)
def test_scale_is_the_same_for_any_number_of_threads(n):
    before, x, head, scale = backend.threads(), numbers(n), numbers(n, 1), np.float32(0.3)
    x, head = np.nan_to_num(x, nan=0.5, posinf=3, neginf=-3), np.clip(np.nan_to_num(head), -3, 3)
    x = np.clip(x, -3, 3)
    found = []
    try:
        for num_threads in (1, 2):
            backend.set_threads(num_threads)
            y, = call(backend.lib.qnn_scale, x, n, scale, outputs=[np.empty(n, np.float32)])
            dx, dscale = call(backend.lib.qnn_scale_grad, x, head, n, scale,
                              outputs=[np.empty(n, np.float32), np.empty(1, np.float32)])
            np.testing.assert_array_equal(y, x * scale)
            np.testing.assert_array_equal(dx, head * scale)
            parts = head.astype(np.float64) * x
            np.testing.assert_allclose(dscale, parts.sum(), rtol=0, atol=2 ** -22 * np.abs(parts).sum())
            found.append(dscale[0])
    finally:
        backend.set_threads(before)
    assert found[0] == found[1]


@pytest.mark.parametrize("options", [dict(act_quantizer="isometric(levels=2)", weight_quantizer="sign"),
                                     dict(act_quantizer="isometric(levels=3)", weight_quantizer="twn"),
                                     dict(act_quantizer="rebnet(levels=2)", weight_quantizer="dorefa_weight(bits=1)")])
def test_shapes_of_weights_are_found_behind_native_operators(options):
    """The scale of TWN has no shape before the sweep backwards finds that of its weights."""
    outputs = {}
    for is_forced in (False, True):
        with layers.builtin_operators(is_forced):
            net = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=4, name="conv", **options)
            net = qnn.sym.QFullyConnected(net, num_hidden=3, name="fc", **options)
        executor = net.simple_bind(mx.cpu(), data=(2, 3, 5, 5))
        for name, array in sorted(executor.arg_dict.items()):
            draw = np.random.RandomState(len(name)).randn(*array.shape)
            array[:] = np.abs(draw) if "gamma" in name else draw
        outputs[is_forced] = executor.forward(is_train=True)[0].asnumpy()
        assert ("_qnn_scale" in net.tojson()) is not is_forced
    np.testing.assert_array_equal(outputs[False], outputs[True])


def test_bad_arguments():
    lib, ffi, x = backend.lib, backend.ffi, backend.ffi.new("float[4]")
    assert lib.qnn_isometric(x, 4, 0.0, 2, x) == lib.QNN_BAD_ARGUMENT
    assert lib.qnn_isometric(x, 4, -1.0, 2, x) == lib.QNN_BAD_ARGUMENT
    assert lib.qnn_isometric(x, 4, 1.0, 5, x) == lib.QNN_BAD_ARGUMENT
    assert lib.qnn_isometric_grad(x, x, 4, 1.0, 0, x, x) == lib.QNN_BAD_ARGUMENT
    assert lib.qnn_isometric_grad(x, x, 4, 1.0, 2, x, ffi.NULL) == lib.QNN_BAD_ARGUMENT
    assert lib.qnn_scale(ffi.NULL, 4, 1.0, x) == lib.QNN_BAD_ARGUMENT
    assert lib.qnn_scale_grad(x, x, 4, 1.0, x, ffi.NULL) == lib.QNN_BAD_ARGUMENT
    assert lib.qnn_scale(x, 0, 1.0, x) == lib.qnn_isometric(x, 0, 1.0, 2, x) == lib.QNN_BAD_SHAPE
    assert lib.qnn_scale_grad(x, x, 2 ** 64 - 1, 1.0, x, x) == lib.QNN_BAD_SHAPE
    data, one = mx.nd.ones((2, 3)), mx.nd.ones((1, 1))
    with pytest.raises(mx.MXNetError, match=r"_qnn_isometric: levels is 1\.\.4, got '5'"):
        mx.nd._internal._qnn_isometric(data, one, levels=5).asnumpy()
    with pytest.raises(mx.MXNetError, match=r"_qnn_scale needs scale of shape \(1, 1\), got \(2, 3\)"):
        mx.nd._internal._qnn_scale(data, data).asnumpy()
