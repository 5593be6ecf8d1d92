"""Flip ratio and saturation: functions, and metrics of a Module, a block and a dict."""
import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn.metrics import FlipRatio, Saturation, flip_ratio, saturation


def test_flip_ratio_counts_signs():
    before = np.array([0.0, -0.0, 1e-40, -1e-40, 2, -2, np.nan, 1], np.float32)
    assert flip_ratio(before, before) == 0
    assert flip_ratio(before, np.array([-0.0, 0.0, -1e-40, 1e-40, 2, -2, 5, -1], np.float32)) == 3 / 8
    with pytest.raises(ValueError, match=r"one shape are expected, got \(8,\) and \(7,\)"):
        flip_ratio(before, before[1:])


@pytest.mark.parametrize("clip", [1.0, 0.2])
def test_saturation_counts_what_clipping_leaves_at_the_limit(clip):
    weight = mx.nd.array(np.array([[0.1, -3.0, 0.19, 5.0]]))
    qnn.optimizers.clip_weights(weight, clip)
    assert saturation(weight.asnumpy(), clip) == 0.5


def test_metrics_of_a_dict():
    params = {"a_weight": mx.nd.array([1, -1, 0.5, 0.5]), "a_bias": mx.nd.array([7]), "b_weight": mx.nd.array([1, 2])}
    metrics = [FlipRatio(params), Saturation(params), FlipRatio(params, ["b_weight"], name="b")]
    for metric in metrics:
        metric.update()
    assert np.isnan(metrics[0].get()[1]) and metrics[1].get() == ("saturation", 4 / 6)
    params["a_weight"][:] = mx.nd.array([1, 1, -1, 0.5])
    for metric in metrics:
        metric.update()
    assert metrics[0].get()[1] == 2 / 6 and metrics[2].get() == ("b", 0.0) and metrics[1].get()[1] == 9 / 12
    metrics[0].reset()
    metrics[0].update()
    assert metrics[0].get()[1] == 0


def test_module_fit_reports_flips_and_saturation():
    net = qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=4, name="fc1")
    net = mx.sym.FullyConnected(mx.sym.BatchNorm(net), num_hidden=2, name="fc2")
    module = mx.mod.Module(mx.sym.SoftmaxOutput(net, name="softmax"))
    random = np.random.RandomState(0)
    data = mx.io.NDArrayIter(random.randn(40, 9).astype(np.float32), random.randint(0, 2, 40), 10)
    flips, seen = FlipRatio(module), []
    module.fit(data, num_epoch=3, optimizer="latent", optimizer_params={"learning_rate": 0.05},
               initializer=mx.init.Uniform(1.0), eval_metric=["acc", flips, Saturation(module)],
               batch_end_callback=lambda p: seen.append(dict(p.eval_metric.get_name_value())))
    assert 0 < seen[-1]["flip_ratio"] < 0.5 and 0 < seen[-1]["saturation"] < 1
    assert set(flips.values()) == {"fc1_weight"}


def test_metrics_of_a_block():
    net = mx.gluon.nn.HybridSequential()
    net.add(qnn.gluon.QDense(3, in_units=5), mx.gluon.nn.Dense(2, in_units=3))
    net.initialize(mx.init.Uniform(0.5))
    metric = Saturation(net, clip=0.5)
    net[0].weight.set_data(mx.nd.array(np.where(np.arange(15).reshape(3, 5) < 3, -0.5, 0.1)))
    metric.update()
    assert metric.get()[1] == 3 / 15
