"""LUT networks: a packed network of look-up tables becomes Verilog; generation, files, verification.

    hardware = load("out/plut", 4)
    design = generate(hardware, "out/rtl", device="xilinx")
    verify(design)
"""
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qnn import checkpoint, lut_files
from qnn.files import write_atomically
from qnn.graph import Graph
from qnn.lut_model import is_ordered
from qnn.lut_network import LutNetwork

from ..convert import load_source
from ..load_lut import convert_graph, table_nodes
from . import lut, lut_image, lut_project, lut_stages, simulate
from .report import DEVICES

OPTIONS = {"load": ("shape",), "generate": ("device", "clock_mhz", "pipeline", "interface", "output", "style"),
           "verify": ("simulator",)}
VECTORS = 64  # golden samples of a design that is generated without verification
LONG = 1000  # samples of the runs behind the first: many bits wait long for a simulator
ROUNDED = 4e-7  # relative: v * (1 / unit) beside v / unit, three roundings of float32
STRESS = [dict(gap=0, stall=0, seed=1), dict(gap=30, stall=50, seed=2), dict(gap=5, stall=90, seed=3),
          dict(gap=20, stall=20, resets=5, seed=4)]


def accepts(graph):
    """True for trained table layers, and for the operator that they are converted to."""
    return any(node.op == lut_files.OPERATOR for node in graph.nodes()) or bool(table_nodes(graph))


@dataclass
class Hardware:
    """What `load` gives: the network; has_class: the largest score is the class that the model predicts."""

    network: LutNetwork
    has_class: bool
    family = __name__


@dataclass
class Design:
    """A generated design: its folder, the Report, the number of golden samples."""

    folder: Path
    report: "Report"
    images: int
    family = __name__


def load(prefix, epoch, shape=None):
    """The Hardware of a checkpoint, trained or converted. shape: (C, H, W) of a sample, which convolutions that are not
    converted need. Raises OSError, ValueError naming the layer."""
    graph = Graph.load(checkpoint.paths(prefix, epoch)[0])
    if table_nodes(graph):
        graph, args, auxs = load_source(prefix, epoch)
        graph, _, network, _ = convert_graph(graph, {**args, **auxs}, shape=shape)
    else:
        network = lut_files.load(prefix, epoch)
    return Hardware(network, is_ordered(graph) and network.groups is not None)


def generate(hardware, folder, device="generic", clock_mhz=100.0, pipeline=1, interface="axi4-stream", output=None,
             style=None, images=VECTORS, data=None, seed=0):
    """Writes the design of a Hardware into `folder`, whole or not at all; returns a Design.

    device: generic, xilinx, or the name of a Xilinx device, whose share the report says then. pipeline, interface,
    output: see lut.generate. style: "folded": tables that positions of an image share are there once, behind line
    buffers (lut_image), the default for networks with convolutions; "unrolled": every position has its own. images:
    number of golden samples: the first of `data` (samples as the model reads them), else random ones. Raises
    OSError; ValueError where the folder exists and is not empty.
    """
    folder, network = Path(folder), hardware.network
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError("%s exists and is not an empty folder: choose another, or remove it" % folder)
    if device not in lut_stages.DEVICES + tuple(DEVICES):
        raise ValueError("verilog: unknown device %r; known: %s" % (device, ", ".join(lut_stages.DEVICES
                                                                                      + tuple(DEVICES))))
    if not clock_mhz > 0:
        raise ValueError("verilog: the clock and the rate are numbers above 0, got %r MHz" % (clock_mhz,))
    if output is None and interface == lut.INTERFACES[0] and network.groups is not None and not hardware.has_class:
        output = "scores"  # what stands behind them decides
    samples = None if data is None else codes(network, data[:images])
    options = dict(device=device if device in lut_stages.DEVICES else "xilinx", pipeline=pipeline, output=output,
                   samples=samples, num_vectors=images, seed=seed)
    if is_folded(network, style, interface):
        report = lut_image.generate(network, str(folder), **options)
    else:
        report = lut.generate(network, str(folder), interface=interface, **options)
    design = Design(folder, Report(report, clock_mhz, device if device in DEVICES else None), report["vectors"])
    save_report(design)
    return design


def is_folded(network, style, interface):
    """True where the layers of an image are to be line buffers and shared tables. Raises ValueError."""
    if style not in (None, "folded", "unrolled"):
        raise ValueError("verilog: style is folded or unrolled, got %r" % (style,))
    if style == "folded" and network.plan is None:
        raise ValueError("verilog: style folded is of networks with convolutions, which this one is not, or says "
                         "nothing of; convert the training graph again, or leave --style out")
    if network.plan is None or style == "unrolled":
        return False
    if interface != lut.INTERFACES[0]:
        raise ValueError("verilog: interface %s takes a whole sample a cycle; of a network with convolutions that is "
                         "--style unrolled, else --interface %s" % (interface, lut.INTERFACES[0]))
    return True


