"""Quantizers in networks: lots are drawn in training only and from MXNet's seed; checkpoints; shared gammas; functions;
swapped networks; and with every quantizer a small network learns."""
import mxnet as mx
import numpy as np
import pytest
from quantizer_cases import ACT, WEIGHT, data, initial, weights

import qnn
from qnn import quantizers, reference_quantizers
from qnn.options import OptionError


def _drawn(w, is_training, seed, form):
    """Values of stochastic_binary, (num_hidden, K), through a layer on the identity matrix."""
    mx.random.seed(seed)
    options = dict(num_hidden=len(w), act_quantizer="identity", weight_quantizer="stochastic_binary")
    eye = mx.nd.array(np.eye(w.shape[1]))
    if form == "sym":
        symbol = qnn.sym.QFullyConnected(mx.sym.Variable("data"), name="fc", **options)
        executor = symbol.simple_bind(mx.cpu(), data=eye.shape)
        executor.copy_params_from({"data": eye, "fc_weight": mx.nd.array(w)})
        return executor.forward(is_train=is_training)[0].asnumpy().T
    block = qnn.gluon.QDense(len(w), in_units=w.shape[1], act_quantizer="identity",
                             weight_quantizer="stochastic_binary")
    block.initialize()
    block.weight.set_data(mx.nd.array(w))
    block.hybridize(form == "gluon_hybrid")
    with mx.autograd.record(train_mode=is_training):
        return block(eye).asnumpy().T


@pytest.mark.parametrize("form", ["sym", "gluon", "gluon_hybrid"])
def test_lots_are_drawn_in_training_alone(form):
    """40,000 lots for each of 11 weights: 5 standard deviations of a mean are 5 sqrt(p (1 - p) / 40000)."""
    levels = np.linspace(-1.25, 1.25, 11, dtype=np.float32)
    w = np.repeat(levels[:, None], 40000, axis=1)[:, :200]  # 200 outputs of 200 runs cost less than one of 40,000 rows
    rows = np.repeat(w, 200, axis=0)
    drawn = _drawn(rows, True, 0, form).reshape(11, -1)
    p = reference_quantizers.probability(levels)
    assert set(np.unique(drawn)) == {-1, 1}
    np.testing.assert_array_less(np.abs((drawn > 0).mean(1) - p), 5 * np.sqrt(p * (1 - p) / 40000) + 1e-9)
    np.testing.assert_array_equal(_drawn(rows, False, 0, form), np.where(rows < 0, -1, 1))


@pytest.mark.parametrize("form", ["sym", "gluon", "gluon_hybrid"])
def test_the_seed_reproduces_lots(form):
    w = weights(50, 20) / 4
    first, again, other = (_drawn(w, True, seed, form) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.mean(first != other) > 0.2


def test_each_forward_pass_draws_anew():
    symbol = qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=50, act_quantizer="identity",
                                     weight_quantizer="stochastic_binary", name="fc")
    executor = symbol.simple_bind(mx.cpu(), data=(20, 20))
    executor.copy_params_from({"data": mx.nd.array(np.eye(20)), "fc_weight": mx.nd.zeros((50, 20))})
    first, second = (executor.forward(is_train=True)[0].asnumpy() for _ in range(2))
    assert 0.4 < np.mean(first != second) < 0.6


def _network(act, weight):
    net = mx.sym.Variable("data")
    net = mx.sym.FullyConnected(net, num_hidden=16, name="fc0")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn0")
    net = mx.sym.Reshape(net, shape=(-1, 4, 2, 2))
    net = qnn.sym.QConvolution(net, kernel=(2, 2), pad=(1, 1), num_filter=8, act_quantizer=act, weight_quantizer=weight,
                               name="conv1")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn1")
    net = qnn.sym.QFullyConnected(net, num_hidden=24, act_quantizer=act, weight_quantizer=weight, no_bias=False,
                                  name="fc1")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn2")
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(net, num_hidden=4, name="fc2"), name="softmax")


