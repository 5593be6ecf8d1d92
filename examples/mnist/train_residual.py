"""Trains an MLP 784-256-256-256-10 with residual binarization on MNIST: 1-bit weights, activations of 1 to 4 signs.

    python examples/mnist/train_residual.py --data ../shared/data/mnist --levels 2 --residual isometric \\
        --model-prefix out/isometric2
    qnn convert out/isometric2 88 --verify ../shared/data/mnist        (88: the epoch that the last line names)

The last 10,000 training images choose the epoch; the test set is looked at once, at the end. Interrupted, the command
goes on where it was.
"""
import argparse

import qnn  # before mxnet: makes it import on numpy 1.24 and newer

# isort: split
import mxnet as mx
from qnn.model_zoo.mlp import residual_mlp

from qnn.training_arguments import add_arguments, run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_arguments(parser, batch_size=100, num_epochs=100, lr=0.003, lr_end=3e-6, validation=10000)
    parser.add_argument("--levels", type=int, choices=(1, 2, 3, 4), default=2)
    parser.add_argument("--residual", choices=("isometric", "rebnet"), default="isometric")
    parser.add_argument("--input-bit", type=int, choices=(1, 8), default=8)
    args = parser.parse_args()
    run(args, residual_mlp(levels=args.levels, residual=args.residual, input_bit=args.input_bit),
        "mnist", qnn.losses.cross_entropy, optimizer="latent",
        initializer=mx.init.Uniform(1.0))


if __name__ == "__main__":
    main()
