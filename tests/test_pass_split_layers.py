"""SplitLayers: packed layers become _qnn_pack + _qnn_float_convolution, with all their options and names."""
import mxnet as mx
from stages import X, conv, stages

import qnn


def after(symbol, **options):
    return stages(symbol, **options)["split_layers"]


def test_convolution():
    stage = after(conv(X, "conv", pad=(2, 1), pad_value=-1, stride=(2, 1), dilate=(1, 2), num_group=3,
                       no_offset=True, scaling="filter", no_bias=False))
    assert stage.ops == ["_qnn_pack", "_qnn_float_convolution"] and stage.changes == 1
    assert stage.attrs("conv_pack") == {"layout": "NCHW", "pad": "(2, 1)", "pad_value": "-1", "num_group": "3"}
    attrs = stage.attrs("conv")
    assert (attrs["channels"], attrs["image_pad"], attrs["stride"], attrs["dilate"], attrs["num_group"]) == (
        "3", "(2, 1)", "(2, 1)", "(1, 2)", "3")
    assert (attrs["no_offset"], attrs["has_scale"], attrs["has_bias"]) == ("True", "True", "True")
    assert set(stage.params) == {"conv_weight", "conv_scale", "conv_bias"}


def test_head_keeps_its_name():
    first = conv(X, "first")
    stage = after(mx.sym.Group([conv(first, "second"), first]))
    assert [head.name for head, _ in stage.graph.heads] == ["second", "first"]


def test_fully_connected_flattens_first():
    stage = after(qnn.sym.QFullyConnected(X, num_hidden=5, name="fc"))
    assert stage.ops == ["Flatten", "_qnn_pack", "_qnn_float_convolution"]
    assert stage.attrs("fc")["flatten"] == "True" and stage.attrs("fc")["channels"] == "192"


def test_fully_connected_behind_a_flatten_needs_no_other():
    stage = after(qnn.sym.QFullyConnected(mx.sym.Flatten(X), num_hidden=5, name="fc"))
    assert stage.count("Flatten") == 1


def test_two_fully_connected_layers_share_a_flatten():
    """Each with a Flatten of its own, they would not share an image, and nothing before them could become bits."""
    net = conv(X, "conv")
    heads = [qnn.sym.QFullyConnected(net, num_hidden=5, no_offset=True, name="fc%d" % number) for number in range(2)]
    found = stages(mx.sym.Group(heads))
    assert found["split_layers"].count("Flatten") == 1 and found["split_layers"].changes == 3
    assert found["share_packs"].count("_qnn_pack") == 2


def test_fully_connected_without_flatten_stays():
    stage = after(qnn.sym.QFullyConnected(X, num_hidden=5, flatten=False, name="fc"))
    assert stage.ops == ["_qnn_packed_fully_connected"] and stage.changes == 0
