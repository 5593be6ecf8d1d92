"""Graph: a symbol file (`*-symbol.json`) as nodes that point at each other, for passes that rewrite it; without mxnet.

A node has an operator (`op`, "null" for a variable), a name, attributes (strings) and inputs; an input is an entry
`(node, index)`: output `index` of `node`. Order is never stored: `nodes()` is the depth-first order of MXNet itself, so
that list_arguments() keeps its order through a rewrite.

    graph = Graph.load("lenet-symbol.json")
    graph.replace(old_entry, new_entry)
    mx.sym.load_json(graph.to_json())
"""
import json

from .files import FileFormatError, write_atomically

UNVERSIONED = 800  # version of files that name none; MXNet brings their attributes up to date


class Node:
    """An operator or variable. inputs: list of (Node, output index); attrs: dict of strings; extra: other JSON keys."""

    __slots__ = ("op", "name", "attrs", "inputs", "extra")

    def __init__(self, op, name, attrs=None, inputs=(), extra=None):
        self.op, self.name, self.attrs, self.inputs = op, name, dict(attrs or {}), list(inputs)
        self.extra = extra or {}

    @property
    def is_variable(self):
        return self.op == "null"

    def __repr__(self):
        return "Node(%r, %r)" % (self.op, self.name)


class Graph:
    """Nodes reachable from `heads` (a list of entries); `version` is the MXNet version number of the file, `extra` its
    other attributes (is_np_shape)."""

    def __init__(self, heads, version=10901, extra=None):
        self.heads, self.version, self.extra = list(heads), version, dict(extra or {})

    @classmethod
    def load(cls, path):
        """Reads a symbol file. Raises OSError, or FileFormatError naming the file when it is not an MXNet symbol."""
        with open(path, "rb") as file:
            content = file.read()
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            raise FileFormatError("%s: not an MXNet symbol: not a text file" % path) from None
        return cls.from_json(text, path)

    @classmethod
    def from_json(cls, text, source="symbol"):
        """Parses the JSON of a symbol: of this MXNet or an old one, whose attributes stand under "attr" or "param"."""
        try:
            return cls._parse(json.loads(text))
        except FileFormatError as error:
            raise FileFormatError("%s: not an MXNet symbol: %s" % (source, error)) from None
        except json.JSONDecodeError as error:
            raise FileFormatError("%s: not an MXNet symbol: broken JSON at line %d (%s)"
                                  % (source, error.lineno, error.msg)) from None
        except RecursionError:
            raise FileFormatError("%s: not an MXNet symbol: nested too deeply" % source) from None

    @classmethod
    def _parse(cls, document):
        if not isinstance(document, dict) or not isinstance(document.get("nodes"), list) or "heads" not in document:
            raise FileFormatError('no "nodes" and "heads" in it')
        nodes = []
        for number, item in enumerate(document["nodes"]):
            try:
                extra = {k: v for k, v in item.items() if k == "subgraphs"}
                node = Node(_text(item["op"]), _text(item["name"]), extra=extra)
                for key in ("param", "attr", "attrs"):
                    node.attrs.update({str(k): str(v) for k, v in (item.get(key) or {}).items()})
                node.inputs = [_entry(nodes, entry) for entry in item["inputs"]]
            except (LookupError, TypeError, ValueError, AttributeError):
                raise FileFormatError("node %d is malformed" % number) from None
            nodes.append(node)
        try:
            heads = [_entry(nodes, entry) for entry in document["heads"]]
            extra = dict(document.get("attrs", {}))
            version = int(extra.pop("mxnet_version", ["int", UNVERSIONED])[1])
        except (TypeError, ValueError, LookupError, AttributeError):
            raise FileFormatError("its heads are malformed") from None
        if not heads:
            raise FileFormatError("it has no heads")
        return cls(heads, version, extra)

    def nodes(self):
        """All nodes, inputs before users, in MXNet's own depth-first order."""
        order, seen = [], set()
        for head, _ in self.heads:
            stack = [(head, iter(head.inputs))]
            if id(head) in seen:
                continue
            seen.add(id(head))
            while stack:
                node, rest = stack[-1]
                for child, _ in rest:
                    if id(child) not in seen:
                        seen.add(id(child))
                        stack.append((child, iter(child.inputs)))
                        break
                else:
                    order.append(node)
                    stack.pop()
        return order

    def consumers(self):
        """Who reads what: {node: [(reader node, input position)]}; a head counts as reader None."""
        readers = {node: [] for node in self.nodes()}
        for node in readers:
            for position, (source, _) in enumerate(node.inputs):
                readers[source].append((node, position))
        for position, (source, _) in enumerate(self.heads):
            readers[source].append((None, position))
        return readers

    def replace(self, old, new):
        """Lets every reader of entry `old` read entry `new` instead (nodes that `new` itself is made of excepted)."""
        inside = set(map(id, Graph([new]).nodes()))
        for node in self.nodes():
            if id(node) not in inside:
                node.inputs = [new if entry == old else entry for entry in node.inputs]
        self.heads = [new if entry == old else entry for entry in self.heads]

    def find(self, name):
        """The node called `name`. Raises KeyError."""
        for node in self.nodes():
            if node.name == name:
                return node
        raise KeyError(name)

    def to_json(self):
        """JSON as mx.sym.load_json reads it."""
        nodes = self.nodes()
        number = {node: i for i, node in enumerate(nodes)}
        items = []
        for node in nodes:
            item = {"op": node.op, "name": node.name}
            if node.attrs:
                item["attrs"] = dict(sorted(node.attrs.items()))
            item["inputs"] = [[number[source], index, 0] for source, index in node.inputs]
            items.append({**item, **node.extra})
        return json.dumps({"nodes": items, "arg_nodes": [i for i, node in enumerate(nodes) if node.is_variable],
                           "node_row_ptr": list(range(len(nodes) + 1)),
                           "heads": [[number[node], index, 0] for node, index in self.heads],
                           "attrs": {**self.extra, "mxnet_version": ["int", self.version]}},
                          indent=2, ensure_ascii=False)  # MXNet reads UTF-8 but no \u escapes

    def save(self, path):
        """Writes the symbol file, whole or not at all."""
        write_atomically({path: self.to_json().encode("utf-8")})

    def copy(self):
        """An independent graph with nodes of its own."""
        return Graph.from_json(self.to_json())


