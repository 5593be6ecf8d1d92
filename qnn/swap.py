"""Swap: replaces the layers of a float symbol graph by quantized ones, keeping all names.

    Convolution    -> QActivation + QConvolution         weights and bias are the same variables as before,
    FullyConnected -> QActivation + QFullyConnected      so that a float checkpoint loads, to be fine-tuned

    symbol, report = qnn.swap(mx.gluon.model_zoo.vision.resnet18_v1()(mx.sym.Variable("data")))
    print(report)
"""
import re
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase

import mxnet as mx

from . import quantizers
from . import symbol as operators
from .graph import Graph, splice_layer
from .options import LAYOUTS, ConvolutionOptions
from .tables import text_table
from .traps import drop_relus, find_traps

SWAPPED = {"Convolution": "QConvolution", "FullyConnected": "QFullyConnected"}
UNSWAPPED = {"Deconvolution", "Convolution_v1", "_contrib_DeformableConvolution", "RNN",
             "_contrib_ModulatedDeformableConvolution", "_qnn_packed_convolution", "_qnn_packed_fully_connected",
             "_qnn_bits_convolution", "_qnn_float_convolution"}
WORDS = ("first", "last", "depthwise", "1x1")
LAYER_OPTIONS = ("pad_value", "no_offset", "scaling", "grad_clip", "act_quantizer", "weight_quantizer")
RELU_MODES = ("drop", "keep")


@dataclass
class SwapRow:
    """One layer with weights: what it was, what became of it, and why."""

    layer: str
    kind: str
    action: str  # "replaced" or "kept"
    why: str
    act_bit: int
    weight_bit: int


@dataclass
class SwapReport:
    """What `swap` did: a row per layer with weights, the ReLUs that it took away or went around, and warnings."""

    rows: list[SwapRow] = field(default_factory=list)
    removed_relus: list[str] = field(default_factory=list)
    bypassed_relus: list[str] = field(default_factory=list)  # still there, for other readers
    warnings: list[str] = field(default_factory=list)

    @property
    def replaced(self):
        """Names of the layers that were replaced."""
        return [row.layer for row in self.rows if row.action == "replaced"]

    @property
    def kept(self):
        """Names of the layers that stay as they were."""
        return [row.layer for row in self.rows if row.action == "kept"]

    def to_dict(self):
        """Plain lists and dicts, for JSON."""
        return asdict(self)

    def __str__(self):
        rows = [(r.layer, r.kind, r.action, "%d/%d" % (r.act_bit, r.weight_bit), r.why) for r in self.rows]
        lines = [text_table(("layer", "kind", "action", "bits", "why"), rows), ""]
        lines.append("%d replaced, %d kept; bits are those of data/weights" % (len(self.replaced), len(self.kept)))
        for label, names in (("ReLUs removed", self.removed_relus), ("ReLUs bypassed", self.bypassed_relus)):
            lines += ["%s: %s" % (label, ", ".join(names))] if names else []
        return "\n".join(lines + ["warning: " + warning for warning in self.warnings])


