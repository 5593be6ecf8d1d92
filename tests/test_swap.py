"""qnn.swap: names and parameters stay, every family of MXNet's model zoo trains."""
import json

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon.model_zoo import vision

import qnn
from qnn.graph import Graph

WITHOUT_BATCHNORM = dict(no_offset=True, scaling="filter")
ZOO = [  # model, side of the picture, layers, options
    ("resnet18_v1", 64, 21, {}), ("resnet18_v2", 64, 21, {}), ("vgg11_bn", 32, 11, dict(WITHOUT_BATCHNORM)),
    ("mobilenet0.25", 64, 28, {}), ("mobilenetv2_0.25", 64, 54, {}), ("squeezenet1.0", 224, 26, WITHOUT_BATCHNORM),
    ("densenet121", 224, 121, {}), ("inceptionv3", 299, 95, {}), ("alexnet", 79, 8, WITHOUT_BATCHNORM)]
MODELS = [row[0] for row in ZOO]


def zoo_symbol(model):
    return vision.get_model(model, classes=10)(mx.sym.Variable("data"))


def random_params(symbol, shape):
    """Initial values that keep the signal's size from layer to layer, and its mean near 0."""
    rng = np.random.RandomState(0)
    arg_shapes, _, aux_shapes = symbol.infer_shape(data=shape)
    args = {name: rng.normal(0, (2.0 / max(1, np.prod(s[1:]))) ** 0.5, s) if len(s) > 1
            else rng.normal(name.endswith("_gamma"), 0.1, s) for name, s in zip(symbol.list_arguments(), arg_shapes)}
    auxs = {name: rng.uniform(0.5, 1.5, s) for name, s in zip(symbol.list_auxiliary_states(), aux_shapes)}
    args["data"] = rng.normal(0, 1, shape)
    return [{name: mx.nd.array(value) for name, value in params.items()} for params in (args, auxs)]


def conv(data, name, **options):
    return mx.sym.Convolution(data, kernel=(3, 3), num_filter=8, pad=(1, 1), name=name, **options)


def run(symbol, args, auxs, grad_req="null", is_train=False):
    executor = symbol.simple_bind(mx.cpu(), grad_req=grad_req, data=args["data"].shape)
    executor.copy_params_from(args, auxs)
    outputs = executor.forward(is_train=is_train)
    return executor, outputs[0].asnumpy()


# ---- the model zoo ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model, side, num_layers, options", ZOO, ids=MODELS)
def test_zoo_model_trains_after_swap(model, side, num_layers, options):
    symbol = zoo_symbol(model)
    before = symbol.tojson()
    swapped, report = qnn.swap(symbol, **options)
    assert symbol.tojson() == before
    assert len(report.rows) == num_layers
    assert len(report.replaced) == num_layers - 2
    assert swapped.list_arguments() == symbol.list_arguments()
    assert swapped.list_auxiliary_states() == symbol.list_auxiliary_states()
    assert swapped.list_outputs() == symbol.list_outputs()
    shape = (2, 3, side, side)
    assert swapped.infer_shape(data=shape) == symbol.infer_shape(data=shape)

    args, auxs = random_params(symbol, shape)  # a float checkpoint
    executor, output = run(swapped, args, auxs, grad_req="write", is_train=True)
    executor.backward(mx.nd.array(np.random.RandomState(1).normal(0, 1, output.shape)))
    gradients = {name: array.asnumpy() for name, array in executor.grad_dict.items()}
    assert np.isfinite(output).all()
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())
    first = next(name for name in symbol.list_arguments() if name.endswith("_weight"))
    assert np.abs(gradients[first]).max() > 0


@pytest.mark.parametrize("model", MODELS)
def test_swap_again_changes_nothing(model):
    once, _ = qnn.swap(zoo_symbol(model))
    twice, report = qnn.swap(once, act_bit=2)
    assert twice.tojson() == once.tojson()
    assert report.replaced == []
    assert {row.why for row in report.rows} == {"skip: first", "skip: last", "already quantized"}
    assert {(row.act_bit, row.weight_bit) for row in report.rows if row.kind.startswith("Q")} == {(1, 1)}


@pytest.mark.parametrize("model, relus", [
    ("resnet18_v2", 17), ("vgg11_bn", 10), ("mobilenet0.25", 27), ("inceptionv3", 94), ("densenet121", 121),
    ("squeezenet1.0", 26), ("mobilenetv2_0.25", 36)])
