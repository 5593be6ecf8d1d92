"""Pretrained networks: every row of the index loads and has the accuracy it states; files are checked, fetched whole or
not at all, from folders as from URLs; the command line."""
import json
import os
import shutil
import threading
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler

import mxnet as mx
import numpy as np
import pytest
from nets import bias_last, calibrated
from qnn.model_zoo import get_model, get_model_list, get_symbol, store, weights
from qnn.model_zoo.pretrained import files_of, read_index
from qnn.model_zoo.publish import publish

import qnn
from qnn import checkpoint, files
from qnn.cli import main

INDEX = read_index()
FOREIGN = {"lfc_mnist_w1a1": "bnn-pynq/mnist/lfcW1A1", "lfc_mnist_w1a2": "bnn-pynq/mnist/lfcW1A2",
           "cnv_cifar10_w1a1": "bnn-pynq/cifar10/cnvW1A1", "cnv_cifar10_w1a2": "bnn-pynq/cifar10/cnvW1A2",
           "bmxnet_lenet_mnist": "bmxnet", "bmxnet_resnet18_cifar10": "bmxnet", "bmxnet_resnet18_imagenet": "bmxnet"}
FILE = "lenet_mnist_binary.params"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("QNN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def images_of(row, data_root):
    if row.get("total") in (840, 846):
        return qnn.datasets.load("npz", str(data_root / "cifar10" / "test_lossless_846.npz"), limit=row["total"])
    return qnn.datasets.load(row["dataset"], str(data_root / row["dataset"]), "test", None, row.get("scale"),
                             row.get("mean"))


# ---- every row of the index ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(INDEX) - set(FOREIGN)))
def test_packaged_weights_are_those_of_the_index(name):
    row = INDEX[name]
    path = store.PACKAGED / files_of(row)[0]
    assert store.digest([path]) == row["sha256"] and path.stat().st_size == row["bytes"] < 2 << 20
    assert row["command"] and row["correct"] / row["total"] == row["accuracy"]


def test_the_package_stays_small():
    assert sum(path.stat().st_size for path in store.PACKAGED.iterdir()) < 12e6


@pytest.mark.parametrize("name", sorted(name for name, row in INDEX.items() if "correct" in row))
def test_stated_accuracy(name, data_root):
    row = INDEX[name]
    model = get_model(name, source=str(data_root / FOREIGN[name]) if name in FOREIGN else None)
    images, labels = images_of(row, data_root)
    model.symbol = bias_last(model.symbol)  # where the figures were measured
    assert model.is_packed and (model.classes(images) == labels).sum() == row["correct"]


@pytest.mark.parametrize("name", sorted(FOREIGN))
def test_foreign_networks_run_packed_and_as_training_graphs(name, data_root):
    row = INDEX[name]
    images = np.random.RandomState(0).randint(0, 256, (2, *row["data_shape"])).astype(np.float32)
    images = images / 255 if row["dataset"] == "mnist" else images
    source = str(data_root / FOREIGN[name])
    packed, trained = (get_model(name, source=source, packed=is_packed) for is_packed in (True, False))
    assert not trained.is_packed
    np.testing.assert_array_equal(packed.predict(images), trained.predict(images))


def test_packed_and_training_graph_agree():
    images, _ = qnn.datasets.load("digits")
    packed, trained = (get_model("digits_binary", packed=is_packed) for is_packed in (True, False))
    assert packed.is_packed and not trained.is_packed
    assert set(np.unique(trained.arg_params["conv2_weight"])) == {-1, 1}
    np.testing.assert_array_equal(packed.predict(images), trained.predict(images))


def test_names():
    names = get_model_list()
    assert names == sorted(names) and {"resnet18", "lenet_mnist_binary"} <= set(names)
    for arguments, match in ((("lenett",), "unknown model 'lenett'; known: .*lenet_mnist_binary"),
                             (("resnet18", True), "there are no weights of resnet18; pretrained: bmxnet"),
                             (("digits_binary", False), "its architecture is digits")):
        with pytest.raises(ValueError, match=match):
            get_model(*arguments)
    with pytest.raises(ValueError, match="takes no argument 'num_classes'"):
        get_model("digits_binary", num_classes=3)


# ---- weight files ----------------------------------------------------------------------------------------------------


def test_bits_are_the_signs():
    symbol = get_symbol("digits")
    args, auxs = calibrated(symbol, np.random.RandomState(0).rand(4, 1, 8, 8).astype(np.float32))
    args["conv2_weight"].ravel()[:2] = -0.0, np.nan
    packed = weights.pack(symbol, args, auxs)
    assert {key for key in packed if key.startswith("bits:")} == {
        "bits:conv2_weight", "bits:conv3_weight", "bits:fc1_weight"}
    signs = np.unpackbits(packed["bits:conv2_weight"], bitorder="little")
    np.testing.assert_array_equal(signs, ~(args["conv2_weight"].ravel() < 0))
    np.testing.assert_array_equal(packed["arg:conv1_weight"], args["conv1_weight"])


def test_scaled_shared_and_wide_weights_stay_float():
    data, weight = mx.sym.Variable("data"), mx.sym.Variable("w", shape=(8, 8))
    net = qnn.sym.QFullyConnected(data, num_hidden=8, scaling="filter", name="scaled")
    net = qnn.sym.QFullyConnected(net, weight, num_hidden=8, name="one")
    net = mx.sym.FullyConnected(net, weight, num_hidden=8, no_bias=True, name="other")
    net = qnn.sym.QFullyConnected(net, num_hidden=8, act_bit=2, weight_bit=2, name="wide")
    assert weights.sign_weights(qnn.sym.QFullyConnected(net, num_hidden=8, name="own")) == {"own_weight"}


@pytest.mark.parametrize("edit, match", [
    (lambda p: p.pop("arg:fc2_bias"), "parameter fc2_bias is missing"),
    (lambda p: p.update({"arg:more": np.zeros(3, np.float32)}), "parameter arg:more is none of the network's"),
    (lambda p: p.update({"arg:fc2_bias": np.zeros(3, np.float32)}), r"fc2_bias has shape \(3,\), expected \(10,\)"),
    (lambda p: p.update({"bits:fc1_weight": p["bits:fc1_weight"][:-1]}), r"bits of fc1_weight are \(32768,\) uint8")])
def test_damaged_weights(edit, match, tmp_path):
    params = dict(files.load_params(str(store.PACKAGED / "digits_binary.params")))
    edit(params)
    path = str(tmp_path / "x.params")
    files.write_atomically({path: files.dump_params(params)})
    with pytest.raises(ValueError, match="x.params: .*" + match):
        weights.unpack(path, get_symbol("digits"), (1, 8, 8))


# ---- the store -------------------------------------------------------------------------------------------------------


@pytest.fixture
def absent(tmp_path, monkeypatch):
    """A folder with the weights of lenet_mnist_binary, and a package that does not have them."""
    shutil.copytree(store.PACKAGED, tmp_path / "published")
    monkeypatch.setattr(store, "PACKAGED", tmp_path / "nothing")
    return tmp_path / "published"


@pytest.fixture
def served(absent):
    """The URL of that folder on a local server."""
    handler = partial(_QuietHandler, directory=str(absent))
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield "http://127.0.0.1:%d" % server.server_port
    server.shutdown()
    server.server_close()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


ROW = INDEX["lenet_mnist_binary"]


@pytest.mark.parametrize("kind", ["folder", "file", "http"])
def test_fetch_from(kind, absent, served, home):
    source = {"folder": str(absent), "file": absent.as_uri(), "http": served + "/"}[kind]
    folder = store.fetch(ROW, [FILE], source=source)
    assert folder == home / ROW["name"] and os.listdir(home) == [ROW["name"]]
    shutil.rmtree(absent)
    assert store.fetch(ROW, [FILE], source=source) == folder  # from the cache now
    assert get_model("lenet_mnist_binary").is_packed


def test_root_is_an_argument(absent, tmp_path, home):
    assert store.fetch(ROW, [FILE], tmp_path / "mine", str(absent)) == tmp_path / "mine" / ROW["name"]
    assert not home.exists()


def test_wrong_contents_are_refused(absent, home):
    content = bytearray((absent / FILE).read_bytes())
    content[5000] ^= 1
    (absent / FILE).write_bytes(content)
    with pytest.raises(ValueError, match="SHA-256 is .*, expected %s" % ROW["sha256"]):
        store.fetch(ROW, [FILE], source=str(absent))
    assert os.listdir(home) == []


def test_damaged_cache_is_refused(absent, home):
    store.fetch(ROW, [FILE], source=str(absent))
    (home / ROW["name"] / FILE).write_bytes(b"")
    with pytest.raises(ValueError, match="remove .* and fetch it again"):
        get_model("lenet_mnist_binary")


def test_broken_transfer_goes_on_where_it_stopped(tmp_path, home):
    for number in range(3):
        (tmp_path / "from").mkdir(exist_ok=True)
        (tmp_path / "from" / str(number)).write_bytes(b"%d" % number)
    row = {"name": "many", "sha256": store.digest((tmp_path / "from").iterdir())}
    (tmp_path / "from" / "2").rename(tmp_path / "2")
    with pytest.raises(FileNotFoundError):
        store.fetch(row, ["0", "1", "2"], source=str(tmp_path / "from"))
    assert os.listdir(home) == [".many.part"] and store.locate(row, ["0", "1", "2"]) is None
    (tmp_path / "from" / "0").unlink()  # is not read again
    (tmp_path / "2").rename(tmp_path / "from" / "2")
    folder = store.fetch(row, ["0", "1", "2"], source=str(tmp_path / "from"))
    assert sorted(os.listdir(folder)) == ["0", "1", "2"] and os.listdir(home) == ["many"]


def test_offline_says_what_to_do(absent, served, home, capsys):
    for source, sentence in ((served + "/nowhere", "cannot be fetched: File not found"),
                             ("http://127.0.0.1:9", "cannot be fetched: [Errno 111] Connection refused")):
        assert main(["zoo", "fetch", "lenet_mnist_binary", "--source", source]) == 2
        error = capsys.readouterr().err
        assert sentence in error and "put its files into %s" % (home / ROW["name"]) in error
    assert main(["zoo", "fetch", "lenet_mnist_binary"]) == 2
    assert "lenet_mnist_binary: is neither in the package nor in the cache" in capsys.readouterr().err


# ---- publishing ------------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path):
    symbol = get_symbol("digits")
    images, _ = qnn.datasets.load("digits", limit=50)
    checkpoint.write(str(tmp_path / "net"), 3, symbol.tojson(), *calibrated(symbol, images))
    return str(tmp_path / "net")


def publish_here(trained, tmp_path, **changes):
    arguments = dict(name="new", prefix=trained, epoch=3, network="digits", arguments={"is_binary": True},
                     dataset="digits", data=None, command="made up", folder=tmp_path / "weights",
                     index=tmp_path / "index.json")
    return publish(**{**arguments, **changes})


def test_publish_writes_weights_and_row(trained, tmp_path):
    row = publish_here(trained, tmp_path)
    path = tmp_path / "weights" / "new.params"
    assert read_index(tmp_path / "index.json") == {"new": row}
    assert row["sha256"] == store.digest([path]) and row["bytes"] == path.stat().st_size
    assert row["total"] == 360 and row["data_shape"] == [1, 8, 8]
    assert row["images_per_second"] > 0 and row["measured"].startswith("packed, ")
    publish_here(trained, tmp_path, name="other")
    assert list(read_index(tmp_path / "index.json")) == ["new", "other"]


def test_publish_refuses_what_is_not_the_network(trained, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="its parameters are not those of binary_lenet"):
        publish_here(trained, tmp_path, network="binary_lenet", arguments={})
    monkeypatch.setattr("qnn.model_zoo.publish.LIMIT", 1000)
    with pytest.raises(ValueError, match="the package takes 1000 at most"):
        publish_here(trained, tmp_path)
    assert not (tmp_path / "index.json").exists() and not (tmp_path / "weights").exists()


def test_publish_refuses_other_outputs(trained, tmp_path, monkeypatch):
    pack = weights.pack
    monkeypatch.setattr(weights, "pack", lambda *args: {key: ~value if key == "bits:fc1_weight" else value
                                                        for key, value in pack(*args).items()})
    with pytest.raises(ValueError, match="gives other outputs than the checkpoint"):
        publish_here(trained, tmp_path)
    assert not list((tmp_path / "weights").iterdir())


# ---- the command line ------------------------------------------------------------------------------------------------


def run_json(capsys, *arguments):
    assert main(["zoo", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_list(capsys):
    report = run_json(capsys, "list")
    assert {row["name"] for row in report["pretrained"]} == set(INDEX) and "resnet18" in report["architectures"]
    assert main(["zoo", "list"]) == 0
    assert "lenet_mnist_binary" in capsys.readouterr().out


def test_show(capsys):
    report = run_json(capsys, "show", "digits_binary")
    assert report["command"] and report["summary"]["macs"]["1"] > 0
    assert main(["zoo", "show", "digits_binary"]) == 0
    assert "accuracy" in capsys.readouterr().out


def test_evaluate(capsys):
    report = run_json(capsys, "evaluate", "digits_binary", "--limit", "100")
    assert report["total"] == 100 and report["accuracy"] > 0.95
    assert run_json(capsys, "evaluate", "digits_binary", "--limit", "100", "--float")["correct"] == report["correct"]


def save_image(path, pixels):
    """PNG or JPEG, written by the module that reads them in other programs."""
    from PIL import Image
    Image.fromarray(pixels).save(str(path))


@pytest.mark.parametrize("suffix, size, invert", [("png", 8, False), ("jpg", 64, False), ("png", 64, True)])
def test_run(suffix, size, invert, tmp_path, capsys):
    images, labels = qnn.datasets.load("digits", limit=12)
    names = []
    for number, image in enumerate(images):
        pixels = np.rint(image[0] * 255).astype(np.uint8).repeat(size // 8, 0).repeat(size // 8, 1)
        names.append(str(tmp_path / ("%d.%s" % (number, suffix))))
        save_image(names[-1], 255 - pixels if invert else pixels)
    report = run_json(capsys, "run", "digits_binary", *names, *["--invert"] * invert)
    assert [row["image"] for row in report] == names
    assert np.mean([row["top5"][0]["index"] == label for row, label in zip(report, labels)]) > 0.9
    best = [one["probability"] for one in report[0]["top5"]]
    assert len(best) == 5 and best == sorted(best, reverse=True) and sum(best) <= 1.0001


def test_run_takes_the_middle_of_other_shapes(tmp_path):
    from qnn.model_zoo.images import load_image
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 10:30] = 200
    save_image(tmp_path / "wide.png", pixels)
    row = {"data_shape": [3, 20, 20], "dataset": "cifar10"}
    image = load_image(str(tmp_path / "wide.png"), row)
    assert image.shape == (1, 3, 20, 20) and (image == 200).all()
    normalized = load_image(str(tmp_path / "wide.png"), {**row, "mean": [100, 0, 0], "scale": 0.5})
    assert (normalized[0, 0] == 50).all() and (normalized[0, 1] == 100).all()


def test_run_on_no_image(tmp_path, capsys):
    (tmp_path / "text.png").write_text("no image")
    for name, sentence in (("text.png", "text.png: neither PNG nor JPEG"), ("none.png", "none.png: No such file")):
        assert main(["zoo", "run", "digits_binary", str(tmp_path / name)]) == 2
        assert sentence in capsys.readouterr().err


def test_unknown_names(capsys):
    assert main(["zoo", "run", "nothing", "x.png"]) == 2
    assert "unknown pretrained network 'nothing'; known: bmxnet_lenet" in capsys.readouterr().err
