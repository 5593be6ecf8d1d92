"""What the trainings of table networks share: arguments, epochs with checkpoints, and one look at the test set.

    main(__doc__, {"simple": modulated(simple)}, "simple", "mnist")           a whole script; see train_mnist.py

A network is a function of the arguments that gives a symbol, and parameters to start with or None.
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

from qnn import datasets
from qnn.training import hold_out, shift

VALIDATION = 5000
PRUNED_BY = 1000  # images
EVALUATED = 50  # images of a batch that is evaluated: all splits are multiples of it, so that none counts twice


def arguments(description, networks, default, add_arguments):
    """The command line."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--network", choices=sorted(networks), default=default)
    parser.add_argument("--data", required=True, help="folder of the dataset")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--schedule", choices=("constant", "cosine"), default="constant",
                        help="cosine: down to a hundredth of --lr at the last epoch")
    parser.add_argument("--modulation", type=int, help="frames of bits a pixel; the sample's own by default")
    parser.add_argument("--shift", type=float, default=0.0, metavar="SHARE",
                        help="share of the images that move by a pixel along an axis")
    parser.add_argument("--prune", type=float, metavar="LIMIT",
                        help="at last lets tables ignore inputs that change their bit for at most this share of what "
                        "they read; the checkpoint is PREFIX-pruned (qnn.lut.prune)")
    parser.add_argument("--model-prefix", help="checkpoints go to PREFIX-symbol.json and PREFIX-EPOCH.params")
    parser.add_argument("--load-epoch", type=int, help="goes on from this epoch's checkpoint")
    parser.add_argument("--disp-batches", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, help="takes this many training images only (for a quick look)")
    if add_arguments:
        add_arguments(parser)
    return parser.parse_args()


def modulated(make):
    """The network of a function of the number of frames, from scratch."""
    return lambda args: (make(**{} if args.modulation is None else {"modulation": args.modulation}), None, None)


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
    if not is_training:
        return mx.io.NDArrayIter(images, label, EVALUATED, label_name="softmax_label")
    kind = functools.partial(Moving, args.shift) if args.shift else mx.io.NDArrayIter
    return kind(images, label, args.batch_size, shuffle=True, last_batch_handle="discard", label_name="softmax_label")


def fit(args, network, images, labels, metric):
    """Trains; returns the module, which runs the fused symbol, and the symbol. network: see the module."""
    (images, labels), validation = hold_out(images, labels, VALIDATION)
    images, labels = images[:args.limit], labels[:args.limit]
    begin_epoch, steps = args.load_epoch or 0, len(images) // args.batch_size
    options = {"learning_rate": args.lr}
    if args.schedule == "cosine":
        scheduler = mx.lr_scheduler.CosineScheduler(steps * args.epochs, base_lr=args.lr, final_lr=args.lr / 100)
        options.update(lr_scheduler=scheduler, begin_num_update=steps * begin_epoch)
    if args.load_epoch is None:
        symbol, arg_params, aux_params = network(args)
    else:
        symbol, arg_params, aux_params = mx.model.load_checkpoint(args.model_prefix, args.load_epoch)
    module = mx.mod.Module(qnn.lut.fuse(symbol))
    if args.load_epoch is not None:
        module._preload_opt_states = "%s-%04d.states" % (args.model_prefix, args.load_epoch)  # as Module.load does

    def checkpoint(epoch, _, arg_params, aux_params):
        mx.model.save_checkpoint(args.model_prefix, epoch + 1, symbol, arg_params, aux_params)
        module.save_optimizer_states("%s-%04d.states" % (args.model_prefix, epoch + 1))

    module.fit(batches(args, images, labels, is_training=True),
               eval_data=batches(args, *validation), eval_metric=metric, optimizer="lutadam",
               optimizer_params=options, arg_params=arg_params, aux_params=aux_params, begin_epoch=begin_epoch,
               num_epoch=args.epochs, kvstore=None,
               batch_end_callback=mx.callback.Speedometer(args.batch_size, args.disp_batches),
               epoch_end_callback=checkpoint if args.model_prefix else None)
    return module, symbol


def prune(args, module, symbol, images):
    """Prunes the network of a trained module by some of its training images."""
    params, report = qnn.lut.prune(symbol, *module.get_params(), images[:PRUNED_BY], args.prune)
    module.set_params(params, module.get_params()[1])
    for name, row in report.items():
        logging.info("pruned %s: %d of %d inputs, %.2f %% of the bits", name, row["dropped"], row["inputs"],
                     100 * row["changed"])
    if args.model_prefix:
        mx.model.save_checkpoint(args.model_prefix + "-pruned", args.epochs, symbol, *module.get_params())


def main(description, networks, default, dataset, add_arguments=None):
    """A training script. networks: {name: network}; dataset: a name of qnn.datasets; add_arguments: more options."""
    args = arguments(description, networks, default, add_arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if args.load_epoch is not None and not args.model_prefix:
        raise SystemExit("--load-epoch goes with --model-prefix: that is where the checkpoint lies")
    seed = args.seed + (args.load_epoch or 0)
    mx.random.seed(seed)
    np.random.seed(seed)
    if args.model_prefix:
        os.makedirs(os.path.dirname(os.path.abspath(args.model_prefix)), exist_ok=True)
    metric = "mse" if args.network == "autoencoder" else "acc"
    start = time.time()
    images, labels = datasets.load(dataset, args.data, "train", scale=1 / 255)
    module, symbol = fit(args, networks[args.network], images, labels, metric)
    if args.prune is not None:
        prune(args, module, symbol, images)
    minutes = (time.time() - start) / 60
    name, value = module.score(batches(args, *datasets.load(dataset, args.data, "test", scale=1 / 255)), metric)[0]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 20
    print("%s: test %s %.4f after %d epochs, %.1f minutes, peak memory %.2f GiB (qnn %s)"
          % (args.network, name, value, args.epochs, minutes, memory, qnn.__version__))
