"""Distributions: histograms of weights, and of what enters each quantizer; plain dicts, for JSON and figures.

    {"name", "count", "mean", "std", "min", "max", "edges": [bins + 1], "counts": [bins], ...}

weights have "saturation", the share with |w| >= clip; for activations see activation_distributions.
"""
import mxnet as mx
import numpy as np

from . import ndarray
from .graph import Graph, entrances
from .inference import Model, as_samples

BINS = 80
POINTS = 4001  # at which a quantizer is looked at, to find where its value changes


def weight_distributions(params, clip=1.0, bins=BINS):
    """One distribution for each layer's weight and bias: [{..., "bias": distribution or None}], in the order of params.

    params: {name: array}; names ending in _weight are layers, those ending in _bias their biases. Packed weights
    (integers) raise ValueError: their latent values are gone.
    """
    if not clip > 0:
        raise ValueError("clip is a number above 0, got %r" % (clip,))
    layers = []
    for name, weight in params.items():
        if name.endswith("_weight"):
            if not np.issubdtype(weight.dtype, np.floating):
                raise ValueError("parameter '%s' is packed (%s): plot the checkpoint it was converted from"
                                 % (name, weight.dtype))
            bias = params.get(name[:-len("weight")] + "bias")
            layers.append({**distribution(name, weight, clip, (-clip, clip), bins),
                           "bias": None if bias is None else distribution(name[:-len("weight")] + "bias", bias, clip,
                                                                          None, bins)})
    if not layers:
        raise ValueError("no parameter is called *_weight")
    return layers


def distribution(name, values, clip, limits=None, bins=BINS):
    """Distribution of one array; the histogram spans `limits`, widened to all that is finite in `values`."""
    values = np.asarray(values, np.float64).ravel()
    finite = values[np.isfinite(values)]
    if not len(finite):
        raise ValueError("parameter '%s' has no finite value" % name)
    edges = np.linspace(*_span(finite, limits), bins + 1)
    return {"name": name, "count": len(values), "mean": float(finite.mean()), "std": float(finite.std()),
            "min": float(finite.min()), "max": float(finite.max()), "not_finite": len(values) - len(finite),
            "saturation": float(np.mean(np.abs(values) >= np.float32(clip))), "edges": edges.tolist(),
            "counts": np.histogram(finite, edges)[0].tolist()}


def _span(finite, limits):
    low, high = limits or (np.inf, -np.inf)
    if len(finite):
        low, high = min(low, finite.min()), max(high, finite.max())
    return (low, high) if low < high else (low - 0.5, low + 0.5)


def quantized_entries(symbol):
    """[(node, entry)] of the Q layers and QActivations that quantize their data, and what they quantize, in graph
    order, each entry once."""
    found = {}
    for node in Graph.from_json(symbol.tojson()).nodes():
        marks = node.attrs
        if "__qnn_op__" in marks and (marks["__qnn_act_bit__"] != "32" or _is_function(marks)):
            found.setdefault(entrances(node)["data"].inputs[0], node)
    return [(node, entry) for entry, node in found.items()]


def _is_function(marks):
    return marks.get("__qnn_act_quantizer__", "").startswith("function")


def activation_distributions(model, images, batch_size=64, bins=BINS, progress=False):
    """Distributions of what enters each quantizer of `model` (qnn.inference.Model), exactly, over all of `images`: one
    run finds the limits, a second one counts.

    Adds "positive": share of values >= 0; "quantizer": text; "no_gradient": share of values through which no gradient
    passes back; "window": limits of the others; "thresholds": where the quantized value changes ("quantizer" a function
    of the user's: None for these, as a saved graph holds its name only). Raises ValueError where nothing is quantized.
    """
    found = quantized_entries(model.symbol)
    if not found:
        raise ValueError("no layer of the network quantizes its data%s" % (
            ": it is packed; plot the checkpoint it was converted from" if model.is_packed else ""))
    images = as_samples(images)
    symbol = mx.sym.Group([_probe(model.symbol, entry) for _, entry in found])
    wanted = set(symbol.list_inputs())
    args, auxs = ({name: array for name, array in params.items() if name in wanted}
                  for params in (model.arg_params, model.aux_params))
    probe = Model(symbol, args, auxs, data=model.data, source=model.source, ctx=model.ctx)
    merged = [_Merged(node, model, bins) for node, _ in found]
    for method in ("look", "count"):
        for begin in _steps(range(0, len(images), batch_size), progress):
            for part, values in zip(merged, _outputs(probe, images[begin:begin + batch_size])):
                getattr(part, method)(values)
    return [part.to_dict() for part in merged]


