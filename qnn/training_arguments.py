"""Arguments that the trainings under examples/ share, and their common end: one look at the test set.

    parser = argparse.ArgumentParser(...); add_arguments(parser, num_epochs=60, lr=0.003)
    run(parser.parse_args(), symbol, "mnist", qnn.losses.squared_hinge, ...)
"""
import json
import logging
import sys

from . import __version__, datasets
from .inference import Model
from .training import best_epoch, exponential_decay, fit, hold_out

NOT_COMPARED = ("data", "model_prefix")  # a training may go on with other ones


def add_arguments(parser, batch_size, num_epochs, lr, lr_end, validation):
    """Adds --data, --model-prefix, --batch-size, --num-epochs, --lr, --lr-end, --validation, --limit and --seed."""
    parser.add_argument("--data", required=True, metavar="PATH", help="folder of the dataset")
    parser.add_argument("--model-prefix", metavar="PREFIX", help="writes PREFIX-EEEE.params of the best epoch, "
                        "PREFIX.jsonl and what it takes to go on when the command is repeated")
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--num-epochs", type=int, default=num_epochs)
    parser.add_argument("--lr", type=float, default=lr, help="learning rate of the first epoch")
    parser.add_argument("--lr-end", type=float, default=lr_end, help="where it decays to, exponentially by epoch")
    parser.add_argument("--validation", type=int, default=validation, metavar="N",
                        help="the last N training images choose the epoch")
    parser.add_argument("--limit", type=int, metavar="N", help="trains with N images only, for a quick look")
    parser.add_argument("--seed", type=int, default=1)


def run(args, symbol, dataset, loss, **options):
    """Trains on `dataset`, a part of which chooses the epoch; evaluates that on the test set; prints a line of JSON.

    loss: function of (scores, labels). options: further arguments of qnn.training.fit.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    (images, labels), validation = hold_out(*datasets.load(dataset, args.data, "train"), args.validation)
    compared = {key: value for key, value in vars(args).items() if key not in NOT_COMPARED}
    rows, arg_params, aux_params = fit(
        symbol, (images[:args.limit], labels[:args.limit]), validation, loss,
        options.pop("learning_rate", exponential_decay(args.lr, args.lr_end, args.num_epochs)), args.num_epochs,
        args.batch_size, seed=args.seed, prefix=args.model_prefix, arguments=compared, progress=sys.stderr.isatty(),
        **options)
    chosen = best_epoch(rows)
    network = options.get("inference_symbol", symbol)
    model = Model(network, arg_params, aux_params,
                  labels=[name for name in network.list_arguments() if name.endswith("label")])
    images, labels = datasets.load(dataset, args.data, "test")
    classes = model.classes(images, 250)
    print(json.dumps({
        "test_accuracy": float((classes == labels).mean()), "test_images": len(classes),
        "validation_accuracy": chosen["validation_accuracy"], "epoch": chosen["epoch"], "epochs": len(rows),
        "minutes": round(sum(row["seconds"] for row in rows) / 60, 2), "qnn": __version__,
        "checkpoint": None if args.model_prefix is None else "%s-%04d.params" % (args.model_prefix, chosen["epoch"])}))

