"""Pretrained: networks with weights, by name, as index.json lists them.

A row of the index: name, format (who wrote the files: qnn, bmxnet, bnn-pynq), network and arguments (what makes the
symbol), data_shape, dataset, scale and mean of its pixels, accuracy, correct, total, sha256, bytes, command (what
trained it), source (where the files are, if not in the package), paper, classes (their names, where they are no
numbers), scores (what the outputs are: probability or score).
"""
import json
from pathlib import Path

import mxnet as mx
from qnn.converter.bnn_pynq import file_names, find_network
from qnn.converter.convert import load_source

import qnn
from qnn import checkpoint
from qnn.inference import Model

from . import store, weights
from .architectures import ARCHITECTURES, get_block, get_symbol

INDEX = Path(__file__).resolve().parent / "index.json"


def read_index(path=INDEX):
    """{name: row} of the pretrained networks."""
    return {row["name"]: row for row in json.loads(Path(path).read_text())}


def get_model_list():
    """Sorted names that get_model knows: architectures and pretrained networks."""
    return sorted(set(ARCHITECTURES) | set(read_index()))


def get_model(name, pretrained=None, root=None, ctx=None, packed=True, source=None, **arguments):
    """A network by name.

    pretrained=True (the default for names of pretrained networks): a qnn.inference.Model that is ready to predict;
    packed=True on packed bits, packed=False the training graph with weights of -1 and +1, to be fine-tuned or compared.
    Its files come from the package, from `root` (default: $QNN_HOME, ~/.mxnet/models), or from `source`, a folder or a
    URL, and then stay in root. pretrained=False: an architecture as a gluon block, of `arguments` such as num_classes,
    act_bit and weight_bit. Raises ValueError listing the known names; OSError, FileFormatError for files.
    """
    index = read_index()
    if name not in index and name not in ARCHITECTURES:
        raise ValueError("unknown model %r; known: %s" % (name, ", ".join(get_model_list())))
    if pretrained is None:
        pretrained = name in index
    if not pretrained:
        if name not in ARCHITECTURES:
            raise ValueError("%s is a pretrained network; its architecture is %s" % (name, index[name]["network"]))
        return get_block(name, **arguments)
    if name not in index:
        raise ValueError("there are no weights of %s; pretrained: %s" % (name, ", ".join(sorted(index))))
    if arguments:
        raise ValueError("%s: a pretrained network takes no argument %r" % (name, sorted(arguments)[0]))
    return load(index[name], store.fetch(index[name], files_of(index[name]), root, source), ctx, packed)


def files_of(row):
    """Names of the files of an index row."""
    if row["format"] == "bnn-pynq":
        return file_names(find_network(row["network"])) + ["classes.txt"]
    if row["format"] == "bmxnet":
        return [Path(path).name for path in checkpoint.paths(row["network"], row["epoch"])]
    return [row["name"] + ".params"]


def load(row, folder, ctx=None, packed=True):
    """The Model of an index row whose files are in `folder`."""
    symbol, args, auxs = _training_graph(row, Path(folder))
    if packed:
        symbol, args, auxs, _ = qnn.convert(symbol, args, auxs)
        args, auxs = ({key: value.asnumpy() for key, value in params.items()} for params in (args, auxs))
    labels = [key for key in symbol.list_arguments() if key not in args and key != "data"]
    return Model(symbol, args, auxs, labels=labels, source=row["name"], ctx=ctx)


def _training_graph(row, folder):
    if row["format"] == "qnn":
        symbol = get_symbol(row["network"], **row.get("arguments", {}))
        return (symbol, *weights.unpack(str(folder / files_of(row)[0]), symbol, row["data_shape"]))
    if row["format"] == "bmxnet":
        graph, args, auxs = load_source(str(folder / row["network"]), row["epoch"], "bmxnet")
    else:
        graph, args, auxs = load_source(str(folder), 0, "bnn-pynq", row["network"])
    return mx.sym.load_json(graph.to_json()), args, auxs
