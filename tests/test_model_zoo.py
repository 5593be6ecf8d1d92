"""Architectures of the zoo: published parameter counts and sizes, nothing left unpacked, packed = trained."""
import mxnet as mx
import numpy as np
import pytest
from nets import calibrated
from qnn.converter.convert import run_passes
from qnn.model_zoo import get_model, get_symbol
from qnn.model_zoo.architectures import ARCHITECTURES
from qnn.model_zoo.vgg import binarynet_vgg

import qnn
from qnn.graph import Graph
from qnn.inference import Model

FLOAT = dict(act_bit=32, weight_bit=32)
TABLES = sorted(name for name in ARCHITECTURES if name.startswith("lut_"))
QUANTIZED = sorted(set(ARCHITECTURES) - {"lenet", "mlp"} - set(TABLES))
WITHOUT_STEM = {"lfc", "sfc", "cnv", "residual_mlp"}
MB = 1e6


def ones(symbol, shape):
    """Parameters of the right shapes; what a network weighs does not depend on their values."""
    arg_shapes, _, aux_shapes = symbol.infer_shape(data=shape)
    args = {name: np.ones(size, np.float32) for name, size in zip(symbol.list_arguments(), arg_shapes)
            if name != "data" and not name.endswith("label")}
    return args, {name: np.ones(size, np.float32) for name, size in zip(symbol.list_auxiliary_states(), aux_shapes)}


def packed(name, **arguments):
    symbol = get_symbol(name, **arguments)
    size = arguments.get("image_size")
    shape = (1,) + ((3, size, size) if size else ARCHITECTURES[name].data_shape)
    return run_passes(Graph.from_json(symbol.tojson()), *ones(symbol, shape))


def count(arrays):
    return sum(array.size for array in arrays.values())


# ---- published figures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, published, has_statistics", [
    ("bi_realnet18", 11699112, True), ("resnet_e18", 11699368, True), ("binary_densenet28", 5150504, True),
    ("binary_densenet37", 8734120, True), ("binary_densenet45", 13939240, True), ("meliusnet22", 6944584, False),
    ("quicknet_small", 12655688, False)])
def test_parameters_are_as_many_as_larq_publishes(name, published, has_statistics):
    """larq counts the moving mean and variance of BatchNorms in its older tables only."""
    symbol = get_symbol(name)
    args, auxs = ones(symbol, (1, 3, 224, 224))
    assert count(args) + has_statistics * count(auxs) == published


@pytest.mark.parametrize("fp_stages, megabytes", [
    ((), 3.6), ((1,), 4.1), ((2,), 5.6), ((3,), 11.3), ((4,), 36), ((1, 2), 6.2)])
def test_sizes_of_the_papers_imagenet_table(fp_stages, megabytes):
    """Within 4 %: BMXNet's files store BatchNorms unfolded, and its authors rounded by hand."""
    assert packed("resnet18", fp_stages=fp_stages).report.total_after == pytest.approx(megabytes * MB, rel=0.04)


def test_sizes_of_the_papers_cifar_and_mnist_tables():
    report = packed("resnet18", num_classes=10, image_size=32).report
    assert report.total_before == pytest.approx(44.7 * MB, rel=0.01) and report.total_after < 1.5 * MB
    assert report.total_before / report.total_after > 29
    assert packed("binary_lenet").report.total_after < 206e3


@pytest.mark.parametrize("name", QUANTIZED)
def test_every_quantized_layer_is_packed(name):
    """What stays float was made so: stem, classifier, 1x1 convolutions of shortcuts and transitions."""
    report = packed(name).report
    assert all(not row.why for row in report.rows if row.kind.startswith("Q"))
    left = [row.layer for row in report.rows if row.why]
    assert left or name in WITHOUT_STEM
    allowed = ("conv0", "fc1", "_sc", "transition") if name not in ("binary_lenet", "digits", "binarynet_vgg") else (
        "conv1", "fc2")
    assert all(any(word in layer for word in allowed) for layer in left), left
    assert sum(row.kind.startswith("Q") for row in report.rows) >= 2


@pytest.mark.parametrize("name", sorted({*TABLES} - {"lut_cnn", "lut_cifar10_cnn"}))
def test_table_networks_are_one_packed_operator(name):
    """Those with convolutions: test_load_lut_images.py."""
    operators = [node.op for node in packed(name).graph.nodes() if node.op.startswith("_qnn")]
    assert operators == ["_qnn_lut_network"]


@pytest.mark.parametrize("name", TABLES)
def test_table_networks_are_blocks_too(name):
    block = get_model(name)
    block.initialize(mx.init.Xavier())
    assert block(mx.nd.ones((2,) + ARCHITECTURES[name].data_shape)).shape == (2, 10)


# ---- numbers ---------------------------------------------------------------------------------------------------------

SMALL = {**dict.fromkeys(("bi_realnet18", "resnet_e18", "binary_densenet28", "meliusnet22", "quicknet_small"),
                         {"num_classes": 7}),
         "resnet18": {"num_classes": 10, "image_size": 32}, "binarynet_vgg": {"width": 0.125}, "digits": {},
         "binary_lenet": {}}


def small_data(name):
    channels, size, _ = ARCHITECTURES[name].data_shape
    size = SMALL[name].get("image_size", min(size, 64))
    return np.random.RandomState(0).randn(2, channels, size, size).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SMALL))
def test_packed_fused_and_trained_agree(name):
    agree(get_symbol(name, **SMALL[name]), small_data(name))


