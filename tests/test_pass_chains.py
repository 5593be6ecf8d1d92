"""Chains: which operators between a layer and a packing count as nothing, and which do not."""
from qnn.converter.model import Model
from qnn.converter.passes.chains import walk
from qnn.converter.report import Report

from qnn.graph import Graph, Node


def source_behind(op, attrs):
    data = Node("null", "data")
    node = Node(op, "between", attrs, [(data, 0)])
    return walk(Model(Graph([(node, 0)]), {}, {}, Report()), (node, 0), is_integer=True).source[0].name


def test_identities_of_inference_are_walked_past():
    assert source_behind("_copy", {}) == "data"
    assert source_behind("Dropout", {"p": "0.5"}) == "data"
    assert source_behind("tanh", {}) == "data"


def test_dropout_that_always_drops_is_none():
    assert source_behind("Dropout", {"p": "0.5", "mode": "always"}) == "between"


def test_other_operators_end_a_chain():
    assert source_behind("relu", {}) == "between"
    assert source_behind("Pooling", {"kernel": "(2, 2)", "pool_type": "avg"}) == "between"
