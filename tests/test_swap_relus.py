"""qnn.swap: 1-bit layers read past ReLUs; other data of which one bit says nothing is a warning."""
import mxnet as mx
import pytest

import qnn
from qnn.graph import Graph

WITHOUT_BATCHNORM = dict(no_offset=True, scaling="filter")


def conv(data, name, **options):
    return mx.sym.Convolution(data, kernel=(3, 3), num_filter=8, pad=(1, 1), name=name, **options)


def relu(data, name):
    return mx.sym.Activation(data, act_type="relu", name=name)


def data_source(symbol, layer):
    """Name of the node that the QActivation before `layer` reads."""
    node = Graph.from_json(symbol.tojson()).find(layer + "_qactivation")
    while "__qnn_layer__" in node.attrs:
        node = node.inputs[0][0]
    return node.name


# ---- ReLUs -----------------------------------------------------------------------------------------------------------


def swap_second(net, **options):
    return qnn.swap(net, only=["b"], skip=(), **options)


RELUS = {
    "Activation": lambda x: relu(x, "r"),
    "relu": lambda x: mx.sym.relu(x, name="r"),
    "clip": lambda x: mx.sym.clip(x, 0, 6, name="r"),
    "maximum": lambda x: mx.sym._internal._maximum_scalar(x, scalar=0.0, name="r"),
}


@pytest.mark.parametrize("kind", RELUS)
def test_relu_is_removed(kind):
    swapped, report = swap_second(conv(RELUS[kind](conv(mx.sym.Variable("data"), "a")), "b"))
    assert data_source(swapped, "b") == "a"
    assert report.removed_relus == ["r"] and report.bypassed_relus == [] and report.warnings == []


@pytest.mark.parametrize("operator", [
    lambda x: mx.sym.LeakyReLU(x, act_type="leaky", name="r"), lambda x: mx.sym.clip(x, -1, 1, name="r"),
    lambda x: mx.sym.Activation(x, act_type="tanh", name="r")], ids=["leaky", "clip", "tanh"])
def test_operator_with_negative_values_stays(operator):
    swapped, report = swap_second(conv(operator(conv(mx.sym.Variable("data"), "a")), "b"))
    assert data_source(swapped, "b") == "r"
    assert report.removed_relus == [] and report.warnings == []


@pytest.mark.parametrize("act_type", ["sigmoid", "softrelu"])
def test_other_positive_activation_warns(act_type):
    net = conv(mx.sym.Activation(conv(mx.sym.Variable("data"), "a"), act_type=act_type, name="r"), "b")
    _, report = swap_second(net)
    assert len(report.warnings) == 1
    assert "'b' reads Activation 'r', which is never negative" in report.warnings[0]


def test_relu_stays_for_other_readers():
    r = relu(conv(mx.sym.Variable("data"), "a"), "r")
    swapped, report = swap_second(mx.sym.Group([conv(r, "b"), r]))
    assert data_source(swapped, "b") == "a"
    assert report.bypassed_relus == ["r"] and report.removed_relus == []
    assert swapped.list_outputs() == ["b_output", "r_output"]


def test_relu_shared_by_swapped_layers_is_removed():
    r = relu(conv(mx.sym.Variable("data"), "a"), "r")
    _, report = qnn.swap(conv(r, "b") + conv(r, "c"), only=["b", "c"], skip=())
    assert report.removed_relus == ["r"]


def test_relu_is_removed_from_a_chain():
    x = relu(conv(mx.sym.Variable("data"), "a"), "r")
    x = mx.sym.Dropout(mx.sym.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="max", name="p"), name="d")
    net = mx.sym.FullyConnected(mx.sym.Reshape(mx.sym.Flatten(x), shape=(0, -1)), num_hidden=4, name="b")
    swapped, report = swap_second(net)
    assert report.removed_relus == ["r"] and report.warnings == []
    assert Graph.from_json(swapped.tojson()).find("p").inputs[0][0].name == "a"


def test_relus_before_concat_are_removed():
    data = mx.sym.Variable("data")
    net = conv(mx.sym.Concat(relu(conv(data, "a"), "r"), relu(conv(data, "a2"), "r2")), "b")
    assert swap_second(net)[1].removed_relus == ["r", "r2"]


def test_chain_with_other_readers_keeps_its_relu_and_warns():
    x = relu(conv(mx.sym.Variable("data"), "a"), "r")
    x = mx.sym.Pooling(x, kernel=(2, 2), pool_type="max", name="p")
    swapped, report = swap_second(conv(x, "b") + mx.sym.mean(x))
    assert data_source(swapped, "b") == "p"
    assert report.removed_relus == []
    assert "'b' reads Activation 'r' through 'p', which is never negative" in report.warnings[0]


def test_relu_keep_keeps_and_warns():
    net = conv(relu(conv(mx.sym.Variable("data"), "a"), "r"), "b")
    swapped, report = swap_second(net, relu="keep")
    assert data_source(swapped, "b") == "r"
    assert report.removed_relus == [] and len(report.warnings) == 1


def test_wider_data_wants_its_relu():
    net = conv(relu(conv(mx.sym.Variable("data"), "a"), "r"), "b")
    swapped, report = swap_second(net, act_bit=2)
    assert data_source(swapped, "b") == "r"
    assert report.removed_relus == [] and report.warnings == []


def test_relu_before_batchnorm_is_harmless():
    net = conv(mx.sym.BatchNorm(relu(conv(mx.sym.Variable("data"), "a"), "r"), name="n"), "b")
    swapped, report = swap_second(net)
    assert data_source(swapped, "b") == "n"
    assert report.removed_relus == [] and report.warnings == []


# ---- other traps -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options, sentence", [
    ({}, "counts 0..K"), (dict(scaling="layer"), "counts 0..K"), (dict(no_offset=True), "gives integers"),
    (WITHOUT_BATCHNORM, None), (dict(weight_bit=32), None), (dict(act_bit=2), None)])
def test_missing_batchnorm_warns(options, sentence):
    net = conv(conv(mx.sym.tanh(mx.sym.Variable("data")), "a"), "b")
    warnings = qnn.swap(net, skip=(), **options)[1].warnings
    assert [sentence in warning for warning in warnings] == ([True] if sentence else [])


def test_missing_batchnorm_behind_existing_q_layer_warns():
    net = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=8, name="a")
    assert "'b' reads QConvolution 'a', which counts" in qnn.swap(conv(net, "b"), skip=())[1].warnings[0]


def test_reading_the_input_warns():
    net = mx.sym.FullyConnected(mx.sym.Flatten(mx.sym.Variable("data")), num_hidden=4, name="a")
    report = qnn.swap(net, skip=())[1]
    assert "'a' reads variable 'data' through 'flatten" in report.warnings[0]
