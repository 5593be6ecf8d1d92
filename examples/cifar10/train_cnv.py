"""Trains CNV of BNN-PYNQ on CIFAR-10: float, binary, ternary (TWN), or with residual binarization.

    python examples/cifar10/train_cnv.py --data ../shared/data/cifar10 --weight-quantizer twn --model-prefix out/cnv-twn
    python examples/cifar10/train_cnv.py --data ../shared/data/cifar10 --residual isometric --levels 2 \\
        --model-prefix out/cnv-isometric2
    python examples/cifar10/train_cnv.py --data ../shared/data/cifar10 --weight-quantizer stochastic_binary \\
        --model-prefix out/cnv-stochastic
    qnn plot training out/cnv-twn.jsonl out/cnv-isometric2.jsonl -o curves.png

Squared hinge loss and Adam with a decaying learning rate, as BNN-PYNQ has it; images are mirrored and shifted by up to
4 pixels. Weights are clipped to -1..1, those of twn to -0.2..0.2. Stochastic weights are their signs in inference, for
which the statistics of BatchNorm are estimated anew. The last 5,000 training images choose the epoch; the test set is
looked at once, at the end. Interrupted, the command goes on where it was.
"""
import argparse

import qnn  # before mxnet: makes it import on numpy 1.24 and newer

# isort: split
import mxnet as mx
from qnn.model_zoo.cnv import cnv

from qnn.training import shift
from qnn.training_arguments import add_arguments, run

# name: quantizer of the weights. With sign alone activations are signs as well; with the others they are ReLUs.
QUANTIZERS = {"none": "identity", "sign": "sign", "binary": "deterministic_binary",
              "stochastic_binary": "stochastic_binary", "twn": "twn"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_arguments(parser, batch_size=50, num_epochs=40, lr=0.001, lr_end=1e-6, validation=5000)
    parser.add_argument("--weight-quantizer", choices=tuple(QUANTIZERS), default="sign",
                        help="sign: the binary network of BNN-PYNQ; the others with ReLUs between the layers")
    parser.add_argument("--residual", choices=("isometric", "rebnet"), help="quantizer of the activations instead")
    parser.add_argument("--levels", type=int, choices=(1, 2, 3, 4), default=2, help="signs per activation")
    parser.add_argument("--shift", type=int, default=4, help="largest shift of the training images; 0: not mirrored")
    args = parser.parse_args()
    quantizer = QUANTIZERS[args.weight_quantizer]
    is_binary, is_stochastic = quantizer not in ("identity", "twn"), quantizer == "stochastic_binary"
    act_quantizer = "%s(levels=%d)" % (args.residual, args.levels) if args.residual else (
        "sign" if quantizer == "sign" else None)
    clip = 0.2 if quantizer == "twn" else 1.0
    run(args, cnv(act_quantizer=act_quantizer, weight_quantizer=quantizer), "cifar10", qnn.losses.squared_hinge,
        optimizer="latent", clip=clip,
        optimizer_params={"weights": ".*_weight", "clip": clip, "scale": "glorot" if is_binary else None},
        initializer=mx.init.Uniform(1.0) if is_binary else mx.init.Xavier(),
        augment=shift(args.shift, mirror=True) if args.shift else None,
        inference_symbol=cnv(act_quantizer=act_quantizer,
                             weight_quantizer="deterministic_binary" if is_stochastic else quantizer),
        statistics=10000 if is_stochastic else 0)


if __name__ == "__main__":
    main()
