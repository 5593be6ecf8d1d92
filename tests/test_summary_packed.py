"""qnn.summary of packed networks: the work of the training graph, in the bytes that the converter stores."""
import mxnet as mx
import numpy as np
import pytest
from nets import ARCHITECTURES
from summaries import SHAPE, is_trained_scale, layer, lenet, random_params

import qnn
from qnn.summary import profile

pytestmark = pytest.mark.skipif(not qnn.backend.is_native, reason="packed operators need qnn._native")


OPTIONS = [
    {}, dict(scaling="layer"), dict(scaling="filter"), dict(num_group=2), dict(act_bit=2),
    dict(act_bit=8, weight_bit=8), dict(act_bit=2, weight_bit=3, scaling="filter"),
    dict(act_bit=2, num_group=2, scaling="layer"), dict(act_bit=32), dict(act_bit=2, scaling="xnor"), dict(act_bit=9),
    dict(weight_bit=32), dict(act_quantizer="fixed(bits=4, fraction=2)", weight_quantizer="fixed(bits=3, fraction=1)"),
    dict(weight_quantizer="fixed(bits=8, fraction=0)"), dict(act_quantizer="quantized_relu(bits=3)"),
    dict(act_quantizer="ternary", weight_quantizer="ternary"), dict(weight_quantizer="twn", scaling="filter"),
    dict(act_bit=2, weight_quantizer="ttq"), dict(act_quantizer="isometric(levels=3)", weight_quantizer="twn"),
    dict(act_quantizer="rebnet(levels=3)"), dict(act_quantizer="rebnet(levels=2)", weight_quantizer="ttq"),
    dict(act_quantizer="isometric(levels=2)", weight_bit=32)]


def without_trained_scales(params, args):
    """The part of ModelProfile.params that a packed network has as well."""
    count = sum(value.size for name, value in args.items() if is_trained_scale(name))
    return {**params, 32: params[32] - count}


def stored_bytes(arrays):
    return sum(value.size * np.dtype(value.dtype).itemsize for value in arrays.values())


def packed_profiles(symbol, shape, is_fused=False, edit=None):
    """(args, profile before, profile after, report)."""
    args, auxs = random_params(symbol, shape)
    if edit is not None:
        edit(args)
    packed, packed_args, packed_auxs, report = qnn.convert(symbol, args, auxs, is_fused=is_fused)
    after = profile(packed, shape, {**packed_args, **packed_auxs})
    assert after.bytes_packed == stored_bytes({**packed_args, **packed_auxs}) == report.total_after
    return args, profile(symbol, shape, {**args, **auxs}), after, report


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_packed_network_has_the_same_profile(options):
    args, before, after, report = packed_profiles(lenet(**options), SHAPE)
    is_packed = options.get("weight_bit") != 32 and options.get("act_bit") != 9 and options.get("scaling") != "xnor"
    expected = without_trained_scales(before.params, args) if is_packed else before.params
    assert after.params == expected and after.macs == before.macs
    assert before.bytes_float == report.total_before and after.bytes_float == 4 * sum(expected.values())
    assert after.bytes_packed == before.bytes_packed == report.total_after
    assert layer(after, "fc1").kind == "packed QFullyConnected"
    assert layer(after, "conv2").kind == ("QConvolution" if not is_packed else "packed QConvolution" if not (
        {"act_bit", "act_quantizer", "weight_quantizer"} & set(options)) else "bits to floats")
    one, other = layer(before, "conv2"), layer(after, "conv2")
    assert (one.act_bit, one.weight_bit, one.macs) == (other.act_bit, other.weight_bit, other.macs)
    width = one.weight_bit
    assert width == 32 or one.params[width] == other.params[width] == 1800 // options.get("num_group", 1)


def narrow_params(params):
    return {width: count for width, count in params.items() if width != 32}


