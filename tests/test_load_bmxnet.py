"""BMXNet v1 models: the published files meet their golden logits, and files of every known layout are read alike."""
import json

import mxnet as mx
import numpy as np
import pytest
from nets import bias_last, run
from qnn.converter import convert_checkpoint
from qnn.converter.convert import load_source

import qnn
from qnn import files
from qnn.graph import Graph
from qnn.inference import Model

PUBLISHED = [("binarized_mnist_64bit", 1), ("binarized_mnist_32bit", 1), ("binarized_cifar10-resnet18-64bit", 0),
             ("binarized_imagenet-resnet18-64bit", 40)]


def logits(model):
    """The model without its softmax."""
    internals = model.symbol.get_internals()
    model.symbol = internals[[name for name in internals.list_outputs() if name.endswith("_output")][-2]]
    model.labels = []
    return model


@pytest.mark.parametrize("name, epoch", PUBLISHED)
def test_golden_logits(name, epoch, data_root, tmp_path):
    golden = np.load(data_root / "bmxnet" / ("golden_%s.npz" % name))
    data = golden["data"] if "data" in golden else np.random.RandomState(7).randint(0, 256, (2, 3, 224, 224))
    out = str(tmp_path / "out")
    report = convert_checkpoint(str(data_root / "bmxnet" / name), epoch, out, "bmxnet")
    assert all(row.bytes_before == 32 * row.bytes_after for row in report.rows if row.kind.startswith("Q"))
    model = logits(qnn.load(out, epoch))
    model.symbol = bias_last(model.symbol)  # where the logits were made
    got = model.predict(data.astype(np.float32))
    np.testing.assert_allclose(got, golden["logits"], rtol=0, atol=1e-3)
    np.testing.assert_array_equal(got.argmax(1), golden["logits"].argmax(1))


@pytest.mark.parametrize("name, epoch", PUBLISHED)
def test_packed_logits_are_those_of_the_float_graph(name, epoch, data_root, tmp_path):
    """On this machine, to the last bit, however it rounds."""
    golden = np.load(data_root / "bmxnet" / ("golden_%s.npz" % name))
    data = golden["data"] if "data" in golden else np.random.RandomState(7).randint(0, 256, (2, 3, 224, 224))
    out = str(tmp_path / "out")
    convert_checkpoint(str(data_root / "bmxnet" / name), epoch, out, "bmxnet")
    graph, params, auxs = load_source(str(data_root / "bmxnet" / name), epoch, "bmxnet")
    plain = Model(mx.sym.load_json(graph.to_json()), params, auxs)
    packed, trained = (logits(model).predict(data.astype(np.float32)) for model in (qnn.load(out, epoch), plain))
    np.testing.assert_array_equal(packed, trained)


# ---- files made here, in every layout --------------------------------------------------------------------------------


def small_symbol(attr_key, is_packed):
    """BMXNet's own JSON: QActivation(backward_only) - QConvolution - QFullyConnected, attributes on variables too."""
    def node(op, name, inputs, **attrs):
        item = {"op": op, "name": name, "inputs": inputs}
        return {**item, attr_key: attrs} if attrs else item
    packed = {"binarized_weights_only": "True"} if is_packed else {}
    nodes = [node("null", "data", []), node("QActivation", "qact", [[0, 0, 0]], act_bit="1", backward_only="True"),
             node("null", "conv_weight", [], act_bit="1", kernel="(3, 3)", num_filter="5"),
             node("QConvolution", "conv", [[1, 0, 0], [2, 0, 0]], act_bit="1", kernel="(3, 3)", num_filter="5",
                  pad="(1, 1)", stride="(2, 2)", workspace="256", **packed),
             node("null", "fc_weight", []), node("QFullyConnected", "fc", [[3, 0, 0], [4, 0, 0]], act_bit="1",
                                                 num_hidden="7", **packed)]
    return {"nodes": nodes, "arg_nodes": [0, 2, 4], "heads": [[5, 0, 0]], "attrs": {"mxnet_version": ["int", 903]}}


