"""Load LUT: a trained graph of table layers becomes a LutNetwork, with exactly equal outputs.

    RealToBinary - DifferentiableLut - ... - AverageLut - BinaryToReal or GroupSum - anything of MXNet
      ->  _qnn_lut_network (counts) - Reshape, where they are images - division - the same rest

Tables absorb BatchNorm and thresholds; qnn.lut.tables decides them by the arithmetic of the layers themselves.
"""
import numpy as np

from qnn import lut_files
from qnn.graph import Graph, Node, entrances
from qnn.lut_network import Encoder, LutNetwork
from qnn.options import int_tuple

from .logic.lower_head import table_of
from .lut_signals import Signals

PASSED = ("identity", "_copy", "Flatten", "flatten", "BlockGrad", "stop_gradient")
MAJORITIES = ("AverageLut", "MaxLut")
HEADS = ("BinaryToReal", "GroupSum", "Reduce")


def table_nodes(graph):
    """The table layers of a qnn.graph.Graph, inputs first."""
    return [node for node in graph.nodes() if is_table(node)]


def load_lut(graph, params, shape=None):
    """(LutNetwork, entry of `graph` that the counts replace, shape of the counts of a sample, divisors of the counts,
    [(layer's node, LutLayer)]).

    params: {name: array}, arguments and states; shape: (C, H, W) of a sample, which layers on images need. Raises
    ValueError naming the layer that cannot be exported.
    """
    head = find_head(graph)
    chain = steps(entrances(head)["data"].inputs[0])
    if not any(map(is_table, chain)):
        raise ValueError("convert: '%s' has no table layer before it" % head.name)
    signals, encoder, made = Signals(shape or flat_shape(chain)), None, []
    for node in chain:
        if node.op == "_qnn_thermometer":
            encoder, bits = thermometer(node, params, signals)
            signals = Signals(bits)
            continue
        count, signals.layer = len(signals.layers), node.name
        lay_out(signals, node, params, encoder)
        if is_table(node):
            made.append((node, signals.layers[count]))
    outputs = signals.signals
    if outputs.ndim > 1 and head.attrs["__qnn_op__"] != "BinaryToReal":
        raise ValueError("convert: %s '%s' counts the channels of %d pixels; put a Flatten before it"
                         % (head.attrs["__qnn_op__"], head.name, outputs[0].size))
    groups, divisors = head_groups(head, len(outputs), encoder.num_frames if encoder else 1)
    scores = (int(groups.max()) + 1,) + outputs.shape[1:]
    pixels = np.arange(outputs[0].size)
    groups = (groups[:, None] * len(pixels) + pixels).ravel()
    network = LutNetwork(signals.num_inputs, signals.layers, outputs.ravel(), groups, encoder, plan=signals.plan)
    return network, (head, 0), scores, divisors, made


def is_table(node):
    """True for the last node of a table layer."""
    return node.op == "_qnn_lut" or node.attrs.get("__qnn_op__") in MAJORITIES


def steps(entry):
    """Layers from the data to `entry`, inputs first; the node of a layer is its last."""
    chain, node = [], entry[0]
    while not node.is_variable:
        chain.insert(0, node)
        if node.op == "_qnn_lut":
            data = node.inputs[0]
            entry = data[0].inputs[0] if node.attrs.get("__qnn_connection__") == "learned" else data
        else:
            entry = (entrances(node)["data"] if "__qnn_op__" in node.attrs else node).inputs[0]
        node = entry[0]
    return chain


def flat_shape(chain):
    """Shape of a sample that nobody says: (numbers,), where the first table layer reads all of them."""
    first = next(filter(is_table, chain))
    depth = 1
    for node in chain[:chain.index(first)]:
        if node.op == "_qnn_thermometer":
            depth = int(node.attrs["depth"])
        elif node.attrs.get("__qnn_op__", node.op) not in PASSED:
            raise ValueError("convert: %s '%s' reads an image, whose shape is not known: give it, shape=(C, H, W) or "
                             "--shape C,H,W" % (node.attrs.get("__qnn_op__", node.op), node.name))
    return int(first.attrs["__qnn_in_units__"]) // depth,


