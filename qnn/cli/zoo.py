"""qnn zoo: pretrained networks and architectures."""
import json
import sys

HELP = "pretrained networks: list them, show one, run it on images, evaluate it, fetch it"
EXAMPLES = """
qnn zoo list
qnn zoo run lenet_mnist_binary digit.png           five likeliest classes; --invert for dark digits on white
qnn zoo evaluate lenet_mnist_binary --data mnist/
qnn zoo fetch lfc_mnist_w1a1 --source bnn/params/mnist/lfcW1A1
"""
ACTIONS = {"list": "all networks", "show": "what is known of NAME, and what its layers cost",
           "run": "classes of PNG and JPEG files", "evaluate": "accuracy on a test set",
           "fetch": "copy or download the files of NAME into the cache, and check them"}


def add_arguments(parser):
    """Defines the arguments of `qnn zoo`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in ACTIONS.items():
        sub = actions.add_parser(name, help=text, description=text[:1].upper() + text[1:] + ".")
        if name != "list":
            sub.add_argument("name", metavar="NAME")
            sub.add_argument("--root", metavar="DIR", help="the cache (default: $QNN_HOME, else ~/.mxnet/models)")
            sub.add_argument("--source", metavar="PLACE", help="folder, or URL (file:, http:, https:), that has the "
                                                               "files (default: where they were published)")
        if name in ("run", "evaluate"):
            sub.add_argument("--float", dest="is_float", action="store_true", help="run the training graph in place of "
                                                                                  "packed bits")
        if name == "run":
            sub.add_argument("images", metavar="IMAGE", nargs="+")
            sub.add_argument("--invert", action="store_true", help="255 - pixel first")
        if name == "evaluate":
            sub.add_argument("--data", metavar="PATH", help="the data set's folder or file; not used by digits")
            sub.add_argument("--limit", metavar="N", type=int, help="only the first N images")
            sub.add_argument("--batch-size", metavar="N", type=int, default=64)
        sub.add_argument("--json", action="store_true", help="print JSON")


def run(args):
    """Does what ACTION says; returns 0."""
    actions = {"list": _list, "show": _show, "run": _run, "evaluate": _evaluate, "fetch": _fetch}
    report, text = actions[args.action](args)
    print(json.dumps(report, indent=1) if args.json else text)
    return 0


def _row(name):
    from qnn.model_zoo.pretrained import read_index
    index = read_index()
    if name not in index:
        raise ValueError("unknown pretrained network %r; known: %s" % (name, ", ".join(sorted(index))))
    return index[name]


def _list(args):
    from qnn.model_zoo.architectures import ARCHITECTURES
    from qnn.model_zoo.pretrained import files_of, read_index
    from qnn.model_zoo.store import PACKAGED
    from qnn.tables import text_table
    rows = list(read_index().values())
    for row in rows:
        row["is_packaged"] = all((PACKAGED / name).exists() for name in files_of(row))
    report = {"pretrained": rows, "architectures": {name: list(a.data_shape) for name, a in ARCHITECTURES.items()}}
    cells = [(row["name"], row["dataset"], _accuracy(row), "{:,}".format(row["bytes"]),
              "{:,}".format(row["images_per_second"]) if "images_per_second" in row else "-",
              "here" if row["is_packaged"] else "fetch") for row in rows]
    text = text_table(("pretrained", "data", "accuracy", "bytes", "images/s", "weights"), cells, right=(2, 3, 4))
    shapes = [(name, "x".join(map(str, a.data_shape))) for name, a in sorted(ARCHITECTURES.items())]
    return report, text + "\n\n" + text_table(("architecture", "data"), shapes)


def _accuracy(row):
    return "%.4f" % row["accuracy"] if row.get("accuracy") is not None else "-"


def _model(args):
    """(row, Model) of NAME, fetched where it must be."""
    from qnn.model_zoo.pretrained import load
    row = _row(args.name)
    return row, load(row, _fetched(args, row), packed=not getattr(args, "is_float", False))


def _fetched(args, row):
    from tqdm import tqdm

    from qnn.model_zoo.pretrained import files_of
    from qnn.model_zoo.store import fetch
    names = files_of(row)
    with tqdm(total=len(names), desc=row["name"], unit="file", leave=False, disable=None, file=sys.stderr) as bar:
        return fetch(row, names, args.root, args.source, bar.update)


def _show(args):
    from qnn.summary import profile
    args.is_float = True
    row, model = _model(args)
    costs = profile(model.symbol, {model.data: (1, *row["data_shape"])}, model.params)
    report = {**row, "summary": costs.to_dict()}
    names = [key for key in ("dataset", "accuracy", "correct", "total", "data_shape", "bytes", "sha256",
                             "images_per_second", "measured", "network", "arguments", "paper", "command", "source")
             if row.get(key) not in (None, "", {})]
    lines = [row["name"]] + ["  %-17s %s" % (key, row[key]) for key in names]
    return report, "\n".join(lines) + "\n\n%s" % costs


def _run(args):
    import numpy as np

    from qnn.model_zoo.images import load_image
    row, model = _model(args)
    images = np.concatenate([load_image(path, row, args.invert) for path in args.images])
    report, lines = [], []
    for path, scores in zip(args.images, model.predict(images)):
        names = row.get("classes") or [str(index) for index in range(len(scores))]
        best = [{"class": names[index], "index": int(index), row["scores"]: float(scores[index])}
                for index in np.argsort(-scores, kind="stable")[:5]]
        report.append({"image": path, "top5": best})
        lines.append(path)
        lines += ["  %8.4f  %s" % (one[row["scores"]], one["class"]) for one in best]
    return report, "\n".join(lines)


def _evaluate(args):
    from qnn import datasets
    from qnn.cli.evaluate import describe
    from qnn.evaluate import evaluate
    if args.batch_size < 1:
        raise ValueError("--batch-size is a number above 0, got %d" % args.batch_size)
    row, model = _model(args)
    name = datasets.detect(args.data) if args.data and row["dataset"] != "digits" else row["dataset"]
    images, labels = datasets.load(name, args.data, "test", args.limit, row.get("scale"), row.get("mean"))
    report = {"network": row["name"], "epoch": 0, "dataset": name}
    report.update(evaluate(model, images, labels, args.batch_size, sys.stderr.isatty()))
    return report, describe(report)


def _fetch(args):
    row = _row(args.name)
    folder = str(_fetched(args, row))
    return {"name": row["name"], "folder": folder, "sha256": row["sha256"]}, folder
