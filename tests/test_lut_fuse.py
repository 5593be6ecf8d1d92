"""qnn.lut.fuse: the same outputs and statistics, bit for bit, and the same gradients, up to the order of sums."""
import mxnet as mx
import numpy as np
import pytest
from qnn.model_zoo import lut_mnist

import qnn
from qnn import backend
from qnn.graph import Graph

pytestmark = pytest.mark.skipif(not backend.is_native, reason="table layers need qnn._native")
REAL = dict(binary=False, batch_norm=False, lut_binarize=True)


def operators(symbol):
    return [node.op for node in Graph.from_json(symbol.tojson()).nodes()]


def network(kernel, stride=(1, 1), pad=(0, 0), border="constant", group=3, channels=4, is_majority=True, **options):
    """Two lowered convolutions of 12 nodes, in groups: majorities or means, then means."""
    def layer(units, name, is_majority):
        def block(x):
            x = qnn.sym.DifferentiableLut(x, num_nodes=12, in_units=units, n=4, name=name + "_lut", **options)
            return qnn.sym.AverageLut(x, num_nodes=12 // group, in_units=12, n=group, binarize=is_majority,
                                      binarize_input=False, name=name + "_average")
        return block
    inner = layer(kernel[0] * kernel[1] * channels, "a", is_majority)
    net = qnn.lut.Convolution2d(mx.sym.Variable("data"), inner, kernel, stride, pad, border, name="a")
    return qnn.lut.Convolution2d(net, layer(4 * 12 // group, "b", False), (2, 2), name="b")


def step(symbol, data, num_threads=1):
    """(output, {gradient}, {state}) of one training step; tables at random, so that gradients are of all sizes."""
    module = mx.mod.Module(symbol, label_names=[])
    module.bind([("data", data.shape)], inputs_need_grad=True)
    module.init_params()
    args, auxs = module.get_params()
    module.set_params({name: mx.nd.array(np.random.RandomState(len(name)).uniform(size=value.shape))
                       for name, value in args.items()}, auxs)
    before = backend.threads()
    backend.set_threads(num_threads)
    try:
        mx.random.seed(3)
        module.forward(mx.io.DataBatch([mx.nd.array(data)]), is_train=True)
        out = module.get_outputs()[0]
        module.backward([mx.nd.array(np.random.RandomState(0).randn(*out.shape))])
        grads = {name: grad.asnumpy() for name, grad in module._exec_group.execs[0].grad_dict.items()}
    finally:
        backend.set_threads(before)
    mx.nd.waitall()
    return out.asnumpy(), grads, {name: value.asnumpy() for name, value in module._exec_group.execs[0].aux_dict.items()}


def same_step(symbol, fused, data, num_threads=1):
    out, grads, states = step(symbol, data)
    fused_out, fused_grads, fused_states = step(fused, data, num_threads)
    np.testing.assert_array_equal(fused_out, out)
    assert sorted(fused_states) == sorted(states) and sorted(fused_grads) == sorted(grads)
    for name, state in states.items():
        np.testing.assert_array_equal(fused_states[name], state)
    for name, grad in grads.items():
        assert np.any(grad)
        np.testing.assert_allclose(fused_grads[name], grad, rtol=0, atol=2 ** -18 * np.abs(grad).max())


CASES = [dict(kernel=(3, 3)), dict(kernel=(1, 1)), dict(kernel=(2, 3), stride=(2, 1)),
         dict(kernel=(3, 2), stride=(1, 3)), dict(kernel=(3, 3), pad=(1, 1)),
         dict(kernel=(3, 3), pad=(1, 2), border="reflect"),
         dict(kernel=(3, 3), group=2, channels=1), dict(kernel=(2, 2), group=6, smooth=False),
         dict(kernel=(3, 3), is_majority=False, **REAL),
         dict(kernel=(3, 1), stride=(2, 2), group=4, is_majority=False, **REAL)]


@pytest.mark.parametrize("batch", [1, 3, 37])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_step_is_the_same(case, batch):
    symbol = network(**case)
    fused = qnn.lut.fuse(symbol)
    assert not {"im2col", "_qnn_mean_of_groups"} & set(operators(fused))
    assert fused.list_arguments() == symbol.list_arguments()
    assert fused.list_auxiliary_states() == symbol.list_auxiliary_states()
    data = np.random.RandomState(batch).uniform(size=(batch, case.get("channels", 4), 11, 9)).astype(np.float32)
    for num_threads in (1, 2):
        same_step(symbol, fused, data, num_threads)


@pytest.mark.parametrize("name", ["cnn", "stochastic_cnn", "autoencoder"])
def test_samples_are_the_same(name):
    symbol = lut_mnist.NETWORKS[name]()
    inner = symbol.get_internals()["integrate_output" if name != "stochastic_cnn" else "reduce_output"]
    same_step(inner, qnn.lut.fuse(inner), np.random.RandomState(0).uniform(size=(2, 1, 28, 28)).astype(np.float32))


def test_what_others_read_stays():
    def table(**options):
        return qnn.sym.DifferentiableLut(mx.sym.Variable("data"), num_nodes=12, in_units=20, flatten=False, name="a",
                                         **options)

    def mean(nodes, n=3, **options):
        return qnn.sym.AverageLut(nodes, num_nodes=4, in_units=12, n=n, flatten=False, name="b", **options)
    nodes = table()
    assert "_qnn_mean_of_groups" not in operators(qnn.lut.fuse(mean(nodes)))
    for kept in (mx.sym.Group([mean(nodes), nodes]),
                 mean(nodes, n=2),  # reads 8 of the 12, by take
                 mean(table(binary=False))):  # compares x > 0.5 before it counts
        assert operators(qnn.lut.fuse(kept)) == operators(kept)


def test_errors():
    nodes = qnn.sym.DifferentiableLut(mx.sym.Variable("data"), num_nodes=12, in_units=20, name="a")
    graph = Graph.from_json(nodes.tojson())
    table = graph.find("a")
    for attributes, shape, message in (
            (dict(group="5"), (2, 20), "group that divides num_nodes, got 5"),
            (dict(kernel="(2, 2)"), (2, 20), r"needs data of shape \(N, C, H, W\), got \(2, 20\)"),
            (dict(kernel="(2, 2)"), (2, 4, 5, 5), r"2x2 pixels, 20 inputs, of data of shape \(2, 4, 5, 5\)"),
            (dict(kernel="(2, 2)"), (2, 5, 1, 5), r"2x2 pixels, 20 inputs, of data of shape \(2, 5, 1, 5\)")):
        table.attrs.update(attributes)
        source = next(node for node in graph.nodes() if node.name == "data")
        table.inputs[0] = (source, 0)
        with pytest.raises(mx.MXNetError, match=message):
            mx.sym.load_json(graph.to_json()).infer_shape(data=shape)
        for key in attributes:
            del table.attrs[key]
