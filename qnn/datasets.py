"""Datasets: images as (N, C, H, W) float32 and labels as (N,) int64, read strictly from files that lie on disk.

    images, labels = load("mnist", "data/mnist", split="test", limit=1000)

mnist is 0..1 (pixel / 255), digits 0..1 (pixel / 16); cifar10 and npz of bytes are 0..255, as the networks of BMXNet
take them. With scale or mean: (pixel - mean) * scale instead, pixel in 0..255. Nothing is downloaded.
"""
import errno
import glob
import os

import numpy as np

from .dataset_files import read_idx, read_npz, read_records
from .files import FileFormatError

NAMES = ("mnist", "cifar10", "npz", "digits")
SPLITS = ("train", "test")
MNIST_FILES = {"train": "train", "test": "t10k"}
CIFAR10_FILES = {"train": "cifar10_train.rec", "test": "cifar10_val.rec"}


def load(name, path=None, split="test", limit=None, scale=None, mean=None):
    """Loads a dataset by name: (images, labels). path: folder of mnist or cifar10, file of npz; unused by digits.

    limit: the first so many samples. scale: a number; mean: a number or one per channel; pixels become
    (pixel - mean) * scale. Raises OSError for a missing file, ValueError for a broken one.
    """
    if name not in NAMES:
        raise ValueError("unknown dataset %r; known: %s" % (name, ", ".join(NAMES)))
    if split not in SPLITS:
        raise ValueError("split is %s, got %r" % (" or ".join(SPLITS), split))
    if limit is not None and limit < 1:
        raise ValueError("limit is a number above 0, got %r" % (limit,))
    if path is None and name != "digits":
        raise ValueError("dataset %s is read from a path, and none is given" % name)
    if name == "cifar10":
        images, labels = cifar10(path, split, limit)
    else:
        images, labels = {"mnist": mnist, "npz": lambda path, _: npz(path), "digits": _digits}[name](path, split)
    images, labels = images[:limit], labels[:limit]
    if scale is None and mean is None:
        return images, labels
    unit = {"mnist": 255, "digits": 16}.get(name)
    return normalize(np.rint(images * unit).astype(np.float32) if unit else images, scale, mean), labels


def normalize(pixels, scale=None, mean=None):
    """(pixels - mean) * scale in float32. pixels: (N, C, ...); mean: a number or one per channel."""
    mean = np.atleast_1d(np.asarray(0 if mean is None else mean, np.float32))
    if mean.ndim != 1 or len(mean) not in (1, pixels.shape[1]):
        raise ValueError("mean is one number or one per channel, %d here, got %d" % (pixels.shape[1], mean.size))
    return (pixels - mean.reshape((-1,) + (1,) * (pixels.ndim - 2))) * np.float32(1 if scale is None else scale)


def detect(path):
    """Guesses mnist, cifar10 or npz from what lies at `path`. Raises OSError or ValueError."""
    if not os.path.exists(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if str(path).endswith(".npz"):
        return "npz"
    if glob.glob(os.path.join(glob.escape(str(path)), "*-idx3-ubyte*")):
        return "mnist"
    if any(os.path.exists(os.path.join(path, name)) for name in CIFAR10_FILES.values()):
        return "cifar10"
    raise ValueError("%s: no dataset is found: mnist has t10k-images-idx3-ubyte, cifar10 has cifar10_val.rec, npz is "
                     "a file with data and label" % path)


def mnist(path, split="test"):
    """MNIST from its idx files, gzipped or not: images (N, 1, 28, 28) in 0..1, labels (N,). path: their folder."""
    images = read_idx(_idx_path(path, MNIST_FILES[split] + "-images-idx3-ubyte"), 3)
    labels_path = _idx_path(path, MNIST_FILES[split] + "-labels-idx1-ubyte")
    labels = read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise FileFormatError("%s: %d labels for %d images" % (labels_path, len(labels), len(images)))
    return images[:, None].astype(np.float32) / np.float32(255), labels.astype(np.int64)


def _idx_path(folder, name):
    for candidate in (os.path.join(folder, name), os.path.join(folder, name + ".gz")):
        if os.path.exists(candidate):
            return candidate
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT) + " (nor %s.gz)" % name, os.path.join(folder, name))


def cifar10(path, split="test", limit=None):
    """CIFAR-10 from MXNet RecordIO: images (N, 3, 32, 32) RGB in 0..255, labels (N,). path: its folder."""
    file = os.path.join(path, CIFAR10_FILES[split])
    if not os.path.exists(file):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), file)
    return read_records(file, limit)


def npz(path):
    """An .npz file with `data` and `label`: (N, H, W, C) bytes become (N, C, H, W) in 0..255; floats stay."""
    return read_npz(path)


def _digits(_, split):
    return digits(split)


def digits(split="test", num_test=360):
    """scikit-learn's 8x8 digits: images (N, 1, 8, 8) in 0..1, labels (N,). 1437 train, 360 test, always the same."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError("the digits dataset needs scikit-learn: pip install scikit-learn") from None
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(labels))
    order = order[:num_test] if split == "test" else order[num_test:]
    return (pixels[order].reshape(-1, 1, 8, 8) / 16).astype(np.float32), labels[order].astype(np.int64)
