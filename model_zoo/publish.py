"""Publish: makes a pretrained network of a checkpoint: packs its weights, proves them, and writes the row of the index.

    python -m qnn.model_zoo.publish lenet_mnist_binary out/lenet 15 --network binary_lenet --dataset mnist \\
        --data mnist/ --command "python examples/mnist/train_lenet.py --network binary_lenet --num-epochs 15"

The packed file must give the outputs of the checkpoint, float for float, on the whole test set.
"""
import argparse
import json
from pathlib import Path

import numpy as np

from qnn import checkpoint, datasets
from qnn.evaluate import evaluate
from qnn.files import dump_params, write_atomically
from qnn.inference import Model

from . import store, weights
from .architectures import ARCHITECTURES, get_symbol
from .pretrained import INDEX, load, read_index

LIMIT = 2 << 20  # bytes that a file in the package may have


def publish(name, prefix, epoch, network, arguments, dataset, data, command, scale=None, mean=None, paper="",
            classes=None, folder=store.PACKAGED, index=INDEX):
    """Writes <folder>/<name>.params and the row `name` of the index; returns the row. Raises ValueError, OSError."""
    symbol, (_, args, auxs, *_) = get_symbol(network, **arguments), checkpoint.read(prefix, epoch)
    images, labels = datasets.load(dataset, data, "test", scale=scale, mean=mean)
    wanted = set(symbol.list_arguments()) - {"data"}
    missing = sorted(key for key in wanted - set(args) if not key.endswith("label"))
    if missing or set(args) - wanted:
        raise ValueError("%s: its parameters are not those of %s%r: %s" % (
            prefix, network, arguments, ", ".join(missing or sorted(set(args) - wanted))))
    path = Path(folder) / (name + ".params")
    content = dump_params(weights.pack(symbol, args, auxs))
    if len(content) > LIMIT:
        raise ValueError("%s has %d bytes, the package takes %d at most" % (path, len(content), LIMIT))
    row = {"name": name, "format": "qnn", "network": network, "arguments": arguments,
           "data_shape": list(images.shape[1:]), "dataset": dataset, "scale": scale, "mean": mean, "paper": paper,
           "classes": classes, "scores": "probability" if symbol.name == "softmax" else "score"}
    trained = Model(symbol, args, auxs, labels=sorted(wanted - set(args)))
    expected = trained.predict(images)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically({str(path): content})
    packed = load(row, path.parent)
    if not np.array_equal(expected, packed.predict(images), equal_nan=True):
        path.unlink()
        raise ValueError("%s: the packed network gives other outputs than the checkpoint %s" % (name, prefix))
    report = evaluate(packed, images, labels)
    row.update({key: report[key] for key in ("accuracy", "correct", "total")}, bytes=len(content),
               sha256=store.digest([path]), command=command, **speed(report))
    row = {key: value for key, value in row.items() if value not in (None, "", {})}
    rows = {**(read_index(index) if Path(index).exists() else {}), name: row}
    write_atomically({str(index): (json.dumps([rows[key] for key in sorted(rows)], indent=1) + "\n").encode()})
    return row


def speed(report):
    """The index' words for the speed of a qnn.evaluate report."""
    return {"images_per_second": round(report["images_per_second"]),
            "measured": "packed, threads=%(threads)d, %(isa)s" % report}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("prefix")
    parser.add_argument("epoch", type=int)
    parser.add_argument("--network", required=True, choices=sorted(ARCHITECTURES))
    parser.add_argument("--arguments", type=json.loads, default={}, help='of the network, as JSON: {"num_classes": 10}')
    parser.add_argument("--dataset", required=True, choices=datasets.NAMES)
    parser.add_argument("--data", help="where the data set is")
    parser.add_argument("--scale", type=float)
    parser.add_argument("--mean", type=float, nargs="+")
    parser.add_argument("--command", required=True, help="the command that trained it")
    parser.add_argument("--paper", default="")
    parser.add_argument("--classes", nargs="+", help="their names; default: numbers")
    print(json.dumps(publish(**vars(parser.parse_args(argv))), indent=1))


if __name__ == "__main__":
    main()