def lay_out(signals, node, params, encoder):
    """Adds one layer to `signals`. Raises ValueError naming a layer that is no function of bits."""
    mark = node.attrs
    op = mark.get("__qnn_op__", node.op)
    if is_table(node):
        lay_out_table(signals, node, params, encoder)
    elif op in ("Flatten", "flatten"):
        signals.flatten()
    elif op == "Columns":
        kernel, stride, pad = (int_tuple(mark["__qnn_%s__" % key]) for key in ("kernel", "stride", "pad"))
        signals.windows(kernel, stride, pad, mark["__qnn_border__"])
    elif op == "StochasticMaxPooling":
        kernel = int_tuple(mark["__qnn_kernel__"])
        if signals.signals.shape[1] % kernel[0] or signals.signals.shape[2] % kernel[1]:
            raise ValueError("convert: windows %r of %s '%s' do not tile the %dx%d pixels"
                             % (kernel, op, node.name, *signals.signals.shape[1:]))
        signals.pool(kernel, kernel)
    elif op == "Pooling":
        lay_out_pooling(signals, node)
    elif op == "Reshape":
        lay_out_reshape(signals, node)
    elif op == "Shuffle":
        signals.shuffle(int(mark["__qnn_unit__"]))
    elif op == "UpSampling" and "__qnn_op__" in mark:
        signals.enlarge(int(mark["__qnn_scale__"]), mark["__qnn_fill__"] == "True")
    elif op not in PASSED + ("InsertBitError",):
        raise ValueError("convert: operator %s '%s' stands among table layers and is no table" % (op, node.name))


def lay_out_table(signals, node, params, encoder):
    """A table layer, at every position where it is part of a convolution."""
    mark = node.attrs
    connections, tables = table_layer(node, params, encoder)
    if mark.get("__qnn_flatten__", "True") == "True":
        signals.flatten()
    in_units = int(mark["__qnn_in_units__"])
    if len(signals.signals) != in_units:
        raise ValueError("convert: %s '%s' reads %d inputs, the layer before it has %d; is the shape of a sample right?"
                         % (mark["__qnn_op__"], node.name, in_units, len(signals.signals)))
    signals.tables(connections, tables)


def lay_out_reshape(signals, node):
    """MXNet's Reshape of samples, whose own axis is kept as 0 or -1."""
    first, *shape = int_tuple(node.attrs["shape"])
    sizes = [size for size in shape if size != -1]
    if first not in (0, -1) or [first, *shape].count(-1) > 1 or min(sizes, default=1) < 1 or (
            node.attrs.get("reverse", "False") == "True"):
        raise ValueError("convert: Reshape '%s' of table layers keeps the samples and gives the other axes, "
                         "shape=(0, 64, 7, 7) for instance, got %s" % (node.name, node.attrs["shape"]))
    have, want = signals.signals.size, int(np.prod(sizes))
    if have % want or (have != want and -1 not in shape):
        raise ValueError("convert: Reshape '%s' cannot make %s of %d signals; is the shape of a sample right?"
                         % (node.name, tuple(shape), have))
    signals.reshape(tuple(shape))


def lay_out_pooling(signals, node):
    """MXNet's max-pooling of bits."""
    attrs = node.attrs
    is_whole = attrs.get("global_pool", "False") in ("True", "1")
    if attrs.get("pool_type", "max") != "max" or attrs.get("pooling_convention", "valid") != "valid":
        raise ValueError("convert: Pooling '%s' is pool_type=%s, pooling_convention=%s; bits are pooled with max and "
                         "valid" % (node.name, attrs.get("pool_type", "max"), attrs.get("pooling_convention", "valid")))
    if is_whole:
        signals.pool(signals.signals.shape[1:], (1, 1))
        return
    kernel, stride, pad = (int_tuple(attrs.get(key, default)) or (value, value) for key, default, value in (
        ("kernel", "()", 0), ("stride", "()", 1), ("pad", "()", 0)))
    signals.pool(kernel, stride, pad)


def find_head(graph):
    """The layer that counts bits. Raises ValueError."""
    found = [node for node in graph.nodes() if node.attrs.get("__qnn_op__") in HEADS]
    if len(found) != 1:
        raise ValueError("convert: a network of table layers has one of %s behind them, got %d"
                         % (", ".join(HEADS), len(found)))
    return found[0]


def skip(entry):
    """The node behind identities and flattenings."""
    node = entry[0]
    while node.op in PASSED and "__qnn_op__" not in node.attrs:
        node = node.inputs[0][0]
    return node


