"""qnn.sym behaves like mx.sym: names, automatic variables, scopes, attributes, saving, tools that walk a graph."""
import pickle
import threading

import mxnet as mx
import numpy as np
import pytest

import qnn

LAYERS = {  # op: (ours, MXNet's own)
    "QConvolution": (lambda *a, **k: qnn.sym.QConvolution(*a, kernel=(3, 3), num_filter=4, no_bias=False, **k),
                     lambda *a, **k: mx.sym.Convolution(*a, kernel=(3, 3), num_filter=4, **k)),
    "QFullyConnected": (lambda *a, **k: qnn.sym.QFullyConnected(*a, num_hidden=4, no_bias=False, **k),
                        lambda *a, **k: mx.sym.FullyConnected(*a, num_hidden=4, **k)),
}
BOTH = pytest.mark.parametrize("ours,plain", LAYERS.values(), ids=LAYERS)


def _network():
    """Two binary layers between float ones, as BMXNet's LeNet: data (N, 1, 8, 8)."""
    net = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=8, name="conv0")
    net = qnn.sym.QActivation(net, backward_only=True, name="qact1")
    net = qnn.sym.QConvolution(net, kernel=(3, 3), num_filter=16, pad=(1, 1), name="conv1")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn1")
    net = qnn.sym.QFullyConnected(net, num_hidden=12, no_bias=False, scaling="filter", name="fc1")
    net = mx.sym.FullyConnected(mx.sym.BatchNorm(net, name="bn2"), num_hidden=4, name="fc2")
    return mx.sym.SoftmaxOutput(net, name="softmax")


def _outputs(symbol, seed=0):
    """Outputs of `symbol` for fixed random data and parameters, as bytes."""
    rng = np.random.RandomState(seed)
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", data=(2, 1, 8, 8))
    for name in sorted(executor.arg_dict):
        executor.arg_dict[name][:] = mx.nd.array(rng.randn(*executor.arg_dict[name].shape))
    return executor.forward(is_train=False)[0].asnumpy().tobytes()


@BOTH
def test_names_of_automatic_variables_and_outputs(ours, plain):
    data = mx.sym.Variable("data")
    for kwargs in (dict(name="layer1"), dict(name="a/b-c")):
        assert ours(data, **kwargs).list_arguments() == plain(data, **kwargs).list_arguments()
        assert ours(data, **kwargs).list_outputs() == plain(data, **kwargs).list_outputs()
        assert ours(data, **kwargs).name == kwargs["name"]
    assert ours(name="layer2").list_arguments() == plain(name="layer2").list_arguments()  # automatic data, too
    assert ours(data=data, weight=mx.sym.Variable("w"), name="x").list_arguments() == ["data", "w", "x_bias"]


def test_automatic_names_count_up_by_operator():
    with mx.name.NameManager():
        data = mx.sym.Variable("data")
        first, second = (qnn.sym.QConvolution(data, kernel=(1, 1), num_filter=1) for _ in range(2))
        assert [first.name, second.name] == ["qconvolution0", "qconvolution1"]
        assert qnn.sym.QActivation(data).name == "qactivation0"
        assert mx.sym.Convolution(data, kernel=(1, 1), num_filter=1).name == "convolution0"  # we count none of theirs


def test_layers_are_made_in_a_new_thread():
    """MXNet's name and attribute scopes are thread-local and start empty."""
    nets = []
    thread = threading.Thread(target=lambda: nets.append(qnn.sym.QActivation(mx.sym.Variable("data"))))
    thread.start()
    thread.join(30)
    assert nets[0].name == "qactivation0"


@BOTH
def test_prefix(ours, plain):
    with mx.name.Prefix("stage1_"):
        arguments = ours(mx.sym.Variable("data"), name="conv").list_arguments()
    with mx.name.Prefix("stage1_"):
        assert arguments == plain(mx.sym.Variable("data"), name="conv").list_arguments()