def test_zoo_layers_read_no_relu(model, relus):
    """Concat of branches, pooling and shared ReLUs included; the ReLUs around first and last layer stay."""
    _, report = qnn.swap(zoo_symbol(model), **WITHOUT_BATCHNORM)
    assert report.warnings == []
    assert relus - 8 < len(report.removed_relus) < relus


def test_32_bits_are_the_original():
    symbol = zoo_symbol("resnet18_v1")
    swapped, report = qnn.swap(symbol, act_bit=32, weight_bit=32, skip=())
    args, auxs = random_params(symbol, (2, 3, 64, 64))
    np.testing.assert_array_equal(run(swapped, args, auxs)[1], run(symbol, args, auxs)[1])
    assert {row.why for row in report.rows} == {"32/32 bits is the float layer itself"}


@pytest.mark.parametrize("act_bit, weight_bit", [(1, 32), (32, 1), (4, 2), (2, 1), (1, 3)])
def test_other_widths_train(act_bit, weight_bit):
    net = mx.sym.BatchNorm(conv(mx.sym.BatchNorm(conv(mx.sym.Variable("data"), "a")), "b"))
    swapped, report = qnn.swap(net, act_bit, weight_bit, skip="first")
    args, auxs = random_params(net, (2, 3, 8, 8))
    executor, output = run(swapped, args, auxs, grad_req="write", is_train=True)
    executor.backward(mx.nd.array(np.random.RandomState(1).normal(0, 1, output.shape)))
    assert np.abs(executor.grad_dict["a_weight"].asnumpy()).max() > 0
    assert [(row.act_bit, row.weight_bit) for row in report.rows] == [(32, 32), (act_bit, weight_bit)]


def test_float_checkpoint_loads_into_module(tmp_path):
    data = mx.sym.Variable("data")
    net = mx.sym.FullyConnected(mx.sym.BatchNorm(conv(data, "a")), num_hidden=5, name="f")
    net = mx.sym.SoftmaxOutput(net, name="softmax")
    module = mx.mod.Module(net)
    module.bind([("data", (2, 3, 8, 8))], [("softmax_label", (2,))])
    module.init_params()
    module.save_checkpoint(str(tmp_path / "float"), 1)
    _, args, auxs = mx.model.load_checkpoint(str(tmp_path / "float"), 1)
    swapped, _ = qnn.swap(net, skip=())
    module = mx.mod.Module(swapped)
    module.bind([("data", (2, 3, 8, 8))], [("softmax_label", (2,))])
    module.set_params(args, auxs)
    assert set(module.get_params()[0]) == set(args)


def test_values_are_those_of_the_definition():
    rng = np.random.RandomState(0)
    x, w, b = (rng.normal(0, 1, shape).astype("f") for shape in [(2, 3, 6, 6), (8, 3, 3, 3), (8,)])
    swapped, _ = qnn.swap(conv(mx.sym.Variable("data"), "a"), skip=(), pad_value=-1, no_offset=True)
    args = {"data": mx.nd.array(x), "a_weight": mx.nd.array(w), "a_bias": mx.nd.array(b)}
    expected = qnn.reference.q_convolution(x, w, b, pad=(1, 1), pad_value=-1, no_offset=True)
    np.testing.assert_array_equal(run(swapped, args, {})[1], expected)


def test_small_window_leaves_gradients():
    """grad_clip < 1: the layer's own window must not see quantized values, which lie outside it."""
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, name="f", no_bias=True)
    swapped, _ = qnn.swap(net, skip=(), grad_clip=0.5)
    x = np.array([[0.25, 0.75, -0.5]], "f")
    args = {"data": mx.nd.array(x), "f_weight": mx.nd.array(np.full((4, 3), 0.1))}
    executor, _ = run(swapped, args, {}, grad_req="write", is_train=True)
    executor.backward(mx.nd.ones((1, 4)))
    np.testing.assert_array_equal(executor.grad_dict["data"].asnumpy(), [[2, 0, 2]])


# ---- which layers ----------------------------------------------------------------------------------------------------


def small_net():
    x = mx.sym.BatchNorm(conv(mx.sym.Variable("data"), "first_conv"))
    x = mx.sym.BatchNorm(mx.sym.Convolution(x, kernel=(3, 3), num_filter=8, num_group=8, name="stage1_dw"))
    x = mx.sym.BatchNorm(mx.sym.Convolution(x, kernel=(1, 1), num_filter=16, name="stage1_pw"))
    x = mx.sym.BatchNorm(mx.sym.Convolution(x, kernel=(3, 3), num_filter=16, num_group=2, name="stage2_grouped"))
    return mx.sym.FullyConnected(x, num_hidden=4, name="head")


