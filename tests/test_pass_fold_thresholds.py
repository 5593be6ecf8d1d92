"""FoldThresholds: BatchNorm, pooling and sign behind a packed layer become thresholds; where it must not act, it does
not; the floats at the end are those of the training graph in every case."""
import mxnet as mx
import numpy as np
import pytest
from stages import DATA, X, conv, norm, pool, stages, stem

import qnn

BITS, POOL, FLOATS, PACK = "_qnn_bits_convolution", "_qnn_bits_max_pool", "_qnn_float_convolution", "_qnn_pack"


def last(net, **options):
    """A layer behind, whose output tells every bit of the image it reads."""
    return conv(net, "last", **{"num_filter": 16, "no_offset": True, **options})


def after(symbol, **options):
    return stages(symbol, **options)["fold_thresholds"]


def gammas(*values):
    """An edit: the first gammas of `bn` are `values`."""
    def edit(args, auxs):
        args["bn_gamma"][:len(values)] = values
        args["bn_beta"][:len(values):2] = 0.5
    return edit


# ---- bits to bits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, dict(fix_gamma=True), dict(eps=0.1)], ids=str)
def test_batch_norm_and_sign(options):
    stage = after(last(qnn.sym.QActivation(norm(conv(X, "conv"), "bn", **options))))
    assert stage.ops == [PACK, BITS, FLOATS] and stage.changes == 1
    assert set(stage.params) == {"conv_weight", "conv_threshold", "conv_flip", "last_weight"}  # dead parameters go
    assert (stage.attrs("conv")["out_pad"], stage.attrs("conv")["out_pad_value"]) == ("(1, 1)", "1")


def test_defaults_of_batch_norm():
    """eps is 1e-3 and gamma counts as 1 where the symbol says nothing."""
    stage = after(last(mx.sym.BatchNorm(conv(X, "conv"), name="bn")), edit=gammas(-1, 0, np.nan))
    assert stage.ops == [PACK, BITS, FLOATS] and (stage.params["conv_flip"] == 0).all()


def test_dropout_copy_and_tanh_are_nothing_to_a_sign():
    net = mx.sym.identity(mx.sym.Dropout(norm(conv(X, "conv"), "bn")))
    assert after(last(pool(mx.sym.Activation(net, act_type="tanh"), "pool"))).ops == [PACK, BITS, POOL, FLOATS]
    assert after(last(mx.sym.tanh(norm(conv(X, "conv"), "bn")))).ops == [PACK, BITS, FLOATS]


def test_two_batch_norms():
    stage = after(last(norm(norm(conv(X, "conv"), "bn"), "bn2")))
    assert stage.ops == [PACK, BITS, FLOATS]


def test_other_activations_stay_between():
    for net in (mx.sym.relu(norm(conv(X, "conv"), "bn")), norm(mx.sym.tanh(conv(X, "conv")), "bn")):
        stage = after(last(net - 0.4))
        assert stage.count(BITS) == 0 and stage.changes == 0


@pytest.mark.parametrize("options", [dict(no_bias=False), dict(scaling="filter"), dict(scaling="layer", no_bias=False)],
                         ids=str)
def test_bias_and_scale_of_the_layer(options):
    assert after(last(norm(conv(X, "conv", **options), "bn"))).ops == [PACK, BITS, FLOATS]


def test_bias_that_the_graph_computes():
    net = conv(X, "conv", no_bias=False, bias=mx.sym.Variable("b", shape=(12,)) * 2)
    stage = after(last(norm(net, "bn")))
    assert stage.count(BITS) == 0 and stage.attrs("last_pack")["has_threshold"] == "True"


@pytest.mark.parametrize("options", [dict(pad_value=0), dict(pad_value=0, no_offset=True), dict(pad_value=-1),
                                     dict(stride=(2, 1), dilate=(2, 2)), dict(num_group=3)], ids=str)
def test_options_of_the_layer(options):
    assert after(last(norm(conv(X, "conv", **options), "bn"))).count(BITS) == 1


# ---- who reads it ----------------------------------------------------------------------------------------------------


def test_layer_read_twice_stays_float():
    layer = conv(X, "conv")
    stage = after(mx.sym.Concat(last(norm(layer, "bn")), mx.sym.relu(layer), dim=1))
    assert stage.count(BITS) == 0
    stage = after(mx.sym.Concat(last(norm(layer, "bn")), conv(norm(layer, "bn2"), "other"), dim=1))
    assert stage.count(BITS) == 0 and stage.changes == 2  # both packings get thresholds on floats


