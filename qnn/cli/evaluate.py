"""qnn evaluate: accuracy and speed of a checkpoint on a dataset."""
from .inputs import add_scaling

HELP = "accuracy and speed of a checkpoint, float or packed, on a dataset"
EXAMPLES = """
qnn evaluate lenet 10 --data mnist/
qnn evaluate resnet18-packed 0 --dataset cifar10 --data cifar10/ --limit 1000 --json
qnn evaluate net 5 --data images.npz --mean 123.68 116.28 103.53 --scale 0.017
"""


def add_arguments(parser):
    """Defines the arguments of `qnn evaluate`."""
    parser.add_argument("prefix", metavar="PREFIX", help="checkpoint: PREFIX-symbol.json and PREFIX-EPOCH.params")
    parser.add_argument("epoch", metavar="EPOCH", type=int, help="number of the parameter file")
    parser.add_argument("--dataset", choices=("mnist", "cifar10", "npz", "digits"), help="guessed from --data"
                        " if not given")
    parser.add_argument("--data", metavar="PATH", help="folder of mnist or cifar10, file of npz; not used by digits")
    parser.add_argument("--split", choices=("train", "test"), default="test", help="which part; npz has only one")
    parser.add_argument("--limit", metavar="N", type=int, help="only the first N images")
    parser.add_argument("--batch-size", metavar="N", type=int, default=64, help="images per forward pass")
    add_scaling(parser)
    parser.add_argument("--progress", action="store_true", help="show progress even where stderr is no terminal")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args):
    """Prints the report; returns 0."""
    import json
    import sys

    from .. import datasets, inference
    from ..evaluate import evaluate
    if args.batch_size < 1:
        raise ValueError("--batch-size is a number above 0, got %d" % args.batch_size)
    if args.data is None and args.dataset != "digits":
        raise ValueError("--data PATH says where the images are")
    model = inference.load(args.prefix, args.epoch)
    name = args.dataset or datasets.detect(args.data)
    images, labels = datasets.load(name, args.data, args.split, args.limit, args.scale, args.mean)
    report = {"network": args.prefix, "epoch": args.epoch, "dataset": name}
    report.update(evaluate(model, images, labels, args.batch_size, args.progress or sys.stderr.isatty()))
    print(json.dumps(report, indent=2) if args.json else describe(report))
    return 0


def describe(report):
    """The report as lines for people."""
    return "\n".join([
        "%(network)s, epoch %(epoch)d, on %(dataset)s" % report,
        "  accuracy  %(accuracy).4f  (%(correct)d of %(total)d)" % report,
        "  speed     %(images_per_second).1f images/s  (%(threads)d threads, %(isa)s)" % report])
