"""The table of modulated networks: accuracy of one network with 1, 3, 7, 15 and 31 frames of bits an image.

    python examples/lut/modulation_table.py --network cnn --data ../shared/data/cifar10 --out out/modulation
    python examples/lut/modulation_table.py --network lut --data ../shared/data/mnist --limit 20000 --out out/modulation

cnn: BinaryBrain's CIFAR-10 network, signs between its layers (--width 16 for a quick look), and in real numbers;
lut: its 3,182 tables on MNIST. A row per modulation: validation accuracy by epoch, and the test accuracy of the best
epoch, at which the test set is looked at once. --out gets a training log per row and modulation.png. Interrupted, the
command goes on where it was. A frame costs as much as an image: 31 take 31 times as long as one.
"""
import argparse
import logging
import os
import sys

import qnn  # before mxnet: makes it import on numpy 1.24 and newer

# isort: split
import mxnet as mx
from qnn.model_zoo import lut_mnist
from qnn.model_zoo.modulated_cnn import modulated_cnn

from qnn import datasets
from qnn.distribution_plots import training_figure
from qnn.inference import Model
from qnn.training import fit, hold_out

DATASETS = {"cnn": "cifar10", "lut": "mnist"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--network", choices=sorted(DATASETS), default="cnn")
    parser.add_argument("--data", required=True, metavar="PATH", help="folder of CIFAR-10 (cnn) or MNIST (lut)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the logs, checkpoints and the figure")
    parser.add_argument("--modulations", type=int, nargs="+", default=(1, 3, 7, 15, 31), metavar="F")
    parser.add_argument("--width", type=int, default=64, help="filters of the first convolutions of cnn")
    parser.add_argument("--num-epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--validation", type=int, default=5000, metavar="N", help="the last N images choose the epoch")
    parser.add_argument("--limit", type=int, metavar="N", help="trains with N images only")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def networks(args):
    """{row: symbol}."""
    if args.network == "lut":
        return {"x%d" % frames: lut_mnist.simple(frames) for frames in args.modulations}
    binary = {"x%d" % frames: modulated_cnn(frames, args.width) for frames in args.modulations}
    return {"real": modulated_cnn(None, args.width), **binary}


def test_accuracy(symbol, parameters, images, labels):
    """Share of the images whose class is right."""
    model = Model(symbol, *parameters, labels=["softmax_label"])
    return float((model.classes(images, 250) == labels).mean())


def main():
    args = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    os.makedirs(args.out, exist_ok=True)
    dataset = DATASETS[args.network]
    train, validation = hold_out(*datasets.load(dataset, args.data, "train", scale=1 / 255), args.validation)
    test = datasets.load(dataset, args.data, "test", scale=1 / 255)
    logs = {}
    for row, symbol in networks(args).items():
        logging.info("%s %s", args.network, row)
        logs[row], *parameters = fit(
            symbol, tuple(part[:args.limit] for part in train), validation, qnn.losses.cross_entropy,
            lambda epoch: args.lr, args.num_epochs, args.batch_size, seed=args.seed,
            optimizer="lutadam" if args.network == "lut" else "adam",
            initializer=None if args.network == "lut" else mx.init.Xavier(),
            prefix=os.path.join(args.out, "%s-%s" % (args.network, row)),
            arguments={"width": args.width, "lr": args.lr}, progress=sys.stderr.isatty())
        accuracy = test_accuracy(symbol, parameters, *test)
        print("%-5s %s   test %.4f" % (row, " ".join("%.4f" % line["validation_accuracy"] for line in logs[row]),
                                       accuracy), flush=True)
    training_figure(os.path.join(args.out, "modulation.png"), logs)


if __name__ == "__main__":
    main()
