"""WeightMonitor and the distributions behind it."""
import json
import logging

import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn.callbacks import WeightMonitor
from qnn.distributions import activation_distributions, distribution, quantized_entries, weight_distributions
from qnn.inference import Model


def test_distribution_counts_everything_finite():
    values = np.array([-2, -1, -0.5, 0, 0.999, 1, 1, np.nan, np.inf], np.float32)
    found = distribution("w", values, 1.0, (-1, 1), bins=4)
    assert found["edges"] == [-2, -1.25, -0.5, 0.25, 1] and found["counts"] == [1, 1, 2, 3]
    assert found["count"] == 9 and found["not_finite"] == 2 and found["saturation"] == 5 / 9
    assert (found["min"], found["max"]) == (-2, 1)
    with pytest.raises(ValueError, match="parameter 'w' has no finite value"):
        distribution("w", [np.nan], 1.0)


def test_distribution_of_one_value_has_a_width():
    assert distribution("b", np.zeros(7), 1.0, None, bins=2)["edges"] == [-0.5, 0, 0.5]


def test_weight_distributions_pair_weights_and_biases():
    params = {"a_bias": np.zeros(2), "a_weight": np.ones((2, 2)), "bn_gamma": np.ones(2), "b_weight": np.zeros((1, 1))}
    layers = weight_distributions(params)
    assert [(layer["name"], layer["bias"] and layer["bias"]["name"]) for layer in layers] == [
        ("a_weight", "a_bias"), ("b_weight", None)]
    for wrong, sentence in (({"a_weight": np.zeros(3, np.int64)}, "'a_weight' is packed"),
                            ({}, "no parameter is called")):
        with pytest.raises(ValueError, match=sentence):
            weight_distributions(wrong)
    with pytest.raises(ValueError, match="clip is a number above 0"):
        weight_distributions(params, clip=0)


def network(act_quantizer="sign"):
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=16, name="fc1")
    net = qnn.sym.QFullyConnected(net, num_hidden=12, act_quantizer=act_quantizer, name="fc2")
    net = mx.sym.FullyConnected(mx.sym.BatchNorm(net, fix_gamma=False), num_hidden=3, name="fc3")
    return mx.sym.SoftmaxOutput(net, name="softmax")


def fit(monitor, optimizer="latent", epochs=3):
    random = np.random.RandomState(0)
    mx.random.seed(0)
    data = mx.io.NDArrayIter(random.randn(60, 8).astype(np.float32), random.randint(0, 3, 60), 20)
    module = mx.mod.Module(network())
    module.fit(data, num_epoch=epochs, optimizer=optimizer, optimizer_params={"learning_rate": 0.1},
               initializer=mx.init.Uniform(0.9), epoch_end_callback=monitor)
    return {name: value.asnumpy() for name, value in module.get_params()[0].items()}


def test_monitor_records_every_epoch(tmp_path):
    monitor = WeightMonitor(str(tmp_path / "weights.jsonl"))
    params = fit(monitor)
    assert monitor.records == [json.loads(line) for line in (tmp_path / "weights.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in monitor.records] == [1, 2, 3]
    layers = {layer["name"]: layer for layer in monitor.records[-1]["layers"]}
    assert set(layers) == {"fc1_weight", "fc2_weight", "fc3_weight"}
    assert layers["fc2_weight"]["saturation"] == np.mean(np.abs(params["fc2_weight"]) >= 1) > 0
    assert sum(layers["fc2_weight"]["counts"]) == 12 * 16 and layers["fc3_weight"]["bias"]["count"] == 3
    assert monitor.records[0]["layers"][0]["flip_ratio"] is None and 0 < layers["fc2_weight"]["flip_ratio"] < 1


def test_flip_ratio_is_since_the_last_record():
    monitor = WeightMonitor()
    weight = mx.nd.array([[1.0, -1.0, 0.5, 0.5]])
    monitor.record(1, {"a_weight": weight})
    weight[:] = mx.nd.array([[1.0, 1.0, -0.5, 0.5]])
    assert monitor.record(2, {"a_weight": weight})["layers"][0]["flip_ratio"] == 0.5
    assert monitor.record(3, {"a_weight": weight})["layers"][0]["flip_ratio"] == 0


def test_unclipped_weights_warn_once(caplog):
    with caplog.at_level(logging.WARNING):
        fit(WeightMonitor(), epochs=3)
        assert "No gradient passes there" not in caplog.text
        fit(WeightMonitor(), "adam", epochs=4)
    assert caplog.text.count("No gradient passes there") == 1
    assert "weights beyond 1: fc2_weight." in caplog.text


def model(act_quantizer, seed=0):
    symbol = network(act_quantizer)
    random = np.random.RandomState(seed)
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(data=(1, 8))[0]))
    shapes.update(zip(symbol.list_auxiliary_states(), symbol.infer_shape(data=(1, 8))[2]))
    params = {name: (np.ones(shape) if name.endswith(("gamma", "var")) else random.randn(*shape)).astype(np.float32)
              for name, shape in shapes.items() if name not in ("data", "softmax_label")}
    auxs = {name: params.pop(name) for name in symbol.list_auxiliary_states()}
    return Model(symbol, params, auxs, labels=["softmax_label"])