def _text(value):
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _entry(nodes, item):
    index, output = int(item[0]), int(item[1])
    if not 0 <= index < len(nodes) or output < 0:
        raise ValueError(index)
    return nodes[index], output


def splice(graph, entry, replacement, bindings):
    """Puts graph `replacement` in the place of `entry`: readers of `entry` read its first head.

    bindings: {variable name in `replacement`: entry or Node of `graph` that takes its place}; variables not named stay
    as new variables.
    """
    for node in replacement.nodes():
        node.inputs = [_bound(e, bindings) for e in node.inputs]
    graph.replace(entry, _bound(replacement.heads[0], bindings))


def splice_layer(graph, node, replacement, bindings):
    """splice() in the place of layer `node`; new nodes get its device group and what else MXNet keeps in hidden
    attributes, where they have none of their own."""
    hidden = {key: value for key, value in node.attrs.items() if key.startswith("__") and not key.startswith("__qnn_")}
    for new in replacement.nodes():
        new.attrs = {**hidden, **new.attrs}
    splice(graph, (node, 0), replacement, bindings)


def _bound(entry, bindings):
    node, _ = entry
    if not node.is_variable or node.name not in bindings:
        return entry
    target = bindings[node.name]
    return target if isinstance(target, tuple) else (target, 0)


def entrances(node):
    """{role: node} of a Q layer whose last node is `node`: the nodes marked `__qnn_input__` through which data, weight
    and bias enter it, found along the nodes of the same `__qnn_layer__`."""
    layer, found, stack, seen = node.attrs.get("__qnn_layer__"), {}, [node], set()
    while stack:
        inner = stack.pop()
        if inner in seen or inner.attrs.get("__qnn_layer__") != layer:
            continue
        seen.add(inner)
        if "__qnn_input__" in inner.attrs:
            found[inner.attrs["__qnn_input__"]] = inner
        else:
            stack += [source for source, _ in inner.inputs]
    return found