@BOTH
def test_attr_scope_and_attr_reach_what_they_reach_in_mxnet(ours, plain):
    """AttrScope and attr= on the layer and on its automatic variables."""
    with mx.AttrScope(__lr_mult__="0.1", __ctx_group__="dev1", __mine__="yes"):
        graphs = [make(mx.sym.Variable("data"), name="conv", attr={"__about__": "text", "wd_mult": "0.5"})
                  for make in (ours, plain)]
    shown, expected = (graph.attr_dict() for graph in graphs)
    for name in ("conv", "conv_weight", "conv_bias"):
        for key in ("__lr_mult__", "__ctx_group__", "__mine__", "__about__", "__wd_mult__"):
            assert shown[name][key] == expected[name][key], (name, key)
    assert shown["data"] == expected["data"]


def test_attributes_of_a_given_variable_win_over_the_scope():
    """The node behind the variable must not share its name: attr_dict() mixes the attributes of equal names."""
    weight = mx.sym.Variable("fc_weight", lr_mult=0.25, init=mx.init.One())
    with mx.AttrScope(__lr_mult__="7"):
        net = qnn.sym.QFullyConnected(mx.sym.Variable("data"), weight, num_hidden=2, name="fc")
    assert net.attr_dict()["fc_weight"] == weight.attr_dict()["fc_weight"]
    names = net.get_internals().list_outputs()
    assert len(set(name.replace("_output", "") for name in names)) == len(names)


@BOTH
def test_unknown_attr(ours, plain):
    with pytest.raises(ValueError, match="'conv': attr is a dict of __names__ .* got 'foo'"):
        ours(mx.sym.Variable("data"), name="conv", attr={"foo": "1"})
    with pytest.raises(mx.MXNetError, match="foo"):
        plain(mx.sym.Variable("data"), name="conv", attr={"foo": "1"})


def test_lr_mult_reaches_the_optimizer():
    with mx.AttrScope(__lr_mult__="0"):
        frozen = qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=5, name="frozen")
    net = qnn.sym.QFullyConnected(frozen, num_hidden=3, no_bias=False, name="free")
    net = mx.sym.SoftmaxOutput(net, name="softmax")
    module = mx.mod.Module(net)
    module.bind([("data", (2, 4))], [("softmax_label", (2,))])
    module.init_params(mx.init.Uniform(0.5))
    before = {name: value.asnumpy() for name, value in module.get_params()[0].items()}
    module.init_optimizer(optimizer="sgd", optimizer_params=dict(learning_rate=0.5))
    batch = mx.io.DataBatch([mx.nd.array(np.random.RandomState(0).randn(2, 4))], [mx.nd.zeros((2,))])
    module.forward_backward(batch)
    module.update()
    after = module.get_params()[0]
    np.testing.assert_array_equal(after["frozen_weight"].asnumpy(), before["frozen_weight"])
    assert np.any(after["free_bias"].asnumpy() != before["free_bias"])


def test_layers_carry_their_options_as_attributes():
    net = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 2), num_filter=4, pad=(1, 1), pad_value=-1,
                               name="conv")
    marks = net.attr_dict()["conv"]
    assert [marks["__qnn_%s__" % key] for key in ("op", "pad_value", "kernel")] == ["QConvolution", "-1", "(3, 2)"]


def test_layer_in_front_of_another_one_of_the_same_name_is_kept_apart():
    """Two layers of one name share their variables, as in MXNet; the converter's marks tell them apart."""
    data = mx.sym.Variable("data")
    pair = mx.sym.Group([qnn.sym.QFullyConnected(data, num_hidden=2, name="fc") for _ in range(2)])
    layers = {attrs["__qnn_layer__"] for attrs in map(dict, pair.attr_dict().values()) if "__qnn_layer__" in attrs}
    assert pair[0].attr("__qnn_layer__") != pair[1].attr("__qnn_layer__") and layers


# ---- saving ----------------------------------------------------------------------------------------------------------


def test_json_and_pickle_round_trip():
    net = _network()
    expected = _outputs(net)
    assert _outputs(mx.sym.load_json(net.tojson())) == expected
    assert _outputs(pickle.loads(pickle.dumps(net))) == expected
    assert mx.sym.load_json(net.tojson()).attr_dict()["conv1"] == net.attr_dict()["conv1"]


