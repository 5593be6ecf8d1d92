"""Summary: what every layer of a network costs: parameters and multiply-accumulates by width in bits, bytes as float32
and packed. The numbers are objects (LayerProfile, ModelProfile); tables are made from them.

"Packed" is what `qnn convert --no-fuse` stores: weights of up to 8 bits on planes of 64-bit words, pad bits included,
nodes of look-up tables as a word and six connections, before the clean-up, all the rest in 32 bits. A packed network
has the same profile as the network it was made of, but for what quantizers train (gammas): parameters of the training
graph, which are scales and thresholds in the packed one.
"""
import contextlib
import io
import re
import warnings
from dataclasses import dataclass, field

import mxnet as mx

from .costs import Cost, Ledger
from .errors import first_sentence
from .graph import Graph
from .layer_costs import cost_of, numbers
from .tables import text_table

PARAMETER_ENDINGS = ("weight", "bias", "gamma", "beta", "moving_mean", "moving_var", "running_mean", "running_var",
                     "weight_positive", "weight_negative")


@dataclass
class LayerProfile(Cost):
    """One layer: name, output_shape, kind, act_bit, weight_bit; params and macs: {width in bits: count}, a MAC being as
    wide as the wider of its factors; bytes_float, bytes_packed."""

    name: str = ""
    output_shape: tuple = ()


@dataclass
class ModelProfile:
    """A network: its layers in graph order; parameters read by several layers count for the first."""

    input_shapes: dict[str, tuple]
    layers: list[LayerProfile] = field(default_factory=list)

    def _by_width(self, attribute):
        totals = {}
        for layer in self.layers:
            for width, count in getattr(layer, attribute).items():
                totals[width] = totals.get(width, 0) + count
        return dict(sorted(totals.items()))

    @property
    def params(self):
        """{width: number of parameters}, moving averages included."""
        return self._by_width("params")

    @property
    def macs(self):
        """{width: multiply-accumulates} for the given input shapes, batch included."""
        return self._by_width("macs")

    @property
    def bytes_float(self):
        """Bytes of all parameters as float32."""
        return sum(layer.bytes_float for layer in self.layers)

    @property
    def bytes_packed(self):
        """Bytes of all parameters when all layers are packed that can be."""
        return sum(layer.bytes_packed for layer in self.layers)

    @property
    def compression(self):
        """bytes_float / bytes_packed."""
        return self.bytes_float / self.bytes_packed if self.bytes_packed else 1.0

    def to_dict(self):
        """Plain data for JSON; widths are strings there."""
        def plain(layer):
            return {**vars(layer), "output_shape": list(layer.output_shape), "params": _text_keys(layer.params),
                    "macs": _text_keys(layer.macs)}
        return {"input_shapes": {name: list(shape) for name, shape in self.input_shapes.items()},
                "layers": [plain(layer) for layer in self.layers], "params": _text_keys(self.params),
                "macs": _text_keys(self.macs), "bytes_float": self.bytes_float, "bytes_packed": self.bytes_packed,
                "compression": round(self.compression, 3)}

    def __str__(self):
        param_widths, mac_widths = sorted(self.params), sorted(self.macs)
        header = ["layer", "kind", "bits", "output"]
        header += ["%d-bit params" % width for width in param_widths] + ["%d-bit MACs" % width for width in mac_widths]
        header += ["float bytes", "packed bytes"]
        rows = [[layer.name, layer.kind, _bits(layer),
                 "x".join(map(str, layer.output_shape)), *_cells(layer.params, param_widths),
                 *_cells(layer.macs, mac_widths), *_cells(vars(layer), ("bytes_float", "bytes_packed"))]
                for layer in self.layers]
        rows.append(["total", "", "", "", *_cells(self.params, param_widths), *_cells(self.macs, mac_widths),
                     _grouped(self.bytes_float), _grouped(self.bytes_packed)])
        inputs = ", ".join("%s %s" % (name, "x".join(map(str, shape))) for name, shape in self.input_shapes.items())
        numbers = (sum(self.params.values()), self.bytes_float, self.bytes_packed)
        return "%s\n\ninput: %s\n%s parameters, %s bytes as float32, %s bytes packed: %.1f times smaller" % (
            text_table(header, rows, right=range(4, len(header))), inputs, *map(_grouped, numbers), self.compression)


def _bits(layer):
    return "/".join(str(bits) for bits in (layer.act_bit, layer.weight_bit) if bits is not None)


def _text_keys(counts):
    return {str(width): count for width, count in counts.items()}


def _grouped(number):
    return f"{number:,}"


def _cells(counts, widths):
    return [_grouped(counts[width]) if counts.get(width) else "" for width in widths]


def summary(symbol_or_block, shape=None, params=None, print_fn=None):
    """Prints what every layer of a network costs, and returns the ModelProfile.

    symbol_or_block: a Symbol, trained or packed, or a HybridBlock. shape: shape of the input, (N, C, H, W) for
    instance, or {name: shape}; None takes it from the symbol, where its variables carry one. params: {name: array}
    (names plain or with "arg:", "aux:") tells parameters from inputs, and gives their shapes and values; values decide
    how many planes fixed-point weights take and which layers share thresholds (without: all planes; initial scales).
    print_fn: called with the table; print by default. Raises ValueError.
    """
    result = profile(symbol_or_block, shape, params)
    (print_fn or print)(str(result))
    return result


