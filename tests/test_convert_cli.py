"""qnn convert on the command line: tables, exit status, whole files or none."""
import json
import os

import mxnet as mx
import numpy as np
import pytest
from nets import random_params, small_cnn

import qnn
from qnn.cli import main

SHAPE = (5, 3, 9, 9)
EQUAL = {"images": 0, "different_classes": 0, "different_outputs": 0, "max_difference": 0.0}


@pytest.fixture
def prefix(tmp_path):
    symbol = small_cnn()
    args, auxs = ({name: mx.nd.array(value) for name, value in params.items()}
                  for params in random_params(symbol, SHAPE))
    mx.model.save_checkpoint(str(tmp_path / "net"), 2, symbol, args, auxs)
    np.savez(tmp_path / "data.npz", data=np.random.RandomState(0).randn(*SHAPE).astype(np.float32),
             label=np.zeros(5, np.int64))
    return str(tmp_path / "net")


def files_beside(prefix):
    return sorted(os.listdir(os.path.dirname(prefix)))


def test_default_output_stands_beside_the_input(prefix, capsys):
    assert main(["convert", prefix, "2"]) == 0
    assert {"binarized_net-symbol.json", "binarized_net-0002.params"} <= set(files_beside(prefix))
    table = capsys.readouterr().out
    assert "conv2" in table and "1/1" in table and "32/32" in table and "all parameters" in table
    assert qnn.load(prefix.replace("net", "binarized_net"), 2).is_packed


