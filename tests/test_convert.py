"""qnn.convert: packed graphs give the numbers of their training graphs, bit for bit; what cannot be packed is named."""
import json

import mxnet as mx
import numpy as np
import pytest
from nets import bind, random_params, run, small_cnn
from qnn.converter import convert_checkpoint

import qnn
from qnn.graph import Graph
from qnn.q_layers import find_layers

DATA = np.random.RandomState(1).randn(5, 3, 9, 9).astype(np.float32)


def converted(symbol, shape=DATA.shape, seed=0):
    args, auxs = random_params(symbol, shape, seed)
    return args, auxs, qnn.convert(symbol, args, auxs, is_fused=False)


def operators(symbol):
    return [node.op for node in Graph.from_json(symbol.tojson()).nodes() if not node.is_variable]


def assert_same_numbers(symbol, data=DATA, seed=0):
    args, auxs, (packed, packed_args, packed_auxs, report) = converted(symbol, data.shape, seed)
    expected, got = run(symbol, data, args, auxs), run(packed, data, packed_args, packed_auxs)
    np.testing.assert_array_equal(got, expected)
    fused, fused_args, fused_auxs, _ = qnn.convert(symbol, args, auxs)
    np.testing.assert_array_equal(run(fused, data, fused_args, fused_auxs), expected)
    return packed, packed_args, report


@pytest.mark.parametrize("seed", range(5))
def test_cnn_gives_the_same_floats(seed):
    packed, packed_args, report = assert_same_numbers(small_cnn(), seed=seed)
    assert operators(packed).count("_qnn_packed_convolution") == 2
    assert operators(packed).count("_qnn_packed_fully_connected") == 1
    assert not {"_qnn_sign", "_qnn_ste_identity", "_contrib_sign_ste"} & set(operators(packed))
    assert packed_args["conv2_weight"].dtype == np.int64
    assert packed_args["conv2_weight"].shape == (17 * 9,)
    assert [(row.layer, row.act_bit, bool(row.why)) for row in report.rows] == [
        ("conv1", 32, True), ("conv2", 1, False), ("conv3", 1, False), ("fc1", 1, False), ("fc2", 32, True)]
    assert report.rows[1].bytes_before == 17 * 20 * 9 * 4 and report.rows[1].bytes_after == 17 * 9 * 8
    assert json.loads(json.dumps(report.to_dict()))["total_before"] == report.total_before


@pytest.mark.parametrize("scaling", ["none", "layer", "filter"])
@pytest.mark.parametrize("no_bias", [True, False])
@pytest.mark.parametrize("no_offset", [True, False])
@pytest.mark.parametrize("pad_value", [1, 0, -1])
def test_every_option_of_a_convolution(scaling, no_bias, no_offset, pad_value):
    net = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 2), num_filter=18, stride=(1, 2), dilate=(2, 1),
                               pad=(2, 1), num_group=3, scaling=scaling, no_bias=no_bias, no_offset=no_offset,
                               pad_value=pad_value, name="conv")
    packed, _, _ = assert_same_numbers(net)
    assert operators(packed) == ["_qnn_packed_convolution"]


@pytest.mark.parametrize("flatten", [True, False])
@pytest.mark.parametrize("scaling", ["none", "layer", "filter"])
@pytest.mark.parametrize("no_bias", [True, False])
def test_every_option_of_a_fully_connected_layer(flatten, scaling, no_bias):
    net = qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=37, flatten=flatten, scaling=scaling,
                                  no_bias=no_bias, name="fc")
    packed, _, _ = assert_same_numbers(net)
    assert operators(packed) == ["_qnn_packed_fully_connected"]


def test_depthwise_and_one_filter():
    net = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=3, num_group=3, name="depthwise")
    assert_same_numbers(qnn.sym.QConvolution(net, kernel=(1, 1), num_filter=1, name="one"))


def test_special_values_in_the_data():
    data = DATA.copy()
    data.ravel()[:6] = [0.0, -0.0, np.nan, np.inf, -np.inf, -1e-45]
    assert_same_numbers(qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=4, name="conv"), data)


def test_other_bits_and_ranks_stay_and_are_named():
    net = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=4, act_bit=2, weight_bit=9,
                               name="k_bit")
    net = qnn.sym.QConvolution(net, kernel=(3, 3), num_filter=4, name="packed")
    net = qnn.sym.QFullyConnected(net, num_hidden=6, act_bit=32, name="weights_only")
    packed, _, report = assert_same_numbers(net)
    why = {row.layer: row.why for row in report.rows}
    assert why == {"k_bit": "its weights (dorefa_weight(bits=9)) have no integer codes of 1..8 bits", "packed": "",
                   "weights_only": "its data (identity) have no integer codes of 1..8 bits"}
    line = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3,), num_filter=4, name="line")
    _, _, report = assert_same_numbers(line, DATA[:, :, 0])
    assert "1-D convolution" in report.rows[0].why


def test_weights_computed_by_the_graph_stay():
    weight = mx.sym.Variable("w", shape=(4, 3, 3, 3)) * 2
    _, _, report = assert_same_numbers(qnn.sym.QConvolution(mx.sym.Variable("data"), weight, kernel=(3, 3),
                                                            num_filter=4, name="conv"))
    assert report.rows[0].why == "its weights are computed by the graph"


