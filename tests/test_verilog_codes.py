"""Verilog of layers whose data or weights are codes of several bits: extraction against MXNet's packed operators, and
whole designs in simulation."""
import numpy as np
import pytest
from hardware import needs
from qnn.converter.convert import run_passes
from qnn.converter.load_bnn_pynq import load_bnn_pynq
from qnn.converter.verilog import simulate, xnor
from qnn.converter.verilog.extract import extract
from qnn.converter.verilog.golden import golden, stimuli
from stages import X, conv, norm, pool
from test_verilog_extract import assert_equal_to_mxnet, images, network_of

import qnn

CODES = [("isometric(levels=2, gamma=0.7)", "sign"), ("isometric(levels=3, gamma=0.7)", "ternary"),
         ("dorefa(bits=2)", "sign"), ("dorefa(bits=2)", "dorefa_weight(bits=2)"), ("dorefa(bits=4)", "twn"),
         ("fixed(bits=2, fraction=0, narrow=True)", "sign"), ("fixed(bits=3, fraction=1)", "ternary"),
         ("sign", "ternary"), ("sign", "fixed(bits=4, fraction=2, narrow=True)")]


def convolutional(act, weight, pad_value=0):
    """(3, 7, 6) in: padding, a pool, falling channels, ragged sizes, a flattened image."""
    options = dict(act_quantizer=act, weight_quantizer=weight, no_offset=True)
    if act == "sign":
        options["pad_value"] = pad_value
    net = norm(conv(X, "a", 5, **options), "bn_a")
    net = qnn.sym.QActivation(net, quantizer=act, name="act_a")
    net = norm(pool(conv(net, "b", 6, **options), "pool_b"), "bn_b")
    net = qnn.sym.QActivation(net, quantizer=act, name="act_b")
    return qnn.sym.QFullyConnected(net, num_hidden=9, name="c", act_quantizer=act, weight_quantizer=weight,
                                   no_offset=True)


@pytest.mark.parametrize("act, weight", CODES)
def test_extraction(act, weight):
    data = images((6, 3, 7, 6))
    network = network_of(convolutional(act, weight), data, host_layers=True)
    quantizer = qnn.quantizers.get(act)
    matrices = [layer for layer in network.layers if layer.name in "abc"]
    assert [layer.code_bits for layer in matrices] == [quantizer.precision] * 3
    assert [layer.levels for layer in matrices] == [2 ** quantizer.precision - 1] * 2 + [0]
    assert all((layer.magnitude is None) == (weight == "sign") for layer in matrices)
    assert_equal_to_mxnet(network, data)


def test_padding_of_bipolar_codes_with_zero_is_masked():
    network = network_of(convolutional(*CODES[0]), images((6, 3, 7, 6)), host_layers=True)
    assert [layer.kind for layer in network.layers if layer.name in "abc"] == ["masked", "masked", "bits"]


@pytest.mark.parametrize("act, weight", [("rebnet(levels=2, gamma=(0.25, 0.75))", "sign"), ("sign", "ttq")])
def test_terms_of_different_scales_are_refused(act, weight):
    options = dict(act_quantizer=act, weight_quantizer=weight)
    first = norm(qnn.sym.QFullyConnected(X, num_hidden=9, name="one"), "bn")
    symbol = qnn.sym.QFullyConnected(first, num_hidden=5, name="two", **options)
    with pytest.raises(ValueError, match="verilog: layer 'two' is a sum of terms of different scales .*isometric"):
        network_of(symbol, images((9, 20)), host_layers=True)


def test_argmax_needs_one_offset():
    symbol = qnn.sym.QFullyConnected(X, num_hidden=5, name="one", act_quantizer="fixed(bits=3, fraction=1)",
                                     weight_quantizer="sign")
    network = network_of(symbol, images((9, 20)), host_layers=True)
    assert network.argmax_reason


@pytest.mark.verilog
@pytest.mark.parametrize("act, weight", [CODES[0], CODES[7]])
def test_unrolled_layers_of_codes_are_units_of_one_fold(act, weight, tmp_path):
    needs("iverilog", "vvp")
    net = norm(qnn.sym.QFullyConnected(X, num_hidden=7, name="a", act_quantizer=act, weight_quantizer=weight), "bn")
    net = qnn.sym.QActivation(net, quantizer=act, name="act")
    net = qnn.sym.QFullyConnected(net, num_hidden=5, name="b", act_quantizer=act, weight_quantizer=weight)
    network = network_of(net, images((9, 14)), host_layers=True)
    design = xnor.generate(network, tmp_path / "rtl", images=9, style="unrolled")
    assert [block.module for block in design.pipeline.blocks if block.memories] == ["qnn_mvtu"] * 2
    results = xnor.verify(design, "iverilog", stress=[dict(gap=0, stall=0), dict(gap=30, stall=50, resets=3, seed=2)])
    assert all(result["passed"] for result in results), results
    assert design.report.interval == 1


@pytest.mark.verilog
@pytest.mark.parametrize("act, weight", [CODES[0], CODES[3], CODES[5], CODES[7]])
def test_simulates_as_the_packed_model(act, weight, tmp_path):
    needs("iverilog", "vvp", "make", "verilator")
    network = network_of(convolutional(act, weight), images((6, 3, 7, 6)), host_layers=True)
    design = xnor.generate(network, tmp_path / "rtl", images=4, target_fps=2e5)
    results = xnor.verify(design, "iverilog", stress=[dict(gap=0, stall=0), dict(gap=30, stall=50, resets=3, seed=2)])
    assert all(result["passed"] for result in results), results
    assert results[0]["interval"] <= 1.02 * design.report.interval + 2
    simulate.run(["make", "lint"], design.folder)


# ---- BNN-PYNQ's networks ---------------------------------------------------------------------------------------------


def published(data_root, name, dataset, shape):
    folder = data_root / "bnn-pynq" / dataset / name
    return extract(run_passes(*load_bnn_pynq(str(folder), name)), shape=shape, host_layers=True)


@pytest.mark.parametrize("name, dataset", [("lfcW1A1", "mnist"), ("lfcW1A2", "mnist"), ("cnvW1A1", "cifar10"),
                                           ("cnvW1A2", "cifar10")])
def test_published_networks(name, dataset, data_root):
    shape = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}[dataset]
    network = published(data_root, name, dataset, shape)
    codes = network.random_codes(4)
    np.testing.assert_array_equal(network(codes), golden(network, codes))
    data = np.random.RandomState(0).randint(0, 256, (4,) + shape).astype(np.float32)
    codes, expected = stimuli(network, data / 255 if dataset == "mnist" else data)
    np.testing.assert_array_equal(network(codes), expected)


@pytest.mark.slow
@pytest.mark.verilog
def test_cnv_reaches_its_fold_bound(data_root, tmp_path):
    """The folding of BNN-PYNQ; two images, the first layer on 8-bit pixels included."""
    needs("verilator")
    folds = zip((16, 32, 16, 16, 4, 1, 1, 1, 4), (3, 32, 32, 32, 32, 32, 4, 8, 1))
    names = ["conv%d" % number for number in range(6)] + ["fc6", "fc7", "fc8"]
    folding = {name: {"PE": pe, "SIMD": simd, "pad": True} for name, (pe, simd) in zip(names, folds)}
    network = published(data_root, "cnvW1A1", "cifar10", (3, 32, 32))
    design = xnor.generate(network, tmp_path / "rtl", images=3, folding=folding)
    result, = xnor.verify(design, "verilator", stress=[dict(gap=0, stall=0)])
    assert result["passed"], result["text"]
    assert design.report.interval == 32768 and result["interval"] <= 1.02 * 32768
