"""The sample networks, their training script and their benchmark."""
import json
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from qnn.model_zoo import lut_cifar10, lut_mnist
from qnn.model_zoo.lut_compact import compact
from qnn.model_zoo.modulated_cnn import modulated_cnn
from test_load_lut import random_model

import qnn
from qnn import backend, benchmark_lut, cli, reference_lut
from qnn.graph import Graph
from qnn.lut import tables

ROOT = Path(__file__).resolve().parents[1]
NODES = {"simple": 3182, "lut4": 512 + 256 + 64 + 160 + 40, "cnn": 216 + 432 + 432 + 864 + 768 + 360 + 60,
         "stochastic_cnn": 216 + 432 + 432 + 864 + 128 + 60 + 10,
         "autoencoder": 2 * 192 + 2 * 384 + 1152 + 192 + 32 + 125 + 1024 + 3136 + 2 * 384 + 192 + 216 + 6 + 1}


@pytest.mark.parametrize("name", sorted(lut_mnist.NETWORKS))
def test_sample_networks_have_their_sizes(name):
    symbol = lut_mnist.NETWORKS[name]()
    assert symbol.infer_shape(data=(2, 1, 28, 28))[1] == [(2, 1, 28, 28) if name == "autoencoder" else (2, 10)]
    layers = tables.table_layers(Graph.from_json(symbol.tojson()))
    assert sum(int(node.attrs["num_nodes"]) for node in layers) == NODES[name]


@pytest.mark.parametrize("modulation, depth", [(7, 15), (1, 2)])
def test_cifar10_network_has_its_size(modulation, depth):
    symbol = lut_cifar10.cnn(modulation, depth)
    assert symbol.infer_shape(data=(2, 3, 32, 32))[1] == [(2, 10)]
    layers = tables.table_layers(Graph.from_json(symbol.tojson()))
    assert [int(node.attrs["num_nodes"]) for node in layers] == [
        nodes for outputs in (32, 32, 64, 64, 128, 512, 10) for nodes in (6 * outputs, outputs)]


@pytest.mark.parametrize("modulation", [None, 1, 3])
def test_modulated_network_sees_frames_of_bits(modulation):
    symbol = modulated_cnn(modulation, width=4)
    assert symbol.infer_shape(data=(2, 3, 32, 32))[1] == [(2, 10)]
    frames = modulation or 1
    inner = symbol.get_internals()
    shapes = dict(zip(inner.list_outputs(), inner.infer_shape(data=(2, 3, 32, 32))[1]))
    assert shapes["fc5_output"] == (2 * frames, 32) and shapes["pool4_output"] == (2 * frames, 8, 5, 5)
    assert ("modulate_thresholds" in symbol.list_auxiliary_states()) == (modulation is not None)


def test_compact_network_reads_fitted_thresholds():
    thresholds = reference_lut.fit_thermometer(np.random.RandomState(0).rand(50, 784), 3)[0]
    symbol = compact(60, thresholds)
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(data=(2, 1, 28, 28))[0]))
    assert shapes["lut1_scores"] == (360, 2352) and symbol.infer_shape(data=(2, 1, 28, 28))[1] == [(2, 10)]


def test_summary_knows_table_layers():
    text = str(qnn.summary(lut_mnist.lut4(), (1, 1, 28, 28)))
    assert "DifferentiableLut" in text and "AverageLut" in text and "RealToBinary" in text


def test_benchmark_reports_training_and_inference(monkeypatch, capsys):
    monkeypatch.setattr(lut_mnist, "simple", lambda: lut_mnist.lut4(1))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    threads = backend.threads()
    try:
        assert cli.main(["benchmark", "lut", "--rounds", "1", "--json"]) == 0
    finally:
        backend.set_threads(threads)
    report = json.loads(capsys.readouterr().out)
    rows = {(row["case"], row["network"], row.get("input")): row for row in report["rows"]}
    assert set(rows) == {("train_images_per_s", "simple x15", None)} | {
        ("infer_images_per_s", network, kind) for network in ("simple x1", "simple x15")
        for kind in ("packed bits", "uint8")}
    assert all(row["threads"] == 1 and row["value"] > 0 for row in report["rows"])
    assert rows["infer_images_per_s", "simple x1", "uint8"]["nodes"] == 3182
    text = benchmark_lut.describe(report)
    assert "train_images_per_s" in text and "packed bits" in text


