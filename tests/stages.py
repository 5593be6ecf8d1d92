"""Stages: what every pass makes of a small graph, executed: all outputs are the same float32 behind each pass."""
import mxnet as mx
import numpy as np
from nets import bind, calibrated
from qnn.converter.convert import run_passes

import qnn
from qnn.graph import Graph

X = mx.sym.Variable("data")
DATA = np.random.RandomState(4).randn(2, 3, 8, 8).astype(np.float32)


class Stage:
    """A graph behind a pass, its parameters and the number of changes that the pass tells."""

    def __init__(self, model, changes):
        self.graph, self.changes, self.params = model.graph.copy(), changes, {}
        for params in model.used_params():
            self.params.update(params)

    @property
    def ops(self):
        return [node.op for node in self.graph.nodes() if not node.is_variable]

    def count(self, op):
        return self.ops.count(op)

    def attrs(self, name):
        """Attributes of the operator called `name`."""
        return next(node for node in self.graph.nodes() if node.name == name and not node.is_variable).attrs


def stages(symbol, data=DATA, edit=None):
    """{name of a pass: Stage}. edit(args, auxs) changes the parameters first. Asserts equal outputs behind every
    pass."""
    args, auxs = calibrated(symbol, data)
    if edit is not None:
        edit(args, auxs)
    expected, found = outputs(symbol, data, args, auxs), {}
    assert len(np.unique(expected[0])) > 3, "a network that computes a constant proves nothing"

    def observe(number, total, name, changes, model):
        got = outputs(mx.sym.load_json(model.graph.to_json()), data, *model.used_params())
        assert len(got) == len(expected)
        for one, other in zip(got, expected):
            np.testing.assert_array_equal(one, other, err_msg=name)
        found[name] = Stage(model, changes)

    run_passes(Graph.from_json(symbol.tojson()), args, auxs, observe=observe)
    return found


def outputs(symbol, data, args, auxs):
    """All outputs in inference mode."""
    executor = bind(symbol, data.shape, args, auxs)
    return [y.asnumpy() for y in executor.forward(is_train=False, data=mx.nd.array(data))]


def conv(net, name, num_filter=12, **options):
    return qnn.sym.QConvolution(net, num_filter=num_filter, name=name, **{"kernel": (3, 3), "pad": (1, 1), **options})


def norm(net, name, **options):
    return mx.sym.BatchNorm(net, name=name, **{"fix_gamma": False, "eps": 2e-5, **options})


def pool(net, name, **options):
    return mx.sym.Pooling(net, name=name, **{"kernel": (2, 2), "stride": (2, 2), "pool_type": "max", **options})


def stem(num_filter=12, no_bias=True):
    return mx.sym.Convolution(X, kernel=(3, 3), pad=(1, 1), num_filter=num_filter, no_bias=no_bias, name="stem")
