"""Convolutions of table layers become packed networks, shared tables at every position: the same outputs."""
import mxnet as mx
import numpy as np
import pytest
from qnn.converter import convert
from qnn.model_zoo import lut_mnist
from test_load_lut import random_model

import qnn
from qnn import datasets
from qnn.cli import main
from qnn.inference import Model


def block(nodes, outputs, units, name, **options):
    def layer(x):
        x = qnn.sym.DifferentiableLut(x, num_nodes=nodes, in_units=units, n=4, name=name + "_lut", **options)
        return qnn.sym.AverageLut(x, num_nodes=outputs, in_units=nodes, n=3,
                                  binarize_input=False, name=name + "_average")
    return layer


def bits(frames=1, depth=1):
    return qnn.sym.RealToBinary(mx.sym.Variable("data"), frame_modulation=frames, depth=depth, name="modulate")


def scores(net, units, frames=1, **options):
    net = qnn.sym.DifferentiableLut(mx.sym.Flatten(net), num_nodes=10, in_units=units, name="last", **options)
    return mx.sym.SoftmaxOutput(qnn.sym.BinaryToReal(net, frame_integration=frames), name="softmax")


def convolution(net, channels, name="conv", window=(3, 3), outputs=8, options=None, **arguments):
    inner = block(3 * outputs, outputs, channels * window[0] * window[1], name, **(options or {}))
    return qnn.lut.Convolution2d(net, inner, window, name=name, **arguments)


def image(net, frames, **options):
    """Means of the frames, an image again."""
    net = qnn.sym.DifferentiableLut(mx.sym.Flatten(net), num_nodes=32, in_units=128, name="code", **options)
    net = convolution(mx.sym.Reshape(net, shape=(-1, 2, 4, 4)), 2, "last", outputs=4, pad=(1, 1))
    return mx.sym.LinearRegressionOutput(qnn.sym.BinaryToReal(net, frame_integration=frames, depth_integration=2),
                                         name="softmax")


def pooled(net, **arguments):
    return mx.sym.Pooling(net, pool_type="max", name="pool", **arguments)


STOCHASTIC = dict(binary=False, batch_norm=False, lut_binarize=True)
# of images of 6 x 6
CASES = {
    "convolution": lambda: scores(convolution(bits(), 1), 128),
    "frames, depth": lambda: scores(convolution(bits(3, 2), 2), 128, 3),
    "pad": lambda: scores(convolution(bits(), 1, pad=(1, 1)), 288),
    "reflect, stride": lambda: scores(convolution(bits(), 1, window=(2, 3), stride=(2, 1), pad=(1, 1),
                                                  border="reflect"), 192),
    "edge": lambda: scores(convolution(bits(), 1, pad=(2, 1), border="edge"), 8 * 48),
    "pooling": lambda: scores(pooled(convolution(bits(), 1), kernel=(2, 2), stride=(2, 2)), 32),
    "nine of a window, pad": lambda: scores(pooled(convolution(bits(), 1), kernel=(3, 3), stride=(1, 1), pad=(1, 1)),
                                            128),
    "whole": lambda: scores(pooled(convolution(bits(), 1, window=(6, 5), outputs=64), kernel=(1, 1), global_pool=True),
                            64),
    "stochastic": lambda: scores(qnn.sym.StochasticMaxPooling(convolution(bits(3), 1, options=STOCHASTIC), kernel=(
        2, 2)), 32, 3, **STOCHASTIC),
    "shuffle, enlarge": lambda: scores(qnn.sym.UpSampling(qnn.sym.Shuffle(convolution(bits(), 1), unit=2), scale=2),
                                       512),
    "enlarge, empty": lambda: scores(pooled(qnn.sym.UpSampling(convolution(bits(), 1), scale=2, fill=False), kernel=(
        3, 3), stride=(2, 2), pad=(1, 1)), 128),
    "image of two nodes, two frames": lambda: image(convolution(bits(2), 1), 2),
    "bit errors": lambda: scores(qnn.sym.InsertBitError(convolution(bits(), 1), error_rate=0.3), 128)}


def numpy(params):
    return {name: value.asnumpy() for name, value in params.items()}


def assert_equal_outputs(symbol, params, x, shape):
    packed, args, auxs, report = convert(symbol, *params, shape=shape)
    expected = Model(symbol, *map(numpy, params), labels=["softmax_label"]).predict(x)
    got = Model(packed, numpy(args), numpy(auxs), labels=["softmax_label"]).predict(x)
    assert len(np.unique(expected, axis=0)) > 5
    np.testing.assert_array_equal(got, expected)
    return packed, args, auxs, report


