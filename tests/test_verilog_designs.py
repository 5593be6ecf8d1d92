"""Verilog designs: whole networks between golden vectors of the packed model; generation, mutation, synthesis."""
import json
import os

import numpy as np
import pytest
from hardware import needs
from nets import cnv, mlp
from qnn.converter.verilog import simulate, xnor
from qnn.converter.verilog.layers import Matrix
from qnn.converter.verilog.report import RESOURCES
from test_verilog_extract import X, act, conv, images, network_of, norm, pool, small_integers

import qnn

pytestmark = pytest.mark.verilog

QUICK = [dict(gap=0, stall=0), dict(gap=30, stall=50, resets=3, seed=2)]


def fully_connected():
    return network_of(mlp(), images((40, 1, 9, 9)))


def convolutional():
    """All kinds of padding, pooling, ragged channels, an image that becomes a vector: (3, 7, 6) in."""
    net = norm(conv(X, "a", 5, pad_value=-1), "bn_a")
    net = norm(pool(conv(act(net), "b", 6, pad_value=0), "pool_b"), "bn_b")
    net = norm(conv(act(net), "c", 7, kernel=(2, 2), stride=(1, 2), pad=(1, 1)), "bn_c")
    net = qnn.sym.QFullyConnected(act(net), num_hidden=9, name="d")
    return network_of(net, images((6, 3, 7, 6)))


def integers():
    data = np.random.RandomState(0).randint(0, 256, (6, 3, 8, 8)).astype(np.float32)
    return network_of(small_integers(), data, input_bits=8)


DESIGNS = [("fully connected", fully_connected, dict(target_fps=1e6)), ("slow", fully_connected, dict(target_fps=4e4)),
           ("convolutional", convolutional, dict(target_fps=2e5)), ("integers", integers, dict(target_fps=1e5)),
           ("unrolled", fully_connected, dict(style="unrolled")),
           ("padded pixels", convolutional, dict(folding={
               "a": {"PE": 2, "SIMD": 4, "pad": True}, "b": {"PE": 4, "SIMD": 45, "pad": True},
               "c": {"PE": 3, "SIMD": 5, "pad": True}, "d": {"PE": 9, "SIMD": 8}})),
           ("padded", fully_connected, dict(folding={name: {"PE": 9, "SIMD": 20, "pad": True}
                                                     for name in ("fc0", "fc1", "fc2", "out")}))]


@pytest.mark.parametrize("case, network, options", DESIGNS, ids=[case for case, _, _ in DESIGNS])
def test_simulates_as_the_packed_model(case, network, options, tmp_path):
    needs("iverilog", "vvp")
    design = xnor.generate(network(), tmp_path / "rtl", images=6, **options)
    results = xnor.verify(design, "iverilog", stress=QUICK)
    for result in results:
        assert result["passed"], result["text"]
    report = json.loads((tmp_path / "rtl" / "report.json").read_text())
    assert len(report["verification"]) == len(QUICK)
    # one image more or less in the pipeline: 6 images are few
    assert results[0]["interval"] <= 1.02 * report["whole"]["cycles_per_image"] + 2
    assert results[0]["latency"] <= report["whole"]["latency_cycles_at_most"]


def test_structural_view(tmp_path):
    needs("iverilog", "vvp")
    design = xnor.generate(fully_connected(), tmp_path / "rtl", images=4, target_fps=4e5)
    assert all(r["passed"] for r in xnor.verify(design, "iverilog", "structural", QUICK))


@pytest.mark.slow
def test_in_verilator(tmp_path):
    """The same testbench in a two-state simulator: plusargs arrive there, stalls cost cycles."""
    needs("verilator")
    design = xnor.generate(network_of(cnv(), images((4, 3, 16, 16)), host_layers=True), tmp_path / "rtl", images=20,
                           target_fps=20000)
    results = xnor.verify(design, "verilator")
    assert all(result["passed"] for result in results) and len(results) == 4
    assert results[0]["interval"] <= 1.02 * design.report.interval
    assert len({result["latency"] for result in results}) > 1


def test_argmax(tmp_path):
    needs("iverilog", "vvp")
    network = fully_connected()
    design = xnor.generate(network, tmp_path / "rtl", images=6, target_fps=1e6, argmax=True)
    assert all(r["passed"] for r in xnor.verify(design, "iverilog", stress=QUICK))
    assert design.pipeline.out_beats == 1