def test_every_number_of_a_fused_network():
    _, _, result, _ = packed_profiles(lenet(), SHAPE, is_fused=True)
    assert [(x.name, x.kind, x.act_bit, x.weight_bit, x.output_shape, x.params, x.macs, x.bytes_float, x.bytes_packed)
            for x in result.layers] == [
        ("conv1", "Convolution", 32, 32, (2, 20, 24, 24), {32: 520}, {32: 2 * 20 * 24 * 24 * 25}, 2080, 2080),
        ("bn1", "BatchNorm", None, None, (2, 20, 24, 24), {32: 80}, {}, 320, 320),
        ("bn1_nhwc", "transpose", None, None, (2, 24, 24, 20), {}, {}, 0, 0),
        ("conv2_pack", "floats to bits", None, None, (2, 24, 24, 1), {}, {}, 0, 0),
        ("conv2", "bits to bits", 1, 1, (2, 11, 11, 1), {1: 1800, 32: 10}, {1: 435600}, 7240, 10 * 9 * 8 + 40 + 8),
        ("pool", "Pooling of bits", None, None, (2, 5, 5, 1), {}, {}, 0, 0),
        ("fc1_pack", "Reshape", None, None, (2, 1, 25, 1), {}, {}, 0, 0),
        ("fc1", "bits to floats", 1, 1, (2, 7), {1: 1750, 32: 21}, {1: 3500}, 7084, 7 * 25 * 8 + 84),
        ("fc2", "FullyConnected", 32, 32, (2, 3), {32: 24}, {32: 42}, 96, 96),
        ("softmax", "SoftmaxOutput", None, None, (2, 3), {}, {}, 0, 0)]
    assert result.bytes_packed == 2080 + 320 + 768 + 1484 + 96


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_fused_network_does_the_same_work_in_the_bytes_it_stores(options):
    _, before, after, _ = packed_profiles(lenet(**options), SHAPE, is_fused=True)
    assert after.macs == before.macs and narrow_params(after.params) == narrow_params(before.params)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_fused_architectures_do_the_same_work_in_the_bytes_they_store(name):
    _, before, after, _ = packed_profiles(ARCHITECTURES[name](), (2, 3, 16, 16), is_fused=True)
    assert after.macs == before.macs and narrow_params(after.params) == narrow_params(before.params)


def two_bits(net, name, **options):
    return mx.sym.BatchNorm(qnn.sym.QConvolution(net, kernel=(3, 3), num_filter=8, act_quantizer="isometric(levels=2)",
                                                 name=name, **options), name=name + "_bn")


def chain():
    """Three layers of equal codes where their gammas are equal."""
    return two_bits(two_bits(two_bits(mx.sym.Variable("data"), "a"), "b"), "c")


@pytest.mark.parametrize("gammas, sets", [((1, 1, 1), 1), ((1, 2, 1), 2), ((1, 2, 3), 3)])
@pytest.mark.parametrize("is_fused", [False, True])
def test_equal_codes_share_thresholds(gammas, sets, is_fused):
    def edit(args):
        args.update({"%s_act_gamma" % name: mx.nd.array([gamma]) for name, gamma in zip("abc", gammas)})
    _, before, after, _ = packed_profiles(chain(), (2, 3, 9, 9), is_fused, edit)
    if not is_fused:
        panels, scales, norms = 3 * 8 * 9 * 8, 3 * 4, 3 * 4 * 8 * 4
        assert before.bytes_packed == after.bytes_packed == panels + scales + norms + sets * (3 * 4 + 8)
        assert profile(chain(), (2, 3, 9, 9)).bytes_packed == panels + scales + norms + 20  # of initial gammas


@pytest.mark.parametrize("is_fused", [False, True])
@pytest.mark.parametrize("readers, is_stored", [
    (lambda net, gamma: two_bits(net, "a"), False), (lambda net, gamma: two_bits(net, "a", act_gamma=gamma), False),
    (lambda net, gamma: two_bits(mx.sym.Pooling(net, kernel=(2, 2), pool_type="max"), "a"), False),
    (lambda net, gamma: two_bits(mx.sym.Pooling(net, kernel=(2, 2), pool_type="avg"), "a"), True),
    (lambda net, gamma: mx.sym.Group([two_bits(net, "a"), mx.sym.tanh(net)]), True),
    (lambda net, gamma: two_bits(net, "a", weight_bit=32, act_gamma=gamma), True),
    (lambda net, gamma: qnn.sym.QConvolution(net, kernel=(3, 3), num_filter=8, act_bit=32, name="a"), False),
    (lambda net, gamma: qnn.sym.QConvolution(net, kernel=(3, 3), num_filter=8, act_bit=2, name="a"), True),
    (lambda net, gamma: mx.sym.Convolution(net, kernel=(3, 3), num_filter=8, name="a"), True)])
