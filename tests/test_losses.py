"""Hinge losses: as numpy, as output operators, in gluon: values and gradients are those of the formulas."""
import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn import losses

SCORES = (np.random.RandomState(0).randn(6, 5) * 1.5).astype(np.float32)
LABELS = np.array([0, 4, 2, 2, 1, 3])
TARGETS = np.where(np.arange(5) == LABELS[:, None], 1, -1).astype(np.float32)


def gradient(power, margin=1.0):
    """dL/dscores of the sum over samples of the mean over classes."""
    slack = np.maximum(0, margin - TARGETS * SCORES)
    return -TARGETS * ((slack > 0) if power == 1 else 2 * slack) / SCORES.shape[1]


@pytest.mark.parametrize("loss, power", [(losses.hinge, 1), (losses.squared_hinge, 2)])
def test_value(loss, power):
    expected = np.mean([max(0, 1 - t * y) ** power for t, y in zip(TARGETS.ravel(), SCORES.ravel())])
    assert loss(SCORES, LABELS) == pytest.approx(expected, rel=1e-6)
    assert loss(TARGETS, LABELS) == 0 and loss(TARGETS, LABELS, margin=3) == 2 ** power


@pytest.mark.parametrize("output, power", [(losses.HingeOutput, 1), (losses.SquaredHingeOutput, 2)])
@pytest.mark.parametrize("margin", [1.0, 0.5])
def test_output_gives_scores_and_gradient(output, power, margin):
    net = output(mx.sym.Variable("data"), num_classes=5, margin=margin, grad_scale=3.0, name="softmax")
    assert net.list_arguments() == ["data", "softmax_label"]
    executor = net.simple_bind(mx.cpu(), data=SCORES.shape)
    executor.arg_dict["data"][:], executor.arg_dict["softmax_label"][:] = SCORES, LABELS
    np.testing.assert_array_equal(executor.forward(is_train=True)[0].asnumpy(), SCORES)
    executor.backward()
    np.testing.assert_allclose(executor.grad_dict["data"].asnumpy(), 3 * gradient(power, margin), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("output", [losses.HingeOutput, losses.SquaredHingeOutput])
@pytest.mark.parametrize("arguments", [dict(), dict(num_classes=0), dict(num_classes=2.5),
                                       dict(num_classes=3, margin=0), dict(num_classes=3, margin=float("nan"))])
def test_output_refuses(output, arguments):
    with pytest.raises(ValueError, match=output.__name__ + ": (num_classes|margin)"):
        output(mx.sym.Variable("data"), **arguments)


@pytest.mark.parametrize("kind, power", [(losses.HingeLoss, 1), (losses.SquaredHingeLoss, 2)])
@pytest.mark.parametrize("hybridize", [False, True])
def test_gluon_loss(kind, power, hybridize):
    loss = kind()
    if hybridize:
        loss.hybridize()
    scores = mx.nd.array(SCORES)
    scores.attach_grad()
    with mx.autograd.record():
        values = loss(scores, mx.nd.array(LABELS))
    values.backward()
    expected = np.maximum(0, 1 - TARGETS * SCORES) ** power
    np.testing.assert_allclose(values.asnumpy(), expected.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(scores.grad.asnumpy(), gradient(power), rtol=1e-5, atol=1e-7)


def test_gluon_loss_weights():
    weights = mx.nd.arange(6).reshape((6, 1))
    loss = losses.SquaredHingeLoss(weight=2.0)(mx.nd.array(SCORES), mx.nd.array(LABELS), weights)
    expected = 2 * np.arange(6) * (np.maximum(0, 1 - TARGETS * SCORES) ** 2).mean(axis=1)
    np.testing.assert_allclose(loss.asnumpy(), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="HingeLoss: margin"):
        losses.HingeLoss(margin=-1)


def test_metrics_are_the_functions():
    metrics = mx.metric.CompositeEvalMetric([losses.hinge_metric(), losses.squared_hinge_metric(margin=2.0)])
    metrics.update([mx.nd.array(LABELS)], [mx.nd.array(SCORES)])
    names, values = metrics.get()
    assert names == ["hinge", "squared_hinge"]
    assert values == pytest.approx([losses.hinge(SCORES, LABELS), losses.squared_hinge(SCORES, LABELS, 2.0)])


def test_cross_entropy():
    assert losses.cross_entropy(np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([0, 1])) == pytest.approx(np.log(2) / 2)
    assert np.isfinite(losses.cross_entropy(np.array([[0.0, 1.0]], np.float32), np.array([0])))


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"scores are \(N, C\) and labels \(N,\), got \(6, 5\) and \(5,\)"):
        losses.hinge(SCORES, LABELS[:5])


def test_module_learns_with_squared_hinge():
    random = np.random.RandomState(0)
    labels = random.randint(0, 3, 90)
    images = random.randn(90, 6).astype(np.float32) * 0.3 + np.eye(3, 6)[labels]
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3)
    net = qnn.losses.SquaredHingeOutput(net, num_classes=3, name="softmax")
    module = mx.mod.Module(net)
    data = mx.io.NDArrayIter(images, labels, 30)
    module.fit(data, num_epoch=20, optimizer_params={"learning_rate": 0.3}, eval_metric=losses.squared_hinge_metric())
    assert dict(module.score(data, "acc"))["accuracy"] > 0.95