def test_float_twin_is_left_as_it_is():
    agree(get_symbol("binarynet_vgg", width=0.0625, **FLOAT), small_data("binarynet_vgg"))


def test_vgg_packed_fused_and_trained_agree():
    agree(binarynet_vgg(width=0.0625), small_data("binarynet_vgg"))


def test_partially_binarized_resnet_agrees():
    agree(get_symbol("resnet18", num_classes=5, fp_stages=(2,)), small_data("bi_realnet18")[:1])


def agree(symbol, data):
    """Of scores: a softmax of random ones is 0 and 1."""
    symbol = symbol.get_children()[0]
    args, auxs = calibrated(symbol, data)
    expected = Model(symbol, args, auxs).predict(data)
    assert expected.shape[1] > 3 and len(np.unique(expected)) > 3
    for is_fused in (True, False):
        model = run_passes(Graph.from_json(symbol.tojson()), args, auxs, is_fused)
        got = Model(mx.sym.load_json(model.graph.to_json()), *model.used_params())
        np.testing.assert_array_equal(got.predict(data), expected)


@pytest.mark.parametrize("name", sorted(set(QUANTIZED) - WITHOUT_STEM - {"digits", "binary_lenet"}))
def test_float_twins_have_the_same_parameters_and_no_q_layers(name):
    binary, plain = get_symbol(name), get_symbol(name, **FLOAT)
    assert binary.list_arguments() == plain.list_arguments()
    assert not any("__qnn_op__" in node.attrs for node in Graph.from_json(plain.tojson()).nodes())


def test_k_bit_networks_are_built():
    marks = [node.attrs for node in Graph.from_json(get_symbol("resnet18", act_bit=2, weight_bit=4).tojson()).nodes()]
    assert {(m["__qnn_act_bit__"], m.get("__qnn_weight_bit__")) for m in marks if "__qnn_op__" in m} == {
        ("2", "4"), ("2", None)}


def test_float_stages_are_float():
    nodes = Graph.from_json(get_symbol("resnet18", fp_stages=(1, 3)).tojson()).nodes()
    stages = {node.name[:6] for node in nodes if node.attrs.get("__qnn_op__") == "QConvolution"}
    assert stages == {"stage2", "stage4"}


# ---- gluon, arguments ------------------------------------------------------------------------------------------------


def test_block_trains_in_gluon():
    block = get_model("binarynet_vgg", width=0.0625)
    block.initialize(mx.init.Xavier())
    trainer = mx.gluon.Trainer(block.collect_params(), "adam")
    data, label = mx.nd.array(small_data("binarynet_vgg")), mx.nd.array([1, 2])
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    with mx.autograd.record():
        value = loss(block(data), label)
    value.backward()
    weight = block.collect_params()["conv2_weight"]
    before = weight.data().asnumpy()
    trainer.step(2)
    assert np.abs(weight.data().asnumpy() - before).max() > 0 and np.isfinite(value.asnumpy()).all()


def test_blur_is_initialised_and_stays():
    symbol = get_symbol("quicknet_small", num_classes=3, image_size=32)
    module = mx.mod.Module(symbol)
    module.bind([("data", (2, 3, 32, 32))], [("softmax_label", (2,))])
    module.init_params(mx.init.Xavier())
    module.init_optimizer(optimizer="sgd", optimizer_params={"learning_rate": 1.0, "wd": 0.1})
    batch = mx.io.DataBatch([mx.nd.array(np.random.RandomState(0).randn(2, 3, 32, 32))], [mx.nd.array([0, 1])])
    module.forward_backward(batch)
    module.update()
    blur = module.get_params()[0]["transition1_blur_weight"].asnumpy()
    np.testing.assert_array_equal(blur, np.tile(np.outer([1, 2, 1], [1, 2, 1]) / 16, (32, 1, 1, 1)))


@pytest.mark.parametrize("name, arguments, match", [
    ("resnet19", {}, "unknown architecture 'resnet19'; known: bi_realnet18"),
    ("resnet18", {"widht": 1}, "resnet18: unknown argument 'widht'; known: num_classes, act_bit"),
    ("resnet_e18", {"num_layers": 34}, "unknown argument 'num_layers'"),
    ("resnet18", {"fp_stages": (0,)}, "fp_stages are numbers from 1 to 4, got 0"),
    ("binarynet_vgg", {"width": 0}, "width is a number above 0, got 0")])
def test_wrong_arguments(name, arguments, match):
    with pytest.raises(ValueError, match=match):
        get_symbol(name, **arguments)


def test_wrong_depths():
    from qnn.model_zoo import densenet, meliusnet, resnet_e
    for build in (densenet.binary_densenet, meliusnet.meliusnet, resnet_e.resnet_e):
        with pytest.raises(ValueError, match="num_layers is one of .*, got 99"):
            build(99)


def test_macs_of_the_binary_resnet():
    macs = qnn.summary(get_symbol("resnet18"), (1, 3, 224, 224), print_fn=lambda text: None).macs
    assert macs[1] > 10 * macs[32]


def test_signs_of_bi_realnet_have_the_gradient_of_its_paper():
    """dq/dx = 2 - 2|x|, which is 2 at 0 where the straight-through estimator has 1; in float there is none."""
    symbol, plain = (get_symbol("bi_realnet18", num_classes=5, image_size=32, act_bit=bit, weight_bit=bit)
                     for bit in (1, 32))
    assert symbol.tojson().count("approx_sign") >= 16 and "approx_sign" not in plain.tojson()
