"""BNN-PYNQ folders: the published parameters meet their golden words, accumulators and board scores, in numpy and as
converted models; made-up folders of every format agree with plain numpy; damaged ones name the file."""
import base64
import dataclasses
import hashlib
import json
import shutil

import mxnet as mx
import numpy as np
import pynq
import pytest
from qnn.converter.bnn_pynq import NETWORKS, find_network, read_folder, to_json
from qnn.converter.convert import convert_checkpoint, run_passes
from qnn.converter.load_bnn_pynq import load_bnn_pynq

import qnn
from qnn.cli import main
from qnn.inference import Model

LFC = ("lfcW1A1", "lfcW1A2")
CNV = ("cnvW1A1", "cnvW1A2")


def sha256(array, dtype):
    return hashlib.sha256(array.astype(dtype).tobytes()).hexdigest()


@pytest.fixture(scope="module")
def golden(data_root):
    return json.loads((data_root / "bnn-pynq" / "golden.json").read_text())


def models(folder, name):
    """(training graph, packed graph) as Models."""
    graph, args, auxs = load_bnn_pynq(str(folder), name)
    packed = run_passes(graph.copy(), args, auxs)
    return (Model(mx.sym.load_json(graph.to_json()), args, auxs),
            Model(mx.sym.load_json(packed.graph.to_json()), *packed.used_params()))


@pytest.mark.parametrize("name", LFC)
def test_lfc_meets_its_golden_words(name, data_root, golden):
    """All 10,000 output words and accumulators, their classes, and the same classes from the converted model."""
    images, labels = qnn.datasets.load("mnist", str(data_root / "mnist"))
    folder, expected = data_root / "bnn-pynq" / "mnist" / name, golden["mnist"]["mnist/" + name]
    accum, bits = pynq.run(NETWORKS[name], read_folder(str(folder), NETWORKS[name]), images)
    words = (bits << np.arange(10)).sum(axis=1)
    assert accum[0].tolist() == expected["acc_first"] and sha256(accum, "<i2") == expected["sha256_acc_i16le"]
    assert sha256(words, "<u2") == expected["sha256_word_u16le"]
    trained, packed = models(folder, name)
    internal = trained.symbol.get_internals()["fc3_output"]
    names = internal.list_inputs()
    args, auxs = ({key: value for key, value in params.items() if key in names}
                  for params in (trained.arg_params, trained.aux_params))
    np.testing.assert_array_equal(Model(internal, args, auxs).predict(images, 500), accum)
    classes = packed.classes(images, 500)
    assert sha256(classes, "u1") == expected["sha256_class_u8"] and (classes == labels).sum() == expected["correct"]
    np.testing.assert_array_equal(packed.predict(images, 500), bits * np.arange(10))


@pytest.mark.parametrize("name", CNV)
def test_cnv_meets_its_board_scores(name, data_root, golden):
    rows = [row for row in golden["board_scores"] if row["net"] == "cifar10/" + name]
    assert rows
    pixels = [np.frombuffer(base64.b64decode(row["rgb_hwc_b64"]), np.uint8).reshape(32, 32, 3) for row in rows]
    images = np.stack(pixels).transpose(0, 3, 1, 2).astype(np.float32)
    scores = [row["scores"] for row in rows]
    folder = data_root / "bnn-pynq" / "cifar10" / name
    np.testing.assert_array_equal(pynq.run(NETWORKS[name], read_folder(str(folder), NETWORKS[name]), images)[0], scores)
    for model in models(folder, name):
        np.testing.assert_array_equal(model.predict(images), scores)


@pytest.mark.slow
@pytest.mark.parametrize("name, correct", [("cnvW1A1", 678), ("cnvW1A2", 720)])
def test_cnv_on_lossless_images(name, correct, data_root):
    """80.14 % and 85.11 % of the 846 lossless test images."""
    images, labels = qnn.datasets.load("npz", str(data_root / "cifar10" / "test_lossless_846.npz"))
    _, packed = models(data_root / "bnn-pynq" / "cifar10" / name, name)
    assert (packed.classes(images) == labels).sum() == correct


