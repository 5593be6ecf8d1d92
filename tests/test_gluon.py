"""Gluon blocks: the same numbers as reference.py eagerly, hybridized and exported; deferred shapes; names; training."""
import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn import reference
from qnn.gluon import QActivation, QConv1D, QConv2D, QConv3D, QDense
from qnn.options import OptionError

MODES = [None, dict(), dict(static_alloc=True), dict(static_alloc=True, static_shape=True)]
MODE_NAMES = ["eager", "hybridized", "static_alloc", "static_shape"]


def _initialized(block, weight, bias=None, mode=None):
    block.initialize()
    block.weight.shape = weight.shape
    block.weight.set_data(mx.nd.array(weight))
    if bias is not None:
        block.bias.set_data(mx.nd.array(bias))
    if mode is not None:
        block.hybridize(**mode)
    return block


def _network(seed=0):
    """Float convolution, two binary layers, a float classifier: data (N, 1, 8, 8)."""
    mx.random.seed(seed)
    nn = mx.gluon.nn
    net = nn.HybridSequential()
    net.add(nn.Conv2D(8, 3), nn.BatchNorm(), QActivation(), QConv2D(16, 3, padding=1), nn.BatchNorm(), nn.MaxPool2D(),
            QDense(24, use_bias=True), nn.BatchNorm(), nn.Dense(4))
    net.initialize(mx.init.Xavier())
    return net


@pytest.mark.parametrize("mode", MODES, ids=MODE_NAMES)
def test_conv2d_equals_reference_forward_and_backward(mode):
    rng = np.random.RandomState(0)
    x, w = rng.randn(2, 6, 7, 5).astype(np.float32), rng.randn(4, 3, 3, 2).astype(np.float32)
    bias, geometry = np.float32([1, -2, 0, 3]), dict(pad=(1, 2), dilate=(2, 1), num_group=2, pad_value=-1)
    block = _initialized(QConv2D(4, (3, 2), strides=(2, 1), padding=(1, 2), dilation=(2, 1), groups=2, in_channels=6,
                                 use_bias=True, pad_value=-1), w, bias, mode)
    data = mx.nd.array(x)
    data.attach_grad()
    for _ in range(3):  # static graphs are built at the first call and replayed from the second on
        with mx.autograd.record():
            out = block(data)
        head = rng.randint(-3, 4, out.shape).astype(np.float32)
        out.backward(mx.nd.array(head))
        dx, dw = reference.q_convolution_grad(x, w, head, stride=(2, 1), **geometry)
        np.testing.assert_array_equal(out.asnumpy(), reference.q_convolution(x, w, bias, stride=(2, 1), **geometry))
        np.testing.assert_array_equal(data.grad.asnumpy(), dx)
        np.testing.assert_array_equal(block.weight.grad().asnumpy(), dw)
        np.testing.assert_array_equal(block.bias.grad().asnumpy(), head.sum((0, 2, 3)))
        np.testing.assert_array_equal(block.weight.data().asnumpy(), w)


@pytest.mark.parametrize("mode", MODES, ids=MODE_NAMES)
@pytest.mark.parametrize("flatten", [True, False])
def test_dense_equals_reference(flatten, mode):
    rng = np.random.RandomState(0)
    x, w = rng.randn(2, 3, 5).astype(np.float32), rng.randn(4, 15 if flatten else 5).astype(np.float32)
    block = _initialized(QDense(4, flatten=flatten, no_offset=True, in_units=w.shape[1]), w, mode=mode)
    out = block(mx.nd.array(x))
    assert out.shape == ((2, 4) if flatten else (2, 3, 4))
    expected = reference.q_fully_connected(x.reshape(-1, w.shape[1]), w, no_offset=True)
    np.testing.assert_array_equal(out.asnumpy().reshape(expected.shape), expected)


