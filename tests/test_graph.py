"""qnn.graph: round trips equal to MXNet's own, old and foreign files, replace and splice."""
import json

import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn.files import FileFormatError
from qnn.graph import Graph, Node, splice


def branches():
    """Shared nodes, an operator with several outputs, auxiliary states, several heads."""
    data = mx.sym.Variable("data", shape=(0, 4, 8, 8))
    a = mx.sym.BatchNorm(mx.sym.Convolution(data, kernel=(3, 3), num_filter=4, pad=(1, 1), name="a"), name="n")
    left, right = mx.sym.SliceChannel(a, num_outputs=2, name="halves")
    b = mx.sym.Convolution(right, kernel=(1, 1), num_filter=2, name="b")
    total = mx.sym.elemwise_add(b, left, name="sum")
    return mx.sym.Group([mx.sym.FullyConnected(total, num_hidden=3, name="f"), right, a])


def loop():
    def body(x, state):
        return mx.sym.FullyConnected(x, num_hidden=2, name="inner") + state[0], state
    return mx.sym.contrib.foreach(body, mx.sym.Variable("data"), [mx.sym.Variable("s")])[0]


def without_versions(text):
    """The document with entries (node, output) for (node, output, version): MXNet counts writes to auxiliary states."""
    document = json.loads(text)
    for node in document["nodes"]:
        node["inputs"] = [entry[:2] for entry in node["inputs"]]
    return document


def chain(*names):
    """data -> a -> b -> ..., each of them a tanh."""
    node = Node("null", "data")
    for name in names:
        node = Node("tanh", name, inputs=[(node, 0)])
    return Graph([(node, 0)])


SYMBOLS = {
    "branches": branches, "control flow": loop, "variable": lambda: mx.sym.Variable("x"),
    "twice the same head": lambda: mx.sym.Group([mx.sym.tanh(mx.sym.Variable("x"), name="t")] * 2),
    "zoo": lambda: mx.gluon.model_zoo.vision.inception_v3()(mx.sym.Variable("data")),
    "quantized": lambda: qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=4, name="q"),
    "attributes": lambda: mx.sym.Variable("w", lr_mult=2.0, init=mx.init.One(), attr={"__note__": "a, \"b\"\\\n"}) + 1,
    "names": lambda: mx.sym.tanh(mx.sym.Variable('say "\\слой"\n'), name="Schicht ä"),
}


# ---- round trips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", SYMBOLS.values(), ids=SYMBOLS)
def test_round_trip_is_the_same_symbol(build):
    symbol = build()
    again = mx.sym.load_json(Graph.from_json(symbol.tojson()).to_json())
    assert without_versions(again.tojson()) == without_versions(symbol.tojson())
    assert again.list_arguments() == symbol.list_arguments()
    assert again.list_outputs() == symbol.list_outputs()
    assert again.attr_dict() == symbol.attr_dict()


@pytest.mark.parametrize("build", SYMBOLS.values(), ids=SYMBOLS)
def test_nodes_are_in_mxnets_order(build):
    symbol = build()
    assert [node.name for node in Graph.from_json(symbol.tojson()).nodes()] == [
        node["name"] for node in json.loads(symbol.tojson())["nodes"]]


def test_round_trip_computes_the_same():
    symbol = branches()
    again = mx.sym.load_json(Graph.from_json(symbol.tojson()).to_json())
    outputs = []
    for net in (symbol, again):
        executor = net.simple_bind(mx.cpu(), data=(2, 4, 8, 8))
        for i, name in enumerate(net.list_arguments()):
            executor.arg_dict[name][:] = np.random.RandomState(i).normal(0, 1, executor.arg_dict[name].shape)
        outputs.append([out.asnumpy() for out in executor.forward()])
    for before, after in zip(*outputs):
        np.testing.assert_array_equal(before, after)


def test_file_round_trip(tmp_path):
    path, again = str(tmp_path / "a-symbol.json"), str(tmp_path / "b-symbol.json")
    branches().save(path)
    Graph.load(path).save(again)
    assert without_versions(mx.sym.load(again).tojson()) == without_versions(branches().tojson())


