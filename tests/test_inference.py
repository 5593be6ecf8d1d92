"""Inference: checkpoints run as MXNet runs them, and unusable ones are named in one sentence before MXNet sees them."""
import json
import os
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn import backend, checkpoint
from qnn.files import dump_params, load_params
from qnn.inference import as_samples

SHAPE = (1, 8, 8)


def network():
    net = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=8, name="conv0")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn0")
    net = qnn.sym.QActivation(net, name="act1")
    net = qnn.sym.QConvolution(net, kernel=(3, 3), num_filter=70, pad=(1, 1), name="conv1")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn1")
    net = qnn.sym.QFullyConnected(qnn.sym.QActivation(net, name="act2"), num_hidden=10, name="fc1")
    return mx.sym.SoftmaxOutput(mx.sym.BatchNorm(net, fix_gamma=False, name="bn2"), name="softmax")


def random_params(symbol, shape=SHAPE):
    random = np.random.RandomState(0)
    args, _, auxs = symbol.infer_shape(data=(2,) + shape)
    values = [(name, mx.nd.array(random.uniform(0.2 if name.endswith("var") else -1, 1, s)))
              for name, s in zip(symbol.list_arguments() + symbol.list_auxiliary_states(), args + auxs)]
    auxiliary = symbol.list_auxiliary_states()
    return ({n: v for n, v in values if n not in auxiliary and n not in ("data", "softmax_label")},
            {n: v for n, v in values if n in auxiliary})


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """{"float": prefix, "packed": prefix} of one network, epoch 3."""
    folder = tmp_path_factory.mktemp("checkpoints")
    symbol = network()
    args, auxs = random_params(symbol)
    prefixes = {kind: str(folder / kind) for kind in ("float", "packed")}
    mx.model.save_checkpoint(prefixes["float"], 3, symbol, args, auxs)
    mx.model.save_checkpoint(prefixes["packed"], 3, *qnn.convert(symbol, args, auxs, is_fused=False)[:3])
    return prefixes


@pytest.fixture
def images():
    return np.random.RandomState(1).uniform(0, 1, (7,) + SHAPE).astype(np.float32)


def rewritten(tmp_path, prefix, edit_graph=lambda nodes: None, edit_params=lambda params: None):
    """A copy of a checkpoint after edits; returns its prefix."""
    symbol, params = checkpoint.paths(prefix, 3)
    document, arrays = json.load(open(symbol)), load_params(params)
    edit_graph(document["nodes"])
    edit_params(arrays)
    copy = str(tmp_path / "net")
    symbol, params = checkpoint.paths(copy, 3)
    with open(symbol, "w") as file:
        json.dump(document, file)
    with open(params, "wb") as file:
        file.write(dump_params(arrays))
    return copy


def test_predict_equals_module(checkpoints, images):
    symbol, args, auxs = mx.model.load_checkpoint(checkpoints["float"], 3)
    module = mx.mod.Module(symbol)
    module.bind([("data", images.shape)], for_training=False)
    module.set_params(args, auxs)
    expected = module.predict(mx.io.NDArrayIter(images, batch_size=7)).asnumpy()
    assert np.array_equal(qnn.load(checkpoints["float"], 3).predict(images), expected)


def test_packed_predicts_as_float(checkpoints, images):
    floats, packed = (qnn.load(checkpoints[kind], 3) for kind in ("float", "packed"))
    assert packed.is_packed and not floats.is_packed
    assert packed.arg_params["conv1_weight"].dtype == np.int64
    assert np.array_equal(packed.predict(images), floats.predict(images))
    assert np.array_equal(packed.classes(images), floats.predict(images).argmax(axis=1))


