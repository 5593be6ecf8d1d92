"""qnn.files: the bytes of mx.nd.save, strict reading of damaged files, files written whole or not at all."""
import os
import struct

import mxnet as mx
import numpy as np
import pytest

import qnn  # noqa: F401  (prepares numpy for mxnet)
from qnn.files import DTYPES, MAGIC_V1, MAGIC_V2, MAGIC_V3, FileFormatError, dump_params, load_params, write_atomically

ARRAYS = {"arg:w": np.arange(6, dtype="float32").reshape(2, 3), "aux:слой": np.array([-1, 2], "int64")}


def saved(folder, arrays):
    path = str(folder / "saved.params")
    mx.nd.save(path, {name: mx.nd.array(value, dtype=value.dtype) for name, value in arrays.items()})
    with open(path, "rb") as file:
        return file.read()


def load(folder, content):
    path = folder / "net-0001.params"
    path.write_bytes(content)
    return load_params(str(path))


def container(array, names=(b"a",), count=1):
    """A list of one array, given as bytes."""
    named = b"".join(struct.pack("<Q", len(name)) + name for name in names)
    return struct.pack("<QQQ", 0x112, 0, count) + array + struct.pack("<Q", len(names)) + named


def assert_same(first, second):
    assert list(first) == list(second)
    for name in first:
        assert first[name].dtype == second[name].dtype
        np.testing.assert_array_equal(first[name], second[name])


# ---- equal to MXNet --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "bool"])
@pytest.mark.parametrize("shape", [(1,), (7,), (2, 3), (2, 1, 3, 4), (1, 1, 1, 1, 5)])
def test_bytes_are_those_of_mxnet(tmp_path, dtype, shape):
    arrays = {"arg:a": np.random.RandomState(0).randint(0, 100, shape).astype(dtype), "aux:b": np.ones(3, dtype)}
    content = saved(tmp_path, arrays)
    assert dump_params(arrays) == content
    assert_same(load(tmp_path, content), arrays)


def test_mxnet_reads_ours(tmp_path):
    path = tmp_path / "ours.params"
    arrays = {**ARRAYS, "flags": np.array([True, False])}
    path.write_bytes(dump_params(arrays))
    assert_same({name: array.asnumpy() for name, array in mx.nd.load(str(path)).items()}, arrays)


def test_special_values_and_memory_orders(tmp_path):
    x = np.array([[np.nan, np.inf, -0.0], [1e-45, 3.4e38, -np.inf]], "float32")
    again = load(tmp_path, dump_params({"c": x, "f": np.asfortranarray(x), "s": np.repeat(x, 2, 1)[:, ::2]}))
    assert {array.tobytes() for array in again.values()} == {x.tobytes()}


def test_no_arrays(tmp_path):
    assert load(tmp_path, dump_params({})) == {}
    assert dump_params({}) == saved(tmp_path, {})


def test_array_without_elements(tmp_path):
    arrays = {"e": np.zeros((0, 3), "float32"), "a": np.ones(2, "int32")}
    assert dump_params(arrays) == saved(tmp_path, arrays)
    assert_same(load(tmp_path, dump_params(arrays)), arrays)


def test_arrays_of_older_mxnet(tmp_path):
    data = np.arange(6, dtype="float32")
    tail = struct.pack("<iii", 1, 0, 0) + data.tobytes()
    for head in (struct.pack("<III", 2, 2, 3), struct.pack("<IIqq", MAGIC_V1, 2, 2, 3)):
        content = container(head + tail)
        np.testing.assert_array_equal(load(tmp_path, content)["a"], data.reshape(2, 3))
        np.testing.assert_array_equal(mx.nd.load(str(tmp_path / "net-0001.params"))["a"].asnumpy(), data.reshape(2, 3))


def test_np_shape_scalar(tmp_path):
    path = str(tmp_path / "np.params")
    with mx.util.np_shape(True):
        mx.nd.save(path, {"s": mx.nd.full((), 3), "v": mx.nd.ones((2,))})
    arrays = load_params(path)
    assert arrays["s"].shape == () and arrays["s"] == 3 and arrays["v"].tolist() == [1, 1]


# ---- damaged and foreign ---------------------------------------------------------------------------------------------


def test_truncated_at_every_byte(tmp_path):
    content = dump_params(ARRAYS)
    for size in range(len(content)):
        with pytest.raises(FileFormatError, match="net-0001.params: not a parameter file: truncated at byte %d" % size):
            load(tmp_path, content[:size])
    assert_same(load(tmp_path, content), ARRAYS)


def test_bytes_too_many(tmp_path):
    with pytest.raises(FileFormatError, match="3 bytes too many"):
        load(tmp_path, dump_params(ARRAYS) + b"\0\0\0")


def test_every_flipped_byte_is_found_or_harmless(tmp_path):
    """No header makes the reader fail otherwise, hang, or allocate what is not in the file."""
    content = dump_params({"a": np.zeros(2, "float32")})
    for at in range(len(content)):
        for value in (0x00, 0x7F, 0x80, 0xFF):
            try:
                arrays = load(tmp_path, content[:at] + bytes([value]) + content[at + 1:])
            except FileFormatError:
                continue
            assert sum(array.nbytes for array in arrays.values()) <= len(content)


