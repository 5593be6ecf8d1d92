"""qnn convert: packs a trained checkpoint."""
import json
import sys

from .inputs import add_scaling

HELP = "pack the quantized layers of a trained checkpoint"
EXAMPLES = """
qnn convert out/lenet 20                                   writes out/binarized_lenet-symbol.json and -0020.params
qnn convert out/lenet 20 -o out/packed --verify ../shared/data/mnist
qnn convert out/resnet18 120 --verify ../shared/data/cifar10 --mean 125.3 123 113.9 --scale 0.016
qnn convert --from bmxnet binarized_mnist_64bit 1 -o out/m64
qnn convert --from bnn-pynq bnn/params/mnist/lfcW1A1 --network lfcW1A1 -o out/lfc
"""


def add_arguments(parser):
    parser.add_argument("prefix", metavar="PREFIX", help="reads PREFIX-symbol.json and PREFIX-EPOCH.params; the folder "
                                                         "of parameters with --from bnn-pynq")
    parser.add_argument("epoch", metavar="EPOCH", type=int, nargs="?", help="0 with --from bnn-pynq")
    parser.add_argument("-o", "--out", metavar="OUT", help="prefix of the packed files (default: binarized_ + the "
                                                           "name, beside PREFIX)")
    parser.add_argument("--from", dest="source", choices=("mxnet", "bmxnet", "bnn-pynq"), default="mxnet",
                        help="who wrote PREFIX: MXNet with qnn; BMXNet v1 (32- and 64-bit words, packed or not); "
                             "BNN-PYNQ (*-weights.bin, *-thres.bin)")
    parser.add_argument("--network", metavar="NAME", help="of a BNN-PYNQ folder: lfcW1A1, lfcW1A2, cnvW1A1, cnvW1A2, "
                                                          "cnvW2A2, or a .json file with its geometry")
    parser.add_argument("--verify", metavar="DATA", help="runs both models on this data (mnist or cifar10 folder, npz "
                                                         "file, or the word digits) and compares them; exit status 1 "
                                                         "on any difference of classes")
    parser.add_argument("--dataset", choices=("mnist", "cifar10", "npz"), help="what DATA is (default: detected)")
    parser.add_argument("--limit", type=int, metavar="N", help="verify on the first N samples")
    parser.add_argument("--batch-size", type=int, default=64)
    add_scaling(parser)
    parser.add_argument("--shape", metavar="C,H,W", help="of a sample, where table layers convolve (default: of DATA)")
    parser.add_argument("--no-fuse", action="store_true", help="keep every packed layer by itself, between floats")
    parser.add_argument("--save-stages", metavar="DIR", help="write the graph behind every pass, and verify each")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")


def run(args):
    import os

    from qnn import datasets
    from qnn.converter.convert import convert_checkpoint, default_out, save
    from qnn.converter.verify import verify

    from .benchmark import image_shape

    if args.source == "bnn-pynq" and args.network is None:
        raise ValueError("--network NAME says which network the folder of BNN-PYNQ holds")
    if args.epoch is None and args.source != "bnn-pynq":
        raise ValueError("EPOCH says which parameter file of PREFIX is read")
    args.epoch = args.epoch or 0
    images, shape = None, args.shape and image_shape(args.shape)
    if args.verify:  # before anything is written
        name = "digits" if args.verify == "digits" else args.dataset or datasets.detect(args.verify)
        images, _ = datasets.load(name, args.verify, limit=args.limit, scale=args.scale, mean=args.mean)
        shape = shape or images.shape[1:]
    if args.save_stages:
        os.makedirs(args.save_stages, exist_ok=True)
    out, stages = args.out or default_out(args.prefix), []

    def observe(number, total, name, changes, model):
        print("[%d/%d] %s: %d" % (number, total, name, changes), file=sys.stderr)
        if args.save_stages:
            stages.append(os.path.join(args.save_stages, "%d_%s" % (number, name)))
            save(model, stages[-1], args.epoch)

    report = convert_checkpoint(args.prefix, args.epoch, out, args.source, not args.no_fuse, observe, args.network,
                                shape)
    if images is not None:
        for stage in stages:
            result = verify(args.prefix, args.epoch, stage, images, args.source, args.batch_size, network=args.network)
            print("%s: %d classes differ" % (stage, result["different_classes"]), file=sys.stderr)
            if result["different_classes"]:
                return 1
        report.verification = verify(args.prefix, args.epoch, out, images, args.source, args.batch_size,
                                     network=args.network)
    print(json.dumps(report.to_dict()) if args.json else "%s\nwritten: %s" % (report, ", ".join(report.files)))
    return 0 if report.is_equal else 1
