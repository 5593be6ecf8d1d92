"""Trains LFC (or SFC) of BNN-PYNQ on binarized MNIST: 784-1024-1024-1024-10, 1-bit weights, 1- or 2-bit activations.

    python examples/mnist/train_lfc.py --data ../shared/data/mnist --act-bit 2 --model-prefix out/lfc-w1a2
    qnn convert out/lfc-w1a2 93 --verify ../shared/data/mnist          (93: the epoch that the last line names)
    python examples/mnist/train_lfc.py --data ../shared/data/mnist --num-epochs 60 --shift 1 --dropout 0.2 \\
        --input-dropout 0 --lr-end 3e-6 --model-prefix out/lfc

The recipe is BNN-PYNQ's: squared hinge loss, Adam with a learning rate that decays by epoch, steps of weights scaled by
Glorot's factor and clipped to -1..1, dropout of 0.2 in front and 0.5 inside. With --shift, images move by some pixels,
which takes the place of much dropout and of hundreds of epochs. The last 10,000 training images choose the epoch; the
test set is looked at once, at the end. Interrupted, the command goes on where it was.
"""
import argparse

import qnn  # before mxnet: makes it import on numpy 1.24 and newer

# isort: split
import mxnet as mx
from qnn.model_zoo.mlp import lfc

from qnn.training import shift
from qnn.training_arguments import add_arguments, run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_arguments(parser, batch_size=100, num_epochs=100, lr=0.003, lr_end=3e-7, validation=10000)
    parser.add_argument("--act-bit", type=int, choices=(1, 2), default=1)
    parser.add_argument("--weight-bit", type=int, choices=(1, 2), default=1)
    parser.add_argument("--num-hidden", type=int, default=1024, help="256 makes it SFC")
    parser.add_argument("--input-dropout", type=float, default=0.2)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--shift", type=int, default=0, help="largest shift of the training images, in pixels")
    args = parser.parse_args()
    network = dict(act_bit=args.act_bit, weight_bit=args.weight_bit, num_hidden=args.num_hidden)
    run(args, lfc(input_dropout=args.input_dropout, dropout=args.dropout, **network),
        "mnist", qnn.losses.squared_hinge, optimizer="latent",
        initializer=mx.init.Uniform(1.0), inference_symbol=lfc(**network),
        augment=shift(args.shift) if args.shift else None)


if __name__ == "__main__":
    main()
