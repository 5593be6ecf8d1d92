"""Trains the MLP 784-1024-1024-1024-10 of BinaryConnect on MNIST: weights float, binary, or drawn by lot; dropout.

    python examples/mnist/train_mlp.py --data ../shared/data/mnist --weight-quantizer stochastic_binary \\
        --model-prefix out/stochastic
    qnn plot weights out/float 57 out/stochastic 60 -o weights.png

All variants clip their weights to -1..1. Stochastic weights are their signs in inference, for which the statistics of
BatchNorm are estimated anew: those of weights drawn by lot cost two points of accuracy. The last 10,000 training images
choose the epoch; the test set is looked at once, at the end. Interrupted, the command goes on where it was. The last
line of its output is JSON.
"""
import argparse

import qnn  # before mxnet: makes it import on numpy 1.24 and newer

# isort: split
import mxnet as mx
from qnn.model_zoo.mlp import mlp

from qnn.training_arguments import add_arguments, run

QUANTIZERS = {"none": None, "binary": "deterministic_binary", "stochastic_binary": "stochastic_binary"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_arguments(parser, batch_size=200, num_epochs=60, lr=0.003, lr_end=3e-6, validation=10000)
    parser.add_argument("--weight-quantizer", choices=sorted(QUANTIZERS), default="none")
    parser.add_argument("--dropout", type=float, default=0.0, help="share of hidden neurons, 0.5 for instance")
    parser.add_argument("--lr-scale", choices=("auto", "none", "glorot"), default="auto",
                        help="what steps of weights are multiplied by; auto: glorot for binary ones")
    args = parser.parse_args()
    quantizer = QUANTIZERS[args.weight_quantizer]
    is_stochastic = args.weight_quantizer == "stochastic_binary"
    is_scaled = args.lr_scale == "glorot" or args.lr_scale == "auto" and quantizer is not None
    run(args, mlp(weight_quantizer=quantizer, dropout=args.dropout), "mnist",
        qnn.losses.squared_hinge, optimizer="latent",
        optimizer_params={"weights": ".*_weight", "scale": "glorot" if is_scaled else None},
        initializer=mx.init.Uniform(1.0) if quantizer else mx.init.Xavier(),
        inference_symbol=mlp(weight_quantizer="deterministic_binary" if is_stochastic else quantizer),
        statistics=10000 if is_stochastic else 0)


if __name__ == "__main__":
    main()
