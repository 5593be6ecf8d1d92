"""Errors: what is left of MXNet's error texts."""
import doctest

import mxnet as mx
import pytest

from qnn import errors


def test_examples_in_docstrings():
    assert doctest.testmod(errors).failed == 0


@pytest.mark.parametrize("text, sentence", [
    ("MXNetError: Error in operator f: Shape inconsistent, Provided = [3,9], inferred shape=(3,4)",
     "Error in operator f: Shape inconsistent, Provided = [3,9], inferred shape=(3,4)"),
    ("MXNetError: Failed loading Op f of type X: [09:04:51] ../a/op.cc:73: Check failed: op != nullptr: Operator X is "
     "not registered", "Failed loading Op f of type X: Operator X is not registered"),
    ("Error in operator c: [09:04:42] ../a.cc:1: Check failed: a.Size() > 0U (0 vs. 0) : incorrect stride size: [0,0]",
     "Error in operator c: incorrect stride size: [0,0]"),
    ("Error in operator c: [09:04:42] ../a.cc:1: Check failed: in->size() == 3U (1 vs. 3) : Input:[data, weight]",
     "Error in operator c: Check failed: in->size() == 3U (1 vs. 3) : Input:[data, weight]"),
    ("simple_bind error. Arguments:\ndata: (2, 3)\nTraceback (most recent call last):\n  File \"a.h\", line 3\n"
     "MXNetError: cannot decide shapes for these\nbn", "cannot decide shapes for these"),
    ("Traceback (most recent call last):\n  File \"../src/a.cc\", line 5\nMXNetError: it is so\n\n", "it is so"),
])
def test_first_sentence(text, sentence):
    assert errors.first_sentence(RuntimeError(text)) == sentence


def test_first_sentence_of_nothing():
    assert errors.first_sentence(mx.MXNetError("")) == "MXNetError"


def test_first_sentence_of_mxnet_itself():
    symbol = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="f")
    with pytest.raises(RuntimeError) as caught:
        symbol.simple_bind(mx.cpu(), data=(2, 4), f_weight=(3, 9))
    assert errors.first_sentence(caught.value) == (
        "Error in operator f: Shape inconsistent, Provided = [3,9], inferred shape=(3,4)")


def test_os_sentence():
    assert errors.os_sentence(FileNotFoundError(2, "No such file or directory", "a")) == "a: No such file or directory"
    assert errors.os_sentence(OSError("no number")) == "no number"
