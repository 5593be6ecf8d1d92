"""Layers of codes of several bits: packed, fused, and executed behind every pass: the floats of the training graph, bit
for bit, wherever codes are integers."""
import mxnet as mx
import numpy as np
import pytest
from stages import DATA, X, conv, norm, pool, stages, stem

import qnn

BITS, POOL, FLOATS, PACK = "_qnn_bits_convolution", "_qnn_bits_max_pool", "_qnn_float_convolution", "_qnn_pack"
ACT = ["sign", "dorefa(bits=1)", "dorefa(bits=2)", "dorefa(bits=3)", "quantized_relu(bits=2, limit=2.0)",
       "fixed(bits=2, fraction=0, narrow=True)", "fixed(bits=4, fraction=2)", "ternary(threshold=0.5)",
       "isometric(levels=1)", "isometric(levels=2)", "isometric(levels=3)", "isometric(levels=4)", "rebnet(levels=2)",
       "rebnet(levels=3)"]
WEIGHT = ["sign", "dorefa_weight(bits=1)", "dorefa_weight(bits=2)", "dorefa_weight(bits=4)", "twn", "ttq", "ternary",
          "fixed(bits=3, fraction=1)", "stochastic_binary"]


def layer(net, name, act, weight="sign", **options):
    return conv(net, name, act_quantizer=act, weight_quantizer=weight, **options)


def tail(net, act, name="last"):
    """A layer of the same data behind, whose output tells every code that it reads."""
    return layer(net, name, act, num_filter=16)


@pytest.mark.parametrize("weight", WEIGHT)
@pytest.mark.parametrize("act", ACT)
def test_every_pair_of_quantizers_is_packed(act, weight):
    found = stages(tail(norm(layer(X, "conv", act, weight), "bn"), act))
    ops = found["arrange_nhwc"].ops
    assert set(ops) <= {PACK, BITS, FLOATS, "BatchNorm", "transpose"} and PACK in ops


@pytest.mark.parametrize("act", [a for a in ACT if not a.startswith("rebnet")])
def test_batch_norm_becomes_thresholds(act):
    def edit(args, auxs):
        args["bn_gamma"][:4] = [-1, 0, -0.5, 2]
    stage = stages(tail(norm(layer(X, "conv", act), "bn"), act), edit=edit)["fold_thresholds"]
    assert stage.ops == [PACK, BITS, FLOATS]


@pytest.mark.parametrize("act", ["dorefa(bits=2)", "isometric(levels=2)", "fixed(bits=3, fraction=1)"])
@pytest.mark.parametrize("where", ["before", "behind"])
def test_max_pooling_of_codes(act, where):
    def edit(args, auxs):
        args["bn_gamma"][:4] = [-1, 0, -0.5, 2]
    net = layer(X, "conv", act)
    net = pool(norm(net, "bn"), "pool") if where == "behind" else norm(pool(net, "pool"), "bn")
    stage = stages(tail(net, act), edit=edit)["fold_thresholds"]
    assert stage.ops == [PACK, BITS, POOL, FLOATS]


@pytest.mark.parametrize("act", ["dorefa(bits=2)", "isometric(levels=2)"])
def test_fully_connected_behind_a_convolution(act):
    net = pool(norm(layer(X, "conv", act), "bn"), "pool")
    net = qnn.sym.QFullyConnected(net, num_hidden=20, act_quantizer=act, weight_quantizer="twn", name="fc1")
    net = qnn.sym.QFullyConnected(norm(net, "bn1"), num_hidden=10, act_quantizer=act, name="fc2")
    stage = stages(net)["fold_thresholds"]
    assert stage.count(BITS) == 2 and stage.count("Flatten") == 0


@pytest.mark.parametrize("options", [dict(num_group=3), dict(stride=(2, 2)), dict(dilate=(2, 2)), dict(pad=(0, 0)),
                                     dict(scaling="filter"), dict(scaling="layer", no_bias=False),
                                     dict(no_bias=False)], ids=str)
@pytest.mark.parametrize("act", ["dorefa(bits=2)", "isometric(levels=2)", "rebnet(levels=2)", "sign"])
def test_options_of_the_layer(act, options):
    stages(tail(norm(layer(X, "conv", act, "twn", **options), "bn"), act))


def test_eight_bits_in_front():
    net = norm(layer(X, "conv", "fixed(bits=8, fraction=5)"), "bn")
    stage = stages(conv(net, "last", num_filter=16))["fold_thresholds"]
    assert stage.ops == [PACK, BITS, FLOATS] and stage.attrs("conv")["act_planes"] == "8"


@pytest.mark.parametrize("bits", [5, 8])
def test_wide_codes_behind_batch_norm_come_from_floats(bits):
    act = "dorefa(bits=%d)" % bits
    stage = stages(tail(norm(layer(X, "conv", act), "bn"), act))["fold_thresholds"]
    assert stage.ops == [PACK, FLOATS, PACK, FLOATS]


def test_activation_of_its_own_with_a_shared_gamma():
    gamma = mx.sym.Variable("gamma", shape=(1,), init=mx.init.Constant(0.7))
    net = norm(layer(X, "conv", "sign"), "bn")
    net = pool(qnn.sym.QActivation(net, levels=2, residual="isometric", gamma=gamma, name="act"), "pool")
    net = layer(net, "last", "isometric(levels=2)", act_gamma=gamma)
    stage = stages(net)["fold_thresholds"]
    assert stage.ops == [PACK, BITS, POOL, FLOATS]


def test_k_bit_layers_of_bmxnet():
    net = norm(conv(stem(), "conv", act_bit=2, weight_bit=2), "bn")
    stage = stages(conv(qnn.sym.QActivation(net, act_bit=2), "last", act_bit=2, weight_bit=4))["fold_thresholds"]
    assert stage.ops.count(BITS) == 1


def test_functions_and_wide_codes_stay_float():
    from qnn.converter.convert import run_passes

    from qnn.graph import Graph
    net = layer(X, "a", lambda F, x: F.tanh(x))
    net = layer(net, "b", "dorefa(bits=9)")
    net = layer(net, "c", "sign", "dorefa_weight(bits=12)")
    shapes, _, _ = net.infer_shape(data=DATA.shape)
    args = {name: np.ones(shape, np.float32) for name, shape in zip(net.list_arguments(), shapes)}
    rows = run_passes(Graph.from_json(net.tojson()), args, {}).report.rows
    assert [row.layer for row in rows if row.why] == ["a", "b", "c"]
    assert all("1..8 bits" in row.why for row in rows)
