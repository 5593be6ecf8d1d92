"""Optimizers latent and bop: the formulas, step by step, in Module, in gluon, after pickling; their warnings."""
import logging
import pickle

import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn.latent import quantized_weights, select
from qnn.optimizers import Bop, Latent, clip_weights, glorot_scale

SHAPE = (4, 6)


def array(seed, scale=1.0):
    return (np.random.RandomState(seed).uniform(-1, 1, SHAPE) * scale).astype(np.float32)


def steps(optimizer, weight, gradients, index=0):
    """The weight after one update per gradient."""
    weight, updater = mx.nd.array(weight), mx.optimizer.get_updater(optimizer)
    for gradient in gradients:
        updater(index, mx.nd.array(gradient), weight)
    return weight.asnumpy()


@pytest.mark.parametrize("shape, expected", [((1024, 784), np.sqrt((1024 + 784) / 1.5)),
                                             ((128, 64, 3, 3), np.sqrt((128 + 64) * 9 / 1.5))])
def test_glorot_scale(shape, expected):
    assert glorot_scale(shape) == pytest.approx(expected)
    with pytest.raises(ValueError, match="got shape"):
        glorot_scale((5,))


@pytest.mark.parametrize("scale", ["glorot", 0.5, None])
def test_latent_sgd_is_the_formula(scale):
    weight, gradient = array(0), array(1, 20)
    factor = glorot_scale(SHAPE) if scale == "glorot" else scale or 1
    optimizer = Latent("sgd", weights=["w"], scale=scale, param_idx2name={0: "w"}, learning_rate=0.1, rescale_grad=0.25)
    expected = np.clip(weight - factor * 0.1 * 0.25 * gradient, -1, 1)
    np.testing.assert_allclose(steps(optimizer, weight, [gradient]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("inner, options", [("adam", {}), ("sgd", {"momentum": 0.9}), ("nag", {"momentum": 0.9}),
                                            ("rmsprop", {})])
def test_latent_scales_the_whole_step(inner, options):
    """W + scale * step, with the state of the inner optimizer, over several steps."""
    gradients = [array(seed) for seed in range(5)]
    plain = steps(mx.optimizer.create(inner, learning_rate=1e-3, **options), np.zeros(SHAPE), gradients)
    latent = Latent(inner, weights="w", scale=3.0, param_idx2name={0: "w"}, learning_rate=1e-3, **options)
    np.testing.assert_allclose(steps(latent, np.zeros(SHAPE), gradients), 3 * plain, rtol=1e-4, atol=1e-7)


def test_latent_leaves_other_parameters_to_the_inner_optimizer():
    gradients = [array(seed, 5) for seed in range(3)]
    latent = Latent("adam", weights="w", param_idx2name={0: "w", 1: "beta"}, learning_rate=0.7)
    plain = mx.optimizer.Adam(learning_rate=0.7)
    result = steps(latent, array(9), gradients, index=1)
    np.testing.assert_array_equal(result, steps(plain, array(9), gradients))
    assert np.abs(result).max() > 1


def test_learning_rate_schedule_and_multipliers_count():
    schedule = mx.lr_scheduler.FactorScheduler(1, 0.5, base_lr=0.08)
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), weight=mx.sym.Variable("w", lr_mult=10.0), num_hidden=2)
    latent = Latent("sgd", weights="w", sym=net, param_idx2name={0: "w"}, lr_scheduler=schedule, scale=None, clip=9)
    ones = np.ones(SHAPE, np.float32)
    np.testing.assert_allclose(steps(latent, ones, [ones, ones]), 1 - 0.8 - 0.4, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("index", [0, 1])
def test_state_survives_pickling(index):
    """As Trainer.save_states and resumed trainings need it: the same steps as without interruption."""
    gradients = [array(seed) for seed in range(6)]
    for make in (lambda: Latent("adam", weights="w", param_idx2name={0: "w", 1: "b"}, learning_rate=0.01),
                 lambda: Bop(weights="w", gamma=0.3, tau=0.05, param_idx2name={0: "w", 1: "b"})):
        expected = steps(make(), array(7), gradients, index)
        first, weight = mx.optimizer.get_updater(make()), mx.nd.array(array(7))
        for gradient in gradients[:3]:
            first(index, mx.nd.array(gradient), weight)
        second = mx.optimizer.get_updater(make())
        second.set_states(first.get_states(dump_optimizer=True))
        for gradient in gradients[3:]:
            second(index, mx.nd.array(gradient), weight)
        np.testing.assert_array_equal(weight.asnumpy(), expected)


def test_bop_is_the_formula():
    gamma, tau, weight, moment = 0.3, 0.05, np.sign(array(3)), np.zeros(SHAPE, np.float32)
    gradients = [array(seed) for seed in range(8)]
    flips = 0
    result = steps(Bop(weights="w", gamma=gamma, tau=tau, param_idx2name={0: "w"}, rescale_grad=0.5), weight, gradients)
    for gradient in gradients:
        moment = (1 - gamma) * moment + gamma * 0.5 * gradient
        is_flipped = (np.abs(moment) > tau) & (np.sign(moment) == np.sign(weight))
        weight, flips = np.where(is_flipped, -weight, weight), flips + is_flipped.sum()
    np.testing.assert_array_equal(result, weight)
    assert flips > 5


def test_bop_begins_with_signs():
    weight = np.array([[0.3, -0.2, 0.0, -0.0, np.nan, -7]], np.float32)
    bop = Bop(weights="w", param_idx2name={0: "w"})
    np.testing.assert_array_equal(steps(bop, weight, [np.zeros((1, 6))]), [[1, -1, 1, 1, 1, -1]])


def test_bop_takes_a_schedule_for_gamma():
    seen = []
    bop = Bop(weights="w", gamma=lambda count: seen.append(count) or 0.1, param_idx2name={0: "w"})
    steps(bop, array(0), [array(1)] * 3)
    assert seen == [1, 2, 3]


def network(**options):
    net = qnn.sym.QActivation(mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=16, name="fc1"))
    net = qnn.sym.QFullyConnected(net, num_hidden=12, name="fc2", **options)
    net = mx.sym.FullyConnected(mx.sym.BatchNorm(net, fix_gamma=False), num_hidden=3, name="fc3")
    return mx.sym.SoftmaxOutput(net, name="softmax")