def swap(symbol, act_bit=1, weight_bit=1, skip=("first", "last"), only=None, relu="drop", **layer_options):
    """Replaces every Convolution and FullyConnected of `symbol` by a quantized layer of the same name and parameters.

    symbol: a Symbol, or a Graph; it is not modified. act_bit, weight_bit: 1..32. skip, only: words and patterns:
    "first", "last" (layer with weights, in graph order), "depthwise", "1x1", or layer names with wildcards
    ("stage1_*"); skip wins, only=None means all. relu: "drop" lets layers with act_bit=1 read what a ReLU before them
    reads (see traps.py), "keep" leaves ReLUs alone; the same for other bipolar codes, of which a ReLU takes half.
    layer_options: pad_value, no_offset, scaling, grad_clip, act_quantizer, weight_quantizer, as QConvolution has them.
    With act_quantizer there is no QActivation: the layer quantizes by itself, and two gradients would multiply. Layers
    without a quantized form and layers already quantized are kept; the report says why.
    Returns (Symbol, SwapReport). Raises ValueError.
    """
    checked = _check(act_bit, weight_bit, relu, layer_options)
    if not isinstance(symbol, (mx.sym.Symbol, Graph)):
        raise ValueError("swap: symbol is a Symbol or a Graph, got %s; of a HybridBlock take "
                         "block(mx.sym.Variable('data'))" % type(symbol).__name__)
    if isinstance(symbol, Graph):  # MXNet brings attributes of old files up to date
        symbol = mx.sym.load_json(symbol.to_json())
    graph = Graph.from_json(symbol.tojson())
    layers = [node for node in graph.nodes() if _is_weighted(node)]
    reasons = _reasons_to_keep(layers, _words(skip), None if only is None else _words(only), checked.is_float)
    chosen = [node for node in layers if node not in reasons]
    report = SwapReport([_row(node, reasons, checked) for node in layers])
    if checked.act_quantizer.code == "bipolar" and relu == "drop":
        report.removed_relus, report.bypassed_relus = drop_relus(graph, chosen)
    report.warnings = _warnings(graph, chosen, checked.attributes())
    options = {"act_bit": checked.act_bit, "weight_bit": checked.weight_bit, "grad_clip": checked.grad_clip,
               **layer_options}
    for node in chosen:
        _replace(graph, node, options)
    return mx.sym.load_json(graph.to_json()), report


def _check(act_bit, weight_bit, relu, layer_options):
    unknown = sorted(set(layer_options) - set(LAYER_OPTIONS))
    if unknown:
        raise ValueError("swap: unknown argument %r; known: act_bit, weight_bit, skip, only, relu, %s"
                         % (unknown[0], ", ".join(LAYER_OPTIONS)))
    if relu not in RELU_MODES:
        raise ValueError("swap: relu is 'drop' or 'keep', got %r" % (relu,))
    return ConvolutionOptions("", act_bit, weight_bit=weight_bit, kernel=(1,), num_filter=1, **layer_options)


# ---- which layers ----------------------------------------------------------------------------------------------------


def _quantized_kind(node):
    kind = node.attrs.get("__qnn_op__", "")
    return kind if kind in SWAPPED.values() else None


def _is_weighted(node):
    if "__qnn_op__" in node.attrs or "__qnn_layer__" in node.attrs:
        return _quantized_kind(node) is not None
    return node.op in SWAPPED or node.op in UNSWAPPED


def _words(words):
    return (words,) if isinstance(words, str) else tuple(words or ())


def _numbers(text):
    return tuple(int(number) for number in re.findall(r"-?\d+", text or ""))


def _is_depthwise(node):
    """One channel per group. Of a grouped layer with more filters than groups only the weight's shape can tell."""
    groups = int(node.attrs.get("num_group", "1"))
    if groups == 1 or node.op != "Convolution":
        return False
    shape = _numbers(node.inputs[1][0].attrs.get("__shape__"))
    return groups == int(node.attrs["num_filter"]) or shape[1:2] == (1,)


def _matches(word, node, layers):
    if word in ("first", "last"):
        return node is layers[0 if word == "first" else -1]
    if word == "depthwise":
        return _is_depthwise(node)
    if word == "1x1":
        return node.op == "Convolution" and set(_numbers(node.attrs["kernel"])) == {1}
    return fnmatchcase(node.name, word)


def _reasons_to_keep(layers, skip, only, is_float):
    """{node: why it is kept}; nodes that are not in it get replaced."""
    for word in skip + (only or ()):
        if word not in WORDS and not any(_matches(word, node, layers) for node in layers):
            raise ValueError("swap: no layer is called %r; words: %s; layers: %s"
                             % (word, ", ".join(WORDS), ", ".join(node.name for node in layers) or "none"))
    reasons = {}
    for node in layers:
        skipped = [word for word in skip if _matches(word, node, layers)]
        why = _unfit(node)
        if not why and is_float:
            why = "32/32 bits is the float layer itself"
        if not why and skipped:
            why = "skip: " + skipped[0]
        if not why and only is not None and not any(_matches(word, node, layers) for word in only):
            why = "not in only"
        if why:
            reasons[node] = why
    return reasons


