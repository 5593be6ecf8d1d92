"""Fused = unfused = training graph, float for float, for every architecture of this field, whatever BatchNorm holds."""
import mxnet as mx
import numpy as np
import pytest
from nets import ARCHITECTURES, calibrated, run
from qnn.converter.convert import run_passes

import qnn
from qnn.graph import Graph

DATA = np.random.RandomState(2).randn(3, 3, 16, 16).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_same_floats(name, seed):
    symbol = ARCHITECTURES[name]()
    args, auxs = calibrated(symbol, DATA, seed)
    expected = run(symbol, DATA, args, auxs)
    assert len(np.unique(expected)) > 5, "a network that computes a constant proves nothing"
    for is_fused in (False, True):
        packed, packed_args, packed_auxs, _ = qnn.convert(symbol, args, auxs, is_fused=is_fused)
        np.testing.assert_array_equal(run(packed, DATA, packed_args, packed_auxs), expected)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_stage_gives_the_same_floats(name):
    symbol = ARCHITECTURES[name]()
    args, auxs = calibrated(symbol, DATA, 7)
    expected, seen = run(symbol, DATA, args, auxs), []

    def observe(number, total, pass_name, changes, model):
        stage = mx.sym.load_json(model.graph.to_json())
        np.testing.assert_array_equal(run(stage, DATA, *model.used_params()), expected, err_msg=pass_name)
        seen.append((number, total))

    run_passes(Graph.from_json(symbol.tojson()), args, auxs, observe=observe)
    assert seen == [(number, 8) for number in range(1, 9)]


def operators(name):
    symbol = ARCHITECTURES[name]()
    packed = qnn.convert(symbol, *calibrated(symbol, DATA))[0]
    return [node.op for node in Graph.from_json(packed.tojson()).nodes() if not node.is_variable]


def test_mlp_is_bits_from_end_to_end():
    assert operators("mlp") == ["Flatten", "_qnn_pack"] + ["_qnn_bits_convolution"] * 3 + ["_qnn_float_convolution"]


def test_cnv_is_bits_behind_its_first_batch_norm():
    assert operators("cnv") == ["BatchNorm", "_qnn_pack", "_qnn_bits_convolution", "_qnn_bits_convolution",
                                "_qnn_bits_max_pool", "_qnn_bits_convolution", "_qnn_bits_max_pool",
                                "_qnn_bits_convolution", "_qnn_bits_max_pool", "Reshape", "_qnn_bits_convolution",
                                "_qnn_float_convolution"]


def test_resnet_keeps_its_stream_nhwc_between_packed_layers():
    found = operators("resnet_v2")
    is_float = "_qnn_stem_convolution" not in found  # the first layer, on processors where oneDNN adds in another order
    assert found.count("BatchNorm") == found.count("transpose") == 1 + is_float and "elemwise_add" not in found
    assert found.count("_qnn_pack") == 3 and found.count("_qnn_bits_convolution") == 3


def test_bi_real_folds_batch_norm_and_shortcuts_into_its_layers():
    found = operators("bi_real")
    assert found.count("elemwise_add") == 1  # oneDNN merges it with the convolution of the float shortcut
    assert found.count("BatchNorm") == 2  # those of the stem and of the float shortcut
    assert found.count("_qnn_float_convolution") == 4 and found.count("_qnn_pack") == 4


def test_dense_net_stays_right_where_concat_stands_between():
    found = operators("dense_net")
    assert found.count("_qnn_float_convolution") == 3 and found.count("BatchNorm") == 4
