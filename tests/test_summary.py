"""qnn.summary: numbers computed by hand, of trained and of packed networks; what the converter stores; errors."""
import json
import re

import mxnet as mx
import numpy as np
import pytest
from nets import ARCHITECTURES

import qnn
from qnn.summary import profile

needs_native = pytest.mark.skipif(not qnn.backend.is_native, reason="packed operators need qnn._native")


def lenet(**options):
    """Convolution, 1-bit convolution with bias, max pooling, 1-bit fully connected, float head."""
    x = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(5, 5), num_filter=20, name="conv1")
    x = mx.sym.BatchNorm(x, name="bn1")
    x = qnn.sym.QActivation(x, name="qact")
    x = qnn.sym.QConvolution(x, kernel=(3, 3), num_filter=10, stride=(2, 2), no_bias=False, name="conv2", **options)
    x = mx.sym.BatchNorm(mx.sym.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool"), name="bn2")
    x = qnn.sym.QFullyConnected(x, num_hidden=7, name="fc1")
    x = mx.sym.FullyConnected(mx.sym.BatchNorm(x, name="bn3"), num_hidden=3, name="fc2")
    return mx.sym.SoftmaxOutput(x, name="softmax")


OFFSETS = 10 * 4  # of conv2: an int32 a filter
SHAPE = (2, 1, 28, 28)  # conv1 24x24, conv2 11x11, pool 5x5, fc1 reads 250


def symbol_shapes(symbol, shape=SHAPE):
    return dict(zip(symbol.list_arguments(), symbol.infer_shape(data=shape)[0]))


def is_trained_scale(name):
    """Of a quantizer: a parameter of the training graph, which is a scale and thresholds in the packed one."""
    return re.search("_act_gamma$|_weight_(gamma|positive|negative)$", name) is not None


def random_params(symbol, shape):
    rng = np.random.RandomState(0)
    _, _, aux_shapes = symbol.infer_shape(data=shape)
    args = {name: mx.nd.array(rng.normal(0, 1, s)) for name, s in symbol_shapes(symbol, shape).items()
            if name not in ("data", "softmax_label")}
    return args, {name: mx.nd.ones(s) for name, s in zip(symbol.list_auxiliary_states(), aux_shapes)}


def layer(result, name):
    return next(layer for layer in result.layers if layer.name == name)


def test_every_number_of_a_small_network():
    result = profile(lenet(), SHAPE)
    assert [(x.name, x.kind, x.act_bit, x.weight_bit, x.output_shape, x.params, x.macs, x.bytes_float, x.bytes_packed)
            for x in result.layers] == [
        ("conv1", "Convolution", 32, 32, (2, 20, 24, 24), {32: 520}, {32: 2 * 20 * 24 * 24 * 25}, 2080, 2080),
        ("bn1", "BatchNorm", None, None, (2, 20, 24, 24), {32: 80}, {}, 320, 320),
        ("qact", "QActivation", 1, None, (2, 20, 24, 24), {}, {}, 0, 0),
        ("conv2", "QConvolution", 1, 1, (2, 10, 11, 11), {1: 1800, 32: 10}, {1: 2 * 10 * 11 * 11 * 180}, 7240,
         10 * 9 * 8 + 40),
        ("pool", "Pooling", None, None, (2, 10, 5, 5), {}, {}, 0, 0),
        ("bn2", "BatchNorm", None, None, (2, 10, 5, 5), {32: 40}, {}, 160, 160),
        ("fc1", "QFullyConnected", 1, 1, (2, 7), {1: 1750}, {1: 2 * 1750}, 7000, 7 * 4 * 8),
        ("bn3", "BatchNorm", None, None, (2, 7), {32: 28}, {}, 112, 112),
        ("fc2", "FullyConnected", 32, 32, (2, 3), {32: 24}, {32: 2 * 21}, 96, 96),
        ("softmax", "SoftmaxOutput", None, None, (2, 3), {}, {}, 0, 0)]
    assert result.params == {1: 3550, 32: 702}
    assert result.macs == {1: 435600 + 3500, 32: 576000 + 42}
    assert result.bytes_float == 4 * (3550 + 702) == 17008
    assert result.bytes_packed == 2080 + 320 + 760 + 160 + 224 + 112 + 96 == 3752
    assert result.compression == 17008 / 3752
    assert result.input_shapes == {"data": SHAPE}


@pytest.mark.parametrize("options, bits, width, packed", [
    (dict(act_bit=2, weight_bit=3), (2, 3), 3, 3 * 720 + OFFSETS + 4 + 3 * 4 + 8),
    (dict(act_bit=4, weight_bit=1), (4, 1), 4, 720 + OFFSETS + 4 + 15 * 4 + 8),
    (dict(act_bit=1, weight_bit=32), (1, 32), 32, 7200),
    (dict(act_bit=32, weight_bit=1), (1, 1), 1, 720),  # reads the signs of its QActivation
    (dict(act_bit=32, weight_bit=32), (32, 32), 32, 7200),
    (dict(act_bit=9), (9, 1), 9, 7200), (dict(weight_bit=9), (1, 9), 9, 7200),
    (dict(act_bit=2, scaling="xnor"), (2, 1), 2, 7200),
    (dict(weight_quantizer="twn"), (1, 2), 2, 2 * 720 + OFFSETS + 4),
    (dict(weight_quantizer="ttq"), (1, 2), 2, 2 * (2 * 720 + OFFSETS + 4)),
    (dict(weight_quantizer="fixed(bits=3, fraction=1)"), (1, 3), 3, 4 * 720 + OFFSETS + 4),
    (dict(weight_quantizer="fixed(bits=3, fraction=1, narrow=True)"), (1, 3), 3, 3 * 720 + OFFSETS + 4),
    (dict(act_quantizer="isometric(levels=2)"), (2, 1), 2, 720 + 4 + 3 * 4 + 8),
    (dict(act_quantizer="rebnet(levels=3)"), (3, 1), 3, 720 + 3 * 4 + 7 * 4 + 8),
    (dict(act_quantizer="rebnet(levels=2)", weight_quantizer="ttq"), (2, 2), 2, 2 * 1440 + 4 * (OFFSETS + 4) + 20),
    (dict(scaling="layer"), (1, 1), 1, 724), (dict(scaling="filter"), (1, 1), 1, 760),
    (dict(act_bit=2, scaling="filter"), (2, 1), 2, 720 + OFFSETS + 4 + 3 * 4 + 8 + 40)])
def test_widths_and_scalings(options, bits, width, packed):
    conv2 = layer(profile(lenet(**options), SHAPE), "conv2")
    assert (conv2.act_bit, conv2.weight_bit) == bits
    counts = {}
    shapes = symbol_shapes(lenet(**options))
    trained = sum(np.prod(shape) for name, shape in shapes.items() if is_trained_scale(name))
    for key, count in ((bits[1], 1800), (32, 10 + trained)):
        counts[key] = counts.get(key, 0) + count
    assert conv2.params == counts
    assert conv2.macs == {width: 435600}
    assert conv2.bytes_packed == packed + 40


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


@needs_native
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


@needs_native
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


@needs_native
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_fused_network_does_the_same_work_in_the_bytes_it_stores(options):
    _, before, after, _ = packed_profiles(lenet(**options), SHAPE, is_fused=True)
    assert after.macs == before.macs and narrow_params(after.params) == narrow_params(before.params)


@needs_native
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


@needs_native
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


@needs_native
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


@needs_native
def test_weights_that_packed_and_float_layers_read_are_stored_twice():
    data, weight = mx.sym.Variable("data"), mx.sym.Variable("w", shape=(4, 6))
    parts = [qnn.sym.QFullyConnected(data, weight, num_hidden=4, act_bit=bits, name="q%d" % bits) for bits in (1, 2, 3)]
    parts.append(mx.sym.FullyConnected(data, weight, num_hidden=4, no_bias=True, name="f"))
    symbol = mx.sym.Group(parts)
    _, before, after, report = packed_profiles(symbol, (2, 6))
    assert before.params == {1: 24} and before.bytes_float == report.total_before == 96
    assert before.bytes_packed == after.bytes_packed == 2 * 4 * 8 + 96 + 2 * (16 + 4 + 8) + (3 + 7) * 4


@needs_native
@pytest.mark.parametrize("largest, planes", [(1, 1), (2, 2), (4, 3)])
def test_weights_of_fixed_point_take_the_planes_they_need(largest, planes):
    symbol = qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=2, name="f",
                                     weight_quantizer="fixed(bits=3, fraction=0)")

    def edit(args):
        args["f_weight"] = mx.nd.array([[0, -largest, 1]] * 2)
    _, before, after, _ = packed_profiles(symbol, (2, 3), edit=edit)
    assert before.bytes_packed == after.bytes_packed == (1 + planes) * 2 * 8 + 2 * 4 + 4
    assert profile(symbol, (2, 3)).bytes_packed == 4 * 2 * 8 + 2 * 4 + 4