def test_verify_reports_agreement(prefix, tmp_path, capsys):
    assert main(["convert", prefix, "2", "-o", str(tmp_path / "out"), "--verify", str(tmp_path / "data.npz"),
                 "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {key: report["verification"][key] for key in EQUAL} == {**EQUAL, "images": 5}
    assert [row["layer"] for row in report["rows"]] == ["conv1", "conv2", "conv3", "fc1", "fc2"]
    sizes = [os.path.getsize(path) for path in report["files"]]
    assert report["total_after"] < sizes[1] < report["total_after"] + 3000


def test_verify_fails_on_a_difference(prefix, tmp_path, monkeypatch, capsys):
    """A packer that loses every other sign must not pass."""
    from qnn.converter.passes import pack_weights
    pack = pack_weights.pack
    monkeypatch.setattr(pack_weights, "pack", lambda weight, options: pack(weight, options) ^ 0x5555555555555555)
    assert main(["convert", prefix, "2", "-o", str(tmp_path / "out"), "--verify", str(tmp_path / "data.npz")]) == 1
    assert "classes differ" in capsys.readouterr().out


PASSES = ["pack_weights", "remove_activations", "split_layers", "share_packs", "fold_thresholds", "fuse_outputs",
          "arrange_nhwc", "native_stems"]


def stage_lines(error):
    return [line for line in error.splitlines() if line.startswith("[")]


def test_passes_are_named_in_order(prefix, capsys):
    assert main(["convert", prefix, "2"]) == 0
    lines = stage_lines(capsys.readouterr().err)
    assert [line.split(":")[0] for line in lines] == ["[%d/8] %s" % item for item in enumerate(PASSES, 1)]
    assert lines[0] == "[1/8] pack_weights: 3" and lines[2] == "[3/8] split_layers: 3"


def test_no_fuse_keeps_packed_layers_between_floats(prefix, tmp_path, capsys):
    assert main(["convert", prefix, "2", "-o", str(tmp_path / "out"), "--no-fuse", "--verify",
                 str(tmp_path / "data.npz")]) == 0
    captured = capsys.readouterr()
    assert stage_lines(captured.err) == ["[1/2] pack_weights: 3", "[2/2] remove_activations: 1"]
    operators = {node["op"] for node in json.load(open(tmp_path / "out-symbol.json"))["nodes"]}
    assert "_qnn_packed_convolution" in operators and "BatchNorm" in operators and "_qnn_pack" not in operators
    assert "0 classes differ, 0 outputs differ" in captured.out


def test_saved_stages_load_and_predict_the_same(prefix, tmp_path, capsys):
    folder = tmp_path / "some" / "stages"
    assert main(["convert", prefix, "2", "-o", str(tmp_path / "out"), "--save-stages", str(folder), "--verify",
                 str(tmp_path / "data.npz")]) == 0
    error = capsys.readouterr().err
    data = np.load(tmp_path / "data.npz")["data"]
    expected = qnn.load(prefix, 2).predict(data)
    for number, name in enumerate(PASSES, 1):
        stage = str(folder / ("%d_%s" % (number, name)))
        np.testing.assert_array_equal(qnn.load(stage, 2).predict(data), expected)
        assert "%s: 0 classes differ" % stage in error
    assert len(os.listdir(folder)) == 16
    for kind in ("-symbol.json", "-0002.params"):
        assert (folder / ("8_native_stems" + kind)).read_bytes() == (tmp_path / ("out" + kind)).read_bytes()


def test_stages_without_fusion(prefix, tmp_path):
    assert main(["convert", prefix, "2", "--no-fuse", "--save-stages", str(tmp_path / "stages")]) == 0
    assert sorted(os.listdir(tmp_path / "stages")) == [
        "%d_%s-%s" % (number, name, kind) for number, name in ((1, "pack_weights"), (2, "remove_activations"))
        for kind in ("0002.params", "symbol.json")]


def test_wrong_stage_ends_the_verification(prefix, tmp_path, monkeypatch, capsys):
    """A pass that turns directions round is found by its stage, not only at the end."""
    from qnn.converter.passes import fold_thresholds
    flips = fold_thresholds._flips
    monkeypatch.setattr(fold_thresholds, "_flips", lambda model, node, flip: flips(model, node, ~flip))
    arguments = ["convert", prefix, "2", "-o", str(tmp_path / "out"), "--save-stages", str(tmp_path / "stages"),
                 "--verify", str(tmp_path / "data.npz")]
    assert main(arguments) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "classes differ" in line]
    assert [": 0 classes differ" in line for line in lines] == [True] * 4 + [False]
    assert "5_fold_thresholds" in lines[-1]


def assert_refused(arguments, sentence, capsys, prefix):
    before = files_beside(prefix)
    assert main(["convert"] + arguments) == 2
    error = capsys.readouterr().err
    *stages, last = error.strip().splitlines()
    assert last.startswith("qnn convert: error: ") and sentence in last
    assert all(line.startswith("[") for line in stages)
    assert files_beside(prefix) == before


def test_missing_files(prefix, capsys):
    assert_refused([prefix + "x", "2"], "netx-symbol.json: No such file", capsys, prefix)
    assert_refused([prefix, "3"], "net-0003.params: No such file", capsys, prefix)


def test_data_for_verification_is_looked_at_first(prefix, capsys):
    assert_refused([prefix, "2", "--verify", prefix + "-nothing"], "net-nothing: No such file", capsys, prefix)


def test_truncated_params(prefix, capsys):
    path = prefix + "-0002.params"
    content = open(path, "rb").read()
    open(path, "wb").write(content[:len(content) // 2])
    assert_refused([prefix, "2"], "net-0002.params: not a parameter file: truncated", capsys, prefix)
    assert_refused(["--from", "bmxnet", prefix, "2"], "net-0002.params: not a parameter file: truncated", capsys,
                   prefix)


def test_foreign_symbol(prefix, capsys):
    open(prefix + "-symbol.json", "w").write('{"name": "something else"}')
    assert_refused([prefix, "2"], "net-symbol.json: not an MXNet symbol", capsys, prefix)


def test_same_prefix(prefix, capsys):
    assert_refused([prefix, "2", "-o", prefix], "OUT is another prefix than PREFIX", capsys, prefix)


def test_output_folder_is_missing(prefix, tmp_path, capsys):
    assert_refused([prefix, "2", "-o", str(tmp_path / "no" / "where" / "out")], "No such file or directory", capsys,
                   prefix)


def test_output_is_a_folder(prefix, tmp_path, capsys):
    os.makedirs(tmp_path / "out-0002.params")
    assert_refused([prefix, "2", "-o", str(tmp_path / "out")], "is a folder", capsys, prefix)


def test_output_folder_cannot_be_written(prefix, capsys):
    assert_refused([prefix, "2", "-o", "/sys/out"], "Permission denied", capsys, prefix)  # not even by root


def test_published_mnist_model_has_the_accuracy_of_the_paper(data_root, tmp_path, capsys):
    out = str(tmp_path / "m64")
    assert main(["convert", "--from", "bmxnet", str(data_root / "bmxnet" / "binarized_mnist_64bit"), "1",
                 "-o", out]) == 0
    capsys.readouterr()
    assert main(["evaluate", out, "1", "--dataset", "mnist", "--data", str(data_root / "mnist"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["correct"], result["total"]) == (9740, 10000)


@pytest.mark.slow
def test_published_cifar10_model_has_the_accuracy_of_the_paper(data_root, tmp_path, capsys):
    out = str(tmp_path / "c10")
    source = str(data_root / "bmxnet" / "binarized_cifar10-resnet18-64bit")
    assert main(["convert", "--from", "bmxnet", source, "0", "-o", out]) == 0
    capsys.readouterr()
    images = str(data_root / "cifar10" / "test_lossless_846.npz")
    assert main(["evaluate", out, "0", "--dataset", "npz", "--data", images, "--limit", "840", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["correct"], result["total"]) == (724, 840)


@pytest.mark.slow
def test_packed_equals_trained_on_the_whole_mnist_test_set(data_root, tmp_path, capsys):
    source = str(data_root / "bmxnet" / "binarized_mnist_32bit")
    assert main(["convert", "--from", "bmxnet", source, "1", "-o", str(tmp_path / "m"),
                 "--verify", str(data_root / "mnist"), "--json"]) == 0
    verification = json.loads(capsys.readouterr().out)["verification"]
    assert {key: verification[key] for key in EQUAL} == {**EQUAL, "images": 10000}
    assert verification["speedup"] > 0
