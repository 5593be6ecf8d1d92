"""qnn demo: train, convert, run packed, compare, on data that comes with scikit-learn."""
import json

HELP = "train a small binary CNN on 8x8 digits, pack it, compare float, binary and packed (under two minutes)"
EXAMPLES = """
qnn demo                                   writes qnn-demo.png
qnn demo --figure out/demo.png --json
"""
NAMES = ("float", "binary", "packed")


def add_arguments(parser):
    parser.add_argument("--figure", default="qnn-demo.png", metavar="PNG",
                        help="where the figure goes; empty: no figure")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--model-prefix", metavar="PREFIX", help="save the trained binary network as a checkpoint")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args):
    from tqdm import tqdm

    import qnn
    from qnn import backend, datasets, demo
    from qnn.inference import Model

    models, curves = {}, {}
    with tqdm(total=2 * args.epochs, desc="train", unit="epoch", leave=False, disable=None) as progress:
        for name in ("float", "binary"):
            models[name], curves[name] = demo.train(name == "binary", args.epochs, progress)
    binary = models["binary"]
    if args.model_prefix:
        from qnn import checkpoint
        checkpoint.write(args.model_prefix, args.epochs, binary.symbol.tojson(), binary.arg_params, binary.aux_params)
    symbol, arg_params, aux_params, report = qnn.convert(binary.symbol, binary.arg_params, binary.aux_params)
    as_numpy = [{name: array.asnumpy() for name, array in params.items()} for params in (arg_params, aux_params)]
    models["packed"] = Model(symbol, *as_numpy, labels=binary.labels)

    images, labels = datasets.load("digits", split="test")
    scores = {name: model.predict(images) for name, model in models.items()}
    speeds = demo.measure(models, images)
    results = {name: {"accuracy": float((scores[name].argmax(1) == labels).mean()),
                      "bytes": demo.num_bytes(models[name]), "images_per_second": round(speeds[name])}
               for name in NAMES}
    differ = int((scores["binary"] != scores["packed"]).sum())
    if args.figure:
        from qnn.plots import demo_figure
        demo_figure(args.figure, results, curves)
    if args.json:
        print(json.dumps({"results": results, "different_outputs": differ, "isa": backend.isa(),
                          "threads": backend.threads(), "figure": args.figure}))
    else:
        print("%s\n" % report)
        _print_table(results, backend.isa(), backend.threads())
        print("\nbinary and packed: %s of %d outputs differ" % (differ or "none", scores["packed"].size))
        if args.figure:
            print("figure: %s" % args.figure)
    return 1 if differ else 0


def _print_table(results, isa, threads):
    print("%-8s %9s %12s %16s   (%s, %d threads)" % ("network", "accuracy", "bytes", "images/s", isa, threads))
    for name, row in results.items():
        print("%-8s %9.4f %12s %16s" % (name, row["accuracy"], "{:,}".format(row["bytes"]),
                                        "{:,}".format(row["images_per_second"])))