@needs_native
def test_packed_fully_connected_without_flatten():
    symbol = qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=5, flatten=False, name="f")
    packed, args, _, _ = qnn.convert(symbol, {"f_weight": mx.nd.ones((5, 70))}, is_fused=False)
    f = profile(packed, (2, 3, 70), args).layers[-1]
    assert (f.params, f.macs, f.bytes_packed, f.output_shape) == ({1: 350}, {1: 6 * 350}, 5 * 2 * 8, (2, 3, 5))


def test_grouped_dilated_and_transposed_convolutions():
    x = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=8, num_group=4, dilate=(2, 2),
                           no_bias=True, name="a")
    x = mx.sym.Deconvolution(x, kernel=(2, 2), stride=(2, 2), num_filter=3, no_bias=True, name="b")
    a, b = profile(x, (1, 4, 9, 9)).layers
    assert (a.output_shape, a.params, a.macs) == ((1, 8, 5, 5), {32: 72}, {32: 8 * 25 * 9})
    assert (b.output_shape, b.params, b.macs) == ((1, 3, 10, 10), {32: 96}, {32: 8 * 25 * 3 * 4})


def test_depthwise_1_bit_layer_spends_a_word_per_tap():
    symbol = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=8, num_group=8, name="a")
    assert profile(symbol, (1, 8, 5, 5)).layers[0].bytes_packed == 8 * 9 * 8 > profile(symbol, (1, 8, 5, 5)).bytes_float