def data():
    random = np.random.RandomState(0)
    labels = random.randint(0, 3, 120)
    return mx.io.NDArrayIter((random.randn(120, 8) * 0.4 + np.eye(3, 8)[labels]).astype(np.float32), labels, 30)


@pytest.mark.parametrize("optimizer, options", [("latent", {}), ("latent", {"optimizer": "sgd", "momentum": 0.9}),
                                                ("bop", {"gamma": 0.01, "tau": 1e-6})])
def test_module_fit(optimizer, options):
    mx.random.seed(0)
    module = mx.mod.Module(network())
    module.fit(data(), num_epoch=30, optimizer=optimizer, optimizer_params={"learning_rate": 0.02, **options},
               initializer=mx.init.Uniform(0.7))
    assert dict(module.score(data(), "acc"))["accuracy"] > 0.9
    params = {name: value.asnumpy() for name, value in module.get_params()[0].items()}
    assert np.abs(params["fc2_weight"]).max() <= 1 < max(np.abs(params[n]).max() for n in ("fc1_weight", "fc3_weight"))
    if optimizer == "bop":
        assert set(params["fc2_weight"].ravel()) == {-1, 1}


@pytest.mark.parametrize("optimizer", ["latent", "bop"])
def test_gluon_trainer(optimizer, tmp_path):
    mx.random.seed(0)
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Dense(16), qnn.gluon.QDense(12), mx.gluon.nn.BatchNorm(), mx.gluon.nn.Dense(3))
    net.initialize(mx.init.Uniform(0.7))
    names = quantized_weights(net)
    assert names == [net[1].weight.name]
    trainer = mx.gluon.Trainer(net.collect_params(), optimizer, {"weights": names, "learning_rate": 0.02})
    batch = next(iter(data()))
    images, labels = batch.data[0], batch.label[0]
    loss, values = qnn.losses.SquaredHingeLoss(), []
    for step in range(30):
        with mx.autograd.record():
            value = loss(net(images), labels)
        value.backward()
        trainer.step(len(images))
        values.append(value.mean().asscalar())
        if step == 3:
            trainer.save_states(str(tmp_path / "states"))
            trainer.load_states(str(tmp_path / "states"))
    assert values[-1] < values[0] / 2 and np.abs(net[1].weight.data().asnumpy()).max() <= 1