@pytest.mark.parametrize("case", CASES)
def test_converted_outputs_are_equal(case, tmp_path):
    symbol = CASES[case]()
    params = random_model(symbol)
    x = np.random.default_rng(1).uniform(0, 1, (100, 1, 6, 6)).astype(np.float32)
    packed, args, auxs, report = assert_equal_outputs(symbol, params, x, (1, 6, 6))
    assert [row.layer for row in report.rows][-1] in ("last", "last_average")
    mx.model.save_checkpoint(str(tmp_path / "net"), 1, packed, args, auxs)
    model = qnn.load(str(tmp_path / "net"), 1)
    np.testing.assert_array_equal(model.classes(x), model.predict(x).argmax(1))


def test_shape_is_needed_and_checked():
    symbol = CASES["convolution"]()
    params = random_model(symbol)
    with pytest.raises(ValueError, match="Columns 'conv.*give it, shape=.*--shape C,H,W"):
        convert(symbol, *params)
    with pytest.raises(ValueError, match="'last' reads 128 inputs, the layer before it has 200; is the shape"):
        convert(symbol, *params, shape=(1, 7, 7))
    with pytest.raises(ValueError, match="counts the channels of 36 pixels; put a Flatten before"):
        net = qnn.sym.GroupSum(convolution(bits(), 1, pad=(1, 1)), num_classes=4)
        convert(mx.sym.SoftmaxOutput(net), *random_model(mx.sym.SoftmaxOutput(net)), shape=(1, 6, 6))
    with pytest.raises(ValueError, match="Pooling 'pool' is pool_type=max, pooling_convention=full"):
        symbol = scores(pooled(convolution(bits(), 1), kernel=(3, 3), stride=(2, 2), pooling_convention="full"), 32)
        convert(symbol, *random_model(symbol), shape=(1, 6, 6))


@pytest.mark.parametrize("shape, message", [
    ((0, 3, 5, 7), r"Reshape 'other' cannot make \(3, 5, 7\) of 128 signals; is the shape of a sample right"),
    ((0, -1, 5), r"Reshape 'other' cannot make \(-1, 5\) of 128 signals"),
    ((32, -1), r"Reshape 'other' of table layers keeps the samples and gives the other axes, .* got \(32, -1\)"),
    ((0, -4, 2, 4, 4, 4), "Reshape 'other' of table layers keeps the samples")])
def test_reshapes_keep_the_samples(shape, message):
    net = mx.sym.Reshape(convolution(bits(), 1), shape=shape, name="other")
    symbol = scores(net, 128)
    params = random_model(scores(convolution(bits(), 1), 128))
    with pytest.raises(ValueError, match=message):
        convert(symbol, *params, shape=(1, 6, 6))


def trained(symbol, images, labels, steps, batch=32):
    """(args, auxs) after some steps on real data."""
    mx.random.seed(0)
    module = mx.mod.Module(symbol)
    data = mx.io.NDArrayIter(images[:steps * batch], labels[:steps * batch].astype(np.float32), batch,
                             label_name="softmax_label")
    module.fit(data, optimizer="lutadam", optimizer_params={"learning_rate": 0.005}, num_epoch=1, kvstore=None)
    return module.get_params()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn", "stochastic_cnn", "autoencoder"])
def test_sample_networks_on_mnist(data_root, tmp_path, name, capsys):
    """Real numbers train the stochastic network; bits of three frames run its tables."""
    images, labels = datasets.mnist(str(data_root / "mnist"), "train")
    symbol = lut_mnist.NETWORKS[name](*([] if name == "stochastic_cnn" else [3]))
    params = trained(symbol, images, images if name == "autoencoder" else labels, 6)
    if name == "stochastic_cnn":
        symbol = lut_mnist.stochastic_cnn(3)
        params = params[0], {**params[1], "modulate_thresholds": mx.nd.array(np.reshape([1, 3, 5], (3, 1, 1)) / 6)}
    mx.model.save_checkpoint(str(tmp_path / "net"), 1, symbol, *params)
    assert main(["convert", str(tmp_path / "net"), "1", "-o", str(tmp_path / "packed"), "--limit", "300", "--verify",
                 str(data_root / "mnist")]) == 0
    assert "300 images: 0 classes differ, 0 outputs differ" in capsys.readouterr().out