def test_data_and_labels_are_found_by_elimination(checkpoints, tmp_path):
    model = qnn.load(checkpoints["float"], 3)
    assert (model.data, model.labels) == ("data", ["softmax_label"])

    def rename(nodes):
        for node in nodes:
            node["name"] = {"data": "image", "softmax_label": "target"}.get(node["name"], node["name"])
    renamed = qnn.load(rewritten(tmp_path, checkpoints["float"], rename), 3)
    assert (renamed.data, renamed.labels) == ("image", ["target"])
    assert renamed.predict(np.zeros((1,) + SHAPE, np.float32)).shape == (1, 10)


@pytest.mark.parametrize("batch_size", [1, 2, 6, 7, 8, 64])
def test_last_batch_is_partial(checkpoints, images, batch_size):
    model = qnn.load(checkpoints["packed"], 3)
    assert np.allclose(model.predict(images, batch_size), model.predict(images), rtol=1e-5, atol=1e-6)


def test_binds_once_per_shape(checkpoints, images):
    model = qnn.load(checkpoints["float"], 3)
    first = model.bind((3,) + SHAPE)
    model.predict(images, 3)
    assert model.bind((3,) + SHAPE) is first
    for batch in range(1, 9):
        model.bind((batch,) + SHAPE)
    assert len(model._executors) <= 4


def test_predict_takes_other_numbers(checkpoints):
    model = qnn.load(checkpoints["float"], 3)
    whole = np.random.RandomState(2).randint(0, 3, (2,) + SHAPE)
    expected = model.predict(whole.astype(np.float32))
    for dtype in (np.float64, np.int64, np.uint8):
        assert np.array_equal(model.predict(whole.astype(dtype)), expected)
    assert np.array_equal(model.predict(np.asfortranarray(whole)), expected)


def test_predict_of_nothing_and_of_nan(checkpoints):
    for kind in checkpoints:
        model = qnn.load(checkpoints[kind], 3)
        assert model.predict(np.zeros((0,) + SHAPE)).shape == (0, 10)
        assert model.predict(np.full((1,) + SHAPE, np.nan)).shape == (1, 10)
        assert model.classes(np.zeros((0,) + SHAPE)).shape == (0,)


@pytest.mark.parametrize("data, sentence", [
    (np.zeros((2,) + SHAPE, np.float16), "got float16; convert it with"),
    (np.array(["a"]), "got <U1"),
    (np.float32(1), r"\(N, ...\), got shape \(\)"),
    (np.zeros((2, 0, 8, 8), np.float32), r"got shape \(2, 0, 8, 8\)"),
    (np.zeros((2, 8, 8), np.float32), r"data of shape \(2, 8, 8\) does not fit the network: Error in operator conv0"),
    (np.zeros((2, 3, 8, 8), np.float32), r"'conv0_weight' has shape \(8, 1, 3, 3\), expected \(8, 3, 3, 3\) for data"),
    (np.zeros((2, 1, 9, 9), np.float32), r"'fc1_weight' has shape|does not fit the network: .*packed weights"),
    (np.zeros((2, 1, 2, 2), np.float32), "does not fit the network"),
])
@pytest.mark.parametrize("kind", ["float", "packed"])
def test_unfit_data(checkpoints, kind, data, sentence, capfd):
    with pytest.raises(ValueError, match=sentence) as caught:
        qnn.load(checkpoints[kind], 3).predict(data)
    assert "\n" not in str(caught.value) and not capfd.readouterr().out


def test_bad_batch_size(checkpoints, images):
    with pytest.raises(ValueError, match="batch_size is a number above 0, got 0"):
        qnn.load(checkpoints["float"], 3).predict(images, 0)


def test_as_samples_copies_only_what_it_must():
    x = np.zeros((2, 3), np.float32)
    assert as_samples(x) is x


def drop(name):
    return lambda params: params.pop(name)


def put(name, array):
    return lambda params: params.update({name: array})


def move(old, new):
    return lambda params: params.update({new: params.pop(old)})


