"""PackWeights: 1/1-bit layers become packed operators; names of parameters stay, float weights go."""
import mxnet as mx
import numpy as np
from stages import X, conv, norm, stages

import qnn
from qnn import backend, bits, reference


def after(symbol, **options):
    return stages(symbol, **options)["pack_weights"]


def test_layers_are_packed_under_their_names():
    stage = after(qnn.sym.QFullyConnected(norm(conv(X, "conv"), "bn"), num_hidden=5, no_bias=False, name="fc"))
    assert stage.ops == ["_qnn_packed_convolution", "BatchNorm", "_qnn_packed_fully_connected"] and stage.changes == 2
    assert set(stage.params) == {"conv_weight", "bn_gamma", "bn_beta", "bn_moving_mean", "bn_moving_var", "fc_weight",
                                 "fc_bias"}
    assert stage.params["conv_weight"].dtype == stage.params["fc_weight"].dtype == np.int64
    assert stage.attrs("conv")["__channels__"] == "3" and stage.attrs("fc")["__channels__"] == str(12 * 64)


def test_packed_weights_are_the_signs():
    from qnn.converter.passes.pack_weights import pack
    weight = np.random.RandomState(0).randn(9, 70, 3, 2).astype(np.float32)
    options = qnn.options.ConvolutionOptions(kernel=(3, 2), num_filter=9, name="conv")
    rows = bits.panels_to_rows(pack(weight, options).view(np.uint64), 9)
    np.testing.assert_array_equal(rows, reference.pack_filters(weight))
    options = qnn.options.FullyConnectedOptions(num_hidden=9, name="fc")
    rows = bits.panels_to_rows(pack(weight.reshape(9, -1), options).view(np.uint64), 9)
    np.testing.assert_array_equal(rows, backend.pack_rows(weight.reshape(9, -1)))


def test_layers_without_codes_stay():
    stage = after(conv(conv(X, "nine", act_bit=9), "weights_only", act_bit=32))
    assert stage.changes == 0 and not any(op.startswith("_qnn_packed") for op in stage.ops)
    assert all(value.dtype == np.float32 for value in stage.params.values())


def test_computed_weights_stay():
    stage = after(conv(X, "conv", weight=mx.sym.Variable("w", shape=(12, 3, 3, 3)) * 2))
    assert stage.changes == 0


def test_outputs_that_are_heads():
    first = conv(X, "first")
    stage = after(mx.sym.Group([conv(first, "second"), first]))
    assert stage.changes == 2 and [head.name for head, _ in stage.graph.heads] == ["second", "first"]


def test_weights_shared_by_two_packings_are_stored_for_each():
    weight = mx.sym.Variable("w")
    first = conv(conv(X, "stem"), "first", 6, weight=weight, num_group=2)
    second = conv(mx.sym.slice_axis(first, axis=1, begin=0, end=6), "second", 6, weight=weight)
    stage = after(second)
    assert {"w", "w_packed2"} < set(stage.params) and stage.changes == 3


def test_scale_takes_no_name_of_a_parameter():
    """conv_scale is a parameter of the training graph here, and another one than the scale of the layer."""
    net = conv(X, "conv", scaling="filter")
    stage = after(mx.sym.broadcast_mul(net, mx.sym.Variable("conv_scale", shape=(1, 12, 1, 1))))
    assert stage.params["conv_scale"].shape == (1, 12, 1, 1) and stage.params["conv_scale_2"].shape == (12,)