def codes(network, data):
    """Samples as the hardware reads them: (N, num_features) uint8, without an encoder (N, num_inputs) bool. data: the
    numbers that the model reads; v * (1 / unit) stands for v / unit, too, where it passes the same thresholds. Raises
    ValueError for numbers that no byte stands for."""
    rows = np.asarray(data).reshape(len(data), -1)
    if rows.shape[1] != network.num_features:
        raise ValueError("verilog: the network takes %d numbers a sample, got data of shape %s"
                         % (network.num_features, np.shape(data)))
    if network.encoder is None:
        return rows > 0.5
    encoder, unit, rows = network.encoder, np.float32(network.encoder.unit), rows.astype(np.float32)
    found = np.clip(np.rint(rows * unit), 0, 255).astype(np.uint8)
    numbers = found.astype(np.float32) / unit
    if not np.allclose(numbers, rows, rtol=ROUNDED, atol=0) or any(
            ((rows[:, encoder.features] > level) != (numbers[:, encoder.features] > level)).any()
            for level in encoder.thresholds):
        raise ValueError("verilog: the hardware reads bytes v for the numbers v / %g; the data have others" % unit)
    return found


def verify(design, simulator=None, stress=None, images=None, progress=None):
    """Simulates the testbench of a design with gaps, stalls, resets and X on idle data; returns the results.

    simulator: "verilator" or "iverilog"; None: Verilator where it is installed. Every word is compared with the packed
    network, of all samples in the first run, of 1,000 in the others. Raises simulate.SimulationError where no simulator
    is installed or the build fails; a mismatch is a result with "passed" False.
    """
    simulator = simulator or ("verilator" if simulate.has("verilator") else "iverilog")
    simulate.need(simulator)
    sources = sorted(path.name for path in design.folder.glob("*.v"))
    with tempfile.TemporaryDirectory() as scratch:
        command = simulate.BUILD[simulator](design.folder, sources, "tb", (), Path(scratch) / "sim")
        results = []
        for number, options in enumerate(stress or STRESS):
            limit = min(images or design.images, design.images if number == 0 else LONG)
            result = simulate.simulate(command, design.folder, images=limit, **options)
            results.append({"simulator": simulator, "view": "plain", **options, **result})
            if progress is not None:
                progress.update()
    design.report.values["verification"] = design.report.values.get("verification", []) + [
        {key: value for key, value in result.items() if key != "text"} for result in results]
    save_report(design)
    return results


def synthesize(design):
    """What yosys counts of the whole design, by its Makefile; also in its report. Raises simulate.SimulationError."""
    simulate.run(["make", "-s", "synth"], design.folder)
    design.report.values.update(json.loads((design.folder / "report.json").read_text()))
    return design.report.values["yosys"]


def save_report(design):
    """Writes report.json anew."""
    text = json.dumps(design.report.to_dict(), indent=2) + "\n"
    write_atomically({str(design.folder / "report.json"): text.encode("utf-8")})


class Report:
    """values: what lut.generate reports; clock_mhz; part: the device whose share is said, or None."""

    def __init__(self, values, clock_mhz, part):
        rate = clock_mhz * 1e6 / values["cycles_per_sample"]
        self.values = {**values, "clock_mhz": clock_mhz, "part": part, "images_per_second": round(rate, 1)}

    def to_dict(self):
        """Plain data, ready for JSON."""
        return self.values

    def __str__(self):
        v, nodes, cells = self.values, self.values["nodes"], self.values["estimate"]
        middle = "%(cleaned)d cleaned" if "cleaned" in nodes else "%(unrolled)d with one for each position"
        counts = "nodes: %(trained)d trained, " + middle + ", %(with_encoder_and_head)d with encoder and head"
        lines = ["network %s: %d bits in, %d bits out (%s), %s" % (v["network"], v["input_bits"], v["output_bits"],
                                                                  v["output"], v["interface"]),
                 counts % nodes, "estimate: %(lut)d LUT, %(flip_flops)d FF" % cells]
        if "layers" in v:
            lines = [lut_project.layer_table(v), ""] + lines
        if "yosys" in v:
            lines.append("yosys: %(lut)d LUT, %(flip_flops)d FF, %(lut_per_trained_node).2f LUT a trained node"
                         % v["yosys"])
        if v["part"]:
            lut_count = v["yosys"]["lut"] if "yosys" in v else cells["lut"]
            lines.append("of %s: LUT %.1f %%" % (v["part"], 100 * lut_count / DEVICES[v["part"]][0]))
        lines.append("%s images/s at %g MHz" % (f"{v['images_per_second']:,.0f}", v["clock_mhz"]) + (
            ", latency %d cycles" % v["latency_cycles"] if "latency_cycles" in v else ""))
        return "\n".join(lines)
