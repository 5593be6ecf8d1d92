"""qnn.summary: numbers computed by hand, and errors; packed networks: test_summary_packed.py."""
import json

import mxnet as mx
import numpy as np
import pytest
from summaries import OFFSETS, SHAPE, is_trained_scale, layer, lenet, random_params, symbol_shapes

import qnn
from qnn.summary import profile


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
