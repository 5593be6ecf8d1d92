"""Trains a network of look-up tables on MNIST: BinaryBrain's samples, or the compact one.

    python examples/lut/train_mnist.py --network simple --epochs 4 --data ../shared/data/mnist --model-prefix out/lut
    python examples/lut/train_mnist.py --network compact --nodes 1300 --epochs 24 --batch-size 200 --lr 0.015 \\
        --schedule cosine ... --model-prefix out/wiring
    python examples/lut/train_mnist.py --network compact --epochs 25 --batch-size 200 --lr 0.01 \\
        --schedule cosine ... --model-prefix out/compact --start out/wiring 24 --smooth --shift 0.3

The second and third command are one recipe: the first learns which pixels a table reads; the other keeps that, and
trains the tables alone, on images that move. The last 5,000 training images are the validation set; the test set is
looked at once, at the end. Checkpoints, with the optimizer's state, are written after every epoch; --load-epoch N goes
on from there. Progress is on stderr.
"""
import argparse
import functools
import logging
import os
import resource
import time

import numpy as np

import qnn  # before mxnet: makes it import on numpy 1.24 and newer

# isort: split
import mxnet as mx
from qnn.model_zoo import lut_mnist
from qnn.model_zoo.lut_compact import compact

from qnn import datasets
from qnn.lut import harden
from qnn.training import shift

VALIDATION = 5000
NETWORKS = {**lut_mnist.NETWORKS, "compact": compact}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--network", choices=sorted(NETWORKS), default="simple")
    parser.add_argument("--data", required=True, help="folder with the four idx files of MNIST")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--schedule", choices=("constant", "cosine"), default="constant",
                        help="cosine: down to a hundredth of --lr at the last epoch")
    parser.add_argument("--modulation", type=int, help="frames of bits a pixel; the sample's own by default")
    parser.add_argument("--nodes", type=int, default=1200, help="LUT6 of the compact network")
    parser.add_argument("--start", nargs=2, metavar=("PREFIX", "EPOCH"),
                        help="a checkpoint of the compact network: its tables, and its connections for good")
    parser.add_argument("--smooth", action="store_true", help="inputs of the compact network are 0.25 and 0.75")
    parser.add_argument("--shift", type=float, default=0.0, metavar="SHARE",
                        help="share of the images that move by a pixel along an axis")
    parser.add_argument("--model-prefix", help="checkpoints go to PREFIX-symbol.json and PREFIX-EPOCH.params")
    parser.add_argument("--load-epoch", type=int, help="goes on from this epoch's checkpoint")
    parser.add_argument("--disp-batches", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, help="takes this many training images only (for a quick look)")
    return parser.parse_args()


def network(args):
    """The symbol of --network with its options, and the parameters to start with, None without --start."""
    if args.network != "compact":
        return NETWORKS[args.network](**{} if args.modulation is None else {"modulation": args.modulation}), None, None
    if args.start is None:
        return compact(args.nodes, smooth=args.smooth), None, None
    symbol, arg_params, aux_params = mx.model.load_checkpoint(args.start[0], int(args.start[1]))
    _, arg_params, aux_params = harden(symbol, arg_params, aux_params)
    wiring = aux_params["lut1_connections"].asnumpy().astype(int).tolist()
    return compact(len(wiring), smooth=args.smooth, connection=wiring), arg_params, aux_params


class Moving(mx.io.NDArrayIter):
    """Batches of images that are moved by a pixel, anew in every epoch."""

    def __init__(self, share, *arguments, **options):
        self.move = shift(1, share)
        super().__init__(*arguments, **options)

    def getdata(self):
        return [mx.nd.array(self.move(super().getdata()[0].asnumpy(), np.random))]


def batches(args, images, labels, is_training=False):
    """Iterator of one split; an autoencoder's label is the image."""
    label = images if args.network == "autoencoder" else labels.astype(np.float32)
    kind = functools.partial(Moving, args.shift) if is_training and args.shift else mx.io.NDArrayIter
    return kind(images, label, args.batch_size, shuffle=is_training,
                last_batch_handle="discard" if is_training else "pad", label_name="softmax_label")


def fit(args, metric):
    """Trains and returns the module."""
    images, labels = datasets.mnist(args.data, "train")
    train, valid = slice(0, args.limit or -VALIDATION), slice(-VALIDATION, None)
    begin_epoch, steps = args.load_epoch or 0, len(images[train]) // args.batch_size
    options = {"learning_rate": args.lr}
    if args.schedule == "cosine":
        scheduler = mx.lr_scheduler.CosineScheduler(steps * args.epochs, base_lr=args.lr, final_lr=args.lr / 100)
        options.update(lr_scheduler=scheduler, begin_num_update=steps * begin_epoch)
    arg_params = aux_params = None
    if args.load_epoch is None:
        symbol, arg_params, aux_params = network(args)
        module = mx.mod.Module(symbol)
    else:
        module = mx.mod.Module.load(args.model_prefix, args.load_epoch, load_optimizer_states=True)
    checkpoint = mx.callback.module_checkpoint(module, args.model_prefix, save_optimizer_states=True)
    module.fit(batches(args, images[train], labels[train], is_training=True),
               eval_data=batches(args, images[valid], labels[valid]), eval_metric=metric, optimizer="lutadam",
               optimizer_params=options, arg_params=arg_params, aux_params=aux_params, begin_epoch=begin_epoch,
               num_epoch=args.epochs, kvstore=None,
               batch_end_callback=mx.callback.Speedometer(args.batch_size, args.disp_batches),
               epoch_end_callback=checkpoint if args.model_prefix else None)
    return module


def main():
    args = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if args.start and args.network != "compact":
        raise SystemExit("--start is for --network compact, whose connections are learned")
    if args.load_epoch is not None and not args.model_prefix:
        raise SystemExit("--load-epoch goes with --model-prefix: that is where the checkpoint lies")
    seed = args.seed + (args.load_epoch or 0)
    mx.random.seed(seed)
    np.random.seed(seed)
    if args.model_prefix:
        os.makedirs(os.path.dirname(os.path.abspath(args.model_prefix)), exist_ok=True)
    metric = "mse" if args.network == "autoencoder" else "acc"
    start = time.time()
    module = fit(args, metric)
    minutes = (time.time() - start) / 60
    name, value = module.score(batches(args, *datasets.mnist(args.data, "test")), metric)[0]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 20
    print("%s: test %s %.4f after %d epochs, %.1f minutes, peak memory %.2f GiB (qnn %s)"
          % (args.network, name, value, args.epochs, minutes, memory, qnn.__version__))


if __name__ == "__main__":
    main()