def table_layer(node, params, has_bits):
    """(connections (nodes, n), tables (nodes,)) of one layer; has_bits: what the network reads are bits."""
    from qnn.lut import tables as trained
    op, mark = node.attrs["__qnn_op__"], node.attrs
    if not trained.gives_bits(node, has_bits):
        raise ValueError("convert: %s '%s' has real outputs, binarize=False; only bits become tables%s" % (
            op, node.name, "" if has_bits else ", and without RealToBinary its inputs may be no bits"))
    if node.op == "_qnn_lut":
        return trained.wiring_of(node, params), trained.tables_of(node, params)
    nodes, n, in_units = (int(mark["__qnn_%s__" % key]) for key in ("num_nodes", "n", "in_units"))
    inner = entrances(node)
    if "connections" in inner:
        connections = np.asarray(params[skip((inner["connections"], 0)).name]).astype(np.int64)
    else:
        connections = np.arange(nodes * n).reshape(nodes, n) % in_units
    table = table_of(n, (lambda *x: 2 * sum(x) > n) if op == "AverageLut" else (lambda *x: any(x)))
    return connections, np.full(nodes, table, np.uint64)


def thermometer(node, params, signals):
    """(Encoder, shape of the bits) of a RealToBinary layer on the numbers `signals`; bit d of channel c is channel
    c * depth + d."""
    thresholds = np.asarray(params[node.inputs[1][0].name], np.float32)
    frames, channels, depth = thresholds.shape
    numbers = signals.signals
    if signals.layers:
        raise ValueError("convert: RealToBinary '%s' stands behind table layers" % node.name)
    if channels not in (1, len(numbers)):
        raise ValueError("convert: RealToBinary '%s' has thresholds of %d channels, its data have %d; is the shape of "
                         "a sample right?" % (node.name, channels, len(numbers)))
    full = (frames, len(numbers), depth) + numbers.shape[1:]
    thresholds = np.broadcast_to(thresholds.reshape((frames, channels, depth) + (1,) * (numbers.ndim - 1)), full)
    features = np.broadcast_to(numbers[:, None], full[1:])
    return (Encoder(signals.num_inputs, features.ravel(), thresholds.reshape(frames, -1)),
            (len(numbers) * depth,) + numbers.shape[1:])


def head_groups(head, nodes, frames):
    """(score of each node, divisors of the counts, one after the other). Raises ValueError where they would round
    differently from the layer."""
    mark, op = head.attrs, head.attrs["__qnn_op__"]
    if op == "GroupSum":
        if frames > 1:
            raise ValueError("convert: GroupSum '%s' stands before the mean over %d frames" % (head.name, frames))
        classes = int(mark["__qnn_num_classes__"])
        return np.arange(nodes) // (nodes // classes), [float(mark["__qnn_temperature__"])]
    depth = nodes // int(mark["__qnn_num_nodes__"]) if op == "Reduce" else int(mark["__qnn_depth_integration__"])
    integrated = 1 if op == "Reduce" else int(mark["__qnn_frame_integration__"])
    if integrated != frames:
        raise ValueError("convert: %s '%s' integrates %d frames of %d" % (op, head.name, integrated, frames))
    if depth > 1 and frames & (frames - 1):
        raise ValueError("convert: %s '%s' averages %d nodes of means over %d frames, which round one by one; use a "
                         "power of two, or one node a value" % (op, head.name, depth, frames))
    return np.arange(nodes) % (nodes // depth), [float(d) for d in (frames, depth) if d > 1]


def convert_graph(graph, params, name="lut", shape=None):
    """Puts the network into a copy of the graph. Returns (Graph, {new parameter: array}, LutNetwork, [(layer's node,
    LutLayer)]). shape: of a sample, see load_lut."""
    graph = graph.copy()
    network, entry, scores, divisors, made = load_lut(graph, params, shape)
    source = next(node for node in Graph([entry]).nodes() if node.is_variable and node.name not in params)
    node, arrays = lut_files.operator_node(network, (source, 0), name)
    if len(scores) > 1:
        node = Node("Reshape", name + "_image", {"shape": str((-1,) + scores)}, [(node, 0)])
    for number, divisor in enumerate(divisors):
        node = Node("_div_scalar", "%s_mean%d" % (name, number), {"scalar": repr(divisor)}, [(node, 0)])
    graph.replace(entry, (node, 0))
    return graph, arrays, network, made
