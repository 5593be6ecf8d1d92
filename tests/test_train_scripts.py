"""train_cifar10.py and train_imagenet.py on small RecordIO files made here: train, go on, convert, run; wrong flags."""
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

import qnn

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SCRIPTS = {name: EXAMPLES / name / ("train_%s.py" % name) for name in ("cifar10", "imagenet")}
COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (120, 120, 120))


def write_records(path, count, size, seed):
    """JPEG images of one colour each and noise; the colour is the class."""
    from PIL import Image
    random = np.random.RandomState(seed)
    records = mx.recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "w")
    for number in range(count):
        label = number % len(COLOURS)
        pixels = np.clip(np.array(COLOURS[label]) + random.randn(size, size, 3) * 20, 0, 255).astype(np.uint8)
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "JPEG", quality=95)
        records.write_idx(number, mx.recordio.pack(mx.recordio.IRHeader(0, float(label), number, 0),
                                                   encoded.getvalue()))
    records.close()


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    for size, name in ((32, "cifar10"), (80, "imagenet")):
        (folder / name).mkdir()
        write_records(folder / name / "cifar10_train.rec", 64, size, 0)
        write_records(folder / name / "cifar10_val.rec", 21, size, 1)
    return folder


def run(name, *arguments, status=0):
    done = subprocess.run([sys.executable, str(SCRIPTS[name]), *map(str, arguments)], capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == status, done.stderr
    return done


def report(done):
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_imagenet_trains_goes_on_and_converts(records, tmp_path):
    prefix = tmp_path / "out" / "net"
    common = ["--data-train", records / "imagenet" / "cifar10_train.rec", "--data-val",
              records / "imagenet" / "cifar10_val.rec", "--image-shape", "3,64,64", "--resize-val", 72, "--num-classes",
              4, "--num-examples", 64, "--batch-size", 16, "--model-prefix", prefix, "--fp-stages", "1", "--top-k", 2]
    first = report(run("imagenet", *common, "--num-epochs", 1))
    assert len(first["curve"]) == 1 and set(first["curve"][0]) == {"accuracy", "cross-entropy", "top_k_accuracy_2"}
    done = run("imagenet", *common, "--num-epochs", 3, "--load-epoch", 1)
    assert len(report(done)["curve"]) == 2 and "Epoch[1]" in done.stderr and "Epoch[0]" not in done.stderr
    assert sorted(os.listdir(prefix.parent)) == ["net-%04d.%s" % (epoch, kind) for epoch in (1, 2, 3)
                                                 for kind in ("params", "states")] + ["net-symbol.json"]
    from qnn.converter import convert_checkpoint
    packing = convert_checkpoint(str(prefix), 3, str(tmp_path / "packed"))
    left = {row.layer.split("_")[0] for row in packing.rows if row.why}
    assert left == {"conv0", "fc1", "stage1"}
    images = np.random.RandomState(0).randn(2, 3, 64, 64).astype(np.float32)
    trained, packed = qnn.load(str(prefix), 3), qnn.load(str(tmp_path / "packed"), 3)
    np.testing.assert_array_equal(trained.predict(images), packed.predict(images))


@pytest.mark.slow
def test_cifar10_watches_every_image_once(records):
    """21 images in batches of 16: each epoch's accuracy is a number of 21sts, and not what the padded batch gives."""
    curve = report(run("cifar10", "--data-dir", records / "cifar10", "--num-classes", 4, "--num-examples", 64,
                       "--batch-size", 16, "--num-epochs", 2))["curve"]
    counts = np.array([row["accuracy"] * 21 for row in curve])
    assert len(counts) == 2 and np.abs(counts - np.rint(counts)).max() < 1e-6


@pytest.mark.slow
def test_two_workers_share_the_records(records, tmp_path):
    launch = [sys.executable, str(EXAMPLES / "launch.py"), "--workers", "2", "--", sys.executable,
              str(SCRIPTS["cifar10"]), "--data-dir", str(records / "cifar10"), "--num-classes", "4", "--num-examples",
              "64", "--batch-size", "8", "--num-epochs", "1", "--kv-store", "dist_sync", "--model-prefix",
              str(tmp_path / "net")]
    done = subprocess.run(launch, capture_output=True, text=True, timeout=200,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["rank"] for line in done.stdout.splitlines() if line.startswith("{")} == {0, 1}
    assert sorted(os.listdir(tmp_path)) == ["net-0001.params", "net-symbol.json"]


def test_benchmark_on_random_images():
    result = report(run("imagenet", "--benchmark", 1, "--num-examples", 4, "--batch-size", 2, "--image-shape",
                        "3,32,32", "--num-classes", 3, "--num-epochs", 1, "--network", "resnet-e", "--num-layers", 18))
    assert result["images_per_second"] > 0 and result["curve"] == []


def test_reading_alone(records):
    assert report(run("cifar10", "--data-dir", records / "cifar10", "--batch-size", 16, "--test-io",
                      1))["images_per_second"] > 0


@pytest.mark.parametrize("arguments, sentence", [
    (["--num-layers", "50"], "--num-layers of resnet-binary is one of [18], got 50"),
    (["--network", "vgg", "--fp-stages", "1"], "--fp-stages is for resnet-binary, got --network vgg"),
    (["--fp-stages", "7"], "fp_stages are numbers from 1 to 4, got 7"),
    (["--data-dir", "/nowhere"], "/nowhere/cifar10_train.rec: no such file"),
    ([], "--data-train FILE has the images"),
    (["--benchmark", "1", "--load-epoch", "3"], "--load-epoch goes on with the checkpoint of --model-prefix")])
def test_wrong_flags(arguments, sentence):
    error = run("cifar10", *arguments, status=2).stderr
    assert error.startswith("train_cifar10.py: error: ") and sentence in error and "Traceback" not in error