def test_two_devices_take_the_same_steps():
    """Whatever updates: kvstore or the module itself."""
    results = []
    for context, kvstore in (([mx.cpu()], None), ([mx.cpu(0), mx.cpu(1)], "local"), ([mx.cpu(0), mx.cpu(1)], "device")):
        net = mx.sym.SoftmaxOutput(qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=3, scaling="filter",
                                                           no_offset=True, name="fc"), name="softmax")
        mx.random.seed(0)
        module = mx.mod.Module(net, context=context)
        module.fit(data(), num_epoch=2, kvstore=kvstore, optimizer="latent", initializer=mx.init.Uniform(0.7),
                   optimizer_params={"optimizer": "sgd", "learning_rate": 0.05})
        results.append(module.get_params()[0]["fc_weight"].asnumpy())
    for result in results[1:]:
        np.testing.assert_allclose(results[0], result, rtol=1e-4, atol=1e-5)


def test_weights_are_chosen():
    symbol = network()
    assert quantized_weights(symbol) == ["fc2_weight"]
    assert quantized_weights(network(weight_bit=2, act_bit=2)) == ["fc2_weight"]
    assert quantized_weights(network(weight_bit=32)) == []
    assert select(".*_weight", ["a_weight", "a_weight_x", "b"]) == ["a_weight"] == select(["a_weight"], ["a_weight"])
    with pytest.raises(ValueError, match="a Symbol or a gluon Block is expected, got dict"):
        quantized_weights({})


@pytest.mark.parametrize("arguments, sentence", [
    (dict(), "optimizer latent: weights tells which parameters it is for"),
    (dict(weights="conv.*"), "optimizer latent: weights='conv.*' is none of the parameters: w"),
    (dict(weights=[]), "is none of the parameters"),
])
def test_weights_that_are_missing(arguments, sentence):
    with pytest.raises(ValueError, match=sentence.replace("*", r"\*")):
        steps(Latent("sgd", param_idx2name={0: "w"}, **arguments), array(0), [array(1)])


@pytest.mark.parametrize("kind, arguments, sentence", [
    (Latent, dict(clip=0), "clip is a number above 0 or None, got 0"),
    (Latent, dict(scale="xavier"), "scale is \"glorot\", a number above 0 or None, got 'xavier'"),
    (Latent, dict(scale=-1), "scale is"), (Bop, dict(gamma=0), "gamma is"), (Bop, dict(gamma=1.5), "gamma is"),
    (Bop, dict(tau=-1e-9), "tau is a number from 0 on"),
])
def test_arguments_out_of_range(kind, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        kind(weights="w", **arguments)
    with pytest.raises(ValueError, match="clip is a number above 0"):
        clip_weights(mx.nd.ones(3), -1)


def test_traps_warn_once(caplog):
    with caplog.at_level(logging.WARNING):
        optimizer = Latent("sgd", clip=None, wd=0.1, weights="w_weight", param_idx2name={0: "w_weight", 1: "b_weight"})
        steps(optimizer, array(0), [array(1)], index=1)
        assert "clip=None" in caplog.text and "weight decay" not in caplog.text
        steps(optimizer, array(0), [array(1)] * 3)
    assert caplog.text.count("weight decay pulls latent weights to zero") == 1 == caplog.text.count("clip=None")


def test_optimizers_are_pickled_whole():
    """kvstore 'dist' sends the optimizer to its servers."""
    for optimizer in (Latent(weights=["w"]), Bop(weights=["w"])):
        copy = pickle.loads(pickle.dumps(optimizer))
        assert copy.weights == ["w"] and type(copy.inner) is mx.optimizer.Adam
