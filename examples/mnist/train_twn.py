"""Trains the LeNet of Ternary Weight Networks on MNIST: every weight is -1, 0 or +1 times one scale per layer.

    python examples/mnist/train_twn.py --data ../shared/data/mnist --model-prefix out/twn
    qnn plot weights out/twn 31 -o weights.png                          (31: the epoch that the last line names)

The recipe is the paper's: SGD with momentum 0.9, weight decay 1e-4, learning rate 0.01, a tenth of it after 15,000,
25,000 and 30,000 batches of 50, and the pixels in 0..1. The last 5,000 training images choose the epoch; the test set
is looked at once, at the end. Interrupted, the command goes on where it was.
"""
import argparse

import qnn  # before mxnet: makes it import on numpy 1.24 and newer

# isort: split
from qnn.model_zoo.twn_lenet import twn_lenet

from qnn.training import step_decay
from qnn.training_arguments import add_arguments, run

STEPS = (15000, 25000, 30000)  # batches
IMAGES = 60000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_arguments(parser, batch_size=50, num_epochs=32, lr=0.01, lr_end=None, validation=5000)
    parser.add_argument("--weight-quantizer", default="twn", help="twn, ttq, ternary, identity ...")
    parser.add_argument("--act-quantizer", help='such as "quantized_relu(bits=2, limit=2.0)"; ReLU without')
    parser.add_argument("--wd", type=float, default=1e-4)
    args = parser.parse_args()
    batches = (args.limit or IMAGES - args.validation) // args.batch_size
    run(args, twn_lenet(weight_quantizer=args.weight_quantizer, act_quantizer=args.act_quantizer), "mnist",
        qnn.losses.cross_entropy, optimizer="sgd", optimizer_params={"momentum": 0.9, "wd": args.wd},
        learning_rate=step_decay(args.lr, 0.1, [step // batches for step in STEPS]))


if __name__ == "__main__":
    main()
