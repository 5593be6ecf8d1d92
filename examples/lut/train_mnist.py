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
import qnn  # before mxnet: makes it import on numpy 1.24 and newer

# isort: split
import mxnet as mx
from qnn.model_zoo import lut_mnist
from qnn.model_zoo.lut_compact import compact
from table_training import main, modulated


def add_arguments(parser):
    """Options of the compact network."""
    parser.add_argument("--nodes", type=int, default=1200, help="LUT6 of the compact network")
    parser.add_argument("--start", nargs=2, metavar=("PREFIX", "EPOCH"),
                        help="a checkpoint of the compact network: its tables, and its connections for good")
    parser.add_argument("--smooth", action="store_true", help="inputs of the compact network are 0.25 and 0.75")


def compact_network(args):
    """The symbol, and the parameters of --start with its connections hardened."""
    if args.start is None:
        return compact(args.nodes, smooth=args.smooth), None, None
    symbol, arg_params, aux_params = mx.model.load_checkpoint(args.start[0], int(args.start[1]))
    if "lut1_connections" not in aux_params:
        raise SystemExit("--start takes a checkpoint of the compact network; %s, epoch %s, is of another one"
                         % tuple(args.start))
    _, arg_params, aux_params = qnn.lut.harden(symbol, arg_params, aux_params)
    wiring = aux_params["lut1_connections"].asnumpy().astype(int).tolist()
    return compact(len(wiring), smooth=args.smooth, connection=wiring), arg_params, aux_params


def sample(make):
    """One of BinaryBrain's networks, from scratch."""
    def network(args):
        if args.start:
            raise SystemExit("--start is for --network compact, whose connections are learned")
        return modulated(make)(args)
    return network


if __name__ == "__main__":
    main(__doc__, {"compact": compact_network, **{name: sample(make) for name, make in lut_mnist.NETWORKS.items()}},
         "simple", "mnist", add_arguments)