def test_command_line(data_root, tmp_path, capsys):
    source, out = str(data_root / "bnn-pynq" / "mnist" / "lfcW1A1") + "/", str(tmp_path / "lfc")
    assert main(["convert", "--from", "bnn-pynq", source, "--network", "lfcW1A1", "-o", out, "--verify",
                 str(data_root / "mnist"), "--limit", "500", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verification"]["different_outputs"] == 0 and not any(row["why"] for row in report["rows"])
    assert main(["evaluate", out, "0", "--dataset", "mnist", "--data", str(data_root / "mnist"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["correct"] == 9840


# ---- made-up folders -------------------------------------------------------------------------------------------------

FORMATS = [(weight_bits, act_bits, data_bits, has_last) for weight_bits in (1, 2) for act_bits in (1, 2)
           for data_bits in (1, 8) for has_last in (False, True)]


def images_for(network):
    shape = (40,) + network.data_shape
    pixels = np.random.RandomState(1).randint(0, 256, shape)
    pixels.ravel()[:256] = np.arange(256)
    return (pixels / 255 if network.data_bits == 1 else pixels).astype(np.float32)


@pytest.mark.parametrize("weight_bits, act_bits, data_bits, has_last", FORMATS)
def test_every_format_agrees_with_numpy(weight_bits, act_bits, data_bits, has_last, tmp_path):
    network = pynq.small_network(weight_bits, act_bits, data_bits, has_last)
    params = pynq.random_params(network)
    pynq.write_folder(str(tmp_path / "net"), network, params)
    (tmp_path / "net.json").write_text(to_json(network))
    images = images_for(network)
    accum, bits = pynq.run(network, params, images)
    expected = accum if bits is None else bits * np.arange(5)
    assert len(np.unique(expected)) > 3
    for model in models(tmp_path / "net", str(tmp_path / "net.json")):
        np.testing.assert_array_equal(model.predict(images), expected)


@pytest.fixture
def small(tmp_path):
    """(folder, name of the network, network, params) of 1-bit layers."""
    network = pynq.small_network(1, 1, 1, True)
    params = pynq.random_params(network)
    pynq.write_folder(str(tmp_path / "net"), network, params)
    (tmp_path / "net.json").write_text(to_json(network))
    return tmp_path / "net", str(tmp_path / "net.json"), network, params


def test_thresholds_wrap_to_16_bits(small):
    """Old files have 65535, which the hardware loads as -1: always passed."""
    folder, name, network, params = small
    params[0][1][:4] = 65535
    pynq.write_folder(str(folder), network, params)
    np.testing.assert_array_equal(read_folder(str(folder), network)[0][1][:4], -1)
    accum, bits = pynq.run(network, [(params[0][0], np.where(params[0][1] == 65535, -1, params[0][1])), *params[1:]],
                           images_for(network))
    np.testing.assert_array_equal(models(folder, name)[1].predict(images_for(network)), bits * np.arange(5))


def test_classes_txt_tells_the_number_of_outputs(small):
    folder, name, network, params = small
    (folder / "classes.txt").write_text("a\nb\nc\n")
    accum, bits = pynq.run(network, params, images_for(network))
    np.testing.assert_array_equal(models(folder, name)[1].predict(images_for(network)), bits[:, :3] * np.arange(3))


def test_last_layer_may_be_padded_further_and_have_unused_thresholds(tmp_path):
    network = pynq.small_network(1, 1, 1, False)
    *hidden, last = network.layers
    wide = dataclasses.replace(network, layers=(*hidden, dataclasses.replace(last, outputs=64)))
    params = pynq.random_params(wide)
    pynq.write_folder(str(tmp_path), wide, params)
    np.zeros(3, "<i8").tofile(tmp_path / "2-0-thres.bin")
    (weights, thresholds) = read_folder(str(tmp_path), network)[2]
    assert thresholds is None
    np.testing.assert_array_equal(weights, params[2][0][:5])


def test_published_geometry():
    """Neurons and columns of BNN-PYNQ's config.h; every fold is whole."""
    cnv = NETWORKS["cnvW1A1"].layers
    assert [layer.stored for layer in cnv] == [27, 576, 576, 1152, 1152, 2304, 256, 512, 512]
    for network in NETWORKS.values():
        assert all(layer.stored % layer.simd == 0 for layer in network.layers)
        assert all(layer.outputs % layer.pe == 0 for layer in network.layers[:-1])


def refused(folder, name, match, error=ValueError):
    with pytest.raises(error, match=match):
        load_bnn_pynq(str(folder), name)


def test_missing_and_truncated_files(small, tmp_path):
    folder, name, *_ = small
    refused(tmp_path / "nowhere", name, "nowhere", OSError)
    refused(name, name, "net.json", OSError)
    for file, match in (("1-3-weights.bin", "1-3-weights.bin: 2 words, expected 3"),
                        ("1-3-thres.bin", "1-3-thres.bin: 0 thresholds, expected 1"),
                        ("0-0-weights.bin", "0-0-weights.bin: 15 words, expected a multiple of 4")):
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(content[:-8])
        refused(folder, name, match)
        (folder / file).write_bytes(content[:-3])
        refused(folder, name, "%s: %d bytes, expected a multiple of 8: truncated" % (file, len(content) - 3))
        (folder / file).unlink()
        refused(folder, name, file, FileNotFoundError)
        (folder / file).write_bytes(content)
    load_bnn_pynq(str(folder), name)


def test_folders_of_other_networks(small):
    folder, name, *_ = small
    refused(folder, "lfcW1A1", "0-0-weights.bin: 16 words, expected a multiple of 13")
    shutil.copy(folder / "2-0-weights.bin", folder / "3-0-weights.bin")
    refused(folder, name, "3-0-weights.bin: the network has 3 layers")


def test_words_with_foreign_bits(small, tmp_path):
    folder, name, *_ = small
    words = np.fromfile(folder / "0-0-weights.bin", "<u8")
    words[3] |= np.uint64(1 << 16)
    words.tofile(folder / "0-0-weights.bin")
    refused(folder, name, "0-0-weights.bin: bits above the 16 synapses")
    network = pynq.small_network(2, 1, 1)
    pynq.write_folder(str(tmp_path / "two"), network, pynq.random_params(network))
    words = np.fromfile(tmp_path / "two" / "0-0-weights.bin", "<u8")
    words[0] = 2
    words.tofile(tmp_path / "two" / "0-0-weights.bin")
    with pytest.raises(ValueError, match=r"0-\*-weights.bin: a weight of -2"):
        read_folder(str(tmp_path / "two"), network)


@pytest.mark.parametrize("text, match", [
    ("{", "not a BNN-PYNQ network"), ("[]", "not a BNN-PYNQ network"), ("{}", "'layers'"),
    ('{"layers": [{"kind": "fc"}]}', "inputs"), ('{"layers": [], "data_shape": [1]}', "missing")])
def test_broken_descriptions(text, match, tmp_path):
    (tmp_path / "n.json").write_text(text)
    with pytest.raises(ValueError, match="n.json: .*" + match):
        find_network(str(tmp_path / "n.json"))


@pytest.mark.parametrize("field, value, match", [
    ("act_bits", 3, "act_bits is 1 or 2, got 3"), ("layers", (), "it has no layers"),
    ("layers", (dataclasses.replace(pynq.small_network(1, 1).layers[1], simd=5),),
     "54 columns do not divide into words of 5 synapses")])
def test_impossible_descriptions(field, value, match, tmp_path):
    (tmp_path / "n.json").write_text(to_json(dataclasses.replace(pynq.small_network(1, 1), **{field: value})))
    with pytest.raises(ValueError, match=match):
        find_network(str(tmp_path / "n.json"))


def test_unknown_network_and_usage(small, capsys):
    folder, _, *_ = small
    refused(folder, "lfc", "unknown BNN-PYNQ network 'lfc'; known: lfcW1A1")
    for arguments, sentence in ((["--from", "bnn-pynq", str(folder)], "--network NAME says"),
                                ([str(folder)], "EPOCH says"),
                                ([str(folder), "0", "--network", "lfcW1A1"], "a network is named for bnn-pynq")):
        assert main(["convert"] + arguments) == 2
        assert sentence in capsys.readouterr().err


def test_nothing_is_written_on_an_error(small, tmp_path):
    folder, name, *_ = small
    (folder / "0-0-thres.bin").unlink()
    with pytest.raises(FileNotFoundError):
        convert_checkpoint(str(folder), 0, str(tmp_path / "out"), "bnn-pynq", network=name)
    assert not list(tmp_path.glob("out*"))
