"""SharePacks: layers that read the same floats read one packed image, as far as their borders agree."""
import mxnet as mx
import pytest
from stages import X, conv, norm, stages

import qnn

ONE = dict(kernel=(1, 1), pad=(0, 0))


def pair(first, second):
    return stages(mx.sym.Group([conv(X, "a", no_offset=True, **first), conv(X, "b", no_offset=True, **second)]))


@pytest.mark.parametrize("first, second, pad, pad_value", [
    ({}, {}, "(1, 1)", "1"), (ONE, {}, "(1, 1)", "1"), ({}, ONE, "(1, 1)", "1"), (ONE, ONE, "(0, 0)", "1"),
    (ONE, dict(pad_value=-1), "(1, 1)", "-1"), (dict(pad_value=-1), ONE, "(1, 1)", "-1"),
    (dict(ONE, pad_value=-1), {}, "(1, 1)", "1"), ({}, dict(ONE, pad_value=-1), "(1, 1)", "1"),
    (dict(pad=(2, 0)), dict(pad=(1, 2)), "(2, 2)", "1"), (dict(kernel=(5, 5), pad=(2, 2)), {}, "(2, 2)", "1"),
    ({}, dict(stride=(2, 2)), "(1, 1)", "1")], ids=str)
def test_one_image_for_both(first, second, pad, pad_value):
    stage = pair(first, second)["share_packs"]
    assert stage.count("_qnn_pack") == 1 and stage.changes == 1
    attrs = stage.attrs("a_pack")
    assert (attrs["pad"], attrs["pad_value"]) == (pad, pad_value)
    assert stage.attrs("a")["image_pad"] == stage.attrs("b")["image_pad"] == pad
    assert stage.attrs("a")["pad"] == str(first.get("pad", (1, 1)))


@pytest.mark.parametrize("values, are_shared", [((1, -1), False), ((1, 0), False), ((0, -1), True), ((-1, 0), True),
                                                ((0, 0), True), ((-1, -1), True)])
def test_what_stands_in_the_border(values, are_shared):
    """Zeros are counted on a border of -1, and +1 is no such border."""
    stage = pair(*({"pad_value": value} for value in values))["share_packs"]
    assert stage.changes == are_shared and stage.count("_qnn_pack") == 2 - are_shared


def test_borders_of_other_axes_disagree_too():
    stage = pair(dict(pad=(1, 0)), dict(pad=(0, 1), pad_value=-1))["share_packs"]
    assert stage.changes == 0


def test_groups_are_packed_apart():
    stage = pair({}, dict(num_group=3))["share_packs"]
    assert stage.changes == 0 and stage.count("_qnn_pack") == 2


def test_other_sources_are_packed_apart():
    stage = stages(conv(X, "a") + conv(norm(X, "bn"), "b"))["share_packs"]
    assert stage.changes == 0 and stage.count("_qnn_pack") == 2


def test_three_and_four_readers():
    options = [ONE, dict(pad_value=-1), {}, dict(ONE, pad_value=-1)]
    stage = stages(mx.sym.Group([conv(X, "c%d" % n, no_offset=True, **o) for n, o in enumerate(options)]))
    stage = stage["share_packs"]
    assert stage.changes == 2 and stage.count("_qnn_pack") == 2
    assert [stage.attrs("c%d" % number)["image_pad"] for number in range(4)] == ["(1, 1)"] * 4


def test_shared_image_is_made_of_bits():
    """Both readers stay satisfied where the image comes from a packed layer with thresholds."""
    net = qnn.sym.QActivation(norm(conv(X, "first"), "bn"))
    symbol = conv(net, "a", **ONE) + conv(net, "b", kernel=(5, 5), pad=(2, 2))
    stage = stages(symbol)["arrange_nhwc"]
    assert stage.count("_qnn_bits_convolution") == 1 and stage.attrs("first")["out_pad"] == "(2, 2)"
