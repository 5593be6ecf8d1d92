"""Hardware layers: what is extracted from packed graphs computes what MXNet computes; what hardware cannot take is
named."""
import mxnet as mx
import nets
import numpy as np
import pytest
from qnn.converter.convert import run_passes
from qnn.converter.verilog.extract import extract
from qnn.converter.verilog.golden import golden, stimuli
from stages import X, conv, norm, pool

import qnn
from qnn.graph import Graph

act = qnn.sym.QActivation


def images(shape, seed=0):
    return np.random.RandomState(seed).randn(*shape).astype(np.float32)


def converted(symbol, data):
    """converter Model of a symbol with calibrated parameters."""
    return run_passes(Graph.from_json(symbol.tojson()), *nets.calibrated(symbol, data))


def network_of(symbol, data, **options):
    return extract(converted(symbol, data), shape=data.shape[1:], **options)


def assert_equal_to_mxnet(network, data):
    codes = network.random_codes(30)
    outputs = network(codes)
    assert len(np.unique(outputs)) > 3
    np.testing.assert_array_equal(outputs, golden(network, codes))
    codes, expected = stimuli(network, data)
    np.testing.assert_array_equal(network(codes), expected)


def small_integers(pad_value=0):
    net = act(norm(conv(X, "c1", 8, act_bit=32, weight_bit=1, stride=(2, 1)), "b1"))
    net = norm(conv(net, "c2", 10, pad_value=pad_value), "b2")
    return qnn.sym.QFullyConnected(net, num_hidden=7, name="c3")


def test_fully_connected():
    data = images((12, 1, 9, 9))
    network = network_of(nets.mlp(), data)
    assert [layer.k for layer in network.layers] == [81, 70, 64, 33] and network.accumulators == "matches"
    assert network.argmax_reason == ""
    assert_equal_to_mxnet(network, data)


def test_numbers_in_front_of_signs_and_a_loss_behind_need_no_leave():
    """Pixels become bits in the host, however they do."""
    net = qnn.sym.QActivation(mx.sym.Flatten((X * 2 - 1) / 3))
    net = qnn.sym.QFullyConnected(net, num_hidden=20, no_offset=True, name="one")
    net = qnn.sym.QFullyConnected(act(norm(net, "b")), num_hidden=5, no_offset=True, name="two")
    data = np.random.RandomState(3).rand(12, 1, 9, 9).astype(np.float32)
    network = network_of(qnn.losses.SquaredHingeOutput(net, num_classes=5, name="softmax"), data)
    assert len(network.host_before) == 3 and network.host_after == [] and network.argmax_reason == ""
    assert_equal_to_mxnet(network, data)


def test_convolutions_and_pools():
    """Every kind of padding, pools before and behind BatchNorm, a flattened image in front of the last layers."""
    data = images((4, 3, 16, 16))
    network = network_of(nets.cnv(), data, host_layers=True)
    assert [getattr(layer, "kind", "pool") for layer in network.layers] == [
        "bits", "bits", "pool", "masked", "pool", "bits", "pool", "bits", "bits"]
    assert network.host_before == ["bn_data"] and network.host_after == []
    assert_equal_to_mxnet(network, data)


@pytest.mark.parametrize("options", [dict(stride=(2, 1), dilate=(2, 2)), dict(pad=(2, 0), kernel=(3, 1)),
                                     dict(kernel=(8, 8), pad=(0, 0)), dict(kernel=(1, 1), pad=(0, 0))], ids=str)
def test_geometries(options):
    data = images((4, 3, 8, 8))
    net = act(norm(conv(X, "one", 6, **options), "bn"))
    net = qnn.sym.QFullyConnected(net, num_hidden=5, name="two")
    assert_equal_to_mxnet(network_of(net, data), data)