def _blobs():
    """Four classes around four corners, not linearly separable from each other's sums."""
    rng = np.random.RandomState(0)
    labels = rng.randint(0, 4, 256)
    centres = rng.randn(4, 10) * 1.2
    return (centres[labels] + rng.randn(256, 10)).astype(np.float32), labels.astype(np.float32)


def _loss(module, iterator):
    iterator.reset()
    return dict(module.score(iterator, mx.metric.CrossEntropy()))["cross-entropy"]


def _fit(act, weight, epochs=6):
    mx.random.seed(0)
    np.random.seed(0)
    x, labels = _blobs()
    iterator = mx.io.NDArrayIter(x, labels, batch_size=32)
    module = mx.mod.Module(_network(act, weight))
    module.bind(iterator.provide_data, iterator.provide_label)
    module.init_params(mx.init.Uniform(1) if weight == "ternary" else mx.init.Xavier())
    before = _loss(module, iterator)
    iterator.reset()
    start = {key: value.copy() for key, value in module.get_params()[0].items()}
    module.fit(iterator, num_epoch=epochs, optimizer="adam", optimizer_params=dict(learning_rate=0.01))
    return module, before, _loss(module, iterator), start


PAIRS = [(act, "sign") for act in ACT if act != "identity"] + [("sign", weight) for weight in WEIGHT]


@pytest.mark.parametrize("act,weight", dict.fromkeys(PAIRS))
def test_module_fit_lowers_the_loss_and_trains_scales(act, weight):
    module, before, after, start = _fit(act, weight)
    assert after < before * 0.6 and after < 0.8
    params = module.get_params()[0]
    scales = [name for name in params if name.startswith(("conv1_act_", "fc1_act_", "fc1_weight_"))]
    assert len(scales) == 2 * len(initial(act)) + len(initial(weight))
    for name in scales:
        assert np.all(params[name].asnumpy() != start[name].asnumpy()), name


def test_initial_scales_come_with_the_symbol():
    module, _, _, start = _fit("rebnet(levels=3)", "ttq(positive=0.75, negative=1.5)", epochs=0)
    np.testing.assert_array_equal(start["conv1_act_gamma"].asnumpy(), np.float32([1 / 2, 1 / 3, 1 / 6]))
    assert start["fc1_weight_positive"].asnumpy() == 0.75 and start["fc1_weight_negative"].asnumpy() == 1.5


@pytest.mark.parametrize("act,weight", [("isometric(levels=2)", "ttq"), ("rebnet(levels=3)", "stochastic_binary")])
def test_checkpoint_of_a_symbol(act, weight, tmp_path):
    module, _, _, _ = _fit(act, weight, epochs=1)
    module.save_checkpoint(str(tmp_path / "net"), 1)
    batch = mx.io.DataBatch([mx.nd.array(_blobs()[0][:32])])
    module.forward(batch, is_train=False)
    symbol, args, auxs = mx.model.load_checkpoint(str(tmp_path / "net"), 1)
    again = mx.mod.Module(symbol)
    again.bind([("data", (32, 10))], for_training=False)
    again.set_params(args, auxs)
    again.forward(batch)
    np.testing.assert_array_equal(again.get_outputs()[0].asnumpy(), module.get_outputs()[0].asnumpy())
    assert set(args) >= {"conv1_act_gamma", "fc1_act_gamma"}