def profile(symbol_or_block, shape=None, params=None):
    """The ModelProfile of a network; arguments as of `summary`."""
    symbol = symbol_or_block
    if isinstance(symbol, mx.gluon.HybridBlock):
        outputs = symbol(*map(mx.sym.Variable, shape if isinstance(shape, dict) else ["data"]))
        params = symbol.collect_params() if params is None else params
        symbol = mx.sym.Group(list(outputs)) if isinstance(outputs, (list, tuple)) else outputs
    if not isinstance(symbol, mx.sym.Symbol):
        raise ValueError("summary: a Symbol or a HybridBlock is expected, got %s" % type(symbol).__name__)
    arrays = {name.split(":", 1)[-1]: value for name, value in (params or {}).items()}
    known = None if params is None else {name: value.shape for name, value in arrays.items()}
    graph = Graph.from_json(symbol.tojson())
    input_shapes = _input_shapes(graph, shape, known)
    shapes = infer_shapes(graph, {**_complete(known or {}), **input_shapes})
    inputs = {node for node in graph.nodes() if node.is_variable
              and (node.name in input_shapes or _is_input(node.name, known))}
    ledger = Ledger(graph, shapes, inputs, lambda name: _as_numpy(arrays.get(name)))
    result = ModelProfile(input_shapes)
    for node in graph.nodes():
        is_inside = "__qnn_layer__" in node.attrs and "__qnn_op__" not in node.attrs
        if not node.is_variable and not is_inside:
            cost = cost_of(node, ledger)
            result.layers.append(LayerProfile(**vars(cost), name=node.name, output_shape=shapes[node][0]))
    return result


def _as_numpy(value):
    """The array itself; None where it is missing, or a gluon Parameter that is not initialised."""
    if isinstance(value, mx.gluon.Parameter):
        try:
            value = value.data()
        except RuntimeError:
            return None
    return value.asnumpy() if isinstance(value, mx.nd.NDArray) else value


# ---- shapes ----------------------------------------------------------------------------------------------------------


def _complete(shapes):
    return {name: tuple(shape) for name, shape in shapes.items() if shape and min(shape) > 0}


def _is_input(name, known):
    """True for data and labels: what `known` does not list, or what is not called like a parameter."""
    return name.endswith("label") or (not name.endswith(PARAMETER_ENDINGS) if known is None else name not in known)


def _input_shapes(graph, shape, known):
    variables = {node.name: node for node in graph.nodes() if node.is_variable}
    inputs = [name for name in variables if _is_input(name, known) and not name.endswith("label")]
    data = "data" if "data" in variables else inputs[0] if inputs else None
    if shape is None:
        declared = {name: numbers(variables[name].attrs.get("__shape__")) for name in inputs}
        shapes = _complete(declared)
        if data not in shapes:
            raise ValueError("summary: the symbol does not tell the shape of %s; give it as shape, (1, 1, 28, 28) for "
                             "instance" % (repr(data) if data else "its input"))
        return shapes
    shapes = shape if isinstance(shape, dict) else {data: shape}
    for name, sizes in shapes.items():
        if name not in variables:
            raise ValueError("summary: no input is called %r; inputs: %s" % (name, ", ".join(inputs) or "none"))
        if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError("summary: shape of %r is a tuple of numbers above 0, got %r" % (name, sizes))
    return {name: tuple(sizes) for name, sizes in shapes.items()}


def infer_shapes(graph, known):
    """{node: [shape of each output]}. known: {variable: shape}. Raises ValueError where shapes contradict or stay open.

    MXNet identifies outputs by names, which need not be unique; so operators are renamed in a copy of the graph.
    """
    nodes, copies = graph.nodes(), graph.copy()
    for number, node in enumerate(copies.nodes()):
        node.name = node.name if node.is_variable else "qnn_node%d_" % number
    internals = mx.sym.load_json(copies.to_json()).get_internals()
    arguments = set(internals.list_arguments())
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # MXNet prints its arguments
            warnings.simplefilter("ignore")
            _, outputs, auxiliary = internals.infer_shape(**{k: v for k, v in known.items() if k in arguments})
    except mx.MXNetError as error:
        sentence = re.sub(r"qnn_node(\d+)_", lambda match: nodes[int(match[1])].name, first_sentence(error))
        raise ValueError("summary: %s" % sentence) from None
    if outputs is None:
        raise ValueError("summary: the shapes of %s do not determine all others; give more of them, or params"
                         % ", ".join(known))
    found = list(zip(internals.list_outputs(), outputs))
    found += zip(internals.list_auxiliary_states(), auxiliary)
    by_name = {}
    for name, shape in found:
        match = re.match(r"qnn_node(\d+)__", name)
        by_name.setdefault(match[0] if match else name, []).append(tuple(shape))
    return {node: by_name[node.name if node.is_variable else "qnn_node%d__" % number]
            for number, node in enumerate(nodes)}
