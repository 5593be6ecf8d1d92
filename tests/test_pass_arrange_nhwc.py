"""ArrangeNhwc: transposes stand where layouts meet, and nowhere else."""
import mxnet as mx
import pytest
from stages import X, conv, norm, pool, stages, stem

import qnn


def after(symbol):
    return stages(symbol)["arrange_nhwc"]


def layout(stage, name):
    return stage.attrs(name)["layout"]


def test_layer_alone_stays_nchw():
    stage = after(mx.sym.relu(norm(conv(X, "conv"), "bn")))
    assert stage.changes == 0 and stage.count("transpose") == 0 and layout(stage, "conv") == "NCHW"


@pytest.mark.parametrize("between", [
    lambda net: net, lambda net: norm(net, "bn"), lambda net: pool(net, "pool"),
    lambda net: mx.sym.Dropout(norm(pool(mx.sym.Activation(net, act_type="tanh"), "pool"), "bn")),
    lambda net: mx.sym.LeakyReLU(mx.sym.identity(net))], ids=["stem", "norm", "pool", "chain", "leaky"])
@pytest.mark.parametrize("num_filter", [3, 16, 37])
def test_blocks_of_mxnet_are_packed_from_nhwc(between, num_filter):
    source = between(stem(num_filter))
    stage = after(mx.sym.Group([conv(source, "a"), conv(source, "b", pad=(0, 0))]))
    assert stage.changes == stage.count("transpose") == stage.count("_qnn_pack") == 1
    assert layout(stage, "a_pack") == "NHWC" and layout(stage, "a") == layout(stage, "b") == "NCHW"


@pytest.mark.parametrize("source", [X, mx.sym.relu(X), pool(X, "pool"), mx.sym.relu(stem())], ids=lambda s: s.name)
def test_plain_data_is_packed_as_it_lies(source):
    stage = after(conv(source, "a"))
    assert stage.changes == stage.count("transpose") == 0 and layout(stage, "a_pack") == "NCHW"


def test_floats_between_packed_layers_are_nhwc():
    first = conv(X, "a") + conv(X, "b")
    stage = after(conv(first, "c") + first)
    assert stage.count("transpose") == 1  # behind the last one
    assert [layout(stage, name) for name in ("a_pack", "a", "b", "c_pack", "c")] == ["NCHW"] + ["NHWC"] * 4
    assert stage.graph.heads[0][0].attrs["axes"] == "(0, 3, 1, 2)"


def test_source_of_residual_and_pack_is_transposed_once():
    source = mx.sym.relu(stem())
    stage = after(conv(source, "a") + source)
    assert stage.count("transpose") == 2 and layout(stage, "a_pack") == layout(stage, "a") == "NHWC"
    assert stage.graph.find("a_pack").inputs[0] == stage.graph.find("a").inputs[-1]


def test_other_readers_of_a_source_keep_nchw():
    source = mx.sym.relu(stem())
    stage = after(mx.sym.Group([conv(source, "a") + source, pool(source, "pool"), source]))
    assert stage.graph.find("pool").inputs[0][0].op == "relu" and stage.graph.heads[2][0].op == "relu"


def test_other_readers_of_a_layer_share_one_transpose():
    layer = conv(X, "a")
    stage = after(mx.sym.Group([conv(layer, "b"), pool(layer, "pool"), mx.sym.relu(layer), layer]))
    assert stage.count("transpose") == 1 and layout(stage, "a") == layout(stage, "b_pack") == "NHWC"
    nchw = stage.graph.find("pool").inputs[0]
    assert nchw == stage.graph.heads[3] == stage.graph.heads[2][0].inputs[0] and nchw[0].name == "a_nchw"


def test_layer_and_its_consumer_in_one_sum():
    """b reads a's output as image and as residual."""
    first = conv(X, "a")
    stage = after(mx.sym.relu(norm(conv(first, "b"), "bn") + first))
    assert stage.count("transpose") == 1 and stage.count("elemwise_add") == 0


def test_second_output_of_an_operator_as_residual():
    halves = mx.sym.SliceChannel(stem(24), num_outputs=2, name="halves")
    stage = after(mx.sym.Group([conv(halves[1], "a") + halves[1], halves[0] * 2]))
    assert stage.graph.find("halves1_nhwc").inputs == [(stage.graph.find("halves"), 1)]


def test_residual_that_is_packed_with_thresholds():
    first = conv(X, "a") + conv(X, "b")
    stage = after(conv(qnn.sym.QActivation(norm(first, "bn")), "c") + first)
    assert stage.attrs("c_pack")["has_threshold"] == "True" and layout(stage, "c_pack") == "NHWC"


def test_groups_in_nhwc():
    first = conv(X, "a", 40) + conv(X, "b", 40)
    stage = after(conv(norm(first, "bn"), "c", 40, num_group=2) + first)
    assert layout(stage, "c_pack") == "NHWC" and stage.count("transpose") == 1


def test_fully_connected_layers_read_nchw():
    first = conv(X, "a") + conv(X, "b")
    stage = after(mx.sym.Group([qnn.sym.QFullyConnected(first, num_hidden=5, name="fc"), conv(first, "c")]))
    flatten = stage.graph.find("fc_flatten")
    assert flatten.inputs[0][0].op == "transpose" and layout(stage, "fc") == "NCHW"
