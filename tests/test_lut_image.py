"""LUT networks of images as Verilog: line buffers and shared tables, simulated against the packed network."""
import json
import subprocess
from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest
from hardware import needs, parameters, run_module
from lut_nets import random_network
from qnn.converter.load_lut import convert_graph
from qnn.converter.lut_layers import image_layers
from qnn.converter.verilog import luts
from qnn.model_zoo import lut_mnist
from test_load_lut import random_model
from test_load_lut_images import CASES, STOCHASTIC, bits, convolution, pooled, scores, trained

import qnn
from qnn import datasets
from qnn.cli import main
from qnn.graph import Graph
from qnn.lut_network import LutLayer


@pytest.mark.verilog
@pytest.mark.parametrize("lanes, size, kernel, stride, pad", [
    (1, (1, 1), (1, 1), (1, 1), (0, 0)), (3, (5, 7), (3, 3), (1, 1), (1, 1)), (2, (4, 5), (2, 3), (2, 2), (0, 1)),
    (5, (7, 3), (1, 3), (3, 1), (0, 0)), (4, (3, 7), (3, 1), (1, 2), (2, 0)), (1, (2, 9), (2, 2), (1, 5), (0, 0)),
    (2, (1, 6), (1, 6), (1, 1), (0, 0)), (1, (8, 1), (3, 1), (2, 1), (1, 0))])