ONE = struct.pack("<f", 1)
HEADER = struct.pack("<iii", 1, 0, 0)
DAMAGED = {
    "magic": (b"PK\3\4" * 10, "does not begin like"),
    "zeros": (bytes(64), "does not begin like"),
    "text": (b'{"nodes": []}' * 10, "does not begin like"),
    "count": (container(b"", count=1 << 60), "its header counts %d arrays" % (1 << 60)),
    "sparse": (container(struct.pack("<Ii", MAGIC_V2, 1) + bytes(80)), "a sparse array"),
    "dimensions": (container(struct.pack("<Iii", MAGIC_V2, 0, 1 << 30)), "an array of %d dimensions" % (1 << 30)),
    "negative dimensions": (container(struct.pack("<Iii", MAGIC_V3, 0, -1)), "an array of -1 dimensions"),
    "old dimensions": (container(struct.pack("<I", 33)), "an array of 33 dimensions"),
    "negative size": (container(struct.pack("<Iiiq", MAGIC_V2, 0, 1, -1) + HEADER), "an array of shape (-1,)"),
    "huge size": (container(struct.pack("<Iiiqq", MAGIC_V2, 0, 2, 1 << 62, 1 << 62) + HEADER), "truncated at byte"),
    "dtype": (container(struct.pack("<Iiiqiii", MAGIC_V2, 0, 1, 1, 1, 0, 8) + ONE), "an array of unknown dtype 8"),
    "negative dtype": (container(struct.pack("<Iiiqiii", MAGIC_V2, 0, 1, 1, 1, 0, -1) + ONE), "unknown dtype -1"),
    "no names": (container(struct.pack("<Iiiq", MAGIC_V2, 0, 1, 1) + HEADER + ONE, names=()), "0 names for 1 arrays"),
    "name": (container(struct.pack("<Iiiq", MAGIC_V2, 0, 1, 1) + HEADER + ONE, names=(b"\xff",)), "is not text"),
}


@pytest.mark.parametrize("content, sentence", DAMAGED.values(), ids=DAMAGED)
def test_damaged_file(tmp_path, content, sentence):
    with pytest.raises(FileFormatError) as error:
        load(tmp_path, content)
    assert sentence in str(error.value) and "net-0001.params: not a parameter file: " in str(error.value)


def test_list_without_names(tmp_path):
    path = str(tmp_path / "list.params")
    mx.nd.save(path, [mx.nd.ones((2,))])
    with pytest.raises(FileFormatError, match="0 names for 1 arrays"):
        load_params(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_params(str(tmp_path / "nowhere.params"))


@pytest.mark.parametrize("value, sentence", [
    (np.ones(2, "uint64"), "w: dtype is one of float32, .*, got uint64"), (np.ones(2, "complex64"), "got complex64"),
    (np.ones(2, ">f4"), "got >f4"), (np.float32(3), "w: an array of at least one axis is expected, got a scalar")])
def test_arrays_that_the_format_lacks(value, sentence):
    with pytest.raises(ValueError, match=sentence):
        dump_params({"w": value})


# ---- writing ---------------------------------------------------------------------------------------------------------


def test_all_files_are_written(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    write_atomically({str(tmp_path / "a"): b"1", tmp_path / "b": b"22"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"1", "b": b"22"}


def test_new_files_have_ordinary_permissions(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_atomically({str(tmp_path / "a"): b"1"})
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def assert_untouched(folder, **files):
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert found == {name: content.encode() for name, content in files.items()}


def test_failing_write_leaves_everything(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")

    def full(*arguments):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(os, "chmod", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically({str(tmp_path / "a"): b"1", str(tmp_path / "b"): b"2"})
    assert_untouched(tmp_path, a="old")


def test_content_of_wrong_type_leaves_everything(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(TypeError):
        write_atomically({str(tmp_path / "a"): b"1", str(tmp_path / "b"): "text"})
    assert_untouched(tmp_path, a="old")


def test_missing_folder_is_named_with_the_file(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(FileNotFoundError) as error:
        write_atomically({str(tmp_path / "a"): b"1", str(tmp_path / "no" / "b"): b"2"})
    assert error.value.filename == str(tmp_path / "no" / "b")
    assert_untouched(tmp_path, a="old")


def test_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(NotADirectoryError):
        write_atomically({str(tmp_path / "a" / "b"): b"2"})
    assert_untouched(tmp_path, a="old")


def test_folder_in_the_place_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").mkdir()
    with pytest.raises(IsADirectoryError) as error:
        write_atomically({str(tmp_path / "a"): b"1", str(tmp_path / "b"): b"2"})
    assert error.value.filename == str(tmp_path / "b")
    assert_untouched(tmp_path, a="old")


def test_unwritable_folder():
    with pytest.raises(PermissionError) as error:
        write_atomically({"/sys/a": b"1"})  # closed to root, too
    assert error.value.filename == "/sys/a"