@pytest.mark.parametrize("index", [0, 1])
def test_layer_or_batch_norm_that_is_a_head_stays_float(index):
    layer = conv(X, "conv")
    normed = norm(layer, "bn")
    stage = after(mx.sym.Group([last(normed), (layer, normed)[index]]))
    assert stage.count(BITS) == 0 and [head.name for head, _ in stage.graph.heads] == ["last", ("conv", "bn")[index]]


# ---- BatchNorms that stay --------------------------------------------------------------------------------------------


def test_batch_norm_over_another_axis_stays():
    stage = after(last(norm(conv(X, "conv"), "bn", axis=2)))
    assert stage.count("BatchNorm") == 1 and stage.changes == 0


@pytest.mark.parametrize("name", ["g", "computed"])
def test_batch_norm_of_computed_parameters_stays(name):
    """Even if the operator that computes gamma has the name of a parameter."""
    gamma = mx.sym.abs(mx.sym.Variable("g", shape=(12,)), name=name)
    stage = after(last(norm(conv(X, "conv"), "bn", gamma=gamma)))
    assert stage.count("BatchNorm") == 1 and stage.changes == 0


def test_batch_norm_behind_a_float_convolution_stays():
    stage = after(last(norm(stem(), "bn")))
    assert stage.count("BatchNorm") == 1 and stage.changes == 0


def test_batch_norm_behind_flatten_stays():
    """Over K = channels * pixels: no threshold of a channel."""
    net = norm(mx.sym.Flatten(conv(X, "conv")), "bn")
    stage = after(qnn.sym.QFullyConnected(net, num_hidden=9, name="fc"))
    assert stage.count("BatchNorm") == 1 and stage.count(BITS) == 0


# ---- thresholds on floats --------------------------------------------------------------------------------------------


def test_sum_of_layers_gets_a_threshold_on_floats():
    net = conv(X, "a") + conv(X, "b")
    stage = after(last(norm(net, "bn")))
    assert stage.count("BatchNorm") == 0 and stage.changes == 1
    assert stage.attrs("last_pack")["has_threshold"] == "True"
    assert {"last_pack_threshold", "last_pack_flip"} < set(stage.params) and "bn_gamma" not in stage.params


@pytest.mark.parametrize("net", [lambda: conv(X, "a") + mx.sym.Variable("r", shape=(1, 12, 8, 8)).broadcast_to(
    (2, 12, 8, 8)), lambda: conv(X, "a") + stem(), lambda: mx.sym.Concat(conv(X, "a"), conv(X, "b"), dim=1)])
def test_what_may_not_be_plain_keeps_its_batch_norm(net):
    assert after(last(norm(net(), "bn"))).count("BatchNorm") == 1


# ---- pooling ---------------------------------------------------------------------------------------------------------

SPECIAL = [(), (-1, 0, -0.0, 1), (np.nan, -np.nan, 0, -1), (-1e-41, 1e-41, -3, 0)]


@pytest.mark.parametrize("values", SPECIAL, ids=str)
def test_pooling_before_batch_norm(values):
    stage = after(last(norm(pool(conv(X, "conv"), "pool"), "bn")), edit=gammas(*values))
    assert stage.ops == [PACK, BITS, POOL, FLOATS]
    assert stage.attrs("conv")["out_pad"] == "(0, 0)" and stage.attrs("pool")["out_pad"] == "(1, 1)"


@pytest.mark.parametrize("values", SPECIAL, ids=str)
def test_pooling_behind_batch_norm(values):
    """MXNet's maximum of NaN is no NaN: such a channel cannot be folded."""
    stage = after(last(pool(norm(conv(X, "conv"), "bn"), "pool")), edit=gammas(*values))
    assert (stage.count(POOL) == 1) == (not np.isnan(values).any())


def test_pooling_between_two_batch_norms_and_signs():
    for net in (norm(pool(norm(conv(X, "conv"), "bn"), "pool"), "bn2"),
                pool(qnn.sym.QActivation(norm(conv(X, "conv"), "bn")), "pool")):
        assert after(last(net), edit=gammas(-1, 1, -1, 0)).ops == [PACK, BITS, POOL, FLOATS]


def test_scale_of_the_layer_before_pooling():
    stage = after(last(norm(pool(conv(X, "conv", scaling="filter", no_bias=False), "pool"), "bn")),
                  edit=gammas(-1, -1))
    assert stage.ops == [PACK, BITS, POOL, FLOATS]