def run(script, arguments):
    command = [sys.executable, str(ROOT / "examples" / "lut" / script)] + arguments
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("network, sentence", [("simple", "--start is for --network compact"),
                                               ("compact", "takes a checkpoint of the compact network")])
def test_training_script_refuses_to_start_with_another_network(data_root, tmp_path, network, sentence):
    mx.model.save_checkpoint(str(tmp_path / "other"), 1, modulated_cnn(1, width=2), {"fc6_bias": mx.nd.zeros(10)}, {})
    command = [sys.executable, str(ROOT / "examples" / "lut" / "train_mnist.py"), "--network", network, "--start",
               str(tmp_path / "other"), "1", "--data", str(data_root / "mnist")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and sentence in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_decoded_images_are_drawn(data_root, tmp_path):
    symbol = lut_mnist.autoencoder(1)
    mx.model.save_checkpoint(str(tmp_path / "auto"), 1, symbol, *random_model(symbol, shape=(1, 28, 28)))
    figure = tmp_path / "digits.png"
    options = ["--data", str(data_root / "mnist"), "--out", str(figure), "--limit", "100"]
    out = run("autoencoder_images.py", [str(tmp_path / "auto"), "1"] + options)
    assert out.startswith("mean squared error of 100 images: 0.") and figure.read_bytes().startswith(b"\x89PNG")
    symbol = lut_mnist.simple(1)
    mx.model.save_checkpoint(str(tmp_path / "simple"), 1, symbol, *random_model(symbol, shape=(1, 28, 28)))
    with pytest.raises(AssertionError, match=r"simple, epoch 1 is no autoencoder of \(1, 28, 28\): it gives \(10,\)"):
        run("autoencoder_images.py", [str(tmp_path / "simple"), "1"] + options)


def train(arguments):
    return float(run("train_mnist.py", arguments).split("test accuracy ")[1].split()[0])


@pytest.mark.slow
def test_training_script_learns_and_resumes(data_root, tmp_path):
    common = ["--data", str(data_root / "mnist"), "--model-prefix", str(tmp_path / "lut"), "--limit", "6400",
              "--network", "simple", "--modulation", "3", "--lr", "0.003"]
    assert train(common + ["--epochs", "1"]) > 0.3
    assert train(common + ["--epochs", "2", "--load-epoch", "1"]) > 0.5
    assert (tmp_path / "lut-0002.params").exists() and (tmp_path / "lut-0002.states").exists()


@pytest.mark.slow
def test_compact_network_goes_on_with_the_wiring_it_learned(data_root, tmp_path):
    common = ["--data", str(data_root / "mnist"), "--limit", "4000", "--network", "compact", "--batch-size", "200",
              "--lr", "0.01", "--epochs", "1"]
    wiring = str(tmp_path / "wiring")
    assert train(common + ["--nodes", "300", "--model-prefix", wiring]) > 0.4
    assert train(common + ["--start", wiring, "1", "--smooth", "--shift", "0.3",
                           "--model-prefix", str(tmp_path / "compact")]) > 0.4
    learned, kept = (mx.nd.load(str(tmp_path / name)) for name in ("wiring-0001.params", "compact-0001.params"))
    connections = kept["aux:lut1_connections"].asnumpy()
    assert connections.shape == (300, 6) and "arg:lut1_scores" not in kept
    assert (connections.reshape(-1) == learned["arg:lut1_scores"].asnumpy().argmax(1)).all()


@pytest.mark.slow
def test_modulation_table_has_a_row_per_modulation(data_root, tmp_path):
    out = run("modulation_table.py", ["--network", "lut", "--data", str(data_root / "mnist"), "--limit", "640",
                                      "--modulations", "1", "3", "--num-epochs", "1", "--out", str(tmp_path)])
    assert [line.split()[0] for line in out.splitlines()] == ["x1", "x3"]
    assert all(0 <= float(line.split()[-1]) <= 1 for line in out.splitlines())
    assert (tmp_path / "modulation.png").read_bytes().startswith(b"\x89PNG") and (tmp_path / "lut-x3.jsonl").exists()
