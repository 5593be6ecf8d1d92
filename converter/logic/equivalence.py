"""Equivalence of two LUT networks of the same inputs: by SAT, exhaustively per output, and by simulation.

    check(before, after, samples)   ->   {"is_equal", "outputs_exhaustive", "random_vectors", "samples", ...}
"""
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from qnn import backend_lut_network
from qnn.lut_network import LutNetwork
from qnn.reference_lut_network import pack_bits

from .netlist import Netlist

EXHAUSTIVE = 16  # inputs of an output's cone, up to which all 2^n vectors are tried


def check(before, after, kept=None, samples=None, num_vectors=16384, seed=0):
    """Compares every output of two networks.

    kept: inputs of `before` that are the inputs of `after`, all by default. samples: (N, num_inputs) bool, inputs from
    data. Outputs whose cone has up to 16 inputs are tried exhaustively; all are compared on num_vectors random vectors
    and on the samples. Returns a dict of numbers and "is_equal".
    """
    kept = np.arange(before.num_inputs) if kept is None else np.asarray(kept)
    rng = np.random.default_rng(seed)
    vectors = [rng.integers(0, 2, (num_vectors, before.num_inputs), np.uint8).astype(bool)]
    if samples is not None:
        vectors.append(np.asarray(samples, bool))
    plain = [bare(network) for network in (before, after)]
    differing = sum(int((outputs(plain[0], bits) != outputs(plain[1], bits[:, kept])).any(1).sum()) for bits in vectors)
    netlists, exhaustive = [Netlist.of(network) for network in plain], 0
    for signals in zip(*(zip(netlist.outputs, support(netlist, EXHAUSTIVE)) for netlist in netlists)):
        (left, cone), (right, other) = signals
        cone = None if cone is None or other is None else sorted(cone | {int(kept[i]) for i in other})
        if cone is not None and len(cone) <= EXHAUSTIVE:
            exhaustive += 1
            place = {signal: j for j, signal in enumerate(cone)}
            moved = {i: place[k] for i, k in enumerate(kept.tolist()) if k in place}
            found = values(netlists[0], left, place, len(cone)), values(netlists[1], right, moved, len(cone))
            differing += int((found[0] != found[1]).sum())
    return {"is_equal": differing == 0, "differing_vectors": differing, "random_vectors": num_vectors,
            "samples": 0 if samples is None else len(samples), "outputs": len(before.outputs),
            "outputs_exhaustive": exhaustive}


def bare(network):
    """The network without encoder and head: every output by itself."""
    return LutNetwork(network.num_inputs, network.layers, network.outputs)


def outputs(network, bits):
    """Outputs of a bare network: (N, num_inputs) bool -> (N, outputs)."""
    return backend_lut_network.run(network, bits=pack_bits(bits), want=("scores",))[0]


def values(netlist, signal, place, n):
    """(2^n,) values of a signal for all values of n inputs; place: {input: its bit in the index of the result}."""
    index, needed, rest = np.arange(1 << n), set(), [signal]
    found = {i: index >> j & 1 for i, j in place.items()}
    while rest:
        one = rest.pop()
        if one not in needed and one not in found:
            needed.add(one)
            rest += netlist.function(one)[0]
    for one in sorted(needed):
        inputs, table = netlist.function(one)
        bits = np.array([table >> i & 1 for i in range(1 << len(inputs))])
        found[one] = bits[sum((found[i] << j for j, i in enumerate(inputs)), np.zeros_like(index))]
    return found[signal]


def support(netlist, most):
    """For every output the set of inputs that it can depend on; None above `most` inputs."""
    found: list = [{signal} for signal in range(netlist.num_inputs)]
    for inputs, _ in netlist.functions:
        cone: set = set()
        for signal in inputs:
            if found[signal] is None or len(cone | found[signal]) > most:
                cone = None  # type: ignore[assignment]
                break
            cone |= found[signal]
        found.append(cone)
    return [found[signal] for signal in netlist.outputs]


def prove(before, after, kept=None, seconds=60):
    """SAT proof by `yosys-abc cec` that all outputs agree for all inputs: True, False, or None where it is undecided
    within `seconds`, or yosys-abc is missing."""
    if shutil.which("yosys-abc") is None:
        return None
    kept = list(range(before.num_inputs)) if kept is None else list(kept)
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("before.blif", "after.blif")]
        Path(paths[0]).write_text(blif(before, list(range(before.num_inputs)), before.num_inputs))
        Path(paths[1]).write_text(blif(after, kept, before.num_inputs))
        try:
            done = subprocess.run(["yosys-abc", "-c", "cec -T %d %s %s" % (seconds, paths[0], paths[1])], text=True,
                                  capture_output=True, timeout=seconds + 30, cwd=folder)
        except subprocess.TimeoutExpired:
            return None
    if "Networks are equivalent" in done.stdout:
        return True
    return False if "NOT EQUIVALENT" in done.stdout else None


def blif(network, kept, num_inputs):
    """The network as BLIF, without its head: inputs i0 .., of which `kept` are read, outputs o0 .."""
    names = ["i%d" % i for i in kept] + ["n%d" % k for k in range(network.num_nodes)]
    lines = [".model net", ".inputs " + " ".join("i%d" % i for i in range(num_inputs)),
             ".outputs " + " ".join("o%d" % i for i in range(len(network.outputs)))]
    for k, (inputs, table) in enumerate(Netlist.of(network).functions):
        inputs = inputs if table else ()  # in BLIF a cover without rows, which is 0, has no inputs
        lines.append(".names " + " ".join([names[s] for s in inputs] + ["n%d" % k]))
        rows = [i for i in range(1 << len(inputs)) if table >> i & 1]
        lines += ["".join(str(i >> j & 1) for j in range(len(inputs))) + " 1" if inputs else "1" for i in rows]
    for i, signal in enumerate(network.outputs):
        lines += [".names %s o%d" % (names[signal], i), "1 1"]
    return "\n".join(lines + [".end", ""])
