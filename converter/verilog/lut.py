"""LUT networks as Verilog: plain Verilog-2005, encoder and argmax included, with a testbench that checks itself.

    report = generate(network, "out/rtl", samples=images)        then: make -C out/rtl sim-iverilog lint synth

Files: <name>.v (ports), <name>_core.v (pipeline), <name>_core_*.v (nodes), tb.v, inputs.mem, expected.mem, Makefile,
synth.ys, techmap.v, report.json.
"""
import hashlib
import os

import numpy as np

import qnn
from qnn import backend_lut_network
from qnn.files import write_atomically
from qnn.lut_network import LutNetwork
from qnn.reference_lut_network import pack_bits

from ..logic import lower
from ..logic.clean import clean
from ..logic.lower import byte_bits, outputs_of
from . import lut_frames, lut_project, lut_stages, lut_stream, lut_testbench

INTERFACES = ("axi4-stream", "binarybrain")


def generate(network, folder, name="lut_net", device="generic", pipeline=1, interface="axi4-stream", output=None,
             with_encoder=True, samples=None, num_vectors=256, seed=0):
    """Writes a LutNetwork as Verilog into `folder`, which is made; returns the report, that of report.json.

    device: "generic", tables that any tool takes, or "xilinx", LUT1 .. LUT6 instances. pipeline: levels of nodes
    between two registers, 0: one register behind all. interface: "axi4-stream", a sample a beat; or "binarybrain"
    (reset, clk, cke, in_user ...), bits of one frame in, output bits out, as BinaryBrain's own. output: "class",
    "scores" or "bits", see logic.lower. with_encoder: samples are bytes, 8 bits each in tdata; else bits. A sample of
    several frames takes as many cycles. samples: golden inputs, (N, ...) uint8, or (N, num_inputs) bool without the
    encoder; without them num_vectors random ones. Raises ValueError, OSError; all files are written, or none.
    """
    if interface not in INTERFACES:
        raise ValueError("verilog: interface is %s, got %r" % (" or ".join(INTERFACES), interface))
    is_stream = interface == "axi4-stream"
    has_encoder = network.encoder is not None and with_encoder and is_stream
    if not is_stream:
        output = output or "bits"
        if samples is not None and samples.dtype != bool:
            samples = network.encode(samples).reshape(-1, network.num_inputs)
    output = output or ("bits" if network.groups is None else "class")
    if not has_encoder:
        network = single_frame(network)
    bits = golden_inputs(network, has_encoder, samples, num_vectors, seed)
    core, cleaned = clean(network)
    if core.num_frames > 1:
        files, latency, nodes, flops, out_bits, lowered = lut_frames.modules(name + "_core", core, output, pipeline,
                                                                             device)
        golden = expected(network, output, bits, out_bits)
    else:
        images = np.packbits(bits, axis=1, bitorder="little") if has_encoder else None
        logic, lowered = lower(core, output, has_encoder, images)
        files, stages = lut_stages.modules(name + "_core", logic, pipeline, device)
        latency, nodes, flops, out_bits = stages.count, logic.num_nodes, stages.flip_flops, len(logic.outputs)
        golden = outputs_of(logic, bits).astype(bool) if output == "bits" else expected(network, output, bits, out_bits)
    in_bits, frames = bits.shape[1], core.num_frames
    if is_stream:
        files[name + ".v"] = lut_stream.axi_module(name, in_bits, out_bits, latency, frames)
        testbench = lut_testbench.axi_testbench(name, in_bits, out_bits, len(bits), frames)
    else:
        files[name + ".v"] = lut_stream.binarybrain_module(name, in_bits, out_bits, latency)
        testbench = lut_testbench.binarybrain_testbench(name, in_bits, out_bits, len(bits))
    wait = frames if is_stream and frames > 1 else 0  # for the frames of the sample
    report = {
        "name": name, "qnn": qnn.__version__, "network": digest(network), "device": device, "interface": interface,
        "output": output, "input_bits": in_bits, "output_bits": out_bits, "latency_cycles": latency + is_stream + wait,
        "cycles_per_sample": frames,
        "nodes": {"trained": network.num_nodes, "cleaned": core.num_nodes, "with_encoder_and_head": nodes},
        "estimate": estimate(nodes, flops, in_bits, out_bits, latency, frames, is_stream, core),
        "clean": cleaned, "lower": lowered, "vectors": len(bits)}
    sources, models = sorted(files), []
    if device == "xilinx":
        files["lut_models.v"], models = lut_stages.lut_models(), ["lut_models.v"]
    files["tb.v"] = testbench
    files = {path: header(network, path) + text for path, text in files.items()}
    files.update({"inputs.mem": lut_testbench.vectors(bits), "expected.mem": lut_testbench.vectors(golden)})
    files.update(lut_project.project(name, sources, models, report))
    os.makedirs(folder, exist_ok=True)
    write_atomically({os.path.join(folder, path): text.encode() for path, text in files.items()})
    return report


def estimate(nodes, flops, in_bits, out_bits, latency, frames, is_stream, core):
    """Cells before placement. A stream adds a choice between two results for each bit, and control; frames add a sum
    for each class."""
    if not is_stream:
        return {"lut": nodes, "flip_flops": flops + 2 * latency}
    lut, flip_flops = nodes + out_bits + 5, flops + 2 * (out_bits + latency) + 5
    if frames > 1:
        lut += 2 * core.num_scores * (frames * len(core.outputs)).bit_length()
        flip_flops += in_bits
    return {"lut": lut, "flip_flops": flip_flops}


def single_frame(network):
    """The same network on the bits of one frame."""
    return LutNetwork(network.num_inputs, network.layers, network.outputs, network.groups, None, network.num_scores)


def golden_inputs(network, with_encoder, samples, num_vectors, seed):
    """Input bits of the testbench, (N, width) bool."""
    rng = np.random.default_rng(seed)
    width = network.num_features if with_encoder else network.num_inputs
    if samples is None:
        samples = (rng.integers(0, 256, (num_vectors, width), np.uint8) if with_encoder else
                   rng.integers(0, 2, (num_vectors, width)).astype(bool))
    samples = np.asarray(samples)
    wanted = np.uint8 if with_encoder else bool
    if samples.ndim < 2 or not len(samples) or samples.dtype != wanted or samples[0].size != width:
        raise ValueError("verilog: samples are %s, (N, %d), got %s of shape %s"
                         % (np.dtype(wanted), width, samples.dtype, samples.shape))
    samples = samples.reshape(len(samples), -1)
    return byte_bits(samples) if with_encoder else samples


def expected(network, output, bits, out_bits):
    """Golden classes or scores, (N, out_bits) bool: of the original network, not of what was made of it."""
    given = {"bits": pack_bits(bits)} if network.encoder is None else {
        "bytes": np.packbits(bits, axis=1, bitorder="little")}
    scores, classes = backend_lut_network.run(network, **given)
    numbers = classes[:, None] if output == "class" else scores
    digits = numbers[:, :, None] >> np.arange(out_bits // numbers.shape[1]) & 1
    return digits.astype(bool).reshape(len(bits), -1)


def digest(network):
    """Identifies the network: tables, connections, outputs, thresholds."""
    parts = list(network.arrays.values())
    if network.encoder:
        parts += [network.encoder.features, network.encoder.thresholds]
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()[:16]


def header(network, path):
    """First line of a generated file."""
    return "// %s: generated by qnn %s from network %s; do not edit.\n" % (path, qnn.__version__, digest(network))
