"""Report: cycles, operations, memory and estimated resources of every layer, and of the whole design."""
from qnn.tables import text_table

from .folding import cycles, steps
from .layers import Matrix
from .resources import estimate
from .structure import is_unrolled

RESOURCES = ("LUT", "FF", "BRAM18", "DSP")
DEVICES = {  # LUTs, flip-flops, BRAM18, DSP slices; Xilinx data sheets DS190, DS891
    "xc7z010": (17600, 35200, 120, 80), "xc7z020": (53200, 106400, 280, 220), "xc7z045": (218600, 437200, 1090, 900),
    "xc7z100": (277400, 554800, 1510, 2020), "xczu3eg": (70560, 141120, 432, 360)}


class Report:
    """Of a structure.Pipeline at a clock; device: one of DEVICES, or None."""

    def __init__(self, pipeline, clock_mhz=100.0, device=None):
        if device is not None and device not in DEVICES:
            raise ValueError("verilog: unknown device %r; known: %s" % (device, ", ".join(DEVICES)))
        self.clock_mhz, self.device, self.network = clock_mhz, device, pipeline.network
        self.rows, self.synthesized, self.verification = [], {}, []
        lanes = pipeline.entry.lanes
        by_layer = {}
        for block in pipeline.blocks:
            by_layer.setdefault(id(block.layer), []).append(block)
        for layer in pipeline.network.layers:
            fold = pipeline.folds.get(layer.name)
            self.rows.append(row(layer, fold, lanes, by_layer[id(layer)]))
            lanes = fold.pe if fold else lanes
        self.others = total([estimate(block) for block in by_layer.get(id(None), [])])
        self.interval = max([r["cycles"] for r in self.rows] + [pipeline.in_beats, pipeline.out_beats])
        self.latency = sum(r["cycles"] + 10 for r in self.rows)

    @property
    def title(self):
        return "%d-layer network, %s" % (len(self.rows), ", ".join(r["layer"] for r in self.rows))

    @property
    def bottleneck(self):
        slowest = max(self.rows, key=lambda r: r["cycles"])
        return slowest["layer"] if slowest["cycles"] == self.interval else "the input stream"

    @property
    def totals(self):
        return total(self.rows + [self.others])

    def to_dict(self):
        """Plain data, ready for JSON."""
        rate = self.clock_mhz * 1e6
        return {"model_sha256": self.network.sha256, "clock_mhz": self.clock_mhz, "device": self.device,
                "layers": self.rows,
                "whole": {"cycles_per_image": self.interval, "images_per_second": round(rate / self.interval, 1),
                          "latency_cycles_at_most": self.latency, "latency_us_at_most": round(
                              self.latency / self.clock_mhz, 3), "bottleneck": self.bottleneck,
                          "macs": sum(r["macs"] for r in self.rows),
                          "memory_bits": sum(r["memory_bits"] for r in self.rows), "estimate": self.totals,
                          "share_of_device": self.shares(), "yosys": self.synthesized or None},
                "argmax": self.network.argmax_reason or "the largest accumulator is the class",
                "offset": self.network.layers[-1].offset.tolist(),
                "host": {"before": self.network.host_before, "after": self.network.host_after},
                "verification": self.verification}

    def shares(self):
        """Share of the device that the estimate takes; None without a device."""
        if self.device is None:
            return None
        return {key: round(self.totals[key] / size, 4) for key, size in zip(RESOURCES, DEVICES[self.device])}

    def __str__(self):
        header = ("layer", "inputs", "outputs", "PE", "SIMD", "cycles", "MACs", "memory bits") + RESOURCES
        rows = [[r["layer"], r["inputs"], r["outputs"], r["PE"] or "", r["SIMD"] or "", "{:,}".format(r["cycles"]),
                 "{:,}".format(r["macs"]), "{:,}".format(r["memory_bits"])] + [f"{r[k]:,}" for k in RESOURCES]
                for r in self.rows]
        whole = ["all (estimate)", "", "", "", "", f"{self.interval:,}"]
        whole += [f"{sum(r[key] for r in self.rows):,}" for key in ("macs", "memory_bits")]
        rows.append(whole + [f"{self.totals[key]:,}" for key in RESOURCES])
        if self.synthesized:
            rows.append(["all (yosys)"] + [""] * 7 + [f"{self.synthesized[key]:,}" for key in RESOURCES])
        lines = [text_table(header, rows, right=range(3, len(header))), "",
                 "%s images/s at %g MHz, latency at most %.2f us, bottleneck: %s" % (
                     f"{self.clock_mhz * 1e6 / self.interval:,.0f}", self.clock_mhz,
                     self.latency / self.clock_mhz, self.bottleneck)]
        if self.device:
            lines.append("of %s: %s" % (self.device, ", ".join("%s %.1f %%" % (key, 100 * share)
                                                               for key, share in self.shares().items())))
        return "\n".join(lines)

    def chart(self, path):
        """Draws cycles and LUTs of every layer; without matplotlib nothing is drawn."""
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError:
            return
        names = [r["layer"] for r in self.rows]
        figure = Figure(figsize=(11, 1.2 + 0.42 * len(names)), layout="constrained")
        FigureCanvasAgg(figure)
        panels = (("cycles", "#2e86c1", "cycles an image"), ("LUT", "#ca6f1e", "LUTs (estimate)"))
        for axes, (key, color, title) in zip(figure.subplots(1, 2, sharey=True), panels):
            values = [r[key] for r in self.rows]
            bars = axes.barh(names, values, color=color, height=0.6)
            axes.bar_label(bars, [f"{value:,}" for value in values], padding=3)
            axes.set_title(title)
            axes.margins(x=0.18)
            axes.spines[["top", "right"]].set_visible(False)
            if key == "cycles":
                axes.axvline(self.interval, color="#7f8c8d", linewidth=1, linestyle="--")
                axes.invert_yaxis()
        figure.savefig(path, dpi=130, metadata={"Software": None})


def row(layer, fold, lanes, blocks):
    """What the report says about a layer."""
    is_matrix = isinstance(layer, Matrix)
    shape = "%dx%dx%d" % (layer.window.height, layer.window.width, layer.window.channels) if layer.window else layer.k
    out = "%dx%dx%d" % layer.out_shape if layer.window else layer.n
    memory = sum(words.size for block in blocks for words in block.memories.values())
    macs = layer.k * layer.n * layer.pixels if is_matrix else 0
    is_constant = is_matrix and is_unrolled(layer, fold)
    sf, nf = steps(layer, fold) if is_matrix else (0, 0)
    return {"layer": layer.name, "kind": layer.kind if is_matrix else "pool", "style": fold.style if fold else "folded",
            "inputs": shape, "outputs": out, "PE": fold.pe if fold else None, "SIMD": fold.simd if fold else None,
            "SF": sf, "NF": nf, "pixels": layer.pixels if is_matrix else layer.window.pixels,
            "cycles": cycles(layer, fold, lanes), "macs": macs,
            "memory_bits": layer.k * layer.n if is_constant else memory, **total([estimate(b) for b in blocks])}


def total(rows):
    """Sums of the resources."""
    return {key: int(round(sum(r[key] for r in rows))) for key in RESOURCES}
