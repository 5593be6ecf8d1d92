"""Datasets: what is read, and one sentence for what cannot be read."""
import gzip
import io
import os
import struct

import numpy as np
import pytest

from qnn import datasets
from qnn.files import FileFormatError


def write_mnist(folder, split="t10k", count=5, zipped=False):
    images = np.arange(count * 28 * 28, dtype=np.uint32).astype(np.uint8)
    opener, ending = (gzip.open, ".gz") if zipped else (open, "")
    with opener(str(folder / (split + "-images-idx3-ubyte" + ending)), "wb") as file:
        file.write(struct.pack(">IIII", 2051, count, 28, 28) + images.tobytes())
    with opener(str(folder / (split + "-labels-idx1-ubyte" + ending)), "wb") as file:
        file.write(struct.pack(">II", 2049, count) + bytes(range(count)))
    return images.reshape(count, 1, 28, 28)


@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_reads_idx(tmp_path, zipped):
    pixels = write_mnist(tmp_path, zipped=zipped)
    images, labels = datasets.load("mnist", tmp_path)
    assert images.dtype == np.float32 and labels.dtype == np.int64
    assert np.array_equal(images, pixels.astype(np.float32) / np.float32(255))
    assert labels.tolist() == [0, 1, 2, 3, 4]


def test_limit_takes_the_first(tmp_path):
    write_mnist(tmp_path)
    images, labels = datasets.load("mnist", tmp_path, limit=2)
    assert images.shape == (2, 1, 28, 28) and labels.tolist() == [0, 1]


def test_scale_and_mean_are_of_raw_pixels(tmp_path):
    pixels = write_mnist(tmp_path)
    images, _ = datasets.load("mnist", tmp_path, scale=2.0, mean=[10.0])
    assert np.array_equal(images, (pixels.astype(np.float32) - 10) * 2)


def test_mean_per_channel():
    pixels = np.ones((2, 3, 4, 4), np.float32)
    assert datasets.normalize(pixels, mean=[1, 2, 3])[0, :, 0, 0].tolist() == [0, -1, -2]
    with pytest.raises(ValueError, match="one number or one per channel, 3 here, got 2"):
        datasets.normalize(pixels, mean=[1, 2])


def cut(content):
    return content[:-1]


def longer(content):
    return content + b"x"


def foreign(content):
    return b"XX" + content[2:]


def nothing(_):
    return b""


@pytest.mark.parametrize("damage", [cut, longer, foreign, nothing])
@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_mnist_damaged(tmp_path, name, damage):
    write_mnist(tmp_path)
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    with pytest.raises(FileFormatError, match=name + ": .*(truncated|not an idx file)"):
        datasets.load("mnist", tmp_path)


