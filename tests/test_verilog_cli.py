"""qnn verilog on the command line: a folder or nothing, tables, exit status, sentences."""
import json
import os

import mxnet as mx
import numpy as np
import pytest
from hardware import needs
from nets import calibrated, mlp, small_cnn

import qnn
from qnn.cli import main

SHAPE = (30, 1, 6, 6)


def save(prefix, symbol, shape):
    params = ({name: mx.nd.array(value) for name, value in part.items()}
              for part in calibrated(symbol, np.random.RandomState(0).randn(*shape).astype(np.float32)))
    mx.model.save_checkpoint(prefix, 1, symbol, *params)
    return prefix


@pytest.fixture
def prefix(tmp_path):
    np.savez(tmp_path / "data.npz", data=np.random.RandomState(1).randn(*SHAPE).astype(np.float32),
             label=np.zeros(SHAPE[0], np.int64))
    return save(str(tmp_path / "net"), mlp(), SHAPE)


@pytest.mark.verilog
def test_verify_data_argmax_device_and_json(prefix, tmp_path, capsys):
    needs("iverilog", "vvp")
    out = str(tmp_path / "rtl")
    assert main(["verilog", prefix, "1", "-o", out, "--target-fps", "1e6", "--verify", "5", "--simulator", "iverilog",
                 "--data", str(tmp_path / "data.npz"), "--argmax", "--device", "xc7z020", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["layer"] for row in report["layers"]] == ["fc0", "fc1", "fc2", "out"]
    assert [run["passed"] for run in report["verification"]] == [True] * 4
    assert {run["stall"] for run in report["verification"]} == {0, 20, 50, 90}
    assert any(run.get("resets") for run in report["verification"])
    assert 0 < report["whole"]["share_of_device"]["LUT"] < 0.1
    assert report["whole"]["images_per_second"] >= 1e6
    expected = qnn.load(prefix, 1).classes(np.load(tmp_path / "data.npz")["data"][:5])
    golden = [int(line, 16) for line in open(os.path.join(out, "tb", "outputs.mem")).read().split()]
    assert golden == list(expected)


@pytest.mark.verilog
def test_difference_is_exit_status_1(prefix, tmp_path, capsys, monkeypatch):
    """Hardware of other weights than the golden vectors' must not pass."""
    needs("iverilog", "vvp")
    from qnn.converter.verilog import structure
    mvtu = structure.mvtu

    def wrong(layer, fold, name):
        params, memories = mvtu(layer, fold, name)
        return params, {key: ~words if "weights" in key else words for key, words in memories.items()}

    monkeypatch.setattr(structure, "mvtu", wrong)
    assert main(["verilog", prefix, "1", "-o", str(tmp_path / "rtl"), "--target-fps", "1e6", "--verify", "3",
                 "--simulator", "iverilog"]) == 1
    captured = capsys.readouterr()
    assert "DIFFERENT" in captured.out and "image 0, beat 0: expected" in captured.err


def test_table_and_folding_file(prefix, tmp_path, capsys):
    assert main(["verilog", prefix, "1", "-o", str(tmp_path / "a"), "--target-fps", "1e5"]) == 0
    table = capsys.readouterr().out
    assert "all (estimate)" in table and "bottleneck: fc" in table and "images/s at 100 MHz" in table
    assert main(["verilog", prefix, "1", "-o", str(tmp_path / "b"), "--folding", str(tmp_path / "a" / "folding.json")]
                ) == 0
    for name in ("rtl/qnn_top.v", "data/fc0_weights.mem", "tb/outputs.mem"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_converted_checkpoints_are_read(prefix, tmp_path, capsys):
    assert main(["convert", prefix, "1", "-o", str(tmp_path / "packed")]) == 0
    for source, out in ((prefix, "a"), (str(tmp_path / "packed"), "b")):
        assert main(["verilog", source, "1", "-o", str(tmp_path / out)]) == 0
    assert (tmp_path / "a/data/fc0_weights.mem").read_bytes() == (tmp_path / "b/data/fc0_weights.mem").read_bytes()
    capsys.readouterr()


def assert_refused(arguments, sentence, capsys, tmp_path):
    before = sorted(os.listdir(tmp_path))
    assert main(["verilog"] + arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("qnn verilog: error: ") and sentence in error
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("arguments, sentence", [
    (["--folding", "{tmp}/none.json"], "none.json: No such file"), (["--target-fps", "1e9"], "cannot be reached"),
    (["--device", "xc9"], "unknown device 'xc9'; known: xc7z010"), (["--verify", "0"], "N is a number above 0"),
    (["--data", "{tmp}/none.npz"], "none.npz: No such file"), (["--clock-mhz", "-1"], "numbers above 0"),
    (["--shape", "1,7"], "takes 36 inputs, the shape (1, 7) has 7"), (["--shape", "a"], "C,H,W are numbers above 0")])
def test_wrong_options(prefix, tmp_path, capsys, arguments, sentence):
    arguments = [text.format(tmp=tmp_path) for text in arguments]
    assert_refused([prefix, "1", "-o", str(tmp_path / "rtl")] + arguments, sentence, capsys, tmp_path)


def test_folder_with_files(prefix, tmp_path, capsys):
    assert_refused([prefix, "1", "-o", str(tmp_path)], "exists and is not an empty folder", capsys, tmp_path)


def test_folding_that_does_not_divide(prefix, tmp_path, capsys):
    folding = {name: {"PE": 1, "SIMD": 1} for name in ("fc0", "fc1", "fc2", "out")}
    (tmp_path / "f.json").write_text(json.dumps({**folding, "fc1": {"PE": 3, "SIMD": 7}}))
    assert_refused([prefix, "1", "-o", str(tmp_path / "rtl"), "--folding", str(tmp_path / "f.json")],
                   "layer 'fc1': PE=3 does not divide its 64 outputs; near are 1, 2, 4", capsys, tmp_path)


def test_float_layers_are_named(tmp_path, capsys):
    prefix = save(str(tmp_path / "cnn"), small_cnn(), (4, 3, 9, 9))
    arguments = [prefix, "1", "-o", str(tmp_path / "rtl"), "--shape", "3,9,9"]
    assert_refused(arguments, "operator Convolution 'conv1' in front of the first 1-bit layer computes with floats: "
                   "leave it to the host with --host-layers", capsys, tmp_path)
    assert main(["verilog"] + arguments + ["--host-layers"]) == 0
    report = json.loads((tmp_path / "rtl" / "report.json").read_text())
    assert "conv1" in report["host"]["before"] and report["host"]["after"] == ["fc2"]


def test_missing_simulator(prefix, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    out = ["-o", str(tmp_path / "rtl"), "--verify", "2"]
    assert_refused([prefix, "1"] + out, "iverilog is not installed: apt-get install iverilog", capsys, tmp_path)
    assert_refused([prefix, "1", "-o", str(tmp_path / "rtl"), "--synth"], "apt-get install yosys", capsys, tmp_path)
