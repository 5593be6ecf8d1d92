"""Modulation, heads and image layers around table layers: forward and gradient against numpy."""
import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn import reference_lut
from qnn.options import OptionError

RANDOM = np.random.RandomState(0)


def run(layer, x, dy=None, is_train=True):
    """(y, dx) of a function of arrays."""
    x = mx.nd.array(x)
    x.attach_grad()
    with mx.autograd.record(train_mode=is_train):
        y = layer(x)
    y.backward(mx.nd.ones_like(y) if dy is None else mx.nd.array(dy))
    return y.asnumpy(), x.grad.asnumpy()


@pytest.mark.parametrize("frames, depth", [(1, 1), (15, 1), (1, 4), (3, 2)])
@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4, 5)])
def test_real_to_binary(shape, frames, depth):
    """BinaryBrain leaves the gradient uninitialised."""
    x = (RANDOM.rand(*shape) * 1.4 - 0.2).astype(np.float32)
    limits = reference_lut.uniform_thresholds(frames, depth)
    dy = RANDOM.randn(shape[0] * frames, shape[1] * depth, *shape[2:]).astype(np.float32)
    options = dict(frame_modulation=frames, depth=depth, thresholds=mx.nd.array(limits))
    y, dx = run(lambda v: qnn.nd.RealToBinary(v, **options), x, dy)
    np.testing.assert_array_equal(y, reference_lut.thermometer(x, limits))
    np.testing.assert_allclose(dx, reference_lut.thermometer_grad(x, dy, frames, depth), atol=1e-5)


def test_thresholds_are_binarybrains():
    """y = (x - d/D) D, then (y - f/F) F > 0.5."""
    x = np.linspace(0, 1, 997, dtype=np.float64)[:, None]
    for frames, depth in ((7, 1), (1, 3), (5, 2)):
        bits = reference_lut.thermometer(x, reference_lut.uniform_thresholds(frames, depth)).reshape(-1, frames, depth)
        for f in range(frames):
            for d in range(depth):
                margin = ((x[:, 0] - d / depth) * depth - f / frames) * frames - 0.5
                sure = np.abs(margin) > 1e-5
                np.testing.assert_array_equal(bits[sure, f, d], margin[sure] > 0)


def test_real_binary_real_is_the_identity_of_gradients():
    x = RANDOM.rand(6, 4).astype(np.float32)
    dy = RANDOM.randn(6, 4).astype(np.float32)
    block = qnn.gluon.RealToBinary(frame_modulation=31)
    block.initialize()
    y, dx = run(lambda v: qnn.nd.BinaryToReal(block(v), frame_integration=31), x, dy)
    np.testing.assert_allclose(y, x, atol=0.5 / 31 + 1e-6)
    np.testing.assert_allclose(dx, dy, atol=1e-5)


def test_fitted_thermometer():
    images = np.repeat(np.float32([[0, 7], [0, 7], [1, 7], [2, 7], [3, 7]]), 20, 0)
    limits = reference_lut.fit_thermometer(images, 3)
    assert limits.shape == (1, 2, 3)
    bits = reference_lut.thermometer(images, limits)
    assert (np.diff(bits.reshape(-1, 2, 3)) <= 0).all()  # a thermometer
    assert 0 < bits[:, :3].mean() < 1 and not bits[:, 3:].any()
    net = qnn.sym.RealToBinary(mx.sym.Variable("data"), thresholds=limits, name="r2b")
    module = mx.mod.Module(net, label_names=())
    module.bind([("data", (100, 2))], for_training=False)
    module.init_params()
    np.testing.assert_array_equal(module.predict(mx.io.NDArrayIter(images, batch_size=100)).asnumpy(), bits)
    np.testing.assert_array_equal(module.get_params()[1]["r2b_thresholds"].asnumpy(), limits)