def _probe(symbol, entry):
    node, index = entry
    outputs = [output for output in symbol.get_internals() if output.name == node.name]
    return mx.sym.identity(outputs[index])


def _outputs(model, batch):
    executor = model.bind(batch.shape)
    executor.arg_dict[model.data][:] = batch
    return [output.asnumpy() for output in executor.forward(is_train=False)]


def _steps(begins, progress):
    if not progress:
        return begins
    from tqdm import tqdm
    return tqdm(begins, unit="batch", desc="activations", leave=False)


def quantizer_of(node, params):
    """The data quantizer of a Q layer's last node as a function: float32 array -> (values, dvalues/dx); None for a
    function of the user's. params: {name: array} of the network."""
    marks = node.attrs
    if _is_function(marks):
        return None
    given = {role: params[entry.inputs[0][0].name] for role, entry in entrances(node).items() if role == "act_gamma"}
    options = {"act_bit": int(marks["__qnn_act_bit__"]), "grad_clip": float(marks["__qnn_grad_clip__"])}
    if "__qnn_act_quantizer__" in marks:
        options = {"quantizer": marks["__qnn_act_quantizer__"]}
    if given:
        options["gamma"] = mx.nd.array(given["act_gamma"])

    def quantize(values):
        x = mx.nd.array(values, dtype="float32")
        x.attach_grad()
        with mx.autograd.record(train_mode=False):
            y = ndarray.QActivation(x, **options)
        y.backward()
        return y.asnumpy(), x.grad.asnumpy()
    return quantize


class _Merged:
    """The distribution of what enters one quantizer, from parts."""

    def __init__(self, node, model, bins):
        self.node, self.quantize = node, quantizer_of(node, model.params)
        self.low, self.high, self.edges = np.inf, -np.inf, None
        self.counts = np.zeros(bins, np.int64)
        self.total = np.zeros(5)  # count, sum, sum of squares, values >= 0, values without gradient

    def look(self, values):
        if not np.isfinite(values).all():
            raise ValueError("what enters '%s' is not finite" % self.node.name)
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))

    def count(self, values):
        if self.edges is None:
            self.edges = np.linspace(*_span([], (self.low, self.high)), len(self.counts) + 1)
        self.counts += np.histogram(values, self.edges)[0]
        stopped = 0 if self.quantize is None else (self.quantize(values)[1] == 0).sum()
        self.total += (values.size, values.sum(dtype=np.float64), np.square(values, dtype=np.float64).sum(),
                       (values >= 0).sum(), stopped)

    def to_dict(self):
        count = self.total[0]
        mean, square, positive, stopped = (self.total[1:] / count).tolist()
        result = {"name": self.node.name, "count": int(count), "mean": mean, "std": max(square - mean ** 2, 0) ** 0.5,
                  "min": self.low, "max": self.high, "positive": positive, "edges": self.edges.tolist(),
                  "counts": self.counts.tolist(), "quantizer": self.node.attrs.get("__qnn_act_quantizer__"),
                  "no_gradient": None, "window": None, "thresholds": None}
        if self.quantize is not None:
            grid = np.linspace(self.edges[0], self.edges[-1], POINTS).astype(np.float32)
            values, gradient = self.quantize(grid)
            passing, steps = grid[gradient != 0], np.flatnonzero(np.diff(values))
            result.update(no_gradient=stopped, thresholds=((grid[steps] + grid[steps + 1]) / 2).tolist(),
                          window=[float(passing.min()), float(passing.max())] if len(passing) else None)
        return result
