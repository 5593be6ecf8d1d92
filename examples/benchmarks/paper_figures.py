"""The three speed figures of the BMXNet paper (arXiv:1705.09864), measured here: one convolution layer, batch 200, over
its input channels, its filters and its kernel size.

    python examples/benchmarks/paper_figures.py --out out/figures

writes channels.png, filters.png, kernels.png and figures.json. As in the paper, the layer is a matrix product of
M = filters, N = 200 * 8 * 8 pixels, K = kernel^2 * channels; its series here:

    naive              three loops of C in float32, compiled for any x86-64 or AArch64
    cblas              OpenBLAS sgemm
    xnor, popcnt       the packed product, one 64-bit word at a time: the instructions that the paper's xnor_64 has
    xnor               the packed product, in the instruction set of this machine
    xnor + binarize    the whole layer from floats to floats: signs, packing, convolution; no im2col

BMXNet's own xnor_32 and xnor_64 are not measured: they are its code, and its figures are of another machine. One
thread, CPU time, medians of interleaved rounds. `qnn benchmark model --network resnet18` gives those of ResNet-18.
"""
import argparse
import json
import os
import sys

import qnn  # noqa: F401  before mxnet: makes it import on numpy 1.24 and newer
from qnn import backend, benchmark, benchmark_cases, peers
from qnn.tables import text_table
from qnn.timing import measure

OUT_SIZE = 8  # height and width of the output
FIGURES = {  # name: (what varies, its values, the rest)
    "channels": ("input channels", (64, 128, 256, 512), dict(num_filter=64, kernel=5)),
    "filters": ("filters", (16, 32, 64, 128, 256), dict(channels=256, kernel=5)),
    "kernels": ("kernel size", (1, 3, 5, 7), dict(channels=256, num_filter=64)),
}
ARGUMENT = {"channels": "channels", "filters": "num_filter", "kernels": "kernel"}
WORDS = {"channels": "channels", "num_filter": "filters", "kernel": "kernel size"}
STYLES = {"naive": ("#7f8c8d", "s"), "cblas": ("#2e86c1", "D"), "xnor, popcnt": ("#e59866", "^"),
          "xnor": ("#ca6f1e", "o"), "xnor + binarize": ("#922b21", "v")}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", required=True, help="folder of the figures")
    parser.add_argument("--rounds", type=int, default=3, help="every series runs once a round")
    parser.add_argument("--batch-size", type=int, default=200)
    parser.add_argument("--figure", choices=sorted(FIGURES), action="append", help="only this one; may be repeated")
    parser.add_argument("--limit", type=int, help="only the first N points of a figure (for a quick look)")
    return parser.parse_args()


def with_isa(name, call):
    """`call` in the instruction set `name`; the one in use comes back behind it."""
    chosen = backend.isa()

    def run():
        backend.select_isa(name)
        try:
            return call()
        finally:
            backend.select_isa(chosen)
    return run


def point(batch, channels, num_filter, kernel, rounds):
    """{series: seconds} of one layer."""
    layer = benchmark_cases.conv_case("layer", batch, channels, OUT_SIZE + kernel - 1, num_filter, kernel, 0)
    product = benchmark_cases.gemm_case(*layer.product)
    calls = {"naive": peers.naive(layer, 1).get("naive"), "cblas": peers.openblas(layer, 1)["openblas"]}
    if any(row["name"] == "popcnt" and row["is_usable"] for row in backend.isa_table()):
        calls["xnor, popcnt"] = with_isa("popcnt", product.run)
    calls.update({"xnor": product.run, "xnor + binarize": layer.run})
    return measure({name: call for name, call in calls.items() if call}, rounds)


def short(value):
    """Three digits where they mean something: 1.43, 10.4, 2610."""
    return "%.0f" % value if value >= 100 else "%.3g" % value


def draw(path, title, label, values, rows, is_speedup):
    """Saves one figure; rows: {series: seconds} for each of `values`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name in rows[0]:
        color, marker = STYLES[name]
        y = [row["naive"] / row[name] if is_speedup else 1e3 * row[name] for row in rows]
        axes.plot(range(len(values)), y, color=color, marker=marker, label=name)
        # The last two are so close that their labels would touch.
        offset = {"xnor": -8 + 10 * is_speedup, "xnor + binarize": 2 - 10 * is_speedup}.get(name, -3)
        axes.annotate("%s%s" % (short(y[-1]), "x" if is_speedup else " ms"), (len(values) - 1, y[-1]), color=color,
                      xytext=(8, offset), textcoords="offset points")
    axes.set_yscale("log")
    axes.set_xticks(range(len(values)), [str(value) for value in values])
    axes.set(xlabel=label, ylabel="times as fast as naive" if is_speedup else "milliseconds",
             xlim=(-0.2, len(values) - 0.55))
    axes.grid(axis="y", color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=10)
    axes.legend(frameon=False, ncols=len(rows[0]), loc="upper left", bbox_to_anchor=(0, 1.08))
    figure.savefig(path, dpi=130)


def main():
    args = arguments()
    wanted = benchmark.environment(1, ["openblas"])
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable] + sys.argv, {**os.environ, **wanted})  # libraries read it once
    backend.set_threads(1)
    os.makedirs(args.out, exist_ok=True)
    about = benchmark.machine(1, ["openblas"])
    results = {"machine": about, "batch_size": args.batch_size, "figures": {}}
    for name in args.figure or FIGURES:
        label, values, rest = FIGURES[name]
        values = values[:args.limit]
        rows = [point(args.batch_size, rounds=args.rounds, **{ARGUMENT[name]: value}, **rest) for value in values]
        fixed = ", ".join("%s %d" % (WORDS[key], value) for key, value in rest.items())
        title = "one layer, batch %d, %s; %s, %s, 1 thread" % (args.batch_size, fixed, about["cpu"], about["isa"])
        is_speedup = name != "channels" and "naive" in rows[0]
        draw(os.path.join(args.out, name + ".png"), title, label, values, rows, is_speedup)
        results["figures"][name] = {"label": label, "values": values, "milliseconds": [
            {series: 1e3 * seconds for series, seconds in row.items()} for row in rows]}
        print(text_table([label] + ["%s ms" % series for series in rows[0]],
                         [[value] + ["%.4g" % (1e3 * s) for s in row.values()] for value, row in zip(values, rows)],
                         right=range(0, 1 + len(rows[0]))), end="\n\n", flush=True)
    with open(os.path.join(args.out, "figures.json"), "w") as file:
        json.dump(results, file, indent=2)


if __name__ == "__main__":
    main()
