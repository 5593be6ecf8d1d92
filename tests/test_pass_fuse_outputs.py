"""FuseOutputs: BatchNorm and residual additions move into the layer before them, where nobody else reads it and the
layout of the sum cannot matter."""
import mxnet as mx
import numpy as np
import pytest
from stages import X, conv, norm, stages, stem

import qnn

ADD, LAYER = "elemwise_add", "_qnn_float_convolution"


def after(symbol, **options):
    return stages(symbol, **options)["fuse_outputs"]


def has(stage, name):
    return [key[4:] for key in ("has_mean", "has_scale", "has_bias", "has_residual") if key in stage.attrs(name)]


@pytest.mark.parametrize("options", [{}, dict(fix_gamma=True), dict(eps=0.1)], ids=str)
@pytest.mark.parametrize("values", [(1, -1), (0, np.nan, -0.0)], ids=str)
def test_batch_norm(options, values):
    def edit(args, auxs):
        args["bn_gamma"][:len(values)] = values
    stage = after(norm(conv(X, "conv"), "bn", **options), edit=edit)
    assert stage.ops == ["_qnn_pack", LAYER] and stage.changes == 1 and has(stage, "conv") == ["mean", "scale", "bias"]
    assert set(stage.params) == {"conv_weight", "conv_mean", "conv_slope", "conv_beta"}  # dead parameters go


def test_batch_norm_behind_a_fully_connected_layer():
    stage = after(norm(qnn.sym.QFullyConnected(X, num_hidden=9, name="fc"), "bn"))
    assert stage.count("BatchNorm") == 0 and has(stage, "fc") == ["mean", "scale", "bias"]


@pytest.mark.parametrize("options", [dict(no_bias=False), dict(scaling="filter"), dict(scaling="layer")], ids=str)
def test_layer_with_bias_or_scale_keeps_its_batch_norm(options):
    stage = after(norm(conv(X, "conv", **options), "bn"))
    assert stage.count("BatchNorm") == 1 and stage.changes == 0


def test_second_batch_norm_stays():
    assert after(norm(norm(conv(X, "conv"), "bn"), "bn2")).count("BatchNorm") == 1


def test_batch_norm_over_another_axis_stays():
    assert after(norm(conv(X, "conv"), "bn", axis=3)).changes == 0


@pytest.mark.parametrize("name", ["g", "computed"])
def test_batch_norm_of_computed_parameters_stays(name):
    gamma = mx.sym.abs(mx.sym.Variable("g", shape=(12,)), name=name)
    assert after(norm(conv(X, "conv"), "bn", gamma=gamma)).changes == 0


def test_batch_norm_behind_a_float_convolution_stays():
    assert after(norm(stem(), "bn") + conv(X, "conv")).count("BatchNorm") == 1


def test_batch_norm_over_flattened_channels_stays():
    assert after(norm(mx.sym.Flatten(conv(X, "conv")), "bn")).changes == 0


def test_layer_that_others_read_keeps_its_floats():
    layer = conv(X, "conv")
    assert after(mx.sym.Group([norm(layer, "bn"), layer])).changes == 0
    assert after(mx.sym.Concat(norm(layer, "bn"), layer, dim=1)).changes == 0


def test_names_taken_by_parameters():
    """conv_beta belongs to another BatchNorm here, behind a float layer, which stays."""
    other = mx.sym.BatchNorm(stem(), beta=mx.sym.Variable("conv_beta"), name="other")

    def edit(args, auxs):
        args["bn_beta"][:] = 7
    stage = after(mx.sym.Group([norm(conv(X, "conv"), "bn"), other]), edit=edit)
    assert {"conv_beta", "conv_beta_2"} < set(stage.params) and (stage.params["conv_beta_2"] == 7).all()


# ---- sums ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_left", [True, False])
def test_residual(is_left):
    layer, other = norm(conv(X, "conv"), "bn"), mx.sym.relu(stem())
    stage = after(layer + other if is_left else other + layer)
    assert stage.count(ADD) == 0 and has(stage, "conv") == ["mean", "scale", "bias", "residual"] and stage.changes == 2