@pytest.mark.parametrize("damage", [lambda c: c[:len(c) // 2], foreign, lambda c: c[:30] + b"\0" * 40 + c[70:]])
def test_mnist_damaged_gzip(tmp_path, damage):
    write_mnist(tmp_path, zipped=True)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileFormatError, match="truncated or not a gzip file"):
        datasets.load("mnist", tmp_path)


def test_mnist_counts_differ(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 2) + b"\0\1")
    with pytest.raises(FileFormatError, match="2 labels for 5 images"):
        datasets.load("mnist", tmp_path)


def test_mnist_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load("mnist", tmp_path)
    assert caught.value.filename.endswith("t10k-images-idx3-ubyte") and ".gz" in caught.value.strerror


def encoded_jpeg(size=32):
    from PIL import Image
    stream = io.BytesIO()
    red = np.zeros((size, size, 3), np.uint8)
    red[..., 0] = 255
    Image.fromarray(red).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def write_records(folder, sizes=(32, 32, 32), name="cifar10_val"):
    import mxnet as mx
    pytest.importorskip("PIL")
    records = mx.recordio.MXIndexedRecordIO(str(folder / (name + ".idx")), str(folder / (name + ".rec")), "w")
    for i, size in enumerate(sizes):
        records.write_idx(i, mx.recordio.pack(mx.recordio.IRHeader(0, float(i), i, 0), encoded_jpeg(size)))
    records.close()
    return folder / (name + ".rec")


def test_cifar10_decodes_rgb(tmp_path):
    write_records(tmp_path)
    images, labels = datasets.load("cifar10", tmp_path)
    assert images.shape == (3, 3, 32, 32) and images.dtype == np.float32 and labels.tolist() == [0, 1, 2]
    assert images[:, 0].min() > 250 and images[:, 1:].max() < 5
    assert len(datasets.load("cifar10", tmp_path, limit=2)[0]) == 2


def test_cifar10_damaged(tmp_path):
    path = write_records(tmp_path)
    content = path.read_bytes()
    for damaged in (content[:len(content) - 100], b"\0" * 8 + content[8:], content[:60] + b"\0" * 200 + content[260:]):
        path.write_bytes(damaged)
        with pytest.raises(FileFormatError, match="cifar10_val.rec: "):
            datasets.load("cifar10", tmp_path)


def test_cifar10_cut_between_records(tmp_path):
    path = write_records(tmp_path)
    path.write_bytes(path.read_bytes()[:os.path.getsize(path) // 3])
    with pytest.raises(FileFormatError, match="1 records, but .*cifar10_val.idx lists 3"):
        datasets.load("cifar10", tmp_path)


def test_cifar10_sizes_differ(tmp_path):
    write_records(tmp_path, sizes=(32, 16))
    with pytest.raises(FileFormatError, match="not images of one size"):
        datasets.load("cifar10", tmp_path)


def test_npz_of_bytes_becomes_nchw(tmp_path):
    data = np.random.RandomState(0).randint(0, 256, (4, 5, 6, 3)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", data=data, label=np.arange(4))
    images, labels = datasets.load("npz", tmp_path / "a.npz")
    assert np.array_equal(images, data.transpose(0, 3, 1, 2)) and images.dtype == np.float32
    assert labels.tolist() == [0, 1, 2, 3]


def test_npz_of_floats_stays(tmp_path):
    data = np.random.RandomState(0).rand(4, 3, 5, 6).astype(np.float32)
    np.savez_compressed(tmp_path / "a.npz", data=data, label=np.arange(4.0))
    assert np.array_equal(datasets.load("npz", tmp_path / "a.npz")[0], data)


@pytest.mark.parametrize("arrays, sentence", [
    (dict(data=np.zeros((2, 4, 4, 3), np.uint8)), "no array 'label' in it; it has: data"),
    (dict(data=np.zeros((2, 4, 4, 3), np.uint8), label=np.zeros(3, int)), "label is 2 class numbers"),
    (dict(data=np.zeros((2, 4, 4, 3), np.uint8), label=np.array([0.5, 1])), "label is 2 class numbers"),
    (dict(data=np.zeros((2, 3, 4, 4), np.float16), label=np.zeros(2, int)), "got .* float16"),
    (dict(data=np.zeros((0, 3, 4, 4), np.float32), label=np.zeros(0, int)), r"got \(0, 3, 4, 4\)"),
    (dict(data=np.array([{}, {}]), label=np.zeros(2, int)), "not an .npz file"),
])
def test_npz_unfit(tmp_path, arrays, sentence):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FileFormatError, match="a.npz: .*" + sentence):
        datasets.load("npz", tmp_path / "a.npz")


@pytest.mark.parametrize("damage", [cut, foreign, nothing, lambda c: c[:len(c) // 2], lambda c: b"hello",
                                    lambda c: c[:200] + b"\xff" * 50 + c[250:]])
def test_npz_damaged(tmp_path, damage):
    path = tmp_path / "a.npz"
    np.savez(path, data=np.zeros((2, 4, 4, 3), np.uint8), label=np.zeros(2, int))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileFormatError, match="truncated or not an .npz file"):
        datasets.load("npz", path)


def test_digits_split_is_fixed():
    pytest.importorskip("sklearn")
    train, test = datasets.load("digits", split="train"), datasets.load("digits")
    assert train[0].shape == (1437, 1, 8, 8) and test[0].shape == (360, 1, 8, 8)
    assert test[0].dtype == np.float32 and test[0].min() == 0 and test[0].max() == 1
    assert test[1][:8].tolist() == datasets.digits()[1][:8].tolist()
    assert not {x.tobytes() for x in train[0][:200]} & {x.tobytes() for x in test[0][:5]}


@pytest.mark.parametrize("arguments, sentence", [
    (dict(name="mnits", path="."), "unknown dataset 'mnits'; known: mnist, cifar10, npz, digits"),
    (dict(name="mnist", path=".", split="val"), "split is train or test, got 'val'"),
    (dict(name="mnist", path=".", limit=0), "limit is a number above 0, got 0"),
    (dict(name="mnist"), "read from a path"),
])
def test_load_checks_arguments(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        datasets.load(**arguments)


def test_detect(tmp_path):
    with pytest.raises(ValueError, match="no dataset is found: mnist has"):
        datasets.detect(tmp_path)
    (tmp_path / "cifar10_val.rec").write_bytes(b"")
    assert datasets.detect(tmp_path) == "cifar10"
    write_mnist(tmp_path, zipped=True)
    assert datasets.detect(tmp_path) == "mnist"
    np.savez(tmp_path / "a.npz", data=1)
    assert datasets.detect(tmp_path / "a.npz") == "npz"
    with pytest.raises(FileNotFoundError):
        datasets.detect(tmp_path / "nowhere")


def test_official_mnist(data_root):
    images, labels = datasets.load("mnist", str(data_root / "mnist"))
    assert images.shape == (10000, 1, 28, 28) and images.max() == 1
    assert labels[:5].tolist() == [7, 2, 1, 0, 4] and np.bincount(labels)[0] == 980


def test_official_cifar10_is_rgb(data_root):
    """RecordIO and the lossless images are in different orders; their mean colours agree, and blue is the darkest."""
    images, labels = datasets.load("cifar10", str(data_root / "cifar10"), limit=800)
    lossless, truth = datasets.load("npz", str(data_root / "cifar10" / "test_lossless_846.npz"))
    assert images.shape == (800, 3, 32, 32) and len(lossless) == len(truth) == 846 and set(labels) == set(truth)
    colour, expected = images.mean(axis=(0, 2, 3)), lossless.mean(axis=(0, 2, 3))
    assert np.abs(colour - expected).max() < 5 and colour.argmin() == expected.argmin() == 2
