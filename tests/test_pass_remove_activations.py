"""RemoveActivations: QActivation goes where inference does not need it, and only there."""
import mxnet as mx
from stages import X, conv, norm, stages

import qnn


def counts(symbol):
    """(activations before, activations after, changes)."""
    found = stages(symbol)
    before, after = found["pack_weights"], found["remove_activations"]
    return _activations(before), _activations(after), after.changes


def _activations(stage):
    return sum(node.attrs.get("__qnn_op__") == "QActivation" for node in stage.graph.nodes())


def test_sign_before_a_packed_layer_goes():
    assert counts(conv(qnn.sym.QActivation(norm(X, "bn")), "conv")) == (1, 0, 1)


def test_sign_for_two_packed_layers_goes():
    signs = qnn.sym.QActivation(X)
    assert counts(conv(signs, "a") + conv(signs, "b")) == (1, 0, 2)


def test_sign_read_by_others_stays_for_them():
    signs = qnn.sym.QActivation(X, name="signs")
    symbol = mx.sym.Concat(conv(signs, "conv"), signs, dim=1)
    assert counts(symbol) == (1, 1, 1)
    found = stages(symbol)["remove_activations"]
    assert found.graph.find("conv").inputs[0][0].name == "data"


def test_sign_that_is_a_head_stays():
    signs = qnn.sym.QActivation(X, name="signs")
    assert counts(mx.sym.Group([conv(signs, "conv"), signs])) == (1, 1, 1)


def test_sign_before_a_float_layer_stays():
    signs = qnn.sym.QActivation(X)
    assert counts(mx.sym.FullyConnected(signs, num_hidden=4)) == (1, 1, 0)


def test_two_bits_stay():
    assert counts(conv(qnn.sym.QActivation(X, act_bit=2), "conv")) == (1, 1, 0)


def test_backward_only_and_32_bits_are_the_identity():
    net = qnn.sym.QActivation(X, backward_only=True)
    assert counts(mx.sym.FullyConnected(net, num_hidden=4)) == (1, 0, 1)
    assert counts(mx.sym.FullyConnected(qnn.sym.QActivation(X, act_bit=32), num_hidden=4)) == (1, 0, 1)


def test_two_signs_in_a_row():
    found = stages(conv(qnn.sym.QActivation(qnn.sym.QActivation(norm(conv(X, "a"), "bn"))), "b"))
    assert _activations(found["remove_activations"]) == 1  # the second; the first is folded into thresholds
    assert found["arrange_nhwc"].ops == ["_qnn_pack", "_qnn_bits_convolution", "_qnn_float_convolution"]
