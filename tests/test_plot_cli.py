"""qnn plot: figures and JSON of weights, activations and trainings; what it refuses."""
import json

import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn import cli, training
from qnn.files import dump_params


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two checkpoints of one network on 8x8 digits, a packed one, and the log of a training."""
    folder = tmp_path_factory.mktemp("plot")
    net = mx.sym.FullyConnected(mx.sym.Flatten(mx.sym.Variable("data")), num_hidden=70, name="fc1")
    net = qnn.sym.QFullyConnected(mx.sym.BatchNorm(net, name="bn1"), num_hidden=10, name="fc2")
    net = mx.sym.SoftmaxOutput(net, name="softmax")
    random = np.random.RandomState(0)
    args = {"fc1_weight": random.normal(size=(70, 64)), "fc1_bias": np.zeros(70), "bn1_gamma": np.ones(70),
            "bn1_beta": np.zeros(70), "fc2_weight": np.clip(random.normal(size=(10, 70)), -1, 1)}
    auxs = {"bn1_moving_mean": np.zeros(70), "bn1_moving_var": np.ones(70)}
    args, auxs = ({name: mx.nd.array(value) for name, value in params.items()} for params in (args, auxs))
    mx.model.save_checkpoint(str(folder / "net"), 1, net, args, auxs)
    mx.model.save_checkpoint(str(folder / "other"), 12, net, args, auxs)
    mx.model.save_checkpoint(str(folder / "packed"), 1, *qnn.convert(net, args, auxs)[:3])
    np.savez(folder / "images.npz", data=random.rand(9, 1, 8, 8).astype(np.float32), label=np.arange(9))
    rows = [{"epoch": 1 + epoch, **{"%s_%s" % (part, key): 0.5 + epoch / 10 for part in ("train", "validation")
                                    for key in ("accuracy", "loss")}} for epoch in range(3)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [{"arguments": {}}] + rows))
    return folder


@pytest.fixture
def plot(folder, monkeypatch, capfd):
    """Runs `qnn plot` beside the files; returns (status, stdout, last line of stderr)."""
    def run(*arguments):
        monkeypatch.chdir(folder)
        status = cli.main(["plot"] + [str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        lines = [line for line in err.splitlines() if not line.startswith("[")]
        return status, out, lines[-1] if lines else ""
    return run


@pytest.mark.parametrize("arguments, name", [
    (["weights", "net", 1], "w.png"), (["weights", "net", 1, "other", 12], "w.svg"),
    (["activations", "net", 1, "--data", "images.npz"], "a.png"), (["training", "log.jsonl"], "t.pdf"),
])
def test_figures(plot, tmp_path, arguments, name):
    pytest.importorskip("matplotlib")
    status, out, err = plot(*arguments, "-o", tmp_path / name)
    assert (status, err) == (0, "") and out.endswith("figure: %s\n" % (tmp_path / name))
    content = (tmp_path / name).read_bytes()
    assert content.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[name[-3:]])
    assert len(content) > 5000
    if name.endswith("svg"):
        assert content.count(b"fc2_weight") == 2 or content.count(b"clip-path") > 100


def test_weights_json(plot, folder):
    status, out, _ = plot("weights", "net", 1, "other", 12, "--json", "--clip", 0.5)
    report = json.loads(out)
    assert status == 0 and [(n["name"], n["epoch"]) for n in report["networks"]] == [("net", 1), ("other", 12)]
    layers = report["networks"][0]["layers"]
    weight = mx.model.load_checkpoint(str(folder / "net"), 1)[1]["fc2_weight"].asnumpy()
    assert [layer["name"] for layer in layers] == ["fc1_weight", "fc2_weight"]
    assert layers[1]["saturation"] == np.mean(np.abs(weight) >= 0.5) and sum(layers[1]["counts"]) == 700


def test_activations_json(plot):
    status, out, _ = plot("activations", "net", 1, "--data", "images.npz", "--limit", 5, "--json")
    report = json.loads(out)
    assert status == 0 and report["images"] == 5
    layer, = report["layers"]
    assert layer["name"] == "fc2" and layer["count"] == 5 * 70 and 0 < layer["no_gradient"] < 1


def test_tables(plot, tmp_path):
    pytest.importorskip("matplotlib")
    assert "at the clip" in plot("weights", "net", 1, "-o", tmp_path / "w.png")[1]
    out = plot("training", "log.jsonl", "-o", tmp_path / "t.png")[1]
    assert out.splitlines()[2].split() == ["log", "3", "0.7000", "0.7000"]


@pytest.mark.parametrize("arguments, sentence", [
    (["weight", "net", 1, "--json"], 'unknown figure "weight"; known: weights, activations, training'),
    (["weights", "net", 1], "-o FIG says where the figure goes, --json prints its numbers"),
    (["weights", "net", "--json"], "checkpoints are given as PREFIX EPOCH, got net"),
    (["weights", "net", "one", "--json"], "the epoch of net is a number, got 'one'"),
    (["weights", "net", 7, "--json"], "net-0007.params: No such file or directory"),
    (["weights", "net", 1, "--json", "--clip", "0"], "clip is a number above 0, got 0.0"),
    (["weights", "packed", 1, "--json"], "packed-0001.params: parameter 'fc2_weight' is packed"),
    (["activations", "net", 1, "--json"], "--data PATH says where the images are"),
    (["activations", "net", 1, "net", 1, "--data", "images.npz", "--json"], "are plotted of one checkpoint, got 2"),
    (["activations", "packed", 1, "--data", "images.npz", "--json"], "it is packed; plot the checkpoint it was"),
    (["training", "net-symbol.json", "--json"], "net-symbol.json: not the log of a training"),
    (["training", "nothing.jsonl", "--json"], "nothing.jsonl: No such file or directory"),
    (["weights", "net", 1, "-o", "nowhere/w.png"], "nowhere/w.png: No such file or directory"),
    (["weights", "net", 1, "-o", "w.doc"], "the figure is a .png, .pdf or .svg, got w.doc"),
])
def test_refuses(plot, folder, arguments, sentence):
    if "-o" in arguments:
        pytest.importorskip("matplotlib")
    status, out, err = plot(*arguments)
    assert status == 2 and not out and err.startswith("qnn plot: error: ") and sentence in err
    assert not list(folder.glob("w.*"))


def test_without_matplotlib(plot, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    status, _, err = plot("weights", "net", 1, "-o", tmp_path / "w.png")
    assert status == 2 and "figures need matplotlib: pip install matplotlib, or use --json" in err


def test_broken_log(plot, folder):
    (folder / "torn.jsonl").write_text('{"arguments": {}}\n{"epoch": 1}\n{"epoch": 3}\n')
    assert "torn.jsonl: not the log of a training" in plot("training", "torn.jsonl", "--json")[2]
    (folder / "torn.params").write_bytes(dump_params({}))
    assert "not the log of a training" in plot("training", "torn.params", "--json")[2]
    assert training.read_log(str(folder / "log.jsonl"))[2]["epoch"] == 3