def test_np_shape_and_version_stay():
    with mx.util.np_shape(True):
        text = mx.sym.tanh(mx.sym.Variable("x", shape=())).tojson()
    document = json.loads(Graph.from_json(text).to_json())
    assert document["attrs"] == {"is_np_shape": ["int", 1], "mxnet_version": ["int", 10901]}
    graph = Graph.from_json(text)
    graph.version = 905
    assert graph.copy().version == 905


def test_long_chain_needs_no_recursion():
    graph = chain(*["t%d" % i for i in range(5000)])
    assert len(graph.copy().nodes()) == 5001


def test_copy_is_independent():
    graph = Graph.from_json(branches().tojson())
    before, copy = graph.to_json(), graph.copy()
    copy.find("a").attrs["num_filter"] = "9"
    copy.find("b").inputs[1] = copy.find("b").inputs[0]
    assert graph.to_json() == before != copy.to_json()


# ---- old files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [("attr", "attr"), ("param", "attr"), ("attrs", "attrs")], ids="+".join)
def test_attributes_of_all_ages_are_read(keys):
    """MXNet 0.8 has "param" for the operator and "attr" for the rest, 1.0 "attr", later ones "attrs"."""
    operator, rest = keys
    node = {"op": "FullyConnected", "name": "f", "inputs": [[0, 0], [1, 0], [2, 0]], "backward_source_id": -1}
    node[operator] = {"num_hidden": "3"}
    node.setdefault(rest, {})["lr_mult"] = "0.5"
    variables = [{"op": "null", "param": {}, "name": name, "inputs": []} for name in ("data", "f_weight", "f_bias")]
    graph = Graph.from_json(json.dumps({"nodes": variables + [node], "arg_nodes": [0, 1, 2], "heads": [[3, 0]]}))
    assert graph.find("f").attrs == {"num_hidden": "3", "lr_mult": "0.5"}
    assert mx.sym.load_json(graph.to_json()).infer_shape(data=(2, 4))[1] == [(2, 3)]


def test_version_of_old_files_brings_their_attributes_up_to_date():
    document = {"nodes": [{"op": "null", "name": "x", "attr": {"ctx_group": "g"}, "inputs": []}], "heads": [[0, 0]],
                "attrs": {"mxnet_version": ["int", 800]}}
    symbol = mx.sym.load_json(Graph.from_json(json.dumps(document)).to_json())
    assert symbol.attr("__ctx_group__") == "g"


def test_numbers_become_strings():
    document = {"nodes": [{"op": "null", "name": "x", "attrs": {"a": 1}, "inputs": []}], "heads": [[0, 0, 0]]}
    assert Graph.from_json(json.dumps(document)).find("x").attrs == {"a": "1"}


# ---- foreign and damaged files ---------------------------------------------------------------------------------------


def test_truncated_anywhere(tmp_path):
    content = chain("a", "ä").to_json().encode("utf-8")
    path = tmp_path / "cut-symbol.json"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(FileFormatError, match="cut-symbol.json: not an MXNet symbol: "):
            Graph.load(str(path))


def damaged(**changes):
    document = json.loads(chain("a").to_json())
    document["nodes"][1].update(changes)
    return document


FOREIGN = {
    "number": 3, "list": [], "empty": {}, "no heads": {"nodes": []}, "heads of a list": {"nodes": 3, "heads": []},
    "nothing": {"nodes": [], "heads": []}, "head out of range": {"nodes": [], "heads": [[0, 0, 0]]},
    "head of text": {**damaged(), "heads": ["a"]}, "heads of a number": {**damaged(), "heads": 3},
    "negative output": {**damaged(), "heads": [[1, -1, 0]]}, "version": {**damaged(), "attrs": {"mxnet_version": {}}},
    "attributes": {**damaged(), "attrs": 3}, "nodes of text": {"nodes": ["a"], "heads": [[0, 0, 0]]},
    "no name": {"nodes": [{"op": "null", "inputs": []}], "heads": [[0, 0, 0]]},
    "no inputs": {"nodes": [{"op": "null", "name": "a"}], "heads": [[0, 0, 0]]},
    "name of a number": damaged(name=3), "operator of a list": damaged(op=[]), "attribute list": damaged(attrs=[1]),
    "input of itself": damaged(inputs=[[1, 0, 0]]), "later input": damaged(inputs=[[7, 0, 0]]),
    "negative input": damaged(inputs=[[-1, 0, 0]]), "input of text": damaged(inputs="ab"),
    "short input": damaged(inputs=[[0]]),
}


