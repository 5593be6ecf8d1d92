"""Trains CNV of BNN-PYNQ on CIFAR-10: binary, ternary (TWN), or with residual binarization.

    python examples/cifar10/train_cnv.py --data ../shared/data/cifar10 --weight-quantizer twn --model-prefix out/cnv-twn
    python examples/cifar10/train_cnv.py --data ../shared/data/cifar10 --residual isometric --levels 2 \\
        --model-prefix out/cnv-isometric2
    qnn plot training out/cnv-twn.jsonl out/cnv-isometric2.jsonl -o curves.png

Squared hinge loss and Adam with a decaying learning rate, as BNN-PYNQ has it; images are mirrored and shifted by up to
4 pixels. Latent weights are clipped to -1..1 (binary) or -0.2..0.2 (twn). The last 5,000 training images choose the
epoch; the test set is looked at once, at the end. Interrupted, the command goes on where it was.
"""
import argparse

import qnn  # before mxnet: makes it import on numpy 1.24 and newer

# isort: split
import mxnet as mx
from qnn.model_zoo.cnv import cnv

from qnn.training import shift
from qnn.training_arguments import add_arguments, run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_arguments(parser, batch_size=50, num_epochs=40, lr=0.001, lr_end=1e-6, validation=5000)
    parser.add_argument("--weight-quantizer", choices=("sign", "twn"), default="sign")
    parser.add_argument("--residual", choices=("isometric", "rebnet"), help="quantizer of the activations; without: "
                        "ReLU for twn, sign for binary weights")
    parser.add_argument("--levels", type=int, choices=(1, 2, 3, 4), default=2, help="signs per activation")
    parser.add_argument("--shift", type=int, default=4, help="largest shift of the training images; 0: not mirrored")
    args = parser.parse_args()
    is_ternary = args.weight_quantizer == "twn"
    act_quantizer = "%s(levels=%d)" % (args.residual, args.levels) if args.residual else None if is_ternary else "sign"
    clip = 0.2 if is_ternary else 1.0
    run(args, cnv(act_quantizer=act_quantizer, weight_quantizer=args.weight_quantizer),
        "cifar10", qnn.losses.squared_hinge, optimizer="latent",
        optimizer_params={"clip": clip, "scale": None if is_ternary else "glorot"}, clip=clip,
        initializer=mx.init.Xavier() if is_ternary else mx.init.Uniform(1.0),
        augment=shift(args.shift, mirror=True) if args.shift else None)


if __name__ == "__main__":
    main()