def _unfit(node):
    """Why this layer has no quantized form here; '' if it has."""
    if _quantized_kind(node) or node.op.startswith("_qnn_"):
        return "already quantized"
    if node.op in UNSWAPPED:
        return "%s has no quantized form" % node.op
    weight = node.inputs[1][0]
    if not weight.is_variable:
        return "its weight is computed by %s '%s'" % (weight.op, weight.name)
    if weight.attrs.get("__dtype__", "0") not in ("0", "-1"):
        return "its weight is not float32"
    if node.op == "Convolution":
        rank, layout = len(_numbers(node.attrs["kernel"])), node.attrs.get("layout", "None")
        if rank not in LAYOUTS:
            return "a kernel of %d axes" % rank
        if layout not in ("None", "", LAYOUTS[rank]):
            return "layout %s; quantized layers take %s" % (layout, LAYOUTS[rank])
    return ""


def _row(node, reasons, checked):
    kind, why = _quantized_kind(node) or node.op, reasons.get(node, "")
    if not why:
        return SwapRow(node.name, kind, "replaced", why, checked.act_bit, checked.weight_bit)
    default = "1" if node.op.startswith("_qnn_") else "32"
    bits = [int(node.attrs.get("__qnn_%s__" % name, default)) for name in ("act_bit", "weight_bit")]
    return SwapRow(node.name, kind, "kept", why, *bits)


def _warnings(graph, chosen, marks):
    warnings = ["layers inside the control flow of '%s' are not looked at" % node.name
                for node in graph.nodes() if "subgraphs" in node.extra]
    warnings += [] if chosen else ["no layer was replaced"]
    is_sign = quantizers.get(marks["__qnn_act_quantizer__"]).is_sign
    return warnings + (find_traps(graph, chosen, marks) if is_sign else [])


# ---- the replacement -------------------------------------------------------------------------------------------------


def _arguments(node):
    if node.op == "FullyConnected":
        return {"num_hidden": node.attrs["num_hidden"], "flatten": node.attrs.get("flatten", "True")}
    sizes = {key: _numbers(node.attrs.get(key)) for key in ("kernel", "stride", "dilate", "pad")}
    return {"num_filter": node.attrs["num_filter"], "num_group": node.attrs.get("num_group", "1"), **sizes}


def _replace(graph, node, options):
    """Splices QActivation and the Q layer in, built by qnn.sym itself on placeholder variables."""
    bindings = dict(zip(("data", "weight", "bias"), node.inputs))
    if node.op == "FullyConnected":
        options = {key: value for key, value in options.items() if key != "pad_value"}
    with mx.name.NameManager():  # an enclosing Prefix must not rename layers
        data, weight = mx.sym.Variable("data"), mx.sym.Variable("weight")
        bias = mx.sym.Variable("bias") if "bias" in bindings else None
        data = _activation(data, node.name + "_qactivation", options)
        layer = getattr(operators, SWAPPED[node.op])(data, weight, bias, no_bias=bias is None, name=node.name,
                                                     **_arguments(node), **options)
    if bias is not None and bindings["bias"][0].is_variable:  # nothing else tells its shape
        count = node.attrs.get("num_filter") or node.attrs["num_hidden"]
        bindings["bias"][0].attrs.setdefault("__shape__", "(%s,)" % count)
    splice_layer(graph, node, Graph.from_json(layer.tojson()), bindings)


def _activation(data, name, options):
    """QActivation; its gradient half alone where the window is smaller than the quantized values: the layer quantizes
    by itself, and its own window would stop every gradient behind values of +1 and -1."""
    if options["act_bit"] == 32 or options.get("act_quantizer") is not None:
        return data
    grad_clip = options["grad_clip"]
    return operators.QActivation(data, options["act_bit"], backward_only=grad_clip < 1, grad_clip=grad_clip, name=name)