def test_files_of_gluon_blocks(tmp_path):
    def net():
        block = mx.gluon.nn.HybridSequential()
        block.add(qnn.gluon.QActivation(levels=2, residual="isometric"),
                  qnn.gluon.QConv2D(4, 3, act_quantizer="rebnet(levels=2)", weight_quantizer="ttq"),
                  qnn.gluon.QDense(3, act_quantizer="isometric(levels=3)", weight_quantizer="twn"))
        block.initialize()
        return block
    x, first, second = mx.nd.array(data(2, 3, 5, 5)), net(), net()
    first(x)
    for name, parameter in first.collect_params().items():
        if "act_gamma" in name:
            parameter.set_data(parameter.data() * 0.9)
    first.save_parameters(str(tmp_path / "net.params"))
    second.load_parameters(str(tmp_path / "net.params"))
    np.testing.assert_array_equal(second(x).asnumpy(), first(x).asnumpy())
    first.hybridize()
    out = first(x).asnumpy()
    first.export(str(tmp_path / "net"))
    imported = mx.gluon.SymbolBlock.imports(str(tmp_path / "net-symbol.json"), ["data"],
                                            str(tmp_path / "net-0000.params"))
    np.testing.assert_array_equal(imported(x).asnumpy(), out)
    np.testing.assert_array_equal(first[0].act_gamma.data().asnumpy(), np.float32(2 / 3) * np.float32(0.9))


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("gamma", [1, 0.7, 1 / 3, 1.2345])
def test_isometric_values_have_their_own_codes(levels, gamma, operators):
    """QActivation in front of a layer with the same gamma changes nothing."""
    x, w = data(3, 40), weights(5, 40)
    text = "isometric(levels=%d)" % levels
    arrays = dict(act_gamma=mx.nd.array([gamma]))
    plain = qnn.nd.QFullyConnected(mx.nd.array(x), mx.nd.array(w), num_hidden=5, act_quantizer=text, **arrays)
    values = qnn.nd.QActivation(mx.nd.array(x), levels=levels, residual="isometric", gamma=arrays["act_gamma"])
    again = qnn.nd.QFullyConnected(values, mx.nd.array(w), num_hidden=5, act_quantizer=text, **arrays)
    np.testing.assert_array_equal(again.asnumpy(), plain.asnumpy())


@pytest.mark.parametrize("gamma,is_idempotent", [((0.6, 0.3), True), ((4 / 7, 2 / 7, 1 / 7), True),
                                                 ((0.8, 0.4, 0.2, 0.1), True), ((0.4, 0.3, 0.2, 0.1), False)])
def test_rebnet_values_have_their_own_codes_where_each_gamma_exceeds_the_rest(gamma, is_idempotent):
    quantizer = quantizers.ReBNet(len(gamma))
    codes = [codes for codes, _ in quantizers.evaluate_terms(quantizer, data(500), [gamma])]
    values = reference_quantizers.values(list(zip(codes, np.float32(gamma))))
    again = [codes for codes, _ in quantizers.evaluate_terms(quantizer, values, [gamma])]
    assert np.array_equal(codes, again) == is_idempotent


def test_one_gamma_for_an_activation_and_the_layer_behind(operators):
    gamma = mx.sym.Variable("gamma")
    net = qnn.sym.QActivation(mx.sym.Variable("data"), levels=2, residual="isometric", gamma=gamma, name="act")
    net = qnn.sym.QFullyConnected(net, num_hidden=5, act_quantizer="isometric(levels=2)", act_gamma=gamma, name="fc")
    assert net.list_arguments() == ["data", "gamma", "fc_weight"]
    module = mx.mod.Module(net, label_names=None)
    module.bind([("data", (3, 40))], for_training=False)
    module.init_params()
    assert module.get_params()[0]["gamma"].asnumpy() == np.float32(2 / 3)
    block = qnn.gluon.QActivation(levels=2, residual="isometric")
    layer = qnn.gluon.QDense(5, act_quantizer="isometric(levels=2)", act_gamma=block.act_gamma)
    assert layer.act_gamma is block.act_gamma
    net = mx.gluon.nn.HybridSequential()
    net.add(block, layer)
    net.initialize()
    net.hybridize()
    assert net(mx.nd.array(data(3, 40))).shape == (3, 5)


def _clipped(F, x):
    return F.clip(x, -0.5, 0.5)


