"""Examples run as their docstrings say, on a slice of the data."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from nets import random_params
from qnn.model_zoo.lenet import NETWORKS

import qnn

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_lenet_shapes(name):
    symbol = NETWORKS[name]()
    _, outputs, _ = symbol.infer_shape(data=(2, 1, 28, 28))
    assert outputs == [(2, 10)]
    args, _ = random_params(symbol, (2, 1, 28, 28))
    assert sum(array.size for array in args.values()) == {"lenet": 1141394, "binary_lenet": 1140330}[name]


def train(arguments):
    command = [sys.executable, str(ROOT / "examples" / "mnist" / "train_lenet.py")] + arguments
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


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
