"""Verilog proofs: the behavioural and the structural view of a circuit are equal for every input, and flipping one
weight makes them differ.

The miter of both (1 where they differ) becomes a binary decision diagram (yosys-abc collapse): counts are symmetric
functions, whose diagrams are small, where SAT (cec) does not end beyond 28 inputs."""
import re
import subprocess

import numpy as np
import pytest
from hardware import needs, run_module
from qnn.converter.verilog import simulate, synthesis, unrolled
from qnn.converter.verilog.folding import Fold
from qnn.converter.verilog.layers import Matrix

pytestmark = pytest.mark.verilog


def layer(k, n, levels, seed=0):
    draw = np.random.RandomState(seed)
    thresholds = None
    if levels:
        thresholds = np.clip(np.rint(draw.randn(n, 1) * np.sqrt(k)).astype(np.int64), -k, k + 1)
        thresholds[0] = k + 1 if n > 3 else thresholds[0]
        thresholds[-1] = -k if n > 3 else thresholds[-1]
    return Matrix("m", draw.rand(n, k) < 0.5, thresholds)


def is_equivalent(folder, texts, top, defines=((simulate.BEHAVIOURAL,), ()), options=""):
    """True if `top` of two texts computes the same in the two views, by yosys-abc."""
    needs("yosys", "yosys-abc")
    for name, text, names in zip("ab", texts, defines):
        (folder / (name + ".v")).write_text(text)
        modules = ("qnn_popcount", "qnn_pair", "qnn_columns", "qnn_count6")
        sources = [simulate.RTL / (module + ".v") for module in modules]
        simulate.run(["yosys", "-q", "-p", "read_verilog %s -defer %s %s.v; hierarchy -top %s %s; proc; flatten; "
                      "opt -full; techmap; opt; aigmap; write_aiger %s.aig" % (
                          " ".join("-D" + define for define in names), " ".join(map(str, sources)), name, top, options,
                          name)], folder, 300)
    done = subprocess.run(["yosys-abc", "-c", "miter a.aig b.aig; collapse; strash; sat"], cwd=str(folder),
                          stdout=subprocess.PIPE, timeout=300, check=True)
    verdict = re.findall("^(UNSATISFIABLE|SATISFIABLE)", done.stdout.decode(), re.M)
    assert len(verdict) == 1, done.stdout
    return verdict[0] == "UNSATISFIABLE"


def circuit(one):
    return unrolled.neurons("circuit", one, Fold(one.n, one.k, "unrolled"), "test")


@pytest.mark.parametrize("k, n, levels", [(1, 3, 1), (2, 4, 0), (7, 5, 1), (7, 5, 0), (13, 6, 1), (29, 4, 0),
                                          (30, 4, 1), (31, 4, 1), (32, 6, 1), (32, 4, 0),
                                          pytest.param(64, 8, 1, marks=pytest.mark.slow)])
def test_views_of_neurons(tmp_path, k, n, levels):
    text = circuit(layer(k, n, levels))
    assert is_equivalent(tmp_path, [text, text], "circuit")


def test_a_flipped_weight_is_found(tmp_path):
    one = layer(13, 4, 1)
    text = circuit(one)
    one.weight[1, 5] ^= True
    assert not is_equivalent(tmp_path, [text, circuit(one)], "circuit")


@pytest.mark.parametrize("is_gated", [0, 1])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 8, 13, 29, 32])
def test_views_of_popcount(tmp_path, n, is_gated):
    assert is_equivalent(tmp_path, ["", ""], "qnn_popcount",
                         options="-chparam N %d -chparam IS_GATED %d" % (n, is_gated))


LUT6 = """module LUT6 #(parameter [63:0] INIT = 64'd0) (input I0, I1, I2, I3, I4, I5, output O);
  assign O = INIT[{I5, I4, I3, I2, I1, I0}];
endmodule
"""


@pytest.mark.parametrize("is_gated", [0, 1])
def test_view_of_lut6_instances(tmp_path, is_gated):
    """What is synthesized with QNN_XILINX."""
    assert is_equivalent(tmp_path, ["", LUT6], "qnn_popcount", ((simulate.BEHAVIOURAL,), ("QNN_XILINX",)),
                         "-chparam N 25 -chparam IS_GATED %d" % is_gated)


def test_neurons_of_lut6_instances(tmp_path):
    text = circuit(layer(25, 5, 1))
    assert is_equivalent(tmp_path, [text, text + LUT6], "circuit", ((simulate.BEHAVIOURAL,), ("QNN_XILINX",)))


@pytest.mark.parametrize("view", ["behavioural", "structural"])
def test_unrolled_stage(tmp_path, view):
    """Registers and handshake around 65 x 17 neurons, a vector a cycle."""
    one = layer(65, 17, 1)
    texts = {"circuit_neurons.v": unrolled.neurons("circuit_neurons", one, Fold(17, 65, "unrolled"), "test"),
             "circuit.v": unrolled.stage("circuit", one, Fold(17, 65, "unrolled"), "test")}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    codes = np.random.RandomState(1).randint(0, 2, (300, 65))
    results = run_module(tmp_path, "circuit", codes, one(codes[:, None, None])[:, 0, 0], (65, 17), (1, 1),
                         defines=[simulate.BEHAVIOURAL] if view == "behavioural" else [], sources=list(texts))
    assert (results[0]["interval"], results[0]["latency"]) == (1, 3)


@pytest.mark.slow
def test_luts_of_shared_counters(tmp_path):
    """0.85 LUT a synapse from 64 neurons on; the generator's own count is close."""
    needs("yosys")
    one = layer(64, 64, 1)
    (tmp_path / "circuit.v").write_text(circuit(one))
    sources = [simulate.RTL / "qnn_count6.v", "circuit.v"]
    luts = synthesis.synthesize(tmp_path, sources, "circuit")["LUT"]
    assert luts <= 0.85 * 64 * 64
    assert unrolled.luts(one) == pytest.approx(luts, rel=0.15)


def test_counters_are_shared_between_inverse_patterns():
    """Neurons in pairs of inverse weights need no more first counters than half of them."""
    half = layer(30, 20, 1, seed=3)
    both = Matrix("m", np.concatenate([half.weight, ~half.weight]), np.concatenate([half.thresholds] * 2))
    counters = [len(unrolled.circuit(one, 1).counters) for one in (half, both)]
    assert counters[1] <= counters[0] * 20 / 18  # two of `half` are constant, their inverses are not all