@pytest.mark.parametrize("document", FOREIGN.values(), ids=FOREIGN)
def test_foreign_json(document):
    with pytest.raises(FileFormatError, match="^net.json: not an MXNet symbol: ") as error:
        Graph.from_json(json.dumps(document), "net.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"\x00" * 100, b"[" * 100000, b"<html>", b"{'nodes': []}",
                                     "\ufeff{}".encode()], ids=lambda content: repr(content[:8]))
def test_foreign_file(tmp_path, content):
    path = tmp_path / "net-symbol.json"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="net-symbol.json: not an MXNet symbol: "):
        Graph.load(str(path))


def test_file_of_parameters_as_symbol(tmp_path):
    path = str(tmp_path / "net.params")
    mx.nd.save(path, {"a": mx.nd.ones((3,))})
    with pytest.raises(FileFormatError):
        Graph.load(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.json"):
        Graph.load(str(tmp_path / "nowhere.json"))


# ---- rewriting -------------------------------------------------------------------------------------------------------


def test_find():
    graph = chain("a", "b")
    assert graph.find("a").op == "tanh"
    with pytest.raises(KeyError, match="c"):
        graph.find("c")


def test_consumers_with_positions_and_heads():
    x = Node("null", "x")
    a = Node("elemwise_add", "a", inputs=[(x, 0), (x, 0)])
    graph = Graph([(a, 0), (x, 0)])
    assert graph.consumers() == {x: [(a, 0), (a, 1), (None, 1)], a: [(None, 0)]}


def test_replace_reaches_readers_and_heads_but_not_the_new_node():
    graph = chain("a", "b")
    a, b = graph.find("a"), graph.find("b")
    graph.heads.append((a, 0))
    new = Node("relu", "new", inputs=[(a, 0)])
    graph.replace((a, 0), (new, 0))
    assert new.inputs == [(a, 0)] and b.inputs == [(new, 0)] and graph.heads == [(b, 0), (new, 0)]


def test_replace_takes_one_output_alone():
    graph = Graph.from_json(branches().tojson())
    halves, zeros = graph.find("halves"), Node("null", "zeros")
    graph.replace((halves, 1), (zeros, 0))
    assert graph.find("b").inputs[0] == (zeros, 0)
    assert (halves, 0) in graph.find("sum").inputs
    assert graph.heads[1] == (zeros, 0)


def test_replaced_nodes_are_gone():
    graph = chain("a", "b", "c")
    graph.replace((graph.find("b"), 0), (graph.find("data"), 0))
    assert [node.name for node in graph.nodes()] == ["data", "c"]


def test_splice_binds_placeholders():
    graph = Graph.from_json(branches().tojson())
    b = graph.find("b")
    replacement = Graph.from_json((mx.sym.dot(mx.sym.Variable("x"), mx.sym.Variable("w"), name="d") *
                                   mx.sym.Variable("fresh")).tojson())
    splice(graph, (b, 0), replacement, {"x": b.inputs[0], "w": b.inputs[1][0]})
    d = graph.find("d")
    assert d.inputs == [(graph.find("halves"), 1), (graph.find("b_weight"), 0)]
    names = mx.sym.load_json(graph.to_json()).list_arguments()
    assert "fresh" in names and "b_weight" in names and "b_bias" not in names and "x" not in names
    assert "b" not in [node.name for node in graph.nodes()]


def test_splice_of_a_placeholder_alone_removes_the_node():
    graph = chain("a", "b", "c")
    b = graph.find("b")
    splice(graph, (b, 0), Graph([(Node("null", "x"), 0)]), {"x": b.inputs[0]})
    assert [node.name for node in graph.nodes()] == ["data", "a", "c"]


def test_splice_around_the_replaced_node_itself():
    graph = chain("a", "b")
    a = graph.find("a")
    splice(graph, (a, 0), Graph.from_json(mx.sym.relu(mx.sym.Variable("x"), name="r").tojson()), {"x": a})
    assert [node.name for node in graph.nodes()] == ["data", "a", "r", "b"]
