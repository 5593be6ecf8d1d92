"""Traps: data of which one bit says nothing, as 1-bit layers of a graph may read it, and the ReLU pass that cures one.

    relu(x) >= 0, so sign(relu(x)) = +1 everywhere: a 1-bit layer reads x instead                           (drop_relus)
    a 1-bit layer gives 0..K or -K..K: without BatchNorm the next one reads +1 everywhere, or gets no gradient
    the network's own input: pixels of 0..255 are never negative                                            (find_traps)
"""
from .options import has_one_bit

LOWER_LIMITS = {"_maximum_scalar": "scalar", "clip": "a_min"}  # attribute that is 0 where the operator is a ReLU
PASSING = {"Flatten", "Reshape", "expand_dims", "squeeze", "transpose", "SwapAxis", "Dropout", "_copy", "Concat",
           "SliceChannel", "slice", "slice_axis", "Pooling", "_contrib_AdaptiveAvgPooling2D"}
SUMS = {"elemwise_add", "broadcast_add", "add_n", "elemwise_mul", "broadcast_mul"}  # of numbers >= 0: >= 0 again
NOT_NEGATIVE = {"sigmoid", "hard_sigmoid", "softmax", "SoftmaxActivation", "SoftmaxOutput", "abs", "square", "sqrt",
                "exp", "softrelu"}


def is_relu(node):
    """True for max(0, x) and clip(x, 0, limit), under whatever operator; not for leaky ones, which keep the sign."""
    if node.op == "Activation":
        return node.attrs.get("act_type") == "relu"
    return node.op == "relu" or _is_zero(node.attrs.get(LOWER_LIMITS.get(node.op, ""), ""))


def _is_zero(text):
    try:
        return float(text) == 0
    except ValueError:
        return False


def passes(node, operators):
    """True for a node of these operators that is no part of a Q layer."""
    return node.op in operators and "__qnn_layer__" not in node.attrs


def drop_relus(graph, layers):
    """Lets `layers` (nodes that take one bit of their input 0) read past ReLUs. Changes `graph`.

    An edge ReLU -> reader moves to the ReLU's input where the reader is one of `layers`, or an operator through which
    signs pass (PASSING) and whose every reader is one of these two. Other readers, a residual addition for instance,
    keep the ReLU.

    Returns two lists of names: ReLUs that are gone, and those that stay for other readers.
    """
    layers, readers, nodes = set(layers), graph.consumers(), graph.nodes()
    only_signs = set()  # nodes of which nothing but the signs is ever seen

    def sees_signs(reader, position):
        return reader in only_signs or (reader in layers and position == 0)

    for node in reversed(nodes):
        if (passes(node, PASSING) or is_relu(node)) and all(sees_signs(*edge) for edge in readers[node]):
            only_signs.add(node)
    passed = []
    for relu in filter(is_relu, nodes):
        edges = [edge for edge in readers[relu] if sees_signs(*edge)]
        for reader, position in edges:
            reader.inputs[position] = relu.inputs[0]
        passed += [relu] if edges else []
    left = set(graph.nodes())
    return [relu.name for relu in passed if relu not in left], [relu.name for relu in passed if relu in left]


def is_not_negative(node):
    """True where a node's output is >= 0 whatever it reads."""
    return is_relu(node) or (node.attrs.get("act_type", "") if node.op == "Activation" else node.op) in NOT_NEGATIVE


def find_origins(graph, is_origin, through):
    """{node: the origin it repeats}: for origins, and for operators of `through` that read nothing but these nodes."""
    origins = {}
    for node in graph.nodes():
        if is_origin(node):
            origins[node] = node
        elif passes(node, through):
            found = [origins.get(source) for source, _ in node.inputs]
            if found and all(found):
                origins[node] = found[0]
    return origins


def _is_integer_layer(attrs, has_offset):
    """True where these marks are of a 1-bit layer that gives counts 0..K (has_offset), or integers -K..K."""
    if not has_one_bit(attrs):
        return False
    if attrs.get("__qnn_no_offset__") != "True":
        return has_offset
    return not has_offset and attrs.get("__qnn_scaling__") == "none"


def find_traps(graph, layers, marks):
    """Sentences about `layers`, which take one bit of their input 0. marks: the attributes that they will carry."""
    marked = dict.fromkeys(layers, marks)
    kinds = [
        (is_not_negative, PASSING | SUMS,
         "is never negative: one bit of it is +1 everywhere; put a BatchNorm between them or skip the layer"),
        (lambda node: _is_integer_layer(marked.get(node, node.attrs), True), PASSING | SUMS,
         "counts 0..K, never negative: put a BatchNorm between them, or use no_offset=True and a scaling"),
        (lambda node: _is_integer_layer(marked.get(node, node.attrs), False), PASSING | SUMS,
         "gives integers: gradients pass only where they are -1, 0, 1; put a BatchNorm between them, or use a scaling"),
        (lambda node: node.is_variable, PASSING,
         "is an input: one bit of it is its sign alone; centre the data or skip the layer"),
    ]
    sentences = []
    for is_origin, through, what in kinds:
        origins = find_origins(graph, is_origin, through)
        for node in layers:
            source = node.inputs[0][0]
            if source in origins:
                origin = origins[source]
                kind = "variable" if origin.is_variable else origin.attrs.get("__qnn_op__", origin.op)
                via = "" if source is origin else " through '%s'" % source.name
                sentences.append("'%s' reads %s '%s'%s, which %s" % (node.name, kind, origin.name, via, what))
    return sentences
