"""qnn verilog of LUT networks: trained or converted, verified, counted; options of other networks are refused."""
import json
import subprocess

import mxnet as mx
import numpy as np
import pytest
from hardware import needs
from lut_nets import images, random_network
from test_load_lut import CASES, random_model

from qnn.cli import main


@pytest.fixture
def prefix(tmp_path):
    network = random_network()
    network.save(str(tmp_path / "net"), 3)
    np.savez(tmp_path / "data.npz", data=(images(30, network) / np.float32(255)).astype(np.float32),
             label=np.zeros(30, np.int64))
    return str(tmp_path / "net")


@pytest.mark.verilog
@pytest.mark.parametrize("options", [[], ["--device", "xc7z020", "--pipeline", "2"], ["--interface", "binarybrain"],
                                     ["--output", "scores"]])
def test_verify_compares_every_word(prefix, tmp_path, capsys, options):
    needs("iverilog", "vvp")
    assert main(["verilog", prefix, "3", "-o", str(tmp_path / "rtl"), "--verify", "20", "--simulator", "iverilog",
                 "--data", str(tmp_path / "data.npz"), "--json"] + options) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(run["passed"], run["images"]) for run in report["verification"]] == [(True, 20)] * 4
    assert {run.get("resets", 0) for run in report["verification"]} == {0, 5}
    assert report == json.loads((tmp_path / "rtl" / "report.json").read_text())
    assert report["nodes"]["trained"] == 90 and report["part"] == ("xc7z020" if "xc7z020" in options else None)


@pytest.mark.verilog
@pytest.mark.slow
def test_synthesis_and_make(prefix, tmp_path, capsys):
    needs("yosys", "verilator", "make")
    out = tmp_path / "rtl"
    assert main(["verilog", prefix, "3", "-o", str(out), "--verify", "10", "--synth"]) == 0
    assert "LUT a trained node" in capsys.readouterr().out
    counted = json.loads((out / "report.json").read_text())["yosys"]["lut"]
    assert main(["verilog", prefix, "3", "-o", str(tmp_path / "instances"), "--device", "xilinx", "--synth"]) == 0
    instances = json.loads((tmp_path / "instances" / "report.json").read_text())["yosys"]["lut"]
    assert counted == instances  # a table becomes one LUT, as an instance is
    subprocess.run(["make", "-s", "lint", "sim-verilator", "synth"], cwd=out, check=True, capture_output=True)
    assert json.loads((out / "report.json").read_text())["yosys"]["lut"] == counted


@pytest.mark.verilog
def test_difference_is_exit_status_1(prefix, tmp_path, capsys, monkeypatch):
    """A result that the hardware does not give must not pass."""
    needs("iverilog", "vvp")
    from qnn.converter.verilog import lut
    expected = lut.expected
    monkeypatch.setattr(lut, "expected", lambda *arguments: ~expected(*arguments))
    assert main(["verilog", prefix, "3", "-o", str(tmp_path / "rtl"), "--verify", "3", "--simulator", "iverilog"]) == 1
    captured = capsys.readouterr()
    assert "DIFFERENT" in captured.out and "sample 0: got" in captured.err


def test_trained_and_converted_checkpoints_give_the_same_files(tmp_path, capsys):
    symbol = CASES["frames"]
    args, auxs = random_model(symbol)
    mx.model.save_checkpoint(str(tmp_path / "net"), 1, symbol, args, auxs)
    assert main(["convert", str(tmp_path / "net"), "1", "-o", str(tmp_path / "packed")]) == 0
    for source in ("net", "packed"):
        assert main(["verilog", str(tmp_path / source), "1", "-o", str(tmp_path / ("rtl_" + source))]) == 0
    capsys.readouterr()
    for path in sorted((tmp_path / "rtl_net").iterdir()):
        assert path.read_bytes() == (tmp_path / "rtl_packed" / path.name).read_bytes()


def test_pixels_are_scaled_as_in_training(prefix, tmp_path, capsys):
    """Bytes of an npz with --scale give the vectors of the numbers that the network reads."""
    numbers = np.load(tmp_path / "data.npz")["data"]
    np.savez(tmp_path / "bytes.npz", data=np.rint(numbers * 255).astype(np.float32), label=np.zeros(30, np.int64))
    scale = ["--scale", repr(1 / 255)]
    for name, options in (("data", []), ("bytes", scale)):
        out = str(tmp_path / ("rtl_" + name))
        assert main(["verilog", prefix, "3", "-o", out, "--data", str(tmp_path / (name + ".npz"))] + options) == 0
    for name in ("inputs.mem", "expected.mem"):
        assert (tmp_path / "rtl_bytes" / name).read_bytes() == (tmp_path / "rtl_data" / name).read_bytes()


@pytest.mark.parametrize("options, sentence", [
    (["--folding", "f.json"], "--folding does not go with this kind of network; its options are --shape"),
    (["--device", "xc9"], "unknown device 'xc9'; known: generic, xilinx, xc7z010"),
    (["--pipeline", "-1"], "pipeline is a number of levels"), (["--clock-mhz", "-1"], "numbers above 0"),
    (["--data", "{tmp}/odd.npz"], "reads bytes v for the numbers v / 255; the data have others"),
    (["--data", "{tmp}/small.npz"], "takes 40 numbers a sample")])
def test_wrong_options_write_nothing(prefix, tmp_path, capsys, options, sentence):
    for name, shape in (("odd", (2, 40)), ("small", (2, 39))):
        np.savez(tmp_path / (name + ".npz"), data=np.full(shape, 0.3001, np.float32), label=np.zeros(2, np.int64))
    command = ["verilog", prefix, "3", "-o", str(tmp_path / "rtl")]
    assert main(command + [text.format(tmp=tmp_path) for text in options]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "rtl").exists()