def pack_like_bmxnet(weight, word_bits):
    """conv: the flat weights; fully connected: word[y * num_hidden + o]. Containers are floats of the word's size."""
    bits = (weight.reshape(len(weight), -1) >= 0)
    words = np.packbits(bits, axis=1, bitorder="little").view("<u%d" % (word_bits // 8))
    words = words if weight.ndim == 4 else words.T
    return np.ascontiguousarray(words).view("<f%d" % (word_bits // 8))


def write(prefix, symbol, params):
    open("%s-symbol.json" % prefix, "w").write(json.dumps(symbol))
    files.write_atomically({"%s-0000.params" % prefix: files.dump_params({"arg:" + k: v for k, v in params.items()})})


@pytest.fixture
def weights():
    random = np.random.RandomState(3)  # 64 channels of 4x4 and 5 * 4 * 4 * ... inputs: both divide into 64-bit words
    return {"conv_weight": random.randn(5, 64, 3, 3).astype(np.float32),
            "fc_weight": random.randn(7, 320).astype(np.float32)}


DATA = np.random.RandomState(4).randn(3, 64, 16, 16).astype(np.float32)


def expected_output(weights):
    out = qnn.reference.q_convolution(DATA, weights["conv_weight"], stride=(2, 2), pad=(1, 1))
    return qnn.reference.q_fully_connected(out.reshape(len(out), -1), weights["fc_weight"])


@pytest.mark.parametrize("attr_key", ["attr", "attrs", "param"])
@pytest.mark.parametrize("word_bits", [32, 64])
@pytest.mark.parametrize("is_flat", [True, False])
def test_packed_layouts(attr_key, word_bits, is_flat, weights, tmp_path):
    prefix = str(tmp_path / "net")
    packed = {name: pack_like_bmxnet(value, word_bits) for name, value in weights.items()}
    if is_flat:
        packed = {name: value.ravel() for name, value in packed.items()}
    else:
        packed["conv_weight"] = packed["conv_weight"].reshape(5, 64 // word_bits, 3, 3)
    write(prefix, small_symbol(attr_key, True), packed)
    convert_checkpoint(prefix, 0, str(tmp_path / "out"), "bmxnet")
    np.testing.assert_array_equal(qnn.load(str(tmp_path / "out"), 0).predict(DATA), expected_output(weights))


def test_unpacked_models_convert_too(weights, tmp_path):
    prefix = str(tmp_path / "net")
    write(prefix, small_symbol("attrs", False), weights)
    graph, args, _ = load_source(prefix, 0, "bmxnet")
    np.testing.assert_array_equal(run(mx.sym.load_json(graph.to_json()), DATA, args), expected_output(weights))
    report = convert_checkpoint(prefix, 0, str(tmp_path / "out"), "bmxnet")
    assert [row.why for row in report.rows] == ["", ""]
    np.testing.assert_array_equal(qnn.load(str(tmp_path / "out"), 0).predict(DATA), expected_output(weights))


def test_signaling_nan_patterns_survive():
    """Words live in float arrays; all bit patterns must pass, also those that float arithmetic would quieten."""
    words = np.array([0x7FF0000000000001, 0xFFF4000000000000, 0x8000000000000000, 1], np.uint64)
    stored = files.dump_params({"arg:w": words.view(np.float64)})
    reader = files._Reader(stored)
    reader.take(24)
    np.testing.assert_array_equal(reader.array().view(np.uint64), words)


# ---- damaged files ---------------------------------------------------------------------------------------------------


def convert_damaged(tmp_path, symbol, params, match):
    prefix = str(tmp_path / "net")
    write(prefix, symbol, params)
    with pytest.raises(ValueError, match=match):
        convert_checkpoint(prefix, 0, str(tmp_path / "out"), "bmxnet")
    assert not list(tmp_path.glob("out*")) and not list(tmp_path.glob(".out*"))


def test_missing_parameter(weights, tmp_path):
    params = {"conv_weight": pack_like_bmxnet(weights["conv_weight"], 64)}
    convert_damaged(tmp_path, small_symbol("attrs", True), params,
                    "QFullyConnected 'fc': parameter fc_weight is missing")


def test_cut_parameter(weights, tmp_path):
    params = {name: pack_like_bmxnet(value, 64).ravel() for name, value in weights.items()}
    convert_damaged(tmp_path, small_symbol("attrs", True), {**params, "conv_weight": params["conv_weight"][:-1]},
                    "QConvolution 'conv': 2816 packed bits do not divide into 5 filters")
    convert_damaged(tmp_path, small_symbol("attrs", True), {**params, "fc_weight": params["fc_weight"][:-1]},
                    "QFullyConnected 'fc': 34 packed words do not divide into 7 outputs")


def test_foreign_dtype(weights, tmp_path):
    params = {name: pack_like_bmxnet(value, 64).ravel() for name, value in weights.items()}
    params["conv_weight"] = params["conv_weight"].view(np.int64)
    convert_damaged(tmp_path, small_symbol("attrs", True), params,
                    "'conv': packed weights are float32 or float64 arrays, got int64")


def test_scaled_and_multi_bit_packed_layers_are_refused(weights, tmp_path):
    params = {name: pack_like_bmxnet(value, 64) for name, value in weights.items()}
    symbol = small_symbol("attrs", True)
    symbol["nodes"][3]["attrs"]["scaling_mode"] = "forward"
    convert_damaged(tmp_path, symbol, params, "its scale was lost")
    symbol = small_symbol("attrs", True)
    symbol["nodes"][3]["attrs"]["act_bit"] = "2"
    convert_damaged(tmp_path, symbol, params, "BMXNet packs 1/1 only")


def test_foreign_attributes_are_named(weights, tmp_path):
    symbol = small_symbol("attrs", False)
    symbol["nodes"][3]["attrs"]["colour"] = "blue"
    convert_damaged(tmp_path, symbol, weights, "QConvolution 'conv': unknown argument 'colour'")


def test_attributes_missing(weights, tmp_path):
    symbol = small_symbol("attrs", True)
    del symbol["nodes"][3]["attrs"]["num_filter"]
    params = {name: pack_like_bmxnet(value, 64) for name, value in weights.items()}
    convert_damaged(tmp_path, symbol, params, "QConvolution 'conv': num_filter")


def test_graph_of_old_attribute_keys_is_read():
    graph = Graph.from_json(json.dumps(small_symbol("param", True)))
    assert graph.find("conv").attrs["binarized_weights_only"] == "True"
