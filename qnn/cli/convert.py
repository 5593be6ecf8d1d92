"""qnn convert: packs a trained checkpoint."""
import json

HELP = "pack the 1-bit layers of a trained checkpoint"
EXAMPLES = """
qnn convert out/lenet 20                                   writes out/binarized_lenet-symbol.json and -0020.params
qnn convert out/lenet 20 -o out/packed --verify ../shared/data/mnist
qnn convert --from bmxnet binarized_mnist_64bit 1 -o out/m64
"""


def add_arguments(parser):
    parser.add_argument("prefix", metavar="PREFIX", help="reads PREFIX-symbol.json and PREFIX-EPOCH.params")
    parser.add_argument("epoch", metavar="EPOCH", type=int)
    parser.add_argument("-o", "--out", metavar="OUT", help="prefix of the packed files (default: binarized_ + the "
                                                           "name, beside PREFIX)")
    parser.add_argument("--from", dest="source", choices=("mxnet", "bmxnet"), default="mxnet",
                        help="who wrote PREFIX: MXNet with qnn, or BMXNet v1 (32- and 64-bit words, packed or not)")
    parser.add_argument("--verify", metavar="DATA", help="runs both models on this data (mnist or cifar10 folder, npz "
                                                         "file, or the word digits) and compares them; exit status 1 "
                                                         "on any difference of classes")
    parser.add_argument("--dataset", choices=("mnist", "cifar10", "npz"), help="what DATA is (default: detected)")
    parser.add_argument("--limit", type=int, metavar="N", help="verify on the first N samples")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")


def run(args):
    from qnn import datasets
    from qnn.converter.convert import convert_checkpoint, default_out
    from qnn.converter.verify import verify

    images = None
    if args.verify:  # before anything is written
        name = "digits" if args.verify == "digits" else args.dataset or datasets.detect(args.verify)
        images, _ = datasets.load(name, args.verify, limit=args.limit)
    out = args.out or default_out(args.prefix)
    report = convert_checkpoint(args.prefix, args.epoch, out, args.source)
    if images is not None:
        report.verification = verify(args.prefix, args.epoch, out, images, args.source, args.batch_size)
    print(json.dumps(report.to_dict()) if args.json else "%s\nwritten: %s" % (report, ", ".join(report.files)))
    return 0 if report.is_equal else 1
