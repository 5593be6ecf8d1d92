"""Trains the float or the binary LeNet of the BMXNet paper on MNIST, with Module.fit and the flags of MXNet's
image-classification scripts.

    python examples/mnist/train_lenet.py --network binary_lenet --data ../shared/data/mnist --model-prefix out/lenet
    qnn convert out/lenet 15 --verify ../shared/data/mnist

The last 5,000 training images are the validation set; the test set is looked at once, at the end. A checkpoint is
written after every epoch; --load-epoch N goes on from there.
"""
import argparse
import logging
import os
import time

import numpy as np

import qnn  # before mxnet: makes it import on numpy 1.24 and newer

# isort: split
import mxnet as mx
from qnn.model_zoo.lenet import NETWORKS

from qnn import datasets
from qnn.training import hold_out

VALIDATION = 5000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--network", choices=sorted(NETWORKS), default="binary_lenet")
    parser.add_argument("--data", required=True, help="folder with the four idx files of MNIST")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--num-epochs", type=int, default=15)
    parser.add_argument("--lr", type=float, default=0.002)
    parser.add_argument("--lr-factor", type=float, default=0.2,
                        help="what --lr-step-epochs multiply the learning rate by")
    parser.add_argument("--lr-step-epochs", default="8,12,14")
    parser.add_argument("--optimizer", default="adam")
    parser.add_argument("--wd", type=float, default=0.0,
                        help="weight decay; 0 suits binary weights, whose size means nothing")
    parser.add_argument("--gpus", default="", help="list of GPUs, such as 0,1; empty: CPU")
    parser.add_argument("--kv-store", default="local")
    parser.add_argument("--model-prefix", help="checkpoints go to PREFIX-symbol.json and PREFIX-EPOCH.params")
    parser.add_argument("--load-epoch", type=int, help="goes on from this epoch's checkpoint")
    parser.add_argument("--disp-batches", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, help="takes this many training images only (for a quick look)")
    return parser.parse_args()


def learning_rate(args, images, begin_epoch):
    """(learning rate to begin with, scheduler of the rest)."""
    batches = -(-images // args.batch_size)
    epochs = [int(epoch) for epoch in args.lr_step_epochs.split(",") if epoch.strip()]
    lr = args.lr * args.lr_factor ** sum(epoch <= begin_epoch for epoch in epochs)
    steps = [batches * (epoch - begin_epoch) for epoch in epochs if epoch > begin_epoch]
    return lr, mx.lr_scheduler.MultiFactorScheduler(steps, args.lr_factor, base_lr=lr) if steps else None


def fit(args):
    """Trains and returns the module."""
    images, labels = datasets.mnist(args.data, "train")
    (images, labels), validation = hold_out(images, labels, VALIDATION)
    images, labels = images[:args.limit], labels[:args.limit]
    batches = mx.io.NDArrayIter(images, labels, args.batch_size, shuffle=True)
    valid_batches = mx.io.NDArrayIter(*validation, args.batch_size)
    devices = [mx.gpu(int(i)) for i in args.gpus.split(",")] if args.gpus else mx.cpu()
    symbol, arg_params, aux_params = NETWORKS[args.network](), None, None
    if args.load_epoch is not None:
        symbol, arg_params, aux_params = mx.model.load_checkpoint(args.model_prefix, args.load_epoch)
        symbol = qnn.recompose(symbol)
    begin_epoch = args.load_epoch or 0
    lr, scheduler = learning_rate(args, len(images), begin_epoch)
    options = {"learning_rate": lr, "wd": args.wd, "lr_scheduler": scheduler}
    if args.optimizer == "sgd":
        options["momentum"] = 0.9
    module = mx.mod.Module(symbol, context=devices)
    module.fit(batches, eval_data=valid_batches, eval_metric="acc", kvstore=args.kv_store, optimizer=args.optimizer,
               optimizer_params=options, initializer=mx.init.Xavier(magnitude=2.0), arg_params=arg_params,
               aux_params=aux_params, begin_epoch=begin_epoch, num_epoch=args.num_epochs,
               batch_end_callback=mx.callback.Speedometer(args.batch_size, args.disp_batches),
               epoch_end_callback=mx.callback.do_checkpoint(args.model_prefix) if args.model_prefix else None)
    return module


def main():
    args = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    mx.random.seed(args.seed)
    np.random.seed(args.seed)
    if args.model_prefix:
        os.makedirs(os.path.dirname(os.path.abspath(args.model_prefix)), exist_ok=True)
    start = time.time()
    module = fit(args)
    minutes = (time.time() - start) / 60
    test = mx.io.NDArrayIter(*datasets.mnist(args.data, "test"), batch_size=args.batch_size)
    accuracy = dict(module.score(test, "acc"))["accuracy"]
    print("%s: test accuracy %.4f after %d epochs, %.1f minutes (qnn %s)"
          % (args.network, accuracy, args.num_epochs, minutes, qnn.__version__))


if __name__ == "__main__":
    main()
