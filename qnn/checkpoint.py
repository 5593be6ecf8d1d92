"""Checkpoint: PREFIX-symbol.json and PREFIX-EEEE.params, read strictly and checked against each other.

Nothing reaches MXNet before it is checked here: MXNet allocates what a corrupted header asks for, and crashes on an
output number that an operator does not have.
"""
import mxnet as mx
import numpy as np

from . import backend
from .errors import first_sentence
from .files import DTYPES, dump_params, load_params, write_atomically
from .graph import Graph, Node

BMXNET_OPERATORS = ("QActivation", "QConvolution", "QConvolution_v1", "QFullyConnected")
LOSSES = ("SoftmaxOutput", "Softmax", "LinearRegressionOutput", "LogisticRegressionOutput", "MAERegressionOutput",
          "SVMOutput")
# MXNet reads inputs of these without counting them.
NUM_INPUTS = {"BatchNorm": 5, "BatchNorm_v1": 5, "CuDNNBatchNorm": 5, "_contrib_BatchNormWithReLU": 5,
              "_contrib_SyncBatchNorm": 5, "IdentityAttachKLSparseReg": 2}
PARAMETER_ENDINGS = ("_weight", "_bias", "_gamma", "_beta", "_moving_mean", "_moving_var", "_running_mean",
                     "_running_var")


def paths(prefix, epoch):
    """(symbol file, parameter file) of a checkpoint, named as mx.model.save_checkpoint does."""
    return "%s-symbol.json" % prefix, "%s-%04d.params" % (prefix, epoch)


def write(prefix, epoch, json_text, arg_params, aux_params):
    """Writes PREFIX-symbol.json and PREFIX-EEEE.params, both or none; returns their paths.

    json_text: the symbol's JSON; arg_params, aux_params: {name: numpy array}. Raises OSError, ValueError.
    """
    symbol_path, params_path = paths(prefix, epoch)
    params = {**{"arg:" + name: value for name, value in arg_params.items()},
              **{"aux:" + name: value for name, value in aux_params.items()}}
    write_atomically({symbol_path: json_text.encode("utf-8"), params_path: dump_params(params)})
    return [symbol_path, params_path]


def read(prefix, epoch):
    """Reads a checkpoint: (Symbol, {name: array} of arguments, of auxiliary states, data name, label names).

    Raises OSError, or ValueError naming the file and the operator or parameter that is wrong.
    """
    symbol_path, params_path = paths(prefix, epoch)
    graph = Graph.load(symbol_path)
    _check_operators(graph, prefix, epoch, symbol_path)
    variables = _variables(graph, symbol_path)
    params = _split(load_params(params_path), params_path)
    labels = [name for name in variables if _is_label(graph, name) and name not in params]
    rest = [name for name in variables if name not in params and name not in labels]
    data = _data_name(rest, symbol_path, params_path)
    unused = sorted(set(params) - set(variables))
    if unused:
        raise ValueError("%s: parameter '%s' is in no operator of %s%s" % (
            params_path, unused[0], symbol_path, _and_others(unused)))
    _check_declared(graph, {name: array for name, (_, array) in params.items()}, params_path)
    symbol = _symbol(graph, symbol_path)
    auxiliary = symbol.list_auxiliary_states()
    for name, (kind, _) in params.items():
        expected = "aux" if name in auxiliary else "arg"
        if kind != expected:
            raise ValueError("%s: parameter '%s' is stored as %s:, expected %s:" % (params_path, name, kind, expected))
    _check_dtypes(symbol, data, {name: array for name, (_, array) in params.items()}, symbol_path, params_path)
    args = {name: array for name, (kind, array) in params.items() if kind == "arg"}
    auxs = {name: array for name, (kind, array) in params.items() if kind == "aux"}
    return symbol, args, auxs, data, labels


def _and_others(names):
    return "" if len(names) == 1 else " (nor are %d others)" % (len(names) - 1)


def _check_operators(graph, prefix, epoch, path):
    """Every operator must be known to this MXNet, and have the inputs that MXNet does not count."""
    known = set(mx.operator.get_all_registered_operators())
    for node in graph.nodes():
        expected = NUM_INPUTS.get(node.op, len(node.inputs))
        if expected != len(node.inputs):
            raise ValueError("%s: operator %s of '%s' has %d inputs, expected %d" % (
                path, node.op, node.name, len(node.inputs), expected))
        if node.is_variable or node.op in known:
            continue
        if node.op in BMXNET_OPERATORS:
            raise ValueError("%s: operator %s of '%s' is BMXNet's own; convert it first: "
                             "qnn convert --from bmxnet %s %d" % (path, node.op, node.name, prefix, epoch))
        if node.op.startswith("_qnn_") and not backend.is_native:
            raise ValueError("%s: operator %s of '%s' needs qnn's native library, which is not built here: "
                             "run pip install -e . or leave the source folder" % (path, node.op, node.name))
        raise ValueError("%s: operator %s of '%s' is unknown to MXNet %s" % (path, node.op, node.name, mx.__version__))


def _variables(graph, path):
    names = [node.name for node in graph.nodes() if node.is_variable]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError("%s: two variables are called '%s'" % (path, twice))
    return names