@pytest.mark.parametrize("skip, only, replaced", [
    (("first", "last"), None, ["stage1_dw", "stage1_pw", "stage2_grouped"]),
    ((), None, ["first_conv", "stage1_dw", "stage1_pw", "stage2_grouped", "head"]),
    (None, "stage1_*", ["stage1_dw", "stage1_pw"]),
    (["depthwise"], None, ["first_conv", "stage1_pw", "stage2_grouped", "head"]),
    ("1x1", ("stage?_*", "last"), ["stage1_dw", "stage2_grouped", "head"]),
    ("*", None, [])])
def test_skip_and_only(skip, only, replaced):
    assert qnn.swap(small_net(), skip=skip, only=only)[1].replaced == replaced


def test_depthwise_with_two_filters_per_channel_is_told_by_its_shape():
    x = mx.sym.Variable("w", shape=(16, 1, 3, 3))
    net = mx.sym.Convolution(mx.sym.Variable("data"), x, kernel=(3, 3), num_filter=16, num_group=8, no_bias=True,
                             name="a")
    assert qnn.swap(net, skip="depthwise")[1].kept == ["a"]


def test_layers_without_quantized_form_are_kept():
    x = mx.sym.Variable("data")
    x = mx.sym.Deconvolution(x, kernel=(2, 2), num_filter=4, name="deconv")
    x = mx.sym.Convolution(x, mx.sym.abs(mx.sym.Variable("w"), name="w_abs"), kernel=(1, 1), num_filter=4, no_bias=True,
                           name="computed")
    x = mx.sym.Convolution(x, kernel=(1, 1), num_filter=4, layout="NHWC", name="nhwc")
    half = mx.sym.Variable("h", dtype="float16")
    x = mx.sym.Convolution(x, half, kernel=(1, 1), num_filter=4, no_bias=True, name="half")
    swapped, report = qnn.swap(x, skip=())
    assert {row.layer: row.why for row in report.rows} == {
        "deconv": "Deconvolution has no quantized form", "computed": "its weight is computed by abs 'w_abs'",
        "nhwc": "layout NHWC; quantized layers take NCHW", "half": "its weight is not float32"}
    assert swapped.tojson() == x.tojson()
    assert report.warnings == ["no layer was replaced"]


@pytest.mark.parametrize("kernel, shape", [((3,), (2, 4, 9)), ((3, 3, 3), (1, 4, 5, 5, 5))])
def test_one_and_three_dimensional_layers(kernel, shape):
    net = mx.sym.Convolution(mx.sym.Variable("data"), kernel=kernel, num_filter=6, pad=(1,) * len(kernel), name="a")
    swapped, report = qnn.swap(net, skip=())
    assert report.replaced == ["a"]
    args, auxs = random_params(net, shape)
    assert run(swapped, args, auxs)[1].shape == net.infer_shape(data=shape)[1][0]


# ---- the graph around ------------------------------------------------------------------------------------------------


def test_attributes_stay():
    with mx.AttrScope(ctx_group="stage1"):
        weight = mx.sym.Variable("a_weight", lr_mult=0.1, init=mx.init.One())
        net = conv(mx.sym.Variable("data"), "a", weight=weight, attr={"__note__": "x"})
    attributes = qnn.swap(net, skip=())[0].attr_dict()
    for node in ("a", "a_qactivation", "a_qactivation_data_in"):
        assert attributes[node]["__ctx_group__"] == "stage1"
    assert attributes["a"]["__note__"] == "x"
    assert attributes["a_weight"]["__lr_mult__"] == "0.1"
    assert attributes["a_weight"]["__init__"] == weight.attr("__init__")


def test_names_do_not_depend_on_scopes():
    with mx.name.Prefix("x_"):
        swapped, _ = qnn.swap(small_net(), skip=())
    assert "x_x_first_conv_output" not in swapped.get_internals().list_outputs()


def test_heads_and_bias_stay():
    a = conv(mx.sym.Variable("data"), "a", no_bias=True)
    net = mx.sym.Group([mx.sym.FullyConnected(a, num_hidden=3, flatten=False, name="b"), a])
    swapped, _ = qnn.swap(net, skip=())
    assert swapped.list_outputs() == net.list_outputs()
    assert swapped.list_arguments() == ["data", "a_weight", "b_weight", "b_bias"]
    assert swapped.infer_shape(data=(2, 3, 8, 8)) == net.infer_shape(data=(2, 3, 8, 8))