def test_one_dimensional_1_bit_layer_is_not_packed():
    symbol = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3,), num_filter=8, name="a")
    a = profile(symbol, (1, 4, 9)).layers[0]
    assert (a.params, a.macs, a.bytes_packed) == ({1: 96}, {1: 8 * 7 * 12}, 384)


def test_32_bit_q_layer_is_float():
    a = profile(qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=8, act_bit=32, weight_bit=32,
                                     no_bias=False, name="a"), (1, 4, 5, 5)).layers[0]
    assert (a.kind, a.params, a.macs, a.bytes_packed) == ("QConvolution", {32: 296}, {32: 8 * 9 * 36}, 296 * 4)


def test_shared_parameters_count_once():
    weight, data = mx.sym.Variable("w"), mx.sym.Variable("data")
    symbol = mx.sym.FullyConnected(data, weight, num_hidden=4, no_bias=True, name="a")
    symbol = symbol + mx.sym.FullyConnected(mx.sym.tanh(data), weight, num_hidden=4, no_bias=True, name="b")
    result = profile(symbol, (1, 6), {"arg:w": np.zeros((4, 6), "f")})
    assert result.params == {32: 24} and layer(result, "a").params == {32: 24} and layer(result, "b").params == {}
    assert result.macs == {32: 48}


def test_other_dtypes_have_their_width():
    weight = mx.sym.Variable("f_weight", dtype="float16")
    data = mx.sym.Variable("data", dtype="float16")
    symbol = mx.sym.FullyConnected(data, weight, num_hidden=4, no_bias=True, name="f")
    f = profile(symbol, (1, 6)).layers[0]
    assert (f.params, f.bytes_float, f.bytes_packed) == ({16: 24}, 96, 48)


def test_layers_of_one_name_and_several_outputs():
    x = mx.sym.SliceChannel(mx.sym.Variable("data"), num_outputs=2, name="same")
    symbol = mx.sym.FullyConnected(x[1], mx.sym.Variable("w", shape=(3, 0)), num_hidden=3, no_bias=True, name="same")
    result = profile(symbol, (1, 8), {"w": np.zeros((3, 4))})
    assert [x.output_shape for x in result.layers] == [(1, 4), (1, 3)]


def test_swapped_model_keeps_its_number_of_parameters():
    symbol = mx.gluon.model_zoo.vision.resnet18_v2(classes=10)(mx.sym.Variable("data"))
    before = profile(symbol, (1, 3, 64, 64))
    after = profile(qnn.swap(symbol)[0], (1, 3, 64, 64))
    assert sum(before.params.values()) == sum(after.params.values())
    assert sum(before.macs.values()) == sum(after.macs.values())
    assert before.compression == 1.0 and after.compression > 20
    assert not any(x.name.endswith(("_data", "_weight", "_bias")) for x in after.layers)


