"""Convert: a trained graph with Q layers -> a graph whose Q layers run on packed bits, with the same numbers."""
import os

import numpy as np

from qnn import checkpoint
from qnn.graph import Graph

from .load_bmxnet import load_bmxnet
from .load_bnn_pynq import load_bnn_pynq
from .load_lut import table_nodes
from .model import Model
from .passes import FUSION, PACKING
from .passes.pack_luts import PackLuts
from .report import Report

SOURCES = ("mxnet", "bmxnet", "bnn-pynq")


def convert(symbol, arg_params, aux_params=None, is_fused=True, shape=None):
    """Packs the Q layers of a trained symbol.

    symbol: mx.sym.Symbol, or qnn.graph.Graph; arg_params, aux_params: {name: NDArray or numpy array}, as
    mx.model.load_checkpoint returns them. Returns (symbol, arg_params, aux_params, report) of the packed model, an
    ordinary MXNet model whose packed weights are int64 arrays; parameter names stay. Layers that cannot be packed
    (qnn/packing.py) stay as they are; the report lists them. is_fused=False keeps every packed layer by itself, between
    floats. shape: (C, H, W) of a sample, which convolutions of table layers need. Raises ValueError naming the layer
    when a parameter is missing or of another shape or dtype.
    """
    import mxnet as mx
    graph = symbol if isinstance(symbol, Graph) else Graph.from_json(symbol.tojson())
    model = run_passes(graph.copy(), _as_numpy(arg_params), _as_numpy(aux_params or {}), is_fused, shape=shape)
    args, auxs = model.used_params()
    return (mx.sym.load_json(model.graph.to_json()), {k: mx.nd.array(v, dtype=v.dtype) for k, v in args.items()},
            {k: mx.nd.array(v, dtype=v.dtype) for k, v in auxs.items()}, model.report)


def convert_checkpoint(prefix, epoch, out=None, source="mxnet", is_fused=True, observe=None, network=None,
                       shape=None):
    """Converts PREFIX-symbol.json and PREFIX-EPOCH.params into OUT-symbol.json and OUT-EPOCH.params.

    out: default "binarized_" + the name, in the folder of PREFIX. source, network: as load_source. is_fused, observe,
    shape: as run_passes. Both files are written, or none. Returns the report. Raises OSError, ValueError.
    """
    out = out or default_out(prefix)
    if os.path.abspath(out) == os.path.abspath(prefix):
        raise ValueError("convert: OUT is another prefix than PREFIX, got %r for both" % out)
    model = run_passes(*load_source(prefix, epoch, source, network), is_fused, observe, shape)
    model.report.files = save(model, out, epoch)
    return model.report


def save(model, out, epoch):
    """Writes OUT-symbol.json and OUT-EPOCH.params of a model between or behind passes; returns their paths. The folder
    of OUT is made where only that is missing."""
    folder = os.path.dirname(out)
    if folder and not os.path.exists(folder):
        os.mkdir(folder)
    return checkpoint.write(out, epoch, model.graph.to_json(), *model.used_params())


def default_out(prefix):
    """"binarized_" + the name, in the folder of PREFIX, as BMXNet's converter calls its files."""
    folder, name = os.path.split(prefix.rstrip(os.sep))
    return os.path.join(folder, "binarized_" + name)


def load_source(prefix, epoch, source="mxnet", network=None):
    """(graph, arg_params, aux_params) of a trained model in numpy, its packed weights unpacked to -1 and +1.

    source: "mxnet" or "bmxnet" (v1): a checkpoint; "bnn-pynq": PREFIX is a parameter folder, of the `network` of that
    name (converter/bnn_pynq.py). Raises OSError, ValueError naming the file.
    """
    if source not in SOURCES:
        raise ValueError("convert: source is one of %s, got %r" % (", ".join(SOURCES), source))
    if (network is not None) != (source == "bnn-pynq"):
        raise ValueError("convert: a network is named for bnn-pynq, and for nothing else; got source %s, network %s" % (
            source, network))
    if source == "bnn-pynq":
        return load_bnn_pynq(prefix, network)
    if source == "bmxnet":
        return load_bmxnet(*checkpoint.paths(prefix, epoch))
    symbol, args, auxs, _, _ = checkpoint.read(prefix, epoch)
    return Graph.from_json(symbol.tojson()), args, auxs


def run_passes(graph, args, auxs, is_fused=True, observe=None, shape=None):
    """Runs all passes in order on the graph (in place); returns the Model.

    is_fused=False leaves every packed layer alone between floats. observe(number, total, name, changes, model) is
    called behind every pass. shape: (C, H, W) of a sample, which convolutions of table layers need.
    """
    model = Model(graph, args, auxs, Report())
    model.sample_shape = shape
    model.report.total_before = sum(v.nbytes for params in model.used_params() for v in params.values())
    passes = [PackLuts] if table_nodes(graph) else PACKING + (FUSION if is_fused else [])
    for number, kind in enumerate(passes, 1):
        changes = kind().apply(model)
        if observe is not None:
            observe(number, len(passes), kind.name, changes, model)
    model.report.total_after = sum(v.nbytes for params in model.used_params() for v in params.values())
    return model


def _as_numpy(params):
    return {name: value if isinstance(value, np.ndarray) else value.asnumpy() for name, value in params.items()}