def test_residual_behind_bias_and_scale_of_the_layer():
    stage = after(conv(X, "conv", scaling="filter", no_bias=False) + mx.sym.relu(stem()))
    assert has(stage, "conv") == ["scale", "bias", "residual"]


@pytest.mark.parametrize("is_left", [True, False])
@pytest.mark.parametrize("other", [stem, lambda: norm(stem(), "stem_bn"), lambda: stem(no_bias=False)])
def test_sum_that_onednn_merges_with_a_float_convolution_stays(is_left, other):
    layer = norm(conv(X, "conv"), "bn")
    stage = after(layer + other() if is_left else other() + layer)
    assert stage.count(ADD) == 1 and has(stage, "conv") == ["mean", "scale", "bias"]


def test_sum_with_a_float_convolution_that_others_read():
    for other in (stem(no_bias=False), norm(stem(), "stem_bn")):
        stage = after(norm(conv(other, "conv"), "bn") + other)
        assert stage.count(ADD) == 0 and has(stage, "conv") == ["mean", "scale", "bias", "residual"]


def test_sum_with_a_variable_stays():
    stage = after(conv(X, "conv") + mx.sym.Variable("r", shape=(2, 12, 8, 8)))
    assert stage.count(ADD) == 1 and stage.changes == 0


def test_sum_of_two_layers():
    stage = after(conv(X, "a") + conv(X, "b"))
    assert stage.count(ADD) == 0 and stage.changes == 1 and has(stage, "a") == ["residual"] and not has(stage, "b")


def test_sum_of_three_layers():
    assert after(conv(X, "a") + conv(X, "b") + conv(X, "c")).count(ADD) == 0


def test_layer_plus_itself_stays():
    layer = conv(X, "conv")
    stage = after(layer + layer)
    assert stage.count(ADD) == 1 and stage.changes == 0


def test_layer_read_elsewhere_is_a_residual_at_most():
    layer = conv(X, "a")
    stage = after(mx.sym.Group([layer + conv(X, "b"), layer]))
    assert stage.count(ADD) == 0 and has(stage, "b") == ["residual"] and not has(stage, "a")


def test_sum_of_fully_connected_layers_stays():
    one, other = (qnn.sym.QFullyConnected(X, num_hidden=9, name=name) for name in "ab")
    stage = after(one + other)
    assert stage.count(ADD) == 1


def test_broadcast_sum_stays():
    pooled = mx.sym.Pooling(stem(), global_pool=True, kernel=(1, 1), pool_type="avg")
    assert after(mx.sym.broadcast_add(conv(X, "conv"), pooled)).count("broadcast_add") == 1


# ---- sums that a BatchNorm reads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("between", [lambda y: y, mx.sym.relu, lambda y: mx.sym.Concat(y, y, dim=1),
                                     lambda y: conv(y, "next") + y])
def test_sum_with_a_float_convolution_stays_before_batch_norm(between):
    """The sum may be blocked in the training graph, and BatchNorm then rounds differently."""
    stage = after(norm(between(conv(X, "conv") + mx.sym.relu(stem())), "bn"))
    assert "conv" in [n.name for n in stage.graph.nodes()] and not has(stage, "conv") and stage.count(ADD) >= 1


@pytest.mark.parametrize("between", [lambda y: mx.sym.Convolution(y, kernel=(1, 1), num_filter=12, name="float"),
                                     lambda y: conv(y, "next"), mx.sym.Flatten])
def test_sum_is_fused_where_the_batch_norm_reads_another_layout(between):
    stage = after(norm(between(conv(X, "conv") + mx.sym.relu(stem())), "bn"))
    assert has(stage, "conv") == ["residual"] and stage.count(ADD) == 0


def test_sum_of_packed_layers_is_fused_before_batch_norm():
    stage = after(norm(conv(X, "a") + conv(X, "b"), "bn"))
    assert stage.count(ADD) == 0 and stage.count("BatchNorm") == 1


def test_pre_activation_units_on_a_float_stem():
    """A ResNet v2 whose shortcut is the stem itself."""
    net = stem()
    for number in range(3):
        net = conv(qnn.sym.QActivation(norm(net, "bn%d" % number)), "conv%d" % number) + net
    stage = after(norm(net, "bn_last"))
    assert stage.count(ADD) == 3
