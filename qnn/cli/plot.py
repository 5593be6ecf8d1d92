"""qnn plot: figures of checkpoints and trainings: weights, activations, curves."""
import json
import os
import sys

from .inputs import add_scaling

HELP = "figures: distributions of weights and activations, curves of a training"
EXAMPLES = """
qnn plot weights out/mlp 20 -o weights.png
qnn plot weights out/plain 20 out/binary 18 -o weights.png --json
qnn plot activations out/lfc 40 --data mnist/ -o activations.png
qnn plot training out/plain.jsonl out/binary.jsonl -o curves.png
"""
KINDS = ("weights", "activations", "training")
FORMATS = (".png", ".pdf", ".svg")


def add_arguments(parser):
    """Defines the arguments of `qnn plot`."""
    parser.add_argument("kind", metavar="KIND", help="weights: a panel per layer, a row per network; activations: what "
                        "enters each quantizer; training: error and loss by epoch")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="PREFIX EPOCH of a checkpoint, several for weights; "
                        "for training, logs that the examples write")
    parser.add_argument("-o", "--out", metavar="FIG", help="where the figure goes: .png, .pdf, .svg; needs matplotlib")
    parser.add_argument("--clip", metavar="F", type=float, default=1.0, help="limit of the weights")
    parser.add_argument("--json", action="store_true", help="print the distributions as JSON")
    data = parser.add_argument_group("data for activations")
    data.add_argument("--data", metavar="PATH", help="folder of mnist or cifar10, file of npz; not used by digits")
    data.add_argument("--dataset", choices=("mnist", "cifar10", "npz", "digits"), help="guessed from --data if not "
                      "given")
    data.add_argument("--split", choices=("train", "test"), default="train", help="which part; npz has only one")
    data.add_argument("--limit", metavar="N", type=int, default=1000, help="the first N images")
    add_scaling(parser)


def run(args):
    """Prints a table or JSON, saves the figure; returns 0."""
    if args.kind not in KINDS:
        raise ValueError('unknown figure "%s"; known: %s' % (args.kind, ", ".join(KINDS)))
    if args.out is None and not args.json:
        raise ValueError("-o FIG says where the figure goes, --json prints its numbers")
    if args.out is not None and os.path.splitext(args.out)[1] not in FORMATS:
        raise ValueError("the figure is a .png, .pdf or .svg, got %s" % args.out)
    report = {"weights": weights, "activations": activations, "training": training}[args.kind](args)
    if args.out is not None:
        draw(args.out, report)
    if args.json:
        print(json.dumps(report))
    else:
        print(describe(report))
        print("figure: %s" % args.out)
    return 0


def checkpoints(inputs):
    """[(prefix, epoch)] of PREFIX EPOCH PREFIX EPOCH ..."""
    if len(inputs) % 2:
        raise ValueError("checkpoints are given as PREFIX EPOCH, got %s" % " ".join(inputs))
    pairs = list(zip(inputs[::2], inputs[1::2]))
    for prefix, epoch in pairs:
        if not epoch.isdigit():
            raise ValueError("the epoch of %s is a number, got %r" % (prefix, epoch))
    return [(prefix, int(epoch)) for prefix, epoch in pairs]


def weights(args):
    """The report of `qnn plot weights`."""
    from .. import checkpoint
    from ..distributions import weight_distributions
    networks = []
    for prefix, epoch in checkpoints(args.inputs):
        params = checkpoint.read(prefix, epoch)[1]
        try:
            layers = weight_distributions(params, args.clip)
        except ValueError as error:
            raise ValueError("%s: %s" % (checkpoint.paths(prefix, epoch)[1], error)) from None
        networks.append({"name": os.path.basename(prefix), "epoch": epoch, "clip": args.clip, "layers": layers})
    return {"kind": "weights", "networks": networks}


def activations(args):
    """The report of `qnn plot activations`."""
    from .. import datasets, inference
    from ..distributions import activation_distributions
    pairs = checkpoints(args.inputs)
    if len(pairs) > 1:
        raise ValueError("activations are plotted of one checkpoint, got %d" % len(pairs))
    if args.data is None and args.dataset != "digits":
        raise ValueError("--data PATH says where the images are")
    model = inference.load(*pairs[0])
    images, _ = datasets.load(args.dataset or datasets.detect(args.data), args.data, args.split, args.limit, args.scale,
                              args.mean)
    layers = activation_distributions(model, images, progress=sys.stderr.isatty())
    return {"kind": "activations", "name": os.path.basename(pairs[0][0]), "epoch": pairs[0][1], "images": len(images),
            "layers": layers}


def training(args):
    """The report of `qnn plot training`."""
    from ..training import read_log
    return {"kind": "training", "logs": {os.path.splitext(os.path.basename(path))[0]: read_log(path)
                                         for path in args.inputs}}


def draw(path, report):
    """Saves the figure of a report, whole or not at all."""
    import io

    from ..files import write_atomically
    try:
        from .. import distribution_plots
        form = os.path.splitext(path)[1][1:]
        figure = io.BytesIO()
        if report["kind"] == "weights":
            distribution_plots.weights_figure(figure, report["networks"], form)
        elif report["kind"] == "activations":
            distribution_plots.activations_figure(figure, report["name"], report["layers"], form)
        else:
            distribution_plots.training_figure(figure, report["logs"], form)
    except ImportError:
        raise ImportError("figures need matplotlib: pip install matplotlib, or use --json") from None
    write_atomically({path: figure.getvalue()})


def describe(report):
    """The report as a table for people."""
    from ..tables import text_table
    if report["kind"] == "weights":
        rows = [(network["name"], layer["name"], f"{layer['count']:,}", "%.4f" % layer["mean"], "%.4f" % layer["std"],
                 "%.2f %%" % (100 * layer["saturation"]))
                for network in report["networks"] for layer in network["layers"]]
        return text_table(("network", "weight", "count", "mean", "std", "at the clip"), rows, right=range(2, 6))
    if report["kind"] == "activations":
        rows = [(layer["name"], "%.3f" % layer["mean"], "%.3f" % layer["std"], "%.1f %%" % (100 * layer["positive"]),
                 "" if layer["no_gradient"] is None else "%.1f %%" % (100 * layer["no_gradient"]), layer["quantizer"])
                for layer in report["layers"]]
        return text_table(("enters", "mean", "std", ">= 0", "without gradient", "quantizer"), rows, right=range(1, 5))
    rows = [(name, len(log), "%.4f" % max(row["validation_accuracy"] for row in log),
             "%.4f" % log[-1]["validation_loss"]) for name, log in report["logs"].items()]
    return text_table(("training", "epochs", "best validation accuracy", "last loss"), rows, right=range(1, 4))