def test_scales_of_activations_are_stored_where_activations_stay(readers, is_stored, is_fused):
    def edit(args):
        args.update({name: mx.nd.array([0.7]) for name in args if is_trained_scale(name)})
    gamma = mx.sym.Variable("q_act_gamma", shape=(1,))
    net = qnn.sym.QActivation(mx.sym.Variable("data"), residual="isometric", levels=2, gamma=gamma, name="q")
    _, before, after, report = packed_profiles(readers(net, gamma), (2, 3, 9, 9), is_fused, edit)
    assert before.macs == after.macs and before.bytes_float == report.total_before
    assert any(x.name == "q" for x in after.layers) == is_stored and layer(before, "q").bytes_packed == 4 * is_stored
    assert is_fused or before.bytes_packed == after.bytes_packed


def test_weights_that_packed_and_float_layers_read_are_stored_twice():
    data, weight = mx.sym.Variable("data"), mx.sym.Variable("w", shape=(4, 6))
    parts = [qnn.sym.QFullyConnected(data, weight, num_hidden=4, act_bit=bits, name="q%d" % bits) for bits in (1, 2, 3)]
    parts.append(mx.sym.FullyConnected(data, weight, num_hidden=4, no_bias=True, name="f"))
    symbol = mx.sym.Group(parts)
    _, before, after, report = packed_profiles(symbol, (2, 6))
    assert before.params == {1: 24} and before.bytes_float == report.total_before == 96
    assert before.bytes_packed == after.bytes_packed == 2 * 4 * 8 + 96 + 2 * (16 + 4 + 8) + (3 + 7) * 4


@pytest.mark.parametrize("largest, planes", [(1, 1), (2, 2), (4, 3)])
def test_weights_of_fixed_point_take_the_planes_they_need(largest, planes):
    symbol = qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=2, name="f",
                                     weight_quantizer="fixed(bits=3, fraction=0)")

    def edit(args):
        args["f_weight"] = mx.nd.array([[0, -largest, 1]] * 2)
    _, before, after, _ = packed_profiles(symbol, (2, 3), edit=edit)
    assert before.bytes_packed == after.bytes_packed == (1 + planes) * 2 * 8 + 2 * 4 + 4
    assert profile(symbol, (2, 3)).bytes_packed == 4 * 2 * 8 + 2 * 4 + 4


def test_packed_fully_connected_without_flatten():
    symbol = qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=5, flatten=False, name="f")
    packed, args, _, _ = qnn.convert(symbol, {"f_weight": mx.nd.ones((5, 70))}, is_fused=False)
    f = profile(packed, (2, 3, 70), args).layers[-1]
    assert (f.params, f.macs, f.bytes_packed, f.output_shape) == ({1: 350}, {1: 6 * 350}, 5 * 2 * 8, (2, 3, 5))


def test_tables_take_a_word_and_six_connections_a_node():
    """4-input nodes take the room of 6, majorities are nodes, means are none; tables that are no bits stay float32."""
    x = qnn.sym.RealToBinary(mx.sym.Variable("data"), frame_modulation=2, name="modulate")
    x = qnn.sym.DifferentiableLut(x, num_nodes=24, in_units=16, name="a")
    x = qnn.sym.DifferentiableLut(x, num_nodes=12, in_units=24, n=4, name="b")
    x = qnn.sym.AverageLut(x, num_nodes=4, in_units=12, n=3, binarize_input=False, name="majority")
    net = qnn.sym.BinaryToReal(x, frame_integration=2, name="integrate")
    module = mx.mod.Module(net, label_names=[])
    module.bind([("data", (2, 16))], for_training=False)
    module.init_params()
    args, auxs = module.get_params()
    before = profile(net, (2, 16), {**args, **auxs})
    packed, packed_args, _, _ = qnn.convert(net, args, auxs, is_fused=False)
    stored = {name: value.size * np.dtype(value.dtype).itemsize for name, value in packed_args.items()}
    assert {row.name: row.bytes_packed for row in before.layers if row.bytes_packed} == {
        "modulate": 2 * 4, "a": 24 * 32, "b": 12 * 32, "majority": 4 * 32}
    assert stored["lut_tables"] + stored["lut_connections"] == 40 * 32
    assert layer(before, "a").bytes_float == 24 * (64 + 6 + 2) * 4
    real = qnn.sym.DifferentiableLut(mx.sym.Variable("data"), num_nodes=8, in_units=16, binary=False, name="a")
    row = layer(profile(real, (2, 16)), "a")
    assert row.bytes_packed == row.bytes_float