@pytest.mark.parametrize("form", ["sym", "nd", "gluon", "gluon_hybrid"])
def test_functions_are_quantizers(form):
    """Opaque: they train, and a saved graph keeps their name."""
    x, w = data(3, 6), weights(4, 6)
    expected = np.clip(x, -0.5, 0.5) @ np.clip(w, -0.5, 0.5).T
    arrays, options = [mx.nd.array(x), mx.nd.array(w)], dict(act_quantizer=_clipped, weight_quantizer=_clipped)
    if form == "sym":
        symbol = qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=4, name="fc", **options)
        marks = symbol.attr_dict()["fc"]
        assert marks["__qnn_act_quantizer__"] == "function(of='_clipped')" and marks["__qnn_act_bit__"] == "32"
        symbol = mx.sym.load_json(symbol.tojson())
        executor = symbol.simple_bind(mx.cpu(), data=x.shape)
        executor.copy_params_from(dict(zip(("data", "fc_weight"), arrays)))
        out = executor.forward()[0]
    elif form == "nd":
        out = qnn.nd.QFullyConnected(*arrays, num_hidden=4, **options)
    else:
        block = qnn.gluon.QDense(4, in_units=6, **options)
        block.initialize()
        block.weight.set_data(arrays[1])
        block.hybridize(form == "gluon_hybrid")
        out = block(arrays[0])
    np.testing.assert_allclose(out.asnumpy(), expected, rtol=2 ** -20)


def test_converter_leaves_functions_and_says_so():
    symbol = qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=4, name="fc", act_quantizer=_clipped)
    packed, args, _, report = qnn.convert(symbol, {"fc_weight": mx.nd.array(weights(4, 6))}, {})
    assert "fc_weight" in args and [row.why for row in report.rows if row.layer == "fc"] != [""]


def test_layers_carry_the_marks():
    symbol = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=2, name="conv",
                                  act_quantizer="isometric(levels=2)", weight_quantizer="twn")
    attrs = symbol.attr_dict()
    assert attrs["conv"]["__qnn_act_quantizer__"] == "isometric(levels=2)"
    assert attrs["conv"]["__qnn_weight_quantizer__"] == "twn"
    assert attrs["conv"]["__qnn_act_bit__"] == attrs["conv"]["__qnn_weight_bit__"] == "2"
    assert attrs["conv_act_gamma_in"]["__qnn_input__"] == "act_gamma"
    assert attrs["conv_act_gamma"]["__shape__"] == "(1,)" and attrs["conv_act_gamma"]["__wd_mult__"] == "0.0"
    plain = qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=2, act_bit=4, name="fc").attr_dict()["fc"]
    assert (plain["__qnn_act_quantizer__"], plain["__qnn_weight_quantizer__"]) == ("dorefa(bits=4)", "sign")


def test_swap_takes_quantizers():
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=8, name="fc0")
    net = mx.sym.FullyConnected(mx.sym.Activation(net, act_type="relu"), num_hidden=8, name="fc1")
    swapped, report = qnn.swap(net, skip="first", act_quantizer="isometric(levels=2)", weight_quantizer="ttq")
    assert report.replaced == ["fc1"] and len(report.removed_relus) == 1
    assert [(row.act_bit, row.weight_bit) for row in report.rows if row.layer == "fc1"] == [(2, 2)]
    assert swapped.attr_dict()["fc1"]["__qnn_weight_quantizer__"] == "ttq"
    assert set(swapped.list_arguments()) == {"data", "fc0_weight", "fc0_bias", "fc1_weight", "fc1_bias",
                                             "fc1_act_gamma", "fc1_weight_positive", "fc1_weight_negative"}
    assert swapped.infer_shape(data=(2, 5))[1] == [(2, 8)]
    with pytest.raises(OptionError, match="act_quantizer: unknown quantizer 'x'"):
        qnn.swap(net, act_quantizer="x")