def test_binary_to_real_and_reduce():
    x = RANDOM.rand(6, 8).astype(np.float32)
    y, dx = run(lambda v: qnn.nd.BinaryToReal(v, frame_integration=3, depth_integration=4), x)
    np.testing.assert_allclose(y, x.reshape(2, 3, 4, 2).mean((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(dx, 1 / 12)
    y, _ = run(lambda v: qnn.nd.Reduce(v, num_nodes=2), x)
    np.testing.assert_allclose(y, x.reshape(6, 4, 2).mean(1), rtol=1e-6)


def test_group_sum():
    x = RANDOM.randint(2, size=(5, 12)).astype(np.float32)
    y, dx = run(lambda v: qnn.nd.GroupSum(v, num_classes=3, temperature=0.5), x)
    np.testing.assert_array_equal(y, x.reshape(5, 3, 4).sum(2) * 2)
    np.testing.assert_array_equal(dx, 2)


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_bit_encode(bits):
    x = np.float32([[0, 1, 0.5], [0.25, 0.99, 0.01]])
    y, dx = run(lambda v: qnn.nd.BitEncode(v, bits=bits), x)
    codes = np.floor(x * np.float32(2 ** bits - 1)).astype(int)
    np.testing.assert_array_equal(y, np.concatenate([codes >> b & 1 for b in range(bits)], 1))
    assert not dx.any()


def test_stochastic_max_pooling_with_its_gradient_at_one():
    x = RANDOM.rand(2, 3, 4, 6).astype(np.float32)
    x[0, 0, :2, :2], x[0, 1, 0, 0] = 1, 1
    dy = RANDOM.randn(2, 3, 2, 3).astype(np.float32)
    y, dx = run(lambda v: qnn.nd.StochasticMaxPooling(v, kernel=(2, 2)), x, dy)
    windows = x.reshape(2, 3, 2, 2, 3, 2).transpose(0, 1, 2, 4, 3, 5).reshape(2, 3, 2, 3, 4)
    np.testing.assert_allclose(y, 1 - (1 - windows).prod(-1), atol=1e-6)
    slopes = np.stack([np.delete(1 - windows, i, -1).prod(-1) for i in range(4)], -1) * dy[..., None]
    wanted = slopes.reshape(2, 3, 2, 3, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(x.shape)
    np.testing.assert_allclose(dx, wanted, atol=1e-6)


def test_shuffle():
    x = np.arange(12, dtype=np.float32)[None]
    y, _ = run(lambda v: qnn.nd.Shuffle(v, unit=3), x)
    assert all(y[0, i * 3 + j] == x[0, j * 4 + i] for i in range(4) for j in range(3))


def test_up_sampling():
    x = RANDOM.rand(1, 2, 2, 3).astype(np.float32)
    np.testing.assert_array_equal(run(lambda v: qnn.nd.UpSampling(v, scale=2), x)[0], x.repeat(2, 2).repeat(2, 3))
    y, dx = run(lambda v: qnn.nd.UpSampling(v, scale=3, fill=False), x)
    np.testing.assert_array_equal(y[:, :, 1::3, 1::3], x)
    assert y.sum() == pytest.approx(x.sum()) and (dx == 1).all()


@pytest.mark.parametrize("mask_mode", ["flip", "zero"])
def test_insert_bit_error(mask_mode):
    x = RANDOM.randint(2, size=(100, 100)).astype(np.float32)
    layer = lambda v: qnn.nd.InsertBitError(v, error_rate=0.1, mask_mode=mask_mode)  # noqa: E731
    y, dx = run(layer, x)
    hit = dx != 1
    assert 0.08 < hit.mean() < 0.12
    np.testing.assert_array_equal(y, np.where(hit, 1 - x if mask_mode == "flip" else 0, x))
    np.testing.assert_array_equal(dx[hit], -1 if mask_mode == "flip" else 0)
    np.testing.assert_array_equal(run(layer, x, is_train=False)[0], x)


@pytest.mark.parametrize("stride, pad", [((1, 1), (0, 0)), ((2, 1), (1, 1))])
def test_convolution_is_the_layer_on_every_window(stride, pad):
    x = RANDOM.randint(2, size=(3, 2, 6, 7)).astype(np.float32)
    tables = [int(t) for t in RANDOM.randint(2 ** 16, size=5)]
    wired = RANDOM.randint(2 * 3 * 2, size=(5, 4))
    net = qnn.lut.Convolution2d(
        mx.sym.Variable("data"), lambda v: qnn.sym.BinaryLut(v, num_nodes=5, in_units=12, n=4, tables=tables,
                                                            connection=wired, name="lut"),
        kernel=(3, 2), stride=stride, pad=pad, name="conv")
    module = mx.mod.Module(net, label_names=())
    module.bind([("data", x.shape)], for_training=False)
    module.init_params()
    y = module.predict(mx.io.NDArrayIter(x, batch_size=3)).asnumpy()
    padded = np.pad(x, ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2))
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            window = padded[:, :, i * stride[0]:i * stride[0] + 3, j * stride[1]:j * stride[1] + 2].reshape(3, -1)
            np.testing.assert_array_equal(y[:, :, i, j], reference_lut.table_forward(window, wired, tables))


def test_convolution_block_trains():
    block = mx.gluon.nn.HybridSequential()
    block.add(qnn.gluon.Convolution2d(lambda: [qnn.gluon.DifferentiableLut(num_nodes=12, in_units=9, n=4),
                                               qnn.gluon.AverageLut(num_nodes=4, in_units=12, n=3)], kernel=(3, 3)))
    block.initialize()
    block.hybridize()
    trainer = mx.gluon.Trainer(block.collect_params(), "lutadam", {"learning_rate": 0.3})
    with mx.autograd.record():
        y = block(mx.nd.array(RANDOM.rand(5, 1, 8, 8)))
        loss = (y * mx.nd.array(RANDOM.randn(*y.shape))).sum()
    loss.backward()
    trainer.step(1)
    assert y.shape == (5, 4, 6, 6)
    weight, = (p.data().asnumpy() for name, p in block.collect_params().items() if name.endswith("weight"))
    assert weight.min() >= 0 and weight.max() <= 1 and weight.std() > 0.1


@pytest.mark.parametrize("make, sentence", [
    (lambda x: qnn.sym.StochasticMaxPooling(x, kernel=(2, 2), stride=(1, 1), name="pool"), "stride is the kernel"),
    (lambda x: qnn.sym.RealToBinary(x, input_range=(1, 0), name="r2b"), r"input_range is \(low, high\)"),
    (lambda x: qnn.sym.InsertBitError(x, error_rate=1.0, name="e"), "error_rate is 0..1, 1 excluded"),
    (lambda x: qnn.sym.BitEncode(x, bits=24, name="e"), "bits is 1..23"),
    (lambda x: qnn.sym.GroupSum(x, num_classes=0, name="g"), "GroupSum 'g': num_classes is a number above 0, got 0"),
])
def test_bad_arguments_are_named(make, sentence):
    with pytest.raises(OptionError, match=sentence):
        make(mx.sym.Variable("data"))