@pytest.mark.parametrize("block,shape,weight", [
    (lambda: QDense(5), (2, 3, 4), (5, 12)),
    (lambda: QDense(5, flatten=False), (2, 3, 4), (5, 4)),
    (lambda: QConv1D(4, 3), (2, 6, 9), (4, 6, 3)),
    (lambda: QConv2D(4, 3, groups=2), (2, 6, 5, 5), (4, 3, 3, 3)),
    (lambda: QConv2D(6, (3, 2), groups=6), (1, 6, 5, 5), (6, 1, 3, 2)),
    (lambda: QConv3D(4, (1, 2, 3), strides=2), (2, 1, 4, 4, 4), (4, 1, 1, 2, 3)),
], ids=["dense", "dense_rows", "conv1d", "groups", "depthwise", "conv3d"])
@pytest.mark.parametrize("mode", MODES[:2], ids=MODE_NAMES[:2])
def test_deferred_initialization(block, shape, weight, mode):
    block = block()
    block.initialize()
    if mode is not None:
        block.hybridize()
    x = np.random.RandomState(0).randn(*shape).astype(np.float32)
    out = block(mx.nd.array(x)).asnumpy()
    assert block.weight.shape == weight and np.ptp(out) > 0
    if len(shape) == 4:
        expected = reference.q_convolution(x, block.weight.data().asnumpy(), num_group=shape[1] // weight[1])
        np.testing.assert_array_equal(out, expected)


def test_bias_with_deferred_weight():
    block = QConv2D(4, 3, use_bias=True, scaling="filter")
    block.initialize()
    block.hybridize()
    assert block(mx.nd.ones((1, 2, 5, 5))).shape == (1, 4, 3, 3) and block.bias.shape == (4,)


@pytest.mark.parametrize("bits,act_bit,weight_bit", [(1, 1, 1), (4, 4, 4), ((1, 32), 1, 32), ([2, 1], 2, 1)])
def test_bits_are_one_number_or_a_pair(bits, act_bit, weight_bit):
    rng = np.random.RandomState(0)
    x, w = rng.rand(3, 5).astype(np.float32), rng.choice([-1, 1], (2, 5)).astype(np.float32)
    out = _initialized(QDense(2, bits=bits, in_units=5), w)(mx.nd.array(x)).asnumpy()
    expected = qnn.nd.QFullyConnected(mx.nd.array(x), mx.nd.array(w), num_hidden=2, act_bit=act_bit,
                                      weight_bit=weight_bit)
    np.testing.assert_array_equal(out, expected.asnumpy())


def test_activation_argument_follows_the_layer():
    x, w = np.float32([[1, 1, -1]]), np.float32([[1, -1, -1], [-1, -1, -1]])
    out = _initialized(QDense(2, no_offset=True, activation="relu", in_units=3), w)(mx.nd.array(x)).asnumpy()
    np.testing.assert_array_equal(out, [[1, 0]])


@pytest.mark.parametrize("mode", MODES[:2], ids=MODE_NAMES[:2])
def test_activation_block(mode):
    x = np.float32([-2, -1, -0.0, 0, 1, 2])
    block = QActivation(grad_clip=1)
    if mode is not None:
        block.hybridize()
    data = mx.nd.array(x)
    data.attach_grad()
    with mx.autograd.record():
        out = block(data)
    out.backward()
    np.testing.assert_array_equal(out.asnumpy(), reference.sign(x))
    np.testing.assert_array_equal(data.grad.asnumpy(), [0, 1, 1, 1, 1, 0])


def test_parameter_and_output_names_are_gluons():
    block = QConv2D(4, 3, prefix="conv1_", use_bias=True, in_channels=2)
    assert sorted(block.collect_params()) == ["conv1_bias", "conv1_weight"]
    plain = mx.gluon.nn.Conv2D(4, 3, prefix="conv1_", use_bias=True, in_channels=2)
    data = mx.sym.Variable("data")
    assert block(data).list_arguments() == plain(data).list_arguments()
    assert block(data).list_outputs() == plain(data).list_outputs() == ["conv1_fwd_output"]


def test_repr():
    assert repr(QActivation(bits=2)) == "QActivation(2 bit)"
    assert repr(QDense(5, in_units=3)) == "QDense(3 -> 5, act_bit=1, weight_bit=1)"
    assert repr(QConv2D(5, 3, bits=(1, 32))) == "QConv2D(None -> 5, act_bit=1, weight_bit=32)"


@pytest.mark.parametrize("make,sentence", [
    (lambda: QDense(0), "num_hidden"),
    (lambda: QDense(3, bits=33), "act_bit is 1..32, got 33"),
    (lambda: QDense(3, bits=(1, 0)), "weight_bit is 1..32, got 0"),
    (lambda: QDense(3, scaling="foo"), "scaling is one of none, layer, filter, xnor, got 'foo'"),
    (lambda: QConv2D(3, 3, pad_value=2), "pad_value is -1, 0 or 1, got 2"),
    (lambda: QConv2D(3, 3, groups=2), "num_group is a divisor of num_filter=3, got 2"),
    (lambda: QConv2D(4, 3, groups=0), "num_group"),
    (lambda: QConv2D(3, (3, 3, 3)), "QConv2D: kernel_size is a number or 2 numbers"),
    (lambda: QConv2D(3, 3, bits=(1, 1, 1)), "bits is one number"),
    (lambda: QConv2D(3, 3, prefix="conv7_", bits=99), "QConvolution 'conv7': act_bit"),
    (lambda: QConv2D(3, 3, strides=(1,)), "stride is 2 numbers"),
    (lambda: QConv2D(3, 3, layout="NHWC"), r"layout is NCHW \(transpose the data\), got 'NHWC'"),
    (lambda: QConv1D(3, 3, layout="NWC"), "layout is NCW"),
    (lambda: QActivation(bits=0), "act_bit is 1..32, got 0"),
    (lambda: QActivation(grad_clip=0), "grad_clip is a number above 0, got 0"),
])
def test_bad_arguments_are_refused_when_the_block_is_made(make, sentence):
    with pytest.raises(OptionError, match=sentence):
        make()


def test_unknown_argument():
    with pytest.raises(TypeError):
        QDense(3, kernel=3)


def test_save_and_load_parameters(tmp_path):
    x = mx.nd.array(np.random.RandomState(0).randn(2, 1, 8, 8))
    net, other = _network(0), _network(1)
    before = net(x).asnumpy()
    other(x)
    net.save_parameters(str(tmp_path / "net.params"))
    other.load_parameters(str(tmp_path / "net.params"))
    np.testing.assert_array_equal(other(x).asnumpy(), before)


@pytest.mark.parametrize("mode", MODES[1:], ids=MODE_NAMES[1:])
def test_hybridized_network_equals_eager_one(mode):
    x = mx.nd.array(np.random.RandomState(0).randn(3, 1, 8, 8))
    net = _network()
    eager = net(x).asnumpy()
    net.hybridize(**mode)
    for _ in range(3):
        np.testing.assert_allclose(net(x).asnumpy(), eager, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(net(x[:1]).asnumpy(), eager[:1], rtol=1e-5, atol=1e-5)  # another batch size


def test_exported_network_runs_as_symbol_block_and_module(tmp_path):
    x = mx.nd.array(np.random.RandomState(0).randn(3, 1, 8, 8))
    net = _network()
    net.hybridize()
    expected = net(x).asnumpy()
    prefix = str(tmp_path / "net")
    net.export(prefix, epoch=3)
    block = mx.gluon.SymbolBlock.imports(prefix + "-symbol.json", ["data"], prefix + "-0003.params")
    np.testing.assert_array_equal(block(x).asnumpy(), expected)
    block.hybridize()
    np.testing.assert_array_equal(block(x).asnumpy(), expected)
    with mx.autograd.record():
        loss = block(x).sum()
    loss.backward()
    grads = [p.grad().asnumpy() for name, p in block.collect_params().items() if "qconv" in name and "weight" in name]
    assert len(grads) == 1 and np.abs(grads[0]).max() > 0
    symbol, args, auxs = mx.model.load_checkpoint(prefix, 3)
    module = mx.mod.Module(symbol, label_names=None)
    module.bind([("data", (3, 1, 8, 8))], for_training=False)
    module.set_params(args, auxs)
    module.forward(mx.io.DataBatch([x]), is_train=False)
    np.testing.assert_array_equal(module.get_outputs()[0].asnumpy(), expected)


@pytest.mark.parametrize("mode", MODES[:3], ids=MODE_NAMES[:3])
def test_trainer_lowers_the_loss(mode):
    """Four classes that differ in which quarter of the image is bright."""
    rng = np.random.RandomState(0)
    labels = rng.randint(0, 4, 96)
    images = rng.randn(96, 1, 8, 8) * 0.3
    for image, label in zip(images, labels):
        image[0, 4 * (label // 2):, 4 * (label % 2):] += 1
    x, y = mx.nd.array(images), mx.nd.array(labels)
    net, loss = _network(), mx.gluon.loss.SoftmaxCrossEntropyLoss()
    if mode is not None:
        net.hybridize(**mode)
    trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01})
    losses = []
    for _ in range(25):
        with mx.autograd.record():
            value = loss(net(x), y)
        value.backward()
        trainer.step(len(labels))
        losses.append(value.mean().asscalar())
    assert losses[-1] < 0.3 * losses[0], losses