def test_pool_with_falling_batch_norm_behind():
    data = images((4, 3, 8, 8))
    net = act(norm(pool(norm(conv(X, "one", 6), "bn1"), "pool", kernel=(3, 3), pad=(1, 1)), "bn2"))
    network = network_of(qnn.sym.QFullyConnected(net, num_hidden=5, name="two"), data)
    assert network.layers[1].flip.any() and not network.layers[1].flip.all()
    assert_equal_to_mxnet(network, data)


@pytest.mark.parametrize("scale, signed", [(1.0, False), (2.0 ** -7, True)])
def test_first_layer_of_integers(scale, signed):
    """Ties, gamma = 0 and negative gamma included: thresholds on integers are those of the float graph."""
    low = -128 if signed else 0
    data = np.random.RandomState(0).randint(low, low + 256, (6, 3, 8, 8)).astype(np.float32) * np.float32(scale)
    network = network_of(small_integers(), data, input_bits=8, input_signed=signed, input_scale=scale)
    assert [layer.kind for layer in network.layers] == ["bits", "masked", "bits"]
    assert [layer.code_bits for layer in network.layers] == [8, 1, 1]
    assert_equal_to_mxnet(network, data)


def test_data_that_are_no_codes():
    data = np.random.RandomState(0).randint(0, 256, (6, 3, 8, 8)).astype(np.float32)
    network = network_of(small_integers(), data, input_bits=8)
    for wrong in (data + 0.5, data - 1, data + 1):
        with pytest.raises(ValueError, match="data are integers 0..255 times 1"):
            stimuli(network, wrong)


def test_hash_tells_models_apart():
    data = images((3, 20))
    symbol = nets.mlp()
    first, second = (extract(run_passes(Graph.from_json(symbol.tojson()), *nets.calibrated(symbol, data, seed)))
                     for seed in (0, 1))
    assert len(first.sha256) == 64 and first.sha256 != second.sha256
    assert first.sha256 == network_of(symbol, data).sha256


# ---- what hardware cannot take ---------------------------------------------------------------------------------------


def float_tail():
    return mx.sym.FullyConnected(qnn.sym.QFullyConnected(X, num_hidden=5, name="one"), num_hidden=3, name="tail")


@pytest.mark.parametrize("symbol, sentence", [
    (lambda: mx.sym.FullyConnected(X, num_hidden=3), "no 1-bit layer in the network"),
    (float_tail, "operator FullyConnected 'tail' behind the last 1-bit layer .* --host-layers"),
    (lambda: conv(mx.sym.relu(X), "one"), "operator relu 'relu0' in front of the first 1-bit layer"),
    (lambda: conv(conv(X, "one", 9, num_group=3), "two"), "'one' gives floats|num_group=3"),
    (lambda: conv(act(norm(conv(X, "one", 9, num_group=3), "b")), "two"), "'one' has num_group=3"),
    (lambda: conv(X, "one", 3) + X, "operator|residual"),
    (lambda: conv(conv(mx.sym.relu(conv(X, "one")), "two"), "three"), "layer 'one' gives floats to 'relu"),
    (lambda: small_integers(), "say how many bits they have, --input-bits")], ids=range(8))
def test_refused(symbol, sentence):
    with mx.name.NameManager():
        symbol = symbol()
        data = images((3, 3, 8, 8))
        with pytest.raises(ValueError, match="verilog: .*(%s)" % sentence):
            network_of(symbol, data)


def test_shape_is_needed_for_convolutions():
    data = images((3, 3, 8, 8))
    model = converted(conv(X, "one"), data)
    with pytest.raises(ValueError, match="layer 'one' is a convolution: give the shape of one sample with --shape"):
        extract(model)
    with pytest.raises(ValueError, match="layer 'one' reads 3 channels, the shape"):
        extract(model, shape=(4, 8, 8))


@pytest.mark.parametrize("scale", [0.3, -1.0, 0.0, float("inf")])
def test_scale_is_a_power_of_two(scale):
    data = np.ones((3, 3, 8, 8), np.float32)
    with pytest.raises(ValueError, match="power of two"):
        network_of(small_integers(), data, input_bits=8, input_scale=scale)
