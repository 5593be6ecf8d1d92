"""Examples run as their docstrings say, on a slice of the data; the networks that they train."""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from nets import random_params
from qnn.model_zoo import cnv, mlp
from qnn.model_zoo.lenet import NETWORKS
from qnn.model_zoo.twn_lenet import twn_lenet

import qnn
from qnn.inference import Model

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_lenet_shapes(name):
    symbol = NETWORKS[name]()
    _, outputs, _ = symbol.infer_shape(data=(2, 1, 28, 28))
    assert outputs == [(2, 10)]
    args, _ = random_params(symbol, (2, 1, 28, 28))
    assert sum(array.size for array in args.values()) == {"lenet": 1141394, "binary_lenet": 1140330}[name]


@pytest.mark.parametrize("symbol, shape, weights", [
    (mlp.mlp(), (1, 28, 28), 2910208),
    (mlp.mlp(weight_quantizer="stochastic_binary", dropout=0.5), (1, 28, 28), 2910208),
    (mlp.lfc(act_bit=2), (1, 28, 28), 2910208), (mlp.lfc(dropout=0.5, input_dropout=0.2), (1, 28, 28), 2910208),
    (mlp.sfc(weight_bit=2), (1, 28, 28), 334336), (mlp.residual_mlp(levels=3), (1, 28, 28), 334336),
    (cnv.cnv(), (3, 32, 32), 1542848), (cnv.cnv(act_quantizer=None, weight_quantizer="twn"), (3, 32, 32), 1542848),
    (twn_lenet(), (1, 28, 28), 581408),
])
def test_networks(symbol, shape, weights):
    """Their sizes are those of the papers: 2 parameters of BatchNorm, and biases, come on top."""
    arguments, outputs, _ = symbol.infer_shape(data=(4,) + shape)
    sizes = dict(zip(symbol.list_arguments(), map(np.prod, arguments)))
    assert outputs == [(4, 10)] and "softmax_label" in sizes
    assert sum(size for name, size in sizes.items() if name.endswith("_weight")) == weights


@pytest.mark.parametrize("options", [{}, {"act_bit": 2}, {"weight_bit": 2}])
def test_dropout_changes_nothing_in_inference(options):
    """The network that is trained with dropout is the one of the checkpoint: same parameters, same numbers."""
    plain, dropped = mlp.sfc(**options), mlp.sfc(dropout=0.5, input_dropout=0.2, **options)
    assert plain.list_inputs() == dropped.list_inputs()
    args, auxs = random_params(plain, (5, 1, 28, 28))
    images = np.random.RandomState(0).rand(5, 1, 28, 28).astype(np.float32)
    outputs = [Model(symbol, args, auxs, labels=["softmax_label"]).predict(images) for symbol in (plain, dropped)]
    np.testing.assert_array_equal(outputs[0], outputs[1])


@pytest.mark.parametrize("make, sentence", [(lambda: mlp.lfc(act_bit=3), "lfc: act_bit is 1 or 2, got 3"),
                                            (lambda: mlp.residual_mlp(input_bit=4), "input_bit is 1 or 8, got 4"),
                                            (lambda: mlp.residual_mlp(levels=5), "levels is 1..4, got 5")])
def test_networks_refuse(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def run(script, *arguments):
    command = [sys.executable, str(ROOT / "examples" / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("script, arguments, least", [
    ("mnist/train_mlp.py", ["--weight-quantizer", "stochastic_binary"], 0.6),
    ("mnist/train_lfc.py", ["--act-bit", 2, "--num-hidden", 256], 0.6), ("mnist/train_residual.py", [], 0.6),
    ("mnist/train_residual.py", ["--levels", 3, "--residual", "rebnet"], 0.6), ("mnist/train_twn.py", [], 0.8),
])
def test_training_learns_and_converts(data_root, tmp_path, script, arguments, least):
    """4,000 images; a repeated command trains nothing and says the same; the packed network gives the same numbers."""
    from qnn.converter import convert_checkpoint
    from qnn.converter.verify import verify
    prefix = tmp_path / "net"
    command = [script, "--data", data_root / "mnist", "--limit", 4000, "--num-epochs", 2, "--model-prefix", prefix]
    result = json.loads(run(*command, *arguments))
    assert result["test_accuracy"] > least and result["test_images"] == 10000
    assert json.loads(run(*command, *arguments)) == result
    convert_checkpoint(str(prefix), result["epoch"], str(tmp_path / "packed"))
    images, _ = qnn.datasets.load("mnist", str(data_root / "mnist"), limit=1000)
    assert verify(str(prefix), result["epoch"], str(tmp_path / "packed"), images)["different_outputs"] == 0


@pytest.fixture
def some_of_cifar10(data_root, tmp_path):
    """A folder with the first 1,000 training and test images."""
    for split in ("train", "val"):
        file = data_root / "cifar10" / ("cifar10_%s" % split)
        lines = file.with_suffix(".idx").read_text().splitlines(keepends=True)
        records = file.with_suffix(".rec").read_bytes()[:int(lines[1000].split()[1])]
        (tmp_path / (file.name + ".rec")).write_bytes(records)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--weight-quantizer", "none"], ["--weight-quantizer", "stochastic_binary"],
                                       ["--weight-quantizer", "twn"], ["--residual", "isometric", "--levels", 2]])
def test_cnv_trains(some_of_cifar10, arguments):
    out = json.loads(run("cifar10/train_cnv.py", "--data", some_of_cifar10, "--validation", 500, "--num-epochs", 1,
                         *arguments))
    assert out["test_accuracy"] > 0.05 and out["test_images"] == 1000


def train(arguments):
    return run("mnist/train_lenet.py", *arguments)


@pytest.mark.slow
def test_train_lenet_then_resume_and_convert(data_root, tmp_path):
    from qnn.converter import convert_checkpoint
    from qnn.converter.verify import verify
    prefix = str(tmp_path / "lenet")
    common = ["--data", str(data_root / "mnist"), "--model-prefix", prefix, "--limit", "4000"]
    assert "binary_lenet: test accuracy" in train(common + ["--num-epochs", "1"])
    out = train(common + ["--num-epochs", "2", "--load-epoch", "1"])
    assert float(out.split("test accuracy ")[1].split()[0]) > 0.9
    convert_checkpoint(prefix, 2, str(tmp_path / "packed"))
    images, _ = qnn.datasets.load("mnist", str(data_root / "mnist"), limit=1000)
    result = verify(prefix, 2, str(tmp_path / "packed"), images)
    assert result["different_outputs"] == 0 and result["images"] == 1000
    packed = qnn.load(str(tmp_path / "packed"), 2)
    assert sum(array.nbytes for array in packed.params.values()) < 210e3
    assert np.isfinite(packed.predict(images[:5])).all()


@pytest.mark.slow
def test_float_lenet_trains_with_the_same_script(data_root, tmp_path):
    out = train(["--network", "lenet", "--data", str(data_root / "mnist"), "--num-epochs", "2", "--limit", "4000"])
    assert float(out.split("test accuracy ")[1].split()[0]) > 0.8