@pytest.mark.parametrize("quantizer, inside, thresholds", [
    ("sign", lambda x: np.abs(x) <= 1, [0]), ("dorefa(bits=1)", lambda x: (x >= 0) & (x <= 1), [0.5]),
    ("quantized_relu(bits=2, limit=3.0)", lambda x: (x >= 0) & (x <= 3), [0.5, 1.5, 2.5]),
    ("isometric(levels=2)", lambda x: (np.abs(x) <= 1) | (np.abs(np.abs(x) - 1) <= 1), [-1, 0, 1]),
])
def test_activation_distributions(quantizer, inside, thresholds):
    """Against numpy: x = data * weight + bias of the float layer in front. Gammas are 1 here."""
    network, images = model(quantizer), np.random.RandomState(1).randn(300, 8).astype(np.float32)
    x = images @ network.arg_params["fc1_weight"].T + network.arg_params["fc1_bias"]
    layer, = activation_distributions(network, images, batch_size=64, bins=10)
    assert layer["name"] == "fc2" and layer["quantizer"] == quantizer and layer["count"] == x.size
    assert sum(layer["counts"]) == x.size and np.argmax(layer["counts"]) == np.argmax(np.histogram(x, 10)[0])
    for key, expected in (("mean", x.mean()), ("std", x.std()), ("positive", np.mean(x >= 0)), ("min", x.min())):
        assert layer[key] == pytest.approx(expected, rel=1e-4, abs=1e-5), key
    assert layer["no_gradient"] == pytest.approx(1 - np.mean(inside(x)), abs=2 / x.size)
    np.testing.assert_allclose(layer["thresholds"], thresholds, atol=0.02)


def test_activation_distributions_see_each_input_once():
    data = mx.sym.Variable("data")
    net = qnn.sym.QFullyConnected(data, num_hidden=2, name="a") + qnn.sym.QFullyConnected(data, num_hidden=2, name="b")
    net = qnn.sym.QActivation(qnn.sym.QFullyConnected(net, num_hidden=2, act_bit=32, name="c"), name="d")
    assert [node.name for node, _ in quantized_entries(net)] == ["a", "d"]


def test_functions_have_no_thresholds():
    layer, = activation_distributions(model(lambda F, x: F.tanh(x)), np.ones((2, 8), np.float32))
    assert layer["thresholds"] is None and layer["no_gradient"] is None and layer["quantizer"].startswith("function")


def test_activation_distributions_refuse():
    float_model = Model(mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, no_bias=True, name="f"),
                        {"f_weight": np.ones((2, 8), np.float32)}, {})
    with pytest.raises(ValueError, match="no layer of the network quantizes its data$"):
        activation_distributions(float_model, np.ones((2, 8)))
    with pytest.raises(ValueError, match="what enters 'fc2' is not finite"):
        activation_distributions(model("sign"), np.full((2, 8), np.nan, np.float32))
