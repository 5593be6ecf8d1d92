"""XNOR networks: a packed chain of 1-bit layers becomes Verilog; generation, files, verification.

    network = load("out/lfc", 0)
    design = generate(network, "out/rtl", target_fps=100000, clock_mhz=200)
    verify(design, images)
"""
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from qnn.files import write_atomically

from . import emit, simulate, synthesis, unrolled
from .extract import load_network
from .folding import propose, read_folding
from .golden import golden, stimuli
from .report import Report
from .structure import Pipeline

OPTIONS = {"load": ("shape", "host_layers", "input_bits", "input_signed", "input_scale"),
           "generate": ("folding", "target_fps", "clock_mhz", "style", "device", "argmax"),
           "verify": ("simulator", "view")}
VECTORS = 8  # golden images of a design that is generated without verification
STRESS = [dict(gap=0, stall=0, seed=1), dict(gap=30, stall=50, seed=2), dict(gap=5, stall=90, seed=3),
          dict(gap=20, stall=20, resets=5, seed=4)]


def accepts(graph):
    """True: whatever has no 1-bit layer is refused by `load`, which says why."""
    return bool(graph.heads)


def load(prefix, epoch, **options):
    """The Network of a checkpoint; options: shape, host_layers, input_bits, input_signed, input_scale of
    extract.extract."""
    return load_network(prefix, epoch, **options)


@dataclass
class Design:
    """A generated design: folder, pipeline (structure.Pipeline), report, images (golden vectors in tb/)."""

    folder: Path
    pipeline: Pipeline
    report: Report
    images: int
    family = __name__


def generate(network, folder, folding=None, target_fps=None, clock_mhz=100.0, style="folded", device=None,
             argmax=False, images=VECTORS, data=None, seed=0):
    """Writes the design of a Network into `folder`, whole or not at all; returns a Design.

    folding: {layer: {"PE", "SIMD"}} or the path of such a JSON file; else one is proposed for target_fps at clock_mhz.
    style: "folded", or "unrolled": every layer a circuit of constant weights. argmax: the class leaves in place of the
    accumulators. images: number of golden vectors: the first of `data` (samples as the model reads them), else random
    codes. Raises OSError; ValueError naming the layer, or the folder where it exists and is not empty.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError("%s exists and is not an empty folder: choose another, or remove it" % folder)
    folds = read_folding(folding, network) if folding is not None else propose(network, target_fps, clock_mhz, style)
    if folding is not None and style == "unrolled":
        raise ValueError('verilog: style unrolled has no folding; say "style": "unrolled" of layers in the file')
    pipeline = Pipeline(network, folds, argmax)
    if data is not None:
        codes, outputs = stimuli(network, data[:images])
    else:
        codes = network.random_codes(images, seed)
        outputs = golden(network, codes)
    report = Report(pipeline, clock_mhz, device)
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=folder.name + ".", dir=str(folder.absolute().parent)))
    try:
        emit.write(scratch, pipeline, report, codes, outputs, report.interval, unrolled.modules(pipeline))
        report.chart(scratch / "report.png")
        os.chmod(scratch, 0o755)
        if folder.exists():
            folder.rmdir()
        os.rename(scratch, folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return Design(folder, pipeline, report, len(codes))


def verify(design, simulator=None, view="behavioural", stress=None, images=None, progress=None):
    """Simulates the testbench of a design with gaps, stalls, resets and X on idle data; returns the results.

    simulator: "verilator" or "iverilog"; None: Verilator where it is installed. view: "behavioural" or "structural".
    Every beat of every image is compared with the packed model. Raises simulate.SimulationError where no simulator is
    installed or the build fails; a mismatch is a result with "passed" False.
    """
    simulator = simulator or ("verilator" if shutil.which("verilator") else "iverilog")
    simulate.need(simulator)
    defines = [simulate.BEHAVIOURAL] if view == "behavioural" else []
    sources = sorted(Path("rtl") / path.name for path in (design.folder / "rtl").glob("*.v")) + ["tb/tb.v"]
    with tempfile.TemporaryDirectory() as scratch:
        command = simulate.BUILD[simulator](design.folder, sources, "qnn_tb", defines, Path(scratch) / "sim")
        results = []
        for options in stress or STRESS:
            limits = {} if images is None else {"images": images}
            result = simulate.simulate(command, design.folder, **options, **limits)
            results.append({"simulator": simulator, "view": view, **options, **result})
            if progress is not None:
                progress.update()
    design.report.verification += [{key: value for key, value in result.items() if key != "text"} for result in results]
    save_report(design)
    return results


def synthesize(design):
    """What yosys counts of the whole design, beside the estimate in its report."""
    sources = sorted(path.relative_to(design.folder) for path in (design.folder / "rtl").glob("*.v"))
    design.report.synthesized = synthesis.synthesize(design.folder, sources, emit.TOP)
    save_report(design)
    return design.report.synthesized


def save_report(design):
    """Writes report.json anew."""
    write_atomically({str(design.folder / "report.json"): emit.report_json(design.report).encode("utf-8")})
