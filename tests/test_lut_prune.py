"""Pruning of tables: what is given up does not matter, what remains is made exactly, and conversion is still exact."""
import mxnet as mx
import numpy as np
import pytest
from qnn.converter.logic import clean
from test_load_lut import random_model

import qnn
from qnn import lut_files
from qnn.graph import Graph
from qnn.lut.prune import bits_of, prune, prune_tables, weights_of
from qnn.lut.tables import table_layers


def random_tables(n, nodes, seed=0):
    """(bits, shares): tables, and how often their entries are read: many never."""
    random = np.random.RandomState(seed)
    shares = random.rand(nodes, 2 ** n) * (random.rand(nodes, 2 ** n) < 0.4) + 1e-9
    return random.rand(nodes, 2 ** n) < 0.5, shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("n", [2, 4, 6])
@pytest.mark.parametrize("limit", [0.02, 0.1, 0.5])
def test_dropped_inputs_do_not_matter_and_errors_stay_below_the_limit(n, limit):
    bits, shares = random_tables(n, 200)
    smaller, dropped = prune_tables(bits, shares, limit)
    assert ((smaller != bits) * shares).sum(axis=1).max() <= limit + 1e-12
    index = np.arange(2 ** n)
    for j in range(n):
        ignored = (smaller == smaller[:, index ^ (1 << j)]).all(axis=1)
        assert ignored[dropped[:, j]].all()
    assert dropped.any()


def test_an_input_that_is_ignored_already_goes_first():
    bits = np.tile([False, True], (3, 8))  # x_0 alone
    _, dropped = prune_tables(bits, np.full((3, 16), 1 / 16), 0.0)
    np.testing.assert_array_equal(dropped, [[False, True, True, True]] * 3)


def network(**options):
    net = qnn.sym.RealToBinary(mx.sym.Flatten(mx.sym.Variable("data")), frame_modulation=3, name="modulate")
    net = qnn.sym.DifferentiableLut(net, num_nodes=60, in_units=30, name="lut1", **options)
    net = qnn.sym.DifferentiableLut(net, num_nodes=10, in_units=60, n=4, name="lut2", **options)
    net = qnn.sym.BinaryToReal(net, frame_integration=3, name="integrate")
    return mx.sym.SoftmaxOutput(net, name="softmax")


@pytest.mark.parametrize("options", [{}, {"smooth": False}, {"gamma": -0.2, "beta": 0.6}, {"batch_norm": False},
                                     {"binary": False}, {"smooth": False, "lut_binarize": True}], ids=str)
def test_weights_make_the_wanted_tables(options):
    symbol = network(**options)
    args, auxs = random_model(symbol, shape=(30,))
    params = {**args, **auxs}
    for node in table_layers(Graph.from_json(symbol.tojson())):
        wanted = np.random.RandomState(3).rand(*bits_of(node, params).shape) < 0.5
        made = weights_of(node, params, wanted)
        np.testing.assert_array_equal(bits_of(node, {**params, node.name + "_weight": made}), wanted)


def samples(count):
    return np.random.RandomState(1).rand(count, 30).astype(np.float32) ** 4  # small numbers: bits of few patterns


def outputs(symbol, args, auxs, data):
    return qnn.inference.Model(symbol, {k: v.asnumpy() for k, v in args.items()},
                               {k: v.asnumpy() for k, v in auxs.items()}, labels=["softmax_label"]).predict(data)


@pytest.mark.parametrize("connection", ["random", "learned"])
def test_without_error_the_samples_keep_their_outputs(tmp_path, connection):
    """And the network converts, exactly, into fewer nodes."""
    symbol, data = network(connection=connection), samples(100)
    args, auxs = random_model(symbol, shape=(30,))
    pruned, report = prune(symbol, args, auxs, data, limit=0.0)
    assert report["lut1"]["inputs"] == 360 and report["lut1"]["dropped"] > 0 and report["lut1"]["changed"] == 0
    np.testing.assert_array_equal(outputs(symbol, args, auxs, data), outputs(symbol, pruned, auxs, data))
    nodes = []
    for name, params in (("a", args), ("b", pruned)):
        packed, packed_args, packed_auxs, _ = qnn.convert(symbol, params, auxs)
        mx.model.save_checkpoint(str(tmp_path / name), 1, packed, *(
            {key: mx.nd.array(value, dtype=value.dtype) for key, value in arrays.items()}
            for arrays in (packed_args, packed_auxs)))
        nodes.append(clean(lut_files.load(str(tmp_path / name), 1))[0].num_nodes)
        packed = qnn.load(str(tmp_path / name), 1)
        fresh = np.random.RandomState(2).rand(200, 30).astype(np.float32)
        np.testing.assert_array_equal(packed.predict(fresh).argmax(1),
                                      outputs(symbol, params, auxs, fresh).argmax(1))
    assert nodes[1] < nodes[0]


def test_windows_that_share_tables():
    """All positions of an image count as what a table reads."""
    def layer(x):
        return qnn.sym.DifferentiableLut(x, num_nodes=8, in_units=9, n=4, name="lut1")
    net = qnn.sym.RealToBinary(mx.sym.Variable("data"), frame_modulation=1, name="modulate")
    net = mx.sym.Flatten(qnn.lut.Convolution2d(net, layer, (3, 3), name="conv1"))
    net = qnn.sym.DifferentiableLut(net, num_nodes=10, in_units=128, name="lut2")
    symbol = mx.sym.SoftmaxOutput(qnn.sym.BinaryToReal(net, frame_integration=1, name="integrate"), name="softmax")
    data = np.random.RandomState(1).rand(100, 1, 6, 6).astype(np.float32) ** 4
    args, auxs = random_model(symbol, shape=(1, 6, 6))
    pruned, report = prune(symbol, args, auxs, data, limit=0.0)
    assert report["lut1"]["inputs"] == 32 and report["lut2"]["dropped"] > 0
    np.testing.assert_array_equal(outputs(symbol, args, auxs, data), outputs(symbol, pruned, auxs, data))


def test_tables_that_weights_cannot_make_stay():
    symbol, data = network(lut_binarize=True), samples(100)
    args, auxs = random_model(symbol, shape=(30,))
    pruned, report = prune(symbol, args, auxs, data, limit=0.1)
    node = table_layers(Graph.from_json(symbol.tojson()))[0]
    changed = (bits_of(node, {**pruned, **auxs}) != bits_of(node, {**args, **auxs})).any(axis=1)
    same = (pruned["lut1_weight"] == args["lut1_weight"]).asnumpy().all(axis=1)
    assert not changed[same].any() and report["lut1"]["changed"] <= 0.1


@pytest.mark.parametrize("limit, count, sentence", [(0.6, 100, r"limit is a share of 0..0.5, got 0.6"),
                                                    (0.1, 9, r"data are 9 samples, fewer than a batch of 50")])
def test_wrong_arguments(limit, count, sentence):
    symbol = network()
    with pytest.raises(ValueError, match=sentence):
        prune(symbol, *random_model(symbol, shape=(30,)), samples(count), limit)


def test_a_network_without_tables():
    with pytest.raises(ValueError, match="no layer of StochasticLut or DifferentiableLut"):
        prune(mx.sym.Flatten(mx.sym.Variable("data")), {}, {}, samples(100))
