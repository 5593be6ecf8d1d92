"""Fused = unfused = training graph, float for float, for every architecture of this field, whatever BatchNorm holds."""
import mxnet as mx
import numpy as np
import pytest
from nets import ARCHITECTURES, random_params, run
from qnn.converter.convert import run_passes

import qnn
from qnn.graph import Graph

DATA = np.random.RandomState(2).randn(3, 3, 16, 16).astype(np.float32)


def calibrated(symbol, seed):
    """Random parameters with BatchNorm statistics as training would leave them, so that signs go both ways; some gammas
    are 0, negative or tiny, and some means are integers, for ties."""
    args, auxs = random_params(symbol, DATA.shape, seed)
    internals = symbol.get_internals()
    random = np.random.RandomState(seed)
    for node in Graph.from_json(symbol.tojson()).nodes():
        if node.op != "BatchNorm":
            continue
        source, index = node.inputs[0]
        name = source.name if source.is_variable else source.name + "_output"
        assert index == 0
        values = DATA if source.is_variable else run(internals[name], DATA, *_used(internals[name], args, auxs))
        axes = (0,) + tuple(range(2, values.ndim))
        gamma, beta, mean, var = (entry[0].name for entry in node.inputs[1:])
        auxs[mean], auxs[var] = values.mean(axis=axes), values.var(axis=axes) + np.float32(0.1)
        auxs[mean][::3] = np.rint(auxs[mean][::3])
        args[beta] = (random.randn(len(args[beta])) * 0.3).astype(np.float32)
        args[beta][::2] = 0
        args[gamma][1::7], args[gamma][5::11] = 0, -1e-20
    return args, auxs


def _used(symbol, args, auxs):
    names = symbol.list_arguments() + symbol.list_auxiliary_states()
    return [{name: value for name, value in params.items() if name in names} for params in (args, auxs)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_same_floats(name, seed):
    symbol = ARCHITECTURES[name]()
    args, auxs = calibrated(symbol, seed)
    expected = run(symbol, DATA, args, auxs)
    assert len(np.unique(expected)) > 5, "a network that computes a constant proves nothing"
    for is_fused in (False, True):
        packed, packed_args, packed_auxs, _ = qnn.convert(symbol, args, auxs, is_fused=is_fused)
        np.testing.assert_array_equal(run(packed, DATA, packed_args, packed_auxs), expected)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_stage_gives_the_same_floats(name):
    symbol = ARCHITECTURES[name]()
    args, auxs = calibrated(symbol, 7)
    expected, seen = run(symbol, DATA, args, auxs), []

    def observe(number, total, pass_name, changes, model):
        stage = mx.sym.load_json(model.graph.to_json())
        np.testing.assert_array_equal(run(stage, DATA, *model.used_params()), expected, err_msg=pass_name)
        seen.append((number, total))

    run_passes(Graph.from_json(symbol.tojson()), args, auxs, observe=observe)
    assert seen == [(number, 7) for number in range(1, 8)]


def operators(name):
    symbol = ARCHITECTURES[name]()
    packed = qnn.convert(symbol, *calibrated(symbol, 0))[0]
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
    assert found.count("BatchNorm") == 2 and found.count("transpose") == 1 and "elemwise_add" not in found
    assert found.count("_qnn_pack") == 3 and found.count("_qnn_bits_convolution") == 3


def test_bi_real_folds_batch_norm_and_shortcuts_into_its_layers():
    found = operators("bi_real")
    assert "elemwise_add" not in found and found.count("BatchNorm") == 2  # those of the stem and of the float shortcut
    assert found.count("_qnn_float_convolution") == 4 and found.count("_qnn_pack") == 4


def test_dense_net_stays_right_where_concat_stands_between():
    found = operators("dense_net")
    assert found.count("_qnn_float_convolution") == 3 and found.count("BatchNorm") == 4