def test_shared_weight_stays_shared():
    weight, data = mx.sym.Variable("w"), mx.sym.Variable("data")
    net = conv(data, "a", weight=weight, no_bias=True) + conv(mx.sym.tanh(data), "b", weight=weight, no_bias=True)
    assert qnn.swap(net, skip=())[0].list_arguments() == ["data", "w"]


def test_graph_of_an_old_file_is_brought_up_to_date():
    graph = Graph.from_json(small_net().tojson())
    graph.version = 800
    graph.find("stage1_pw").attrs["ctx_group"] = "g"
    assert qnn.swap(graph)[0].attr_dict()["stage1_pw"]["__ctx_group__"] == "g"


def test_layers_in_control_flow_are_mentioned():
    def body(x, state):
        return mx.sym.FullyConnected(x, num_hidden=2, name="inner"), state
    out, _ = mx.sym.contrib.foreach(body, mx.sym.Variable("data"), [mx.sym.Variable("s")], name="loop")
    report = qnn.swap(mx.sym.FullyConnected(out, num_hidden=3, name="outer"), skip=())[1]
    assert report.replaced == ["outer"]
    assert any("control flow of '_foreach" in warning for warning in report.warnings)


# ---- report and errors -----------------------------------------------------------------------------------------------


def test_report_is_data_and_table():
    report = qnn.swap(small_net(), act_bit=2)[1]
    data = json.loads(json.dumps(report.to_dict()))
    assert data["rows"][0] == {"layer": "first_conv", "kind": "Convolution", "action": "kept", "why": "skip: first",
                               "act_bit": 32, "weight_bit": 32}
    assert data["rows"][1]["action"] == "replaced" and data["rows"][1]["act_bit"] == 2
    text = str(report)
    assert "stage1_dw       Convolution     replaced  2/1" in text and "3 replaced, 2 kept" in text
    assert not any(line != line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("arguments, sentence", [
    (dict(skip=["frist"]), "no layer is called 'frist'; words: first, last, depthwise, 1x1; layers: first_conv"),
    (dict(only="nothing*"), "no layer is called 'nothing*'"),
    (dict(act_bit=0), "act_bit is 1..32, got 0"),
    (dict(weight_bit="two"), "weight_bit is 1..32, got 'two'"),
    (dict(pad_value=2), "pad_value is -1, 0 or 1, got 2"),
    (dict(padvalue=1), "unknown argument 'padvalue'; known: act_bit"),
    (dict(relu="remove"), "relu is 'drop' or 'keep', got 'remove'")])
def test_errors(arguments, sentence):
    with pytest.raises(ValueError) as error:
        qnn.swap(small_net(), **arguments)
    assert sentence in str(error.value)


def test_block_instead_of_symbol():
    with pytest.raises(ValueError, match="got HybridSequential; of a HybridBlock take"):
        qnn.swap(mx.gluon.nn.HybridSequential())


# ---- command line ----------------------------------------------------------------------------------------------------


def test_command_line(tmp_path, capsys):
    from qnn.cli import main
    source, target = tmp_path / "a-symbol.json", tmp_path / "b-symbol.json"
    small_net().save(str(source))
    assert main(["swap", str(source), "-o", str(target), "--skip", "first", "--act-bit", "2"]) == 0
    assert "4 replaced, 1 kept" in capsys.readouterr().out
    assert mx.sym.load(str(target)).tojson().count('"__qnn_op__": "QConvolution"') == 3
    assert main(["swap", str(source), "-o", str(target), "--skip", "--no-offset", "--pad-value", "-1", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 5
    node = Graph.load(str(target)).find("stage1_dw")
    assert node.attrs["__qnn_pad_value__"] == "-1" and node.attrs["__qnn_no_offset__"] == "True"


@pytest.mark.parametrize("content, sentence", [(None, "No such file"), ("{}", "not an MXNet symbol")])
def test_command_line_errors(tmp_path, capsys, content, sentence):
    from qnn.cli import main
    source = tmp_path / "a-symbol.json"
    if content is not None:
        source.write_text(content)
    assert main(["swap", str(source), "-o", str(tmp_path / "b.json")]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err and captured.out == "" and captured.err.count("\n") == 1
    assert not (tmp_path / "b.json").exists()
