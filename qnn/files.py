"""Files: NDArray lists (`*.params`) read and written in numpy, strictly; every file is written whole or not at all.

A truncated or foreign file raises FileFormatError; MXNet's own reader would allocate what a corrupted header asks for.
Layout (little-endian): u64 0x112, u64 0, u64 count, arrays, u64 count, names (u64 length, bytes). An array: u32 magic,
i32 storage type, shape (i32 ndim, i64 dims), i32 device type, i32 device id, i32 dtype, data. Older arrays: magic
0xF993FAC8 (no storage type, u32 ndim, i64 dims) or none at all (u32 ndim, u32 dims).
"""
import errno
import os
import struct
import tempfile

import numpy as np

LIST_MAGIC = 0x112
MAGIC_V1, MAGIC_V2, MAGIC_V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
DTYPES = ["float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool"]


class FileFormatError(ValueError):
    """A file is not what its name says, or was cut short; the message names the file and what is wrong."""


class _Reader:
    def __init__(self, content):
        self.content, self.at = content, 0

    def take(self, size):
        if size < 0 or self.at + size > len(self.content):
            raise FileFormatError("truncated at byte %d: %d bytes more are expected" % (len(self.content), size))
        self.at += size
        return self.content[self.at - size:self.at]

    def unpack(self, code):
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))

    def array(self):
        magic, = self.unpack("I")
        if magic in (MAGIC_V2, MAGIC_V3):
            storage, ndim = self.unpack("ii")
            if storage != 0:
                raise FileFormatError("a sparse array, where dense ones are expected")
            dim_code = "q"
        elif magic == MAGIC_V1:
            ndim, dim_code = self.unpack("I")[0], "q"
        else:
            ndim, dim_code = magic, "I"
        if not 0 <= ndim <= 32:
            raise FileFormatError("an array of %d dimensions at byte %d" % (ndim, self.at))
        shape = self.unpack(dim_code * ndim)
        if ndim == 0 and magic != MAGIC_V3:
            return np.zeros(0, np.float32)
        if min(shape, default=0) < 0:
            raise FileFormatError("an array of shape %r at byte %d" % (shape, self.at))
        _, _, dtype = self.unpack("iii")
        if not 0 <= dtype < len(DTYPES):
            raise FileFormatError("an array of unknown dtype %d at byte %d" % (dtype, self.at))
        size = int(np.dtype(DTYPES[dtype]).itemsize)
        for dim in shape:
            size *= dim
        return np.frombuffer(self.take(size), DTYPES[dtype]).reshape(shape)


def load_params(path):
    """Reads a .params file: {name: numpy array}, names as they stand in it ("arg:conv1_weight", "aux:bn_moving_mean").

    Raises OSError, or FileFormatError naming the file when it is truncated, not an NDArray list, or has no names.
    """
    with open(path, "rb") as file:
        reader = _Reader(file.read())
    try:
        if reader.unpack("Q")[0] != LIST_MAGIC:
            raise FileFormatError("it does not begin like an MXNet .params file")
        _, count = reader.unpack("QQ")
        if count > len(reader.content):
            raise FileFormatError("its header counts %d arrays" % count)
        arrays = [reader.array() for _ in range(count)]
        named, = reader.unpack("Q")
        if named != count:
            raise FileFormatError("%d names for %d arrays" % (named, count))
        names = [reader.take(reader.unpack("Q")[0]).decode("utf-8") for _ in range(count)]
        if reader.at < len(reader.content):
            raise FileFormatError("%d bytes too many" % (len(reader.content) - reader.at))
    except FileFormatError as error:
        raise FileFormatError("%s: not a parameter file: %s" % (path, error)) from None
    except UnicodeDecodeError:
        raise FileFormatError("%s: not a parameter file: a name in it is not text" % path) from None
    return dict(zip(names, arrays))


def dump_params(arrays):
    """The bytes of a .params file of {name: numpy array}, as mx.nd.save writes them. Raises ValueError."""
    parts = [struct.pack("<QQQ", LIST_MAGIC, 0, len(arrays))]
    for name, array in arrays.items():
        array = np.asarray(array)
        if str(array.dtype) not in DTYPES:
            raise ValueError("%s: dtype is one of %s, got %s" % (name, ", ".join(DTYPES), array.dtype))
        if array.ndim == 0:  # in these files 0 axes mean "no array", and nothing follows
            raise ValueError("%s: an array of at least one axis is expected, got a scalar" % name)
        parts.append(struct.pack("<Iii%dqiii" % array.ndim, MAGIC_V2, 0, array.ndim, *array.shape, 1, 0,
                                 DTYPES.index(str(array.dtype))))
        parts.append(np.ascontiguousarray(array).tobytes())
    parts.append(struct.pack("<Q", len(arrays)))
    for name in arrays:
        encoded = name.encode("utf-8")
        parts.append(struct.pack("<Q", len(encoded)) + encoded)
    return b"".join(parts)


def write_atomically(files):
    """Writes {path: bytes}: first all to temporary files beside the targets, then all renamed. Raises OSError.

    If anything fails before the renames, no target is touched and no temporary file is left.
    """
    written = []
    try:
        for path, content in files.items():
            folder = os.path.dirname(os.path.abspath(path))
            try:
                handle, temporary = tempfile.mkstemp(prefix="." + os.path.basename(path), dir=folder)
            except OSError as error:  # name the file that was asked for, not the temporary one
                raise type(error)(error.errno, error.strerror, os.fspath(path)) from None
            written.append((temporary, path))
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(temporary, 0o666 & ~_umask())
        for _, path in written:
            if os.path.isdir(path):
                raise IsADirectoryError(errno.EISDIR, "is a folder", os.fspath(path))
        while written:
            os.replace(*written[0])
            written.pop(0)
    finally:
        for temporary, _ in written:
            os.unlink(temporary)


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