def test_argmax_is_refused_where_it_is_not_the_class(tmp_path):
    net = norm(qnn.sym.QFullyConnected(X, num_hidden=5, name="one"), "bn")
    network = network_of(net, images((9, 20)))
    with pytest.raises(ValueError, match="the class is not the largest accumulator: the scale or BatchNorm of 'one'"):
        xnor.generate(network, tmp_path / "rtl", argmax=True)
    assert not os.listdir(tmp_path)


# ---- mutation --------------------------------------------------------------------------------------------------------


def flip_bit(path, word, bit):
    lines = path.read_text().split("\n")
    digits = list(lines[word])
    place = len(digits) - 1 - bit // 4
    digits[place] = "%x" % (int(digits[place], 16) ^ 1 << bit % 4)
    lines[word] = "".join(digits)
    path.write_text("\n".join(lines))


def test_flipped_bits_of_memories_fail_the_simulation(tmp_path):
    """A weight flipped in data/*.mem fails exactly where numpy says that it shows on the golden vectors."""
    needs("iverilog", "vvp")
    net = norm(qnn.sym.QFullyConnected(X, num_hidden=6, name="one"), "bn")
    network = network_of(qnn.sym.QFullyConnected(act(net), num_hidden=4, name="two"), images((40, 15)))
    folding = {"one": {"PE": 2, "SIMD": 5}, "two": {"PE": 4, "SIMD": 2}}
    design = xnor.generate(network, tmp_path / "rtl", images=60, folding=folding)
    sources = sorted((design.folder / "rtl").glob("*.v")) + [design.folder / "tb" / "tb.v"]
    command = simulate.build_iverilog(design.folder, sources, "qnn_tb", [simulate.BEHAVIOURAL], tmp_path / "sim")
    assert simulate.simulate(command, design.folder)["passed"]
    codes = network.random_codes(60)
    expected, hits = network(codes), []
    for number, n, k in [(1, n, n) for n in range(4)] + [(0, n, (5 * n) % 15) for n in range(6)]:
        layer = network.layers[number]
        pe, simd = folding[layer.name]["PE"], folding[layer.name]["SIMD"]
        path = design.folder / "data" / (layer.name + "_weights.mem")
        text = path.read_text()
        flip_bit(path, n // pe * (layer.k // simd) + k // simd, n % pe * simd + k % simd)
        layer.weight[n, k] ^= True
        hits.append((network(codes) != expected).any())
        layer.weight[n, k] ^= True
        assert simulate.simulate(command, design.folder)["passed"] != hits[-1], (layer.name, n, k)
        path.write_text(text)
    assert sum(hits) >= 6


def mutants(network, count, seed=0):
    """Networks with one weight or threshold bit flipped."""
    draw = np.random.RandomState(seed)
    matrices = [number for number, layer in enumerate(network.layers) if isinstance(layer, Matrix)]
    sizes = np.array([network.layers[number].weight.size for number in matrices])
    for trial in range(count):
        by_size = draw.choice(len(matrices), p=sizes / sizes.sum())
        number = matrices[by_size if trial % 2 else trial // 2 % len(matrices)]
        layer = network.layers[number]
        weight, thresholds = layer.weight.copy(), None if layer.thresholds is None else layer.thresholds.copy()
        if thresholds is not None and trial % 5 == 0:
            thresholds[draw.randint(layer.n), 0] ^= 2 << draw.randint(0, 5)
        else:
            weight[draw.randint(layer.n), draw.randint(layer.k)] ^= True
        yield number, Matrix(layer.name, weight, thresholds, layer.window, layer.code_bits, layer.code)


def test_verification_vectors_catch_99_percent_of_live_mutants():
    """In numpy, which the simulation equals: 5,000 vectors; a mutant is live if any of 12,000 others tells it apart."""
    network = fully_connected()
    codes, others = network.random_codes(5000, 1), network.random_codes(12000, 2)
    states = []
    for data in (codes, others):
        state = [data]
        for layer in network.layers:
            state.append(layer(state[-1]))
        states.append(state)
    caught = live = 0
    for number, mutant in mutants(network, 280):
        shows = []
        for state in states:
            out = mutant(state[number])
            for layer in network.layers[number + 1:]:
                out = layer(out)
            shows.append((out != state[-1]).any())
            if shows[0]:
                break
        caught += shows[0]
        live += any(shows)
    assert live > 200 and caught >= 0.99 * live, (caught, live)


# ---- files -----------------------------------------------------------------------------------------------------------


def test_same_bytes_again(tmp_path):
    for name in "ab":
        xnor.generate(convolutional(), tmp_path / name, images=2, target_fps=1e5)
    first, second = ({path.relative_to(tmp_path / name): path.read_bytes()
                      for path in (tmp_path / name).rglob("*") if path.is_file()} for name in "ab")
    assert first == second and len(first) > 15


def test_generated_files_name_the_model(tmp_path):
    network = convolutional()
    folder = xnor.generate(network, tmp_path / "rtl", images=2).folder
    for name in ("rtl/qnn_top.v", "tb/tb.v", "Makefile", "README.md", "report.json"):
        assert network.sha256 in (folder / name).read_text(), name
    assert (folder / "report.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_folder_that_is_not_empty(tmp_path):
    (tmp_path / "rtl").mkdir()
    (tmp_path / "rtl" / "file").write_text("mine")
    with pytest.raises(ValueError, match="rtl exists and is not an empty folder"):
        xnor.generate(fully_connected(), tmp_path / "rtl")
    assert os.listdir(tmp_path / "rtl") == ["file"] and os.listdir(tmp_path) == ["rtl"]


@pytest.mark.slow
@pytest.mark.parametrize("network, options", [(fully_connected, dict(target_fps=1e6)),
                                              (convolutional, dict(target_fps=2e5)),
                                              (fully_connected, dict(style="unrolled"))],
                         ids=["fully connected", "convolutional", "unrolled"])
def test_estimates_are_within_a_quarter_of_yosys(network, options, tmp_path):
    needs("yosys")
    design = xnor.generate(network(), tmp_path / "rtl", images=2, **options)
    counted, estimated = xnor.synthesize(design), design.report.totals
    assert json.loads((tmp_path / "rtl" / "report.json").read_text())["whole"]["yosys"]["LUT"] == counted["LUT"]
    assert estimated["LUT"] == pytest.approx(counted["LUT"], rel=0.25)
    assert estimated["FF"] == pytest.approx(counted["FF"], rel=0.25)
    assert [estimated[key] for key in RESOURCES[2:]] == [counted[key] for key in RESOURCES[2:]]


def small():
    net = norm(qnn.sym.QFullyConnected(X, num_hidden=9, name="one"), "bn")
    return network_of(qnn.sym.QFullyConnected(act(net), num_hidden=4, name="two"), images((40, 20)))


LINTED = [design for design in DESIGNS if design[0] not in ("slow", "padded", "unrolled")] + [
    ("unrolled", small, dict(style="unrolled")),
    ("argmax", fully_connected, dict(target_fps=1e6, argmax=True))]


@pytest.mark.parametrize("case, network, options", LINTED, ids=[case for case, _, _ in LINTED])
def test_lint_has_nothing_to_say(case, network, options, tmp_path):
    """Both views of every design, verilator -Wall."""
    needs("make", "verilator")
    design = xnor.generate(network(), tmp_path / "rtl", images=1, **options)
    simulate.run(["make", "lint"], design.folder)


def test_make_prove(tmp_path):
    needs("make", "yosys", "yosys-abc")
    design = xnor.generate(small(), tmp_path / "rtl", images=1, style="unrolled")
    assert "proven: rtl/qnn_one_neurons.v rtl/qnn_two_neurons.v" in simulate.run(["make", "prove"], design.folder)
    path = design.folder / "rtl" / "qnn_one_neurons.v"
    path.write_text(path.read_text().replace("~^ 20'h", "~^ ~20'h", 1))
    with pytest.raises(simulate.SimulationError, match="qnn_one_neurons: the views differ"):
        simulate.run(["make", "prove"], design.folder)


@pytest.mark.slow
def test_makefile(tmp_path):
    needs("make", "iverilog", "verilator", "yosys")
    design = xnor.generate(convolutional(), tmp_path / "rtl", images=3, target_fps=1e5)
    for target, sentence in (("sim-iverilog", "PASS images=3"), ("sim-verilator", "PASS images=3"), ("synth", "LUT6")):
        assert sentence in simulate.run(["make", target], design.folder), target