def test_shared_weights_stay_shared():
    weight = mx.sym.Variable("w")
    first = qnn.sym.QConvolution(mx.sym.Variable("data"), weight, kernel=(3, 3), num_filter=3, pad=(1, 1), name="a")
    net = qnn.sym.QConvolution(first, weight, kernel=(3, 3), num_filter=3, pad=(1, 1), name="b")
    packed, packed_args, _ = assert_same_numbers(net)
    assert set(packed_args) == {"w"} and packed_args["w"].shape == (3 * 9,)


def test_weights_that_float_layers_read_too_keep_both():
    weight = mx.sym.Variable("w")
    first = qnn.sym.QConvolution(mx.sym.Variable("data"), weight, kernel=(3, 3), num_filter=3, pad=(1, 1), name="a")
    packed, packed_args, _ = assert_same_numbers(mx.sym.Convolution(first, weight, kernel=(3, 3), num_filter=3,
                                                                    no_bias=True))
    assert set(packed_args) == {"w", "w_packed"}


def test_float_graph_is_left_alone():
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc")
    _, _, report = assert_same_numbers(net)
    assert report.rows[0].why == "not a Q layer" and report.total_before == report.total_after


def test_renamed_layers_are_found_by_their_attributes():
    net = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=4, name="nobody_knows")
    graph = Graph.from_json(net.tojson())
    for number, node in enumerate(graph.nodes()):
        if not node.is_variable:
            node.name = "n%d" % number
    assert [layer.op for layer in find_layers(graph)] == ["QConvolution"]
    packed = qnn.convert(graph, random_params(net, DATA.shape)[0], is_fused=False)[0]
    assert operators(packed) == ["_qnn_packed_convolution"]


def test_layers_of_built_in_operators_convert_alike():
    with qnn.builtin_operators():
        packed, _, _ = assert_same_numbers(small_cnn())
    assert operators(packed).count("_qnn_packed_convolution") == 2


def test_gluon_export_converts(tmp_path):
    net = mx.gluon.nn.HybridSequential()
    net.add(qnn.gluon.QConv2D(20, 3, padding=1), mx.gluon.nn.BatchNorm(), qnn.gluon.QDense(7))
    net.initialize(mx.init.Normal(1.0))
    net.hybridize()
    expected = net(mx.nd.array(DATA)).asnumpy()
    prefix = str(tmp_path / "net")
    net.export(prefix)
    report = convert_checkpoint(prefix, 0)
    assert [row.why for row in report.rows] == ["", ""]
    block = mx.gluon.SymbolBlock.imports(str(tmp_path / "binarized_net-symbol.json"), ["data"],
                                         str(tmp_path / "binarized_net-0000.params"))
    np.testing.assert_array_equal(block(mx.nd.array(DATA)).asnumpy(), expected)
    np.testing.assert_array_equal(qnn.load(str(tmp_path / "binarized_net"), 0).predict(DATA), expected)


def test_packed_checkpoint_runs_in_module_and_block(tmp_path):
    symbol = small_cnn()
    args, auxs = random_params(symbol, DATA.shape)
    as_arrays = [{name: mx.nd.array(value) for name, value in params.items()} for params in (args, auxs)]
    prefix, out = str(tmp_path / "net"), str(tmp_path / "packed")
    mx.model.save_checkpoint(prefix, 3, symbol, *as_arrays)
    convert_checkpoint(prefix, 3, out)
    expected = run(symbol, DATA, args, auxs)
    np.testing.assert_array_equal(qnn.load(out, 3).predict(DATA), expected)
    module = mx.mod.Module(*_first(mx.model.load_checkpoint(out, 3)), label_names=None)
    module.bind([("data", DATA.shape)], for_training=False)
    module.set_params(*mx.model.load_checkpoint(out, 3)[1:])
    got = module.predict(mx.io.NDArrayIter(DATA, batch_size=len(DATA))).asnumpy()
    np.testing.assert_array_equal(got, expected)


def _first(checkpoint):
    return checkpoint[:1]


def test_packed_layers_have_no_gradient_and_say_so():
    net = qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc")
    _, _, (packed, packed_args, _, _) = converted(net, (2, 8))
    executor = packed.simple_bind(mx.cpu(), grad_req={"data": "write", "fc_weight": "null"}, data=(2, 8))
    executor.forward(is_train=True)
    with pytest.raises(mx.MXNetError, match="a packed layer has no gradient"):
        executor.backward([mx.nd.ones((2, 3))])
        executor.grad_dict["data"].asnumpy()


def test_packed_weights_of_another_network_are_refused():
    net = qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc")
    _, _, (packed, packed_args, _, _) = converted(net, (2, 64))
    with pytest.raises((mx.MXNetError, RuntimeError), match="packed weights of shape"):
        bind(packed, (2, 65), packed_args)


def test_missing_and_misshapen_parameters_name_the_layer():
    net = small_cnn()
    args, auxs = random_params(net, DATA.shape)
    missing = {name: value for name, value in args.items() if name != "conv2_weight"}
    with pytest.raises(ValueError, match="QConvolution 'conv2': parameter conv2_weight is missing"):
        qnn.convert(net, missing, auxs)
    with pytest.raises(ValueError, match="'conv2': parameter conv2_weight has shape"):
        qnn.convert(net, {**args, "conv2_weight": args["conv2_weight"][:5]}, auxs)
    with pytest.raises(ValueError, match="'conv2': parameter conv2_weight is float32, got float16"):
        qnn.convert(net, {**args, "conv2_weight": args["conv2_weight"].astype(np.float16)}, auxs)