def _split(stored, path):
    """{name: ("arg" or "aux", array)} of the names in a parameter file."""
    params = {}
    for key, array in stored.items():
        kind, colon, name = key.partition(":")
        if not colon or kind not in ("arg", "aux"):
            raise ValueError("%s: '%s' begins with neither arg: nor aux:, as parameters of a checkpoint do; "
                             "gluon's save_parameters writes such files, HybridBlock.export writes checkpoints"
                             % (path, key))
        if name in params:
            raise ValueError("%s: parameter '%s' is stored as arg: and as aux:" % (path, name))
        params[name] = (kind, array)
    return params


def _is_label(graph, name):
    """Labels are called so, or are what a loss compares with."""
    return name.endswith("label") or any(node.op in LOSSES and len(node.inputs) == 2 and node.inputs[1][0].name == name
                                         for node in graph.nodes())


def _data_name(candidates, symbol_path, params_path):
    """The one variable that has no parameter: the data. Others are missing parameters."""
    if not candidates:
        raise ValueError("%s: every variable has a parameter in %s, no input for data is left"
                         % (symbol_path, params_path))
    inputs = [name for name in candidates if not name.endswith(PARAMETER_ENDINGS)]
    data = "data" if "data" in candidates else inputs[0] if inputs else None
    missing = [name for name in candidates if name != data]
    if missing:
        raise ValueError("%s: parameter '%s' of %s is missing%s" % (
            params_path, missing[0], symbol_path, " (and %d others)" % (len(missing) - 1) if missing[1:] else ""))
    return data


def _check_declared(graph, arrays, path):
    """Shapes and dtypes that the graph declares (`__shape__`, 0 is unknown; `__dtype__`) must be those of the file.

    Packed weights that declare none get them here: MXNet overruns a buffer when a lib_api operator has an input of
    unknown rank.
    """
    for node in graph.nodes():
        for source, _ in node.inputs if node.op.startswith("_qnn_") else ():
            if source.is_variable and source.name in arrays:
                source.attrs.setdefault("__shape__", str(arrays[source.name].shape))
                source.attrs.setdefault("__dtype__", str(DTYPES.index(str(arrays[source.name].dtype))))
    for node in graph.nodes():
        if not node.is_variable or node.name not in arrays:
            continue
        array = arrays[node.name]
        shape = _numbers(node.attrs.get("__shape__", ""))
        if shape and (len(shape) != array.ndim or any(s not in (0, -1, d) for s, d in zip(shape, array.shape))):
            raise ValueError("%s: parameter '%s' has shape %s, the symbol declares %s" % (
                path, node.name, array.shape, tuple(shape)))


def _check_dtypes(symbol, data, arrays, symbol_path, params_path):
    """The dtypes that MXNet infers must be those of the file: it would convert silently."""
    kinds = {name: array.dtype for name, array in arrays.items()}
    declared = {name: attrs["__dtype__"] for name, attrs in symbol.attr_dict().items() if "__dtype__" in attrs}
    for name, code in declared.items():
        if code not in map(str, range(len(DTYPES))):
            raise ValueError("%s: variable '%s' has __dtype__ %r, expected 0..%d" % (
                symbol_path, name, code, len(DTYPES) - 1))
    try:
        args, _, auxs = symbol.infer_type_partial(**{data: "float32"})
    except mx.MXNetError as error:
        raise ValueError("%s: %s" % (symbol_path, first_sentence(error))) from None
    names = symbol.list_arguments() + symbol.list_auxiliary_states()
    for name, inferred in zip(names, (args or []) + (auxs or [])):
        expected = np.dtype(DTYPES[int(declared[name])] if name in declared else inferred or "float32")
        if name in kinds and kinds[name] != expected:
            raise ValueError("%s: parameter '%s' is %s, expected %s" % (params_path, name, kinds[name], expected))


def _numbers(text):
    """The sizes in "(64, 3)"; [] where MXNet's own parser must judge."""
    try:
        return [int(part) for part in text.strip("()[] ").split(",") if part.strip()]
    except ValueError:
        return []


def _symbol(graph, path):
    """The MXNet symbol of a graph whose entries all exist."""
    readers = [(node, source, index) for node in graph.nodes() for source, index in node.inputs]
    readers += [(None, source, index) for source, index in graph.heads]
    try:
        for node, source, index in readers:
            if index >= (1 if source.is_variable else _count_outputs(source, index)):
                raise ValueError("%s: %s reads output %d of '%s', which has none of that number" % (
                    path, "operator '%s'" % node.name if node else "the head", index, source.name))
        return mx.sym.load_json(graph.to_json())
    except mx.MXNetError as error:
        raise ValueError("%s: %s" % (path, first_sentence(error))) from None


def _count_outputs(node, index):
    """Number of outputs of an operator; output 0 always exists."""
    if index == 0:
        return 1
    probe = Node(node.op, "probe of " + node.name, node.attrs, node.inputs, node.extra)  # a name that no other has
    outputs = mx.sym.load_json(Graph([(probe, 0)]).to_json()).get_internals()
    return sum(1 for output in outputs if output.name == probe.name)