def test_block():
    net = mx.gluon.nn.HybridSequential(prefix="net_")
    with net.name_scope():
        net.add(qnn.gluon.QDense(8, in_units=64), mx.gluon.nn.BatchNorm(), mx.gluon.nn.Dense(2))
    result = profile(net, (4, 64))
    assert [(x.kind, x.params) for x in result.layers] == [
        ("QFullyConnected", {1: 512}), ("BatchNorm", {32: 32}), ("FullyConnected", {32: 18})]
    assert result.macs == {1: 4 * 512, 32: 4 * 16}


def test_block_with_two_inputs():
    class Sum(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, x, y):
            return x + y
    assert profile(Sum(), {"x": (2, 3), "y": (2, 3)}).layers[0].output_shape == (2, 3)


def test_shape_of_the_symbol_itself():
    symbol = mx.sym.FullyConnected(mx.sym.Variable("data", shape=(2, 5)), num_hidden=3)
    assert profile(symbol).input_shapes == {"data": (2, 5)}


def test_summary_prints_and_returns():
    printed = []
    result = qnn.summary(lenet(), SHAPE, print_fn=printed.append)
    assert printed == [str(result)]
    lines = printed[0].splitlines()
    assert lines[0].split()[:4] == ["layer", "kind", "bits", "output"]
    assert lines[5].split() == ["conv2", "QConvolution", "1/1", "2x10x11x11", "1,800", "10", "435,600", "7,240", "760"]
    assert lines[-1] == "4,252 parameters, 17,008 bytes as float32, 3,752 bytes packed: 4.5 times smaller"


def test_summary_prints_by_default(capsys):
    qnn.summary(mx.sym.tanh(mx.sym.Variable("data")), (1, 2))
    assert "0 parameters, 0 bytes as float32, 0 bytes packed: 1.0 times smaller" in capsys.readouterr().out


def test_dict_is_json():
    data = json.loads(json.dumps(profile(lenet(), SHAPE).to_dict()))
    assert data["params"] == {"1": 3550, "32": 702} and data["compression"] == 4.533
    assert data["layers"][3]["output_shape"] == [2, 10, 11, 11] and data["layers"][3]["macs"] == {"1": 435600}


@pytest.mark.parametrize("shape, sentence", [
    (None, "does not tell the shape of 'data'; give it as shape"),
    ({"image": SHAPE}, "no input is called 'image'; inputs: data"),
    ((2, 0, 28, 28), "shape of 'data' is a tuple of numbers above 0"), (("a",), "is a tuple of numbers above 0"),
    ((), "is a tuple of numbers above 0"),
    ((2, 1, 3, 3), "kernel size exceed")])
def test_bad_shapes(shape, sentence, capsys):
    with pytest.raises(ValueError) as error:
        profile(lenet(), shape)
    assert sentence in str(error.value) and "qnn_node" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_parameters_of_another_network():
    with pytest.raises(ValueError, match="conv1") as error:
        profile(lenet(), SHAPE, {"conv1_weight": np.zeros((20, 3, 5, 5))})
    assert "\n" not in str(error.value)


def test_not_a_network():
    with pytest.raises(ValueError, match="a Symbol or a HybridBlock is expected, got int"):
        profile(3)


# ---- command line ----------------------------------------------------------------------------------------------------


@pytest.fixture
def prefix(tmp_path):
    args, auxs = random_params(lenet(), SHAPE)
    mx.model.save_checkpoint(str(tmp_path / "lenet"), 3, lenet(), args, auxs)
    return str(tmp_path / "lenet")


def test_command_line(prefix, capsys):
    from qnn.cli import main
    assert main(["summary", prefix, "3", "--shape", "2,1,28,28"]) == 0
    assert capsys.readouterr().out == str(profile(lenet(), SHAPE)) + "\n"
    assert main(["summary", prefix, "3", "--shape", "2,1,28,28", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == profile(lenet(), SHAPE).to_dict()


@pytest.mark.parametrize("arguments, sentence", [
    (["4"], "No such file"), (["3"], "give it as shape"), (["3", "--shape", "big"], "--shape is N,C,H,W, got 'big'"),
    (["3", "--shape", "2,1,14"], "")])
def test_command_line_errors(prefix, capsys, arguments, sentence):
    from qnn.cli import main
    assert main(["summary", prefix, *arguments]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err and captured.err.count("\n") == 1 and captured.out == ""
