"""Trained table layers become packed networks: the same outputs, float for float, and layers that cannot are named."""
import mxnet as mx
import numpy as np
import pytest
from qnn.converter import convert

import qnn
from qnn.inference import Model

pytest.importorskip("qnn.lut")


def chain(layers, head, frames=1, thresholds=None, connection="random"):
    net = mx.sym.Flatten(mx.sym.Variable("data"))
    arguments = {"frame_modulation": frames} if thresholds is None else {"thresholds": thresholds}
    net = qnn.sym.RealToBinary(net, name="modulate", **arguments)
    units = 36 * (1 if thresholds is None else np.asarray(thresholds).shape[-1])
    for number, (kind, nodes, n) in enumerate(layers):
        options = {} if kind in ("AverageLut", "MaxLut") else {"connection": connection if number == 0 else "random"}
        net = getattr(qnn.sym, kind)(net, num_nodes=nodes, in_units=units, n=n, name="lut%d" % number, **options)
        units = nodes
    return head(net)


def mean(frames=1, depth=1):
    def head(net):
        return mx.sym.SoftmaxOutput(qnn.sym.BinaryToReal(net, frame_integration=frames, depth_integration=depth),
                                    name="softmax")
    return head


def popcount(net):
    return mx.sym.SoftmaxOutput(qnn.sym.GroupSum(net, num_classes=5, temperature=3.0), name="softmax")


def random_model(symbol, seed=0, shape=(1, 6, 6)):
    """The symbol with random tables, and the states that its initializers give; shape: of a sample."""
    module = mx.mod.Module(symbol.get_children()[0], label_names=None)  # without the loss
    module.bind([("data", (4,) + shape)], for_training=False)
    module.init_params()
    args, auxs = module.get_params()
    rng = np.random.default_rng(seed)
    for name in args:
        if name.endswith(("_weight", "_scores")):
            args[name][:] = rng.uniform(0, 1, args[name].shape)
    for name in auxs:
        if name.endswith("moving_mean"):
            auxs[name][:] = rng.uniform(0.4, 0.6, auxs[name].shape)
        if name.endswith("moving_var"):
            auxs[name][:] = rng.uniform(0.01, 0.1, auxs[name].shape)
    return args, auxs


LUT, AVERAGE = "DifferentiableLut", "AverageLut"
CASES = {
    "frames": chain([(LUT, 60, 6), (LUT, 30, 6), (LUT, 10, 6)], mean(15), 15),
    "lut4 and majority": chain([(LUT, 80, 4), (LUT, 40, 4), (AVERAGE, 10, 4)], mean(3), 3),
    "learned, popcount": chain([(LUT, 50, 6)], popcount, thresholds=np.tile(np.float32([0.3, 0.6]), (36, 1)),
                               connection="learned"),
    "depth": chain([(LUT, 60, 6), (LUT, 30, 5)], mean(4, 3), 4),
    "maximum": chain([(LUT, 60, 2), ("MaxLut", 30, 2)], mean())}


@pytest.mark.parametrize("case", CASES)
def test_converted_outputs_are_equal(case, tmp_path):
    symbol = CASES[case]
    args, auxs = random_model(symbol)
    packed, packed_args, packed_auxs, report = convert(symbol, args, auxs)
    x = np.random.default_rng(1).uniform(0, 1, (200, 1, 6, 6)).astype(np.float32)

    def numpy(params):
        return {name: value.asnumpy() for name, value in params.items()}
    expected = Model(symbol, numpy(args), numpy(auxs), labels=["softmax_label"]).predict(x)
    got = Model(packed, numpy(packed_args), numpy(packed_auxs), labels=["softmax_label"]).predict(x)
    assert len(np.unique(expected, axis=0)) > 20
    np.testing.assert_array_equal(got, expected)
    mx.model.save_checkpoint(str(tmp_path / "net"), 1, packed, packed_args, packed_auxs)
    model = qnn.load(str(tmp_path / "net"), 1)
    assert isinstance(model, qnn.LutModel) and model.is_ordered and len(report.rows) == len(model.network.layers)
    np.testing.assert_array_equal(model.classes(x), expected.argmax(1))
    bytes_ = np.rint(x * 255).astype(np.uint8)
    np.testing.assert_array_equal(model.classes(bytes_), model.predict(bytes_).argmax(1))


@pytest.mark.parametrize("symbol, text", [
    (lambda: chain([(LUT, 30, 6)], mean(3, 3), 3), "round one by one"),
    (lambda: chain([(LUT, 30, 6)], mean(), 3), "integrates 1 frames of 3"),
    (lambda: mean()(qnn.sym.StochasticLut(mx.sym.Flatten(mx.sym.Variable("data")), num_nodes=30, in_units=36,
                                          name="lut0")), "'lut0' has real outputs.*without RealToBinary"),
    (lambda: mean()(qnn.sym.StochasticLut(qnn.sym.RealToBinary(mx.sym.Flatten(mx.sym.Variable("data"))), num_nodes=30,
                                          in_units=36, lut_binarize=False, name="lut0")), "'lut0' has real outputs"),
    (lambda: mean()(qnn.sym.DifferentiableLut(mx.sym.relu(qnn.sym.DifferentiableLut(
        mx.sym.Flatten(mx.sym.Variable("data")), num_nodes=20, in_units=36, name="a"), name="between"), num_nodes=10,
        in_units=20, name="b")), "'between' stands among table layers")])
def test_graphs_that_cannot_be_exported_are_named(symbol, text):
    symbol = symbol()
    with pytest.raises(ValueError, match=text):
        convert(symbol, *random_model(symbol))