@pytest.mark.parametrize("kernel, stride, pad, convention, is_folded", [
    (3, 2, 1, "valid", True), (2, 2, 1, "valid", True), (3, 2, 0, "full", True), (3, 2, 1, "full", True),
    (2, 3, 0, "valid", True), (2, 3, 0, "full", False), (2, 2, 1, "full", False)])
@pytest.mark.parametrize("size", [6, 7])
def test_windows_of_pooling(kernel, stride, pad, convention, is_folded, size):
    """Windows may reach into the padding, but one without any element has no maximum."""
    net = pool(norm(conv(X, "conv"), "bn"), "pool", kernel=(kernel,) * 2, stride=(stride,) * 2, pad=(pad,) * 2,
               pooling_convention=convention)
    stage = after(last(norm(net, "bn2")), data=DATA[:, :, :size, :size], edit=gammas(-1, 1, -1))
    assert (stage.count(POOL) == 1) == is_folded


@pytest.mark.parametrize("options", [dict(pool_type="avg"), dict(pool_type="sum"), dict(global_pool=True),
                                     dict(global_pool=True, pool_type="avg")], ids=str)
def test_other_poolings_stay(options):
    stage = after(last(norm(pool(conv(X, "conv"), "pool", **options), "bn")))
    assert stage.count("Pooling") == 1 and stage.count(BITS) == 0


def test_of_two_poolings_in_a_row_none_is_folded():
    stage = after(last(norm(pool(pool(conv(X, "conv"), "one"), "two"), "bn")))
    assert stage.count("Pooling") == 2 and stage.count(BITS) == 0


def test_pooling_that_others_read_stays():
    pooled = pool(conv(X, "conv"), "pool")
    stage = after(mx.sym.Group([last(norm(pooled, "bn")), pooled]))
    assert stage.count("Pooling") == 1 and stage.count(BITS) == 0


# ---- groups ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_filter, is_folded", [(128, True), (40, False), (80, False)])
def test_groups_begin_on_word_borders(num_filter, is_folded):
    stage = after(last(norm(conv(X, "conv", num_filter), "bn"), num_group=2))
    assert (stage.count(BITS) == 1) == is_folded
    assert is_folded or stage.attrs("last_pack")["has_threshold"] == "True"  # on floats, then


# ---- flattened images ------------------------------------------------------------------------------------------------


def fully_connected(net, name="fc", **options):
    return qnn.sym.QFullyConnected(net, num_hidden=9, no_offset=True, name=name, **options)


@pytest.mark.parametrize("num_filter", [12, 64, 65])
def test_fully_connected_layers_read_the_image_itself(num_filter):
    stage = after(fully_connected(norm(pool(conv(X, "conv", num_filter), "pool"), "bn")))
    assert stage.ops == [PACK, BITS, POOL, "Reshape", FLOATS]
    assert (stage.attrs("fc")["kernel"], stage.attrs("fc")["channels"]) == ("(1, 16)", str(num_filter))
    assert set(stage.params) == {"conv_weight", "conv_threshold", "conv_flip", "pool_flip", "fc_weight"}
    words = 9 * 16 * ((num_filter + 63) // 64)
    assert stage.params["fc_weight"].shape == (words,)


def test_fully_connected_layers_in_a_row():
    net = fully_connected(norm(fully_connected(norm(conv(X, "conv"), "bn"), "fc1"), "bn1"), "fc2")
    assert after(net).ops == [PACK, BITS, "Reshape", BITS, FLOATS]


def test_weights_shared_by_two_readers_of_one_image():
    weight, net = mx.sym.Variable("w"), norm(conv(X, "conv"), "bn")
    stage = after(fully_connected(net, "a", weight=weight) + fully_connected(net, "b", weight=weight))
    assert stage.ops.count(BITS) == 1


def test_weights_shared_with_a_layer_that_reads_rows():
    """One layer reads a flattened image, pixel by pixel, the other a row of floats: the words differ."""
    weight = mx.sym.Variable("w")
    image = fully_connected(norm(conv(X, "conv", 3), "bn"), "image", weight=weight)
    row = fully_connected(mx.sym.Flatten(X), "row", weight=weight)
    stage = after(mx.sym.Group([image, row]))
    assert {"w", "w_2"} < set(stage.params) and stage.count(BITS) == 1
    assert stage.graph.find("row").inputs[1][0].name == "w"