@pytest.mark.parametrize("remove_amp_cast", [True, False])
def test_symbol_save_and_load(tmp_path, remove_amp_cast):
    """remove_amp_cast rewrites the graph on saving; layers have no amp_cast, and lose nothing."""
    net = _network()
    net.save(str(tmp_path / "net.json"), remove_amp_cast=remove_amp_cast)
    loaded = mx.sym.load(str(tmp_path / "net.json"))
    assert _outputs(loaded) == _outputs(net)
    assert loaded.list_arguments() == net.list_arguments()
    assert {k: v for k, v in loaded.attr_dict().items() if "__qnn_op__" in v} == \
           {k: v for k, v in net.attr_dict().items() if "__qnn_op__" in v}


def test_amp_cast_inside_the_graph_goes_away_harmlessly(tmp_path):
    net = mx.sym.amp_cast(mx.sym.Variable("data"), dtype="float32")
    net = mx.sym.amp_cast(qnn.sym.QFullyConnected(net, num_hidden=5, name="fc0"), dtype="float32")
    net = qnn.sym.QFullyConnected(net, num_hidden=4, name="fc")
    net.save(str(tmp_path / "net.json"))
    loaded = mx.sym.load(str(tmp_path / "net.json"))
    assert "amp_cast" not in loaded.tojson() and loaded.list_outputs() == ["fc_output"]
    assert _outputs(loaded) == _outputs(net)


# ---- graphs are walked -----------------------------------------------------------------------------------------------


def test_get_internals_finds_layers_by_name():
    internals = _network().get_internals()
    feature = internals["conv1_output"]
    assert feature.infer_shape(data=(2, 1, 8, 8))[1] == [(2, 16, 6, 6)]
    for name in ("qact1_output", "fc1_output", "conv1_weight"):
        assert name in internals.list_outputs()


def test_infer_shape_and_type():
    net = _network()
    shapes, outputs, _ = net.infer_shape(data=(2, 1, 8, 8))
    known = dict(zip(net.list_arguments(), shapes))
    assert known["conv1_weight"] == (16, 8, 3, 3) and known["fc1_weight"] == (12, 576) and known["fc1_bias"] == (12,)
    assert outputs == [(2, 4)]
    assert set(net.infer_type(data="float32")[0]) == {np.float32}


def test_print_summary_without_shape(capsys):
    mx.viz.print_summary(_network())
    assert "conv1" in capsys.readouterr().out


@pytest.mark.parametrize("options", [{}, {"no_bias": False}, {"scaling": "filter"}, {"act_bit": 4, "weight_bit": 2}])
def test_print_summary_with_shape(options, capsys):
    """MXNet reads axis 1 of every output that another operator reads: vectors between operators would break it."""
    net = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=4, name="conv1", **options)
    net = qnn.sym.QFullyConnected(net, num_hidden=3, name="fc1", **options)
    mx.viz.print_summary(net, shape={"data": (1, 1, 8, 8)})
    assert "conv1" in capsys.readouterr().out


def test_plot_network_draws_the_graph_text():
    pytest.importorskip("graphviz", reason="the graphviz Python package is missing")
    dot = mx.viz.plot_network(_network(), shape={"data": (1, 1, 8, 8)})
    assert "\tconv1 [" in dot.source and "\tconv1_weight [" not in dot.source


def test_monitor_sees_layers():
    net = _network()
    seen = {}
    monitor = mx.mon.Monitor(1, stat_func=lambda x: x.norm(), pattern=".*output")
    executor = net.simple_bind(mx.cpu(), data=(2, 1, 8, 8))
    for array in executor.arg_arrays:
        array[:] = mx.nd.random.normal(shape=array.shape)
    monitor.install(executor)
    monitor.tic()
    executor.forward(is_train=True)
    for _, name, value in monitor.toc():
        seen[name] = value
    assert {"conv1_output", "qact1_output", "fc1_output"} <= set(seen)


def test_composition_onto_a_placeholder():
    """symbol(data=other) replaces the input of a finished layer."""
    layer = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=4, name="conv")
    net = layer(data=mx.sym.Convolution(mx.sym.Variable("image"), kernel=(1, 1), num_filter=2, name="first"))
    assert net.list_arguments() == ["image", "first_weight", "first_bias", "conv_weight"]
    assert net.infer_shape(image=(1, 3, 5, 5))[1] == [(1, 4, 3, 3)]
