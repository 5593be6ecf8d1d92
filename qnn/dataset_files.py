"""Dataset files: idx, RecordIO and npz, read strictly: a truncated or foreign file raises FileFormatError naming it."""
import gzip
import os
import struct
import zipfile
import zlib

import numpy as np

from .errors import first_sentence
from .files import FileFormatError

IDX_UINT8 = 0x08


def read_idx(path, ndim):
    """An idx file of bytes with `ndim` dimensions: 0, 0, 0x08, ndim, u32 big-endian sizes, data."""
    try:
        with (gzip.open if str(path).endswith(".gz") else open)(path, "rb") as file:
            content = file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise FileFormatError("%s: truncated or not a gzip file" % path) from None
    header = 4 + 4 * ndim
    if len(content) < header or content[:4] != bytes([0, 0, IDX_UINT8, ndim]):
        raise FileFormatError("%s: not an idx file of %d-dimensional bytes" % (path, ndim))
    shape = struct.unpack(">%dI" % ndim, content[4:header])
    size = header + int(np.prod(shape, dtype=object))
    if len(content) != size:
        raise FileFormatError("%s: %d bytes, but its header says %d: truncated or damaged" % (path, len(content), size))
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def read_records(path, limit=None):
    """Images and labels of a RecordIO file, decoded by MXNet; all images have one size."""
    import mxnet as mx
    images, labels = [], []
    records = mx.recordio.MXRecordIO(str(path), "r")
    try:
        while limit is None or len(images) < limit:
            record = records.read()
            if record is None:
                break
            header, encoded = mx.recordio.unpack(record)
            images.append(mx.image.imdecode(encoded).asnumpy())
            labels.append(header.label)
        labels = np.asarray(labels, np.float32)
    except (mx.MXNetError, struct.error, ValueError) as error:
        raise FileFormatError("%s: record %d is damaged: %s" % (path, len(images), first_sentence(error))) from None
    finally:
        records.close()
    if not images or labels.ndim != 1 or len({image.shape for image in images}) > 1:
        raise FileFormatError("%s: no records, or not images of one size with one label each" % path)
    _check_count(path, len(images), limit)
    return np.stack(images).transpose(0, 3, 1, 2).astype(np.float32), labels.astype(np.int64)


def _check_count(path, count, limit):
    """A file cut between two records reads well: the index beside it tells how many there should be."""
    index = os.path.splitext(str(path))[0] + ".idx"
    if limit is None and os.path.exists(index):
        with open(index, "rb") as file:
            expected = sum(1 for line in file if line.strip())
        if count != expected:
            raise FileFormatError("%s: %d records, but %s lists %d: truncated" % (path, count, index, expected))


def read_npz(path):
    """Images and labels of an .npz file with `data` and `label`: (N, H, W, C) bytes become (N, C, H, W) in 0..255;
    (N, C, ...) floats stay."""
    try:
        with np.load(path) as file:
            missing = [name for name in ("data", "label") if name not in file.files]
            if missing:
                raise FileFormatError("%s: no array '%s' in it; it has: %s"
                                      % (path, missing[0], ", ".join(file.files) or "nothing"))
            data, label = file["data"], file["label"]
    except FileFormatError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, AttributeError, NotImplementedError):
        raise FileFormatError("%s: truncated or not an .npz file" % path) from None
    if data.dtype == np.uint8 and data.ndim == 4 and (data.shape[3] in (1, 3) or data.shape[1] not in (1, 3)):
        data = data.transpose(0, 3, 1, 2)
    if data.dtype not in (np.uint8, np.float32, np.float64) or data.ndim < 2 or 0 in data.shape:
        raise FileFormatError("%s: data is (N, H, W, C) uint8 or (N, C, ...) float32, got %s %s"
                              % (path, data.shape, data.dtype))
    if label.shape != data.shape[:1] or label.dtype.kind not in "iuf" or (label != label.astype(np.int64)).any():
        raise FileFormatError("%s: label is %d class numbers, got %s %s" % (path, len(data), label.shape, label.dtype))
    return np.ascontiguousarray(data, np.float32), label.astype(np.int64)