@pytest.mark.parametrize("edit, sentence", [
    (drop("arg:conv1_weight"), "net-0003.params: parameter 'conv1_weight' of .*net-symbol.json is missing"),
    (drop("aux:bn1_moving_var"), "net-0003.params: parameter 'bn1_moving_var' of .* is missing"),
    (lambda params: params.clear(), "net-0003.params: parameter 'conv0_weight' .* is missing .and 15 others"),
    (put("arg:fc9_weight", np.zeros(3, np.float32)), "net-0003.params: parameter 'fc9_weight' is in no operator of"),
    (put("arg:data", np.zeros(3, np.float32)), "every variable has a parameter in .*net-0003.params"),
    (move("aux:bn1_moving_var", "arg:bn1_moving_var"), "'bn1_moving_var' is stored as arg:, expected aux:"),
    (move("arg:bn1_beta", "aux:bn1_beta"), "'bn1_beta' is stored as aux:, expected arg:"),
    (move("arg:bn1_beta", "bn1_beta"), "'bn1_beta' begins with neither arg: nor aux:"),
    (put("aux:bn1_beta", np.zeros(70, np.float32)), "'bn1_beta' is stored as arg: and as aux:"),
    (put("arg:bn1_beta", np.zeros(70, np.float16)), "'bn1_beta' is float16, expected float32"),
    (put("arg:conv0_weight", np.zeros((8, 1, 3, 3), np.float64)), "'conv0_weight' is float64, expected float32"),
])
@pytest.mark.parametrize("kind", ["float", "packed"])
def test_unfit_parameters(checkpoints, tmp_path, kind, edit, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        qnn.load(rewritten(tmp_path, checkpoints[kind], edit_params=edit), 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind, array, sentence", [
    ("float", np.zeros((10, 99), np.float32), r"net-0003.params: parameter 'fc1_weight' has shape \(10, 99\), exp"),
    ("packed", np.zeros(99, np.int64), r"net-0003.params: parameter 'fc1_weight' has shape \(99,\), the symbol"),
    ("packed", np.zeros((10, 2), np.int64), r"net-0003.params: parameter 'fc1_weight' has shape \(10, 2\)"),
    ("packed", np.zeros(400, np.float32), "'fc1_weight'"),
    ("packed", np.zeros(400, np.int32), "'fc1_weight'"),
])
def test_unfit_shape_or_dtype(checkpoints, tmp_path, images, kind, array, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        qnn.load(rewritten(tmp_path, checkpoints[kind], edit_params=put("arg:fc1_weight", array)), 3).predict(images)
    assert "\n" not in str(caught.value)


def test_packed_weights_without_declared_shape(checkpoints, tmp_path, images):
    """MXNet would overrun a buffer: the shape is taken from the parameter file."""
    def forget(nodes):
        for node in nodes:
            if node["name"].endswith("_weight"):
                node.pop("attrs", None)
    model = qnn.load(rewritten(tmp_path, checkpoints["packed"], forget), 3)
    assert np.array_equal(model.predict(images), qnn.load(checkpoints["packed"], 3).predict(images))


def find(nodes, name):
    return next(node for node in nodes if node["name"] == name)


@pytest.mark.parametrize("edit, sentence", [
    (lambda nodes: find(nodes, "bn0").update(op="Nope"), "net-symbol.json: operator Nope of 'bn0' is unknown to MXNet"),
    (lambda nodes: find(nodes, "bn0").update(op="QConvolution"), "BMXNet's own; .*qnn convert --from bmxnet .*net 3"),
    (lambda nodes: find(nodes, "bn0")["inputs"][0].__setitem__(1, 7), "operator 'bn0' reads output 7 of 'conv0'"),
    (lambda nodes: find(nodes, "bn0")["inputs"][1].__setitem__(1, 1), "operator 'bn0' reads output 1 of 'bn0_gamma'"),
    (lambda nodes: find(nodes, "bn0")["inputs"].pop(), "operator BatchNorm of 'bn0' has 4 inputs, expected 5"),
    (lambda nodes: find(nodes, "softmax_label").update(op="_qnn_packed_fully_connected"), "has 2 inputs, got 0"),
    (lambda nodes: find(nodes, "softmax_label").update(op="BatchNorm"), "'softmax_label' has 0 inputs, expected 5"),
    (lambda nodes: find(nodes, "fc1_weight").update(attrs={"__dtype__": "77"}), "'fc1_weight' has __dtype__ '77'"),
    (lambda nodes: find(nodes, "bn0_beta").update(name="bn0_gamma"), "two variables are called 'bn0_gamma'"),
    (lambda nodes: find(nodes, "conv0")["attrs"].update(kernel="(3"), "net-symbol.json: Invalid Parameter format"),
    (lambda nodes: find(nodes, "conv0")["attrs"].update(nonsense="1"), "net-symbol.json: Cannot find argument 'non"),
])
def test_unfit_symbol(checkpoints, tmp_path, edit, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        qnn.load(rewritten(tmp_path, checkpoints["float"], edit), 3)
    assert "\n" not in str(caught.value)


def test_head_of_no_output(checkpoints, tmp_path):
    """MXNet 1.9.1 crashes on it."""
    prefix = rewritten(tmp_path, checkpoints["float"])
    document = json.load(open(prefix + "-symbol.json"))
    document["heads"][0][1] = 3
    find(document["nodes"], "softmax")["name"] = "fc1_weight"  # names of operators need not be unique
    with open(prefix + "-symbol.json", "w") as file:
        json.dump(document, file)
    with pytest.raises(ValueError, match="the head reads output 3 of 'fc1_weight'"):
        qnn.load(prefix, 3)


def test_native_operators_without_native_library(checkpoints, monkeypatch):
    monkeypatch.setattr(backend, "is_native", False)
    monkeypatch.setattr(mx.operator, "get_all_registered_operators", lambda: ["Convolution", "BatchNorm"])
    with pytest.raises(ValueError, match="needs qnn's native library, which is not built here"):
        qnn.load(checkpoints["packed"], 3)


def test_missing_files_are_named(tmp_path, checkpoints):
    with pytest.raises(FileNotFoundError, match="nothing-symbol.json"):
        qnn.load(str(tmp_path / "nothing"), 0)
    with pytest.raises(FileNotFoundError, match="float-0004.params"):
        qnn.load(checkpoints["float"], 4)


FUZZ = """
import json, sys
import numpy as np
import qnn
source, copy = sys.argv[1:]
text, content = open(source + "-symbol.json").read(), open(source + "-0003.params", "rb").read()
x = np.zeros((2, 1, 8, 8), np.float32)
refused = 0
for seed in range(60):
    random = np.random.RandomState(seed)
    document, params = json.loads(text), bytearray(content)
    node = document["nodes"][random.randint(len(document["nodes"]))]
    if seed % 3 == 0:
        for _ in range(3):
            params[random.randint(64) if seed % 2 else random.randint(len(params))] ^= 1 << random.randint(8)
    elif seed % 3 == 1 and node["inputs"]:
        entry = node["inputs"][random.randint(len(node["inputs"]))]
        entry[random.randint(2)] = int(random.randint(len(document["nodes"])))
    elif node.get("attrs"):
        key = sorted(node["attrs"])[random.randint(len(node["attrs"]))]
        node["attrs"][key] = str(random.choice(["", "0", "-1", "(0, 0)", "99999999999", "None", "(4294967295, 1)"]))
    with open(copy + "-symbol.json", "w") as file:
        json.dump(document, file)
    with open(copy + "-0003.params", "wb") as file:
        file.write(params)
    try:
        qnn.load(copy, 3).predict(x)
    except ValueError as error:
        refused += 1
        assert "\\n" not in str(error), error
print("refused", refused)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float", "packed"])
def test_damaged_checkpoints_never_crash(checkpoints, tmp_path, kind):
    done = subprocess.run([sys.executable, "-c", FUZZ, checkpoints[kind], str(tmp_path / "net")], text=True,
                          cwd=str(tmp_path), env={**os.environ, "MXNET_SUBGRAPH_VERBOSE": "0"},
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) > 20
