"""Pruning: tables give up inputs that hardly ever matter, and a converted network then needs fewer of them.

    arg_params, report = prune(symbol, arg_params, aux_params, images, limit=0.01)

The clean-up of `qnn convert` drops such inputs, nodes that nobody reads any more, and composes what has become small.
"""
import mxnet as mx
import numpy as np

from ..graph import Graph
from ..reference_lut import LEVELS, VAR_FLOOR, unpack_tables
from .tables import array_of, source_of, table_layers, tables_of

KINDS = ("StochasticLut", "DifferentiableLut")


def prune(symbol, arg_params, aux_params, data, limit=0.01, batch_size=50):
    """Makes every table independent of the inputs that it needs least. Returns (arg_params, report).

    data: (N, ...) samples as the network reads them, from the training set. limit: in what share of all that a table
    reads for them its output may become another, by all its lost inputs together; bits are x > 0.5. Of two entries that
    differ in a lost input both become the one that is read more often; the input of the least consequence goes first.
    The table is then made of new weights, good for inference: training that goes on would have to begin with the old
    ones. A layer keeps tables that its weights cannot make (lut_binarize with smooth inputs). report: {layer:
    {"inputs": number, "dropped": number, "changed": mean share}} of StochasticLut and DifferentiableLut; others stay.
    Raises ValueError.
    """
    if not 0 <= limit <= 0.5:
        raise ValueError("prune: limit is a share of 0..0.5, got %r" % (limit,))
    if len(data) < batch_size:
        raise ValueError("prune: data are %d samples, fewer than a batch of %d" % (len(data), batch_size))
    nodes = [node for node in table_layers(Graph.from_json(symbol.tojson())) if node.attrs["__qnn_op__"] in KINDS]
    if not nodes:
        raise ValueError("prune: the network has no layer of %s" % " or ".join(KINDS))
    params, result, report = {**arg_params, **aux_params}, dict(arg_params), {}
    for node, counts in zip(nodes, entry_counts(nodes, params, data, batch_size)):
        name, shares, bits = source_of(node, 1), counts / counts[0].sum(), bits_of(node, params)
        smaller, dropped = prune_tables(bits, shares, limit)
        weight = weights_of(node, params, smaller)
        made = (bits_of(node, {**params, name: weight}) == smaller).all(axis=1)
        changed = dropped.any(axis=1) & made
        result[name] = mx.nd.array(np.where(changed[:, None], weight, array_of(params, name)))
        report[node.name] = {"inputs": dropped.size, "dropped": int(dropped[made].sum()),
                             "changed": float(((smaller != bits) * shares)[made].sum() / len(bits))}
    return result, report


def entry_counts(nodes, params, data, batch_size):
    """For each layer (num_nodes, 2^n) int64: how often its nodes read each entry of their tables."""
    read = mx.sym.load_json(Graph([node.inputs[0] for node in nodes]).to_json())
    executor = read.simple_bind(mx.cpu(), grad_req="null", data=(batch_size,) + data.shape[1:])
    for arrays in (executor.arg_dict, executor.aux_dict):
        for name in set(arrays) - {"data"}:
            arrays[name][:] = params[name]
    wirings = [array_of(params, source_of(node, 2)).astype(int) for node in nodes]
    counts = [np.zeros((len(wiring), 2 ** wiring.shape[1]), np.int64) for wiring in wirings]
    for begin in range(0, len(data) - batch_size + 1, batch_size):
        outputs = executor.forward(is_train=False, data=mx.nd.array(data[begin:begin + batch_size]))
        for output, wiring, count in zip(outputs, wirings, counts):
            bits = np.moveaxis(output.asnumpy(), 1, 0) > 0.5
            bits = bits.reshape(len(bits), -1)
            entry = sum(bits[wiring[:, j]].astype(np.int64) << j for j in range(wiring.shape[1]))
            entry += np.arange(len(wiring))[:, None] * count.shape[1]
            count += np.bincount(entry.ravel(), minlength=count.size).reshape(count.shape)
    return counts


def bits_of(node, params):
    """(num_nodes, 2^n) bool truth tables of a layer."""
    return unpack_tables(tables_of(node, params), int(node.attrs["n"])) > 0


def prune_tables(bits, shares, limit):
    """(bits, dropped): tables that ignore inputs, and which, (num_nodes, n) bool. bits, shares: (num_nodes, 2^n)."""
    bits, shares, rows = bits.copy(), shares.copy(), np.arange(len(bits))
    n = bits.shape[1].bit_length() - 1
    dropped, spent = np.zeros((len(bits), n), bool), np.zeros(len(bits))
    for _ in range(n):
        costs = np.stack([cost(bits, shares, j) for j in range(n)], axis=1)
        costs[dropped] = np.inf
        best = costs.argmin(axis=1)
        affordable = spent + costs[rows, best] <= limit
        for j in range(n):
            chosen = np.flatnonzero(affordable & (best == j))
            bits[chosen], shares[chosen] = without(bits[chosen], shares[chosen], j)
        spent[affordable] += costs[rows, best][affordable]
        dropped[rows[affordable], best[affordable]] = True
    return bits, dropped


def halves(array, j):
    """(rows, 2^n) -> (rows, above, 2, below): axis 2 is input j."""
    return array.reshape(len(array), array.shape[1] >> j + 1, 2, 1 << j)


def cost(bits, shares, j):
    """(rows,) share of samples whose bit becomes another without input j."""
    bits, shares = halves(bits, j), halves(shares, j)
    return (shares.min(axis=2) * (bits[:, :, 0] != bits[:, :, 1])).sum(axis=(1, 2))


def without(bits, shares, j):
    """(bits, shares) of tables that ignore input j."""
    both, share = halves(bits, j), halves(shares, j)
    more = np.where(share[:, :, 0] >= share[:, :, 1], both[:, :, 0], both[:, :, 1])[:, :, None]
    return (np.repeat(more, 2, axis=2).reshape(bits.shape),
            np.repeat(share.mean(axis=2, keepdims=True), 2, axis=2).reshape(bits.shape))


def weights_of(node, params, bits):
    """(num_nodes, 2^n) float32 weights that make these truth tables.

    Entry i of a layer is y = sum_k W[k] prod_j (x_j(i) if bit j of k else 1 - x_j(i)) against the y where the output
    turns; the inverse of that matrix gives W for y on the right side of it, as far from it as 0..1 allows for all.
    """
    attrs, n = node.attrs, bits.shape[1].bit_length() - 1
    turn, rises = np.full((len(bits), 1), 0.5), True
    if attrs.get("batch_norm") == "True":
        mean, var = (array_of(params, source_of(node, i)).astype(np.float64)[:, None] for i in (4, 5))
        gamma, beta = float(attrs.get("gamma", 0.3)), float(attrs.get("beta", 0.5))
        turn, rises = mean + (0.5 - beta) * np.sqrt(np.maximum(var, VAR_FLOOR)) / gamma if gamma else turn, gamma >= 0
    mode = attrs.get("input", "smooth")
    low, high = LEVELS["hard" if mode == "real" else mode]
    inverse = np.linalg.inv(np.array([[1 - low, low], [1 - high, high]], np.float64))
    sides = np.where(bits == rises, 1.0, -1.0)
    for j in range(n):
        sides = np.einsum("ab,rxby->rxay", inverse, halves(sides, j)).reshape(bits.shape)
    room = np.minimum(turn, 1 - turn).clip(0)
    return (turn + sides * room / np.abs(sides).max(axis=1, keepdims=True)).astype(np.float32)