def test_lines_give_every_window_at_once(tmp_path, lanes, size, kernel, stride, pad):
    images = np.random.RandomState(0).randint(0, 2, (5,) + size + (lanes,))
    padded = np.pad(images, ((0, 0), (pad[0],) * 2, (pad[1],) * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, (1, 2))[:, ::stride[0], ::stride[1]]
    taps = windows.transpose(0, 1, 2, 5, 4, 3)  # of a window: column, row, lane
    sizes = dict(zip(("HEIGHT", "WIDTH", "KERNEL_H", "KERNEL_W", "STRIDE_H", "STRIDE_W", "PAD_H", "PAD_W"),
                     size + kernel + stride + pad))
    results = run_module(tmp_path, "qnn_lines " + parameters(LANES=lanes, **sizes), images.reshape(5, -1),
                         taps.reshape(5, -1), (lanes, lanes * kernel[0] * kernel[1]), (1, 1))
    assert results[0]["interval"] <= padded[0, :, :, 0].size


@pytest.mark.verilog
@pytest.mark.parametrize("lanes, beats, in_bits, out_bits", [(1, 1, 1, 1), (3, 2, 2, 3), (5, 7, 4, 7), (2, 3, 5, 5)])
def test_sum_of_beats(tmp_path, lanes, beats, in_bits, out_bits):
    numbers = np.random.RandomState(0).randint(0, min(2 ** in_bits, 2 ** out_bits // beats), (9, beats, lanes))
    run_module(tmp_path, "qnn_sum " + parameters(LANES=lanes, BEATS=beats, IN_BITS=in_bits, OUT_BITS=out_bits),
               numbers.reshape(9, -1), numbers.sum(1), (lanes, lanes), (in_bits, out_bits))


def deep(frames=1, channels=1, depth=1, units=24, **options):
    """Two convolutions, pooling, a dense layer, the head, their tables random bits."""
    net = convolution(bits(frames, depth), channels * depth, "conv1", outputs=6, options=STOCHASTIC)
    net = convolution(net, 6, "conv2", (2, 3), outputs=4, options=STOCHASTIC, **options)
    net = mx.sym.Flatten(pooled(net, kernel=(2, 2), stride=(2, 2)))
    net = qnn.sym.DifferentiableLut(net, num_nodes=40, in_units=units, name="dense", **STOCHASTIC)
    return scores(net, 40, frames, **STOCHASTIC)


DESIGNS = {  # symbol, shape, options of generate
    "two convolutions, pooling, dense": (lambda: deep(), (1, 9, 8), dict()),
    "frames": (lambda: deep(3), (1, 9, 8), dict(pipeline=2)),
    "frames, scores, channels, depth": (lambda: deep(4, 2, 2), (2, 9, 8), dict(output="scores", device="xilinx")),
    "stride, pad": (lambda: deep(units=4 * 2 * 2, stride=(2, 1), pad=(1, 0)), (1, 9, 8), dict(
        pipeline=0, output="scores")),
    "one row of pixels": (lambda: scores(convolution(bits(), 1, window=(1, 5), outputs=8), 8 * 7), (1, 1, 11),
                          dict(output="scores")),
    "bits in, bits out": (lambda: scores(convolution(mx.sym.Variable("data"), 2, outputs=5), 5 * 12), (2, 5, 6),
                          dict(output="bits")),
    "stochastic": (lambda: scores(qnn.sym.StochasticMaxPooling(convolution(bits(3), 1, options=STOCHASTIC), kernel=(
        2, 2)), 8 * 6, 3, **STOCHASTIC), (1, 6, 8), dict()),
    "shuffle": (lambda: scores(qnn.sym.Shuffle(convolution(bits(), 1, options=STOCHASTIC), unit=4), 8 * 16, 1,
                                     **STOCHASTIC), (1, 6, 6), dict(output="scores"))}


def network_of(symbol, shape):
    args, auxs = random_model(symbol, shape=shape)
    params = {name: value.asnumpy() for part in (args, auxs) for name, value in part.items()}
    return convert_graph(Graph.from_json(symbol.tojson()), params, shape=shape)[2]


@pytest.mark.verilog
@pytest.mark.parametrize("case", DESIGNS)
def test_simulation_with_gaps_stalls_and_resets(tmp_path, case):
    needs("iverilog", "vvp")
    symbol, shape, options = DESIGNS[case]
    design = luts.generate(luts.Hardware(network_of(symbol(), shape), True), tmp_path, images=12, **options)
    assert len(set((tmp_path / "expected.mem").read_text().split())) > 3
    results = luts.verify(design, simulator="iverilog")
    assert [(run["passed"], run["images"]) for run in results] == [(True, 12)] * 4, results[0]["text"]
    assert results[0]["interval"] == design.report.values["cycles_per_sample"]


@pytest.mark.verilog
def test_lint_has_no_warning(tmp_path):
    needs("verilator")
    for number, (symbol, shape, options) in enumerate(DESIGNS.values()):
        folder = tmp_path / str(number)
        luts.generate(luts.Hardware(network_of(symbol(), shape), True), folder, images=1, **options)
        done = subprocess.run(["make", "-s", "lint"], cwd=folder, text=True, capture_output=True, timeout=100)
        assert done.returncode == 0 and not done.stderr.strip(), done.stderr


@pytest.mark.verilog
def test_a_changed_table_bit_fails_the_testbench(tmp_path):
    needs("iverilog", "vvp")
    design = luts.generate(luts.Hardware(network_of(deep(), (1, 9, 8)), True), tmp_path, images=60, output="bits")
    path, = tmp_path.glob("*dense_core_stage1.v")
    text = path.read_text()
    at = text.index("= 64'h") + len("= 64'h")
    path.write_text(text[:at] + "".join("0123456789abcdef"[int(c, 16) ^ 15] for c in text[at:at + 16])
                    + text[at + 16:])
    assert not luts.verify(design, simulator="iverilog", stress=luts.STRESS[:1])[0]["passed"]


def test_layers_have_their_tables_once():
    network = network_of(deep(3), (1, 9, 8))
    layers = image_layers(network)
    assert [layer.name for layer in layers] == ["conv1", "conv2", "pool", "dense"]
    assert [layer.trained for layer in layers] == [24, 16, 0, 50] and network.num_nodes > 24 * 42
    assert [layer.out_shape for layer in layers] == [(6, 7, 6), (4, 6, 4), (4, 3, 2), (10, 1, 1)]


@pytest.mark.verilog
def test_trained_and_converted_checkpoints_give_the_same_files(tmp_path, capsys):
    needs("iverilog", "vvp")
    symbol, prefix = deep(3), str(tmp_path / "net")
    mx.model.save_checkpoint(prefix, 1, symbol, *random_model(symbol, shape=(1, 9, 8)))
    assert main(["convert", prefix, "1", "-o", str(tmp_path / "packed"), "--shape", "1,9,8"]) == 0
    capsys.readouterr()
    options = ["--simulator", "iverilog", "--verify", "5", "--json"]
    assert main(["verilog", str(tmp_path / "packed"), "1", "-o", str(tmp_path / "rtl_packed")] + options) == 0
    report = json.loads(capsys.readouterr().out)
    assert [run["passed"] for run in report["verification"]] == [True] * 4 and report["style"] == "folded"
    assert [row["layer"] for row in report["layers"]] == ["encoder", "conv1", "conv2", "pool", "dense", "class"]
    assert main(["verilog", prefix, "1", "-o", str(tmp_path / "rtl_net"), "--shape", "1,9,8"] + options) == 0
    for path in sorted((tmp_path / "rtl_net").iterdir()):
        assert path.read_bytes() == (tmp_path / "rtl_packed" / path.name).read_bytes()


def altered(network):
    """A table of one position is another."""
    layer = network.layers[0]
    tables = layer.tables.copy()
    tables[3] ^= np.uint64(1)
    return replace(network, layers=[LutLayer(layer.connections, tables)] + network.layers[1:])


@pytest.mark.parametrize("network, options, sentence", [
    (lambda: network_of(CASES["edge"](), (1, 6, 6)), dict(), "'conv' has border=edge"),
    (lambda: network_of(CASES["shuffle, enlarge"](), (1, 6, 6)), dict(), "moves pixels.*--style unrolled"),
    (lambda: network_of(deep(), (1, 9, 8)), dict(interface="binarybrain"), "--style unrolled, else --interface axi4"),
    (lambda: network_of(deep(3), (1, 9, 8)), dict(output="bits"), "output of 3 frames is class or scores, got 'bits'"),
    (lambda: network_of(deep(), (1, 9, 8)), dict(style="loose"), "style is folded or unrolled, got 'loose'"),
    (lambda: random_network(), dict(style="folded"), "style folded is of networks with convolutions"),
    (lambda: altered(network_of(deep(), (1, 9, 8))), dict(), "'conv1_lut' of the network is not the layer of its plan"),
    (lambda: replace(network_of(deep(), (1, 9, 8)), plan={"shape": [1, 9, 8], "steps": [["conv1", "windows", 3]]}),
     dict(), "is not the layer of its plan")])
def test_what_does_not_stream_is_named_and_writes_nothing(tmp_path, network, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        luts.generate(luts.Hardware(network(), True), tmp_path / "rtl", images=2, **options)
    assert not (tmp_path / "rtl").exists()


@pytest.mark.verilog
def test_unrolled_style_writes_every_position_out(tmp_path):
    needs("iverilog", "vvp")
    network = network_of(CASES["edge"](), (1, 6, 6))
    design = luts.generate(luts.Hardware(network, True), tmp_path, images=5, style="unrolled")
    assert [run["passed"] for run in luts.verify(design, simulator="iverilog")] == [True] * 4
    assert design.report.values["nodes"]["trained"] == network.num_nodes


@pytest.mark.verilog
@pytest.mark.slow
def test_synthesis_says_the_share_of_every_layer(tmp_path):
    needs("yosys", "make")
    design = luts.generate(luts.Hardware(network_of(deep(3), (1, 9, 8)), True), tmp_path, images=2)
    total = luts.synthesize(design)
    rows = design.report.values["layers"]
    assert sum(row["yosys"]["lut"] for row in rows) == total["lut"] and "LUT (yosys)" in str(design.report)
    for row in rows:
        assert abs(row["yosys"]["lut"] - row["estimate"]["lut"]) <= 0.25 * row["yosys"]["lut"] + 12, row


@pytest.mark.verilog
@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn", "stochastic_cnn"])
def test_sample_networks_stream_digits(data_root, tmp_path, name, capsys):
    needs("verilator")
    images, labels = datasets.mnist(str(data_root / "mnist"), "train")
    symbol = lut_mnist.NETWORKS[name](*([3] if name == "cnn" else []))
    params = trained(symbol, images, labels, 40, 8)  # after a few steps the head is still constant, and refused
    if name == "stochastic_cnn":
        symbol = lut_mnist.stochastic_cnn(3)
        params = params[0], {**params[1], "modulate_thresholds": mx.nd.array(np.reshape([1, 3, 5], (3, 1, 1)) / 6)}
    mx.model.save_checkpoint(str(tmp_path / "net"), 1, symbol, *params)
    assert main(["verilog", str(tmp_path / "net"), "1", "-o", str(tmp_path / "rtl"), "--verify", "6", "--json",
                 "--data", str(data_root / "mnist")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [run["passed"] for run in report["verification"]] == [True] * 4
    assert report["verification"][0]["interval"] == report["cycles_per_sample"] == 3 * 28 * 28
