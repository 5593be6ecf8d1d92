"""LUT networks of images as Verilog: a pixel a cycle, line buffers, the shared tables of every layer once.

    report = generate(network, "out/rtl", samples=images)        network: a LutNetwork with a plan

Files: <name>.v (the layers in a row), <name>_layer<k>_<layer>.v and its nodes <name>_layer<k>_<layer>_core*.v,
qnn_*.v (modules that are the same in every design), tb.v, inputs.mem, expected.mem, Makefile, synth.ys, techmap.v,
README.md, report.json.
"""
import os

import numpy as np

import qnn
from qnn.files import write_atomically
from qnn.lut_network import LutNetwork

from ..logic.lower import OUTPUTS
from ..logic.lower_encoder import BYTE
from . import lut, lut_parts, lut_project, lut_stages, lut_testbench, simulate
from .emit import MODULE, PARTS
from .structure import instance
from .testbench import testbench

SIMULATED = 4  # images of `make sim-iverilog`
WIDTH = {False: BYTE, True: 1}  # bits of a number of the input


def generate(network, folder, name="lut_net", device="generic", pipeline=1, output=None, samples=None, num_vectors=64,
             seed=0):
    """Writes a LutNetwork with a plan into `folder`, which is made; returns the report, that of report.json.

    device, pipeline, output, samples, num_vectors: see lut.generate. A beat of the input is a pixel: its bytes, of a
    network without an encoder its bits; a beat of the output is an image. Raises ValueError naming the layer, OSError;
    all files are written, or none.
    """
    output = output or ("bits" if network.groups is None else "class")
    if output not in OUTPUTS:
        raise ValueError("verilog: output is %s, got %r" % (", ".join(OUTPUTS), output))
    bits = lut.golden_inputs(network, network.encoder is not None, samples, num_vectors, seed)
    made, clean = lut_parts.parts(network, output)
    files, rows, names = {}, [], []
    for number, one in enumerate(made):
        names.append("%s_layer%d_%s" % (name, number, instance(one)))
        text, stages = lut_parts.module(names[-1], one, pipeline, device)
        files.update(text)
        rows.append({"layer": one.name, "module": names[-1], "inputs": one.shapes[0], "outputs": one.shapes[1],
                     "trained": one.trained, "nodes": one.logic.num_nodes, "cycles": one.cycles * network.num_frames,
                     "stages": stages.count, "estimate": lut_parts.cells(one, stages)})
    files[name + ".v"] = lut_parts.top(name, list(zip(names, made)))
    in_bits, out_bits, places = made[0].in_bits, made[-1].out_bits, int(np.prod(network.plan["shape"][1:]))
    golden = expected(network, output, bits, out_bits)
    cycles = max(row["cycles"] for row in rows)
    report = {
        "name": name, "qnn": qnn.__version__, "network": lut.digest(network), "device": device, "style": "folded",
        "interface": lut.INTERFACES[0], "output": output, "input_bits": in_bits, "output_bits": out_bits,
        "beats_per_sample": places, "cycles_per_sample": cycles,
        "nodes": {"trained": sum(row["trained"] for row in rows), "unrolled": network.num_nodes,
                  "with_encoder_and_head": sum(row["nodes"] for row in rows)},
        "estimate": {key: sum(row["estimate"][key] for row in rows) for key in ("lut", "flip_flops", "bram18")},
        "layers": rows, "clean": clean, "vectors": len(bits)}
    files.update(shared_modules(made))
    sources, models = sorted(files), []
    if device == "xilinx":
        files["lut_models.v"], models = lut_stages.lut_models(), ["lut_models.v"]
    files["tb.v"] = testbench(name, in_bits, out_bits, places, 1, len(bits), cycles, "tb", inputs="inputs.mem",
                              outputs="expected.mem")
    files = {path: lut.header(network, path) + text for path, text in files.items()}
    beats = bits.reshape(len(bits), -1, places, WIDTH[network.encoder is None]).swapaxes(1, 2).reshape(-1, in_bits)
    files.update({"inputs.mem": lut_testbench.vectors(beats), "expected.mem": lut_testbench.vectors(golden)})
    files.update(lut_project.project(name, sources, models, report, SIMULATED))
    os.makedirs(folder, exist_ok=True)
    write_atomically({os.path.join(folder, path): text.encode() for path, text in files.items()})
    return report


def expected(network, output, bits, out_bits):
    """Golden results of the packed network, (N, out_bits) bool."""
    if output != "bits":
        return lut.expected(network, output, bits, out_bits)
    bare = LutNetwork(network.num_inputs, network.layers, network.outputs, None, network.encoder)
    return lut.expected(bare, "scores", bits, out_bits)


def shared_modules(made):
    """{file name: text} of the modules that are the same in every design."""
    names = {block.module for one in made for block in one.front + one.behind}
    names |= {part for name in names for part in PARTS.get(name, ())}
    return {name + ".v": MODULE + "\n" + (simulate.RTL / (name + ".v")).read_text() for name in sorted(names)}
