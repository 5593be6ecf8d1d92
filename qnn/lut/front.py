"""Front ends: a layer's options class as a function on symbols, a function on arrays and a gluon block.

    symbol_layer(DifferentiableLut)(data, num_nodes=8, in_units=64, name="lut1")      creates lut1_weight ...
    ndarray_layer(DifferentiableLut)(data, num_nodes=8, in_units=64, weight=w, connections=c, ...)
    gluon_layer(DifferentiableLut)(num_nodes=8, in_units=64)

States (connections, moving statistics, thresholds) are auxiliary states of symbols, and parameters without gradient of
blocks. The last node carries the layer's marks, `__qnn_op__` and its options, as all layers of qnn do.
"""
import json

import mxnet as mx

from .. import backend
from ..ndarray import NDArrayBuilder
from ..options import OptionError
from ..symbol import SymbolBuilder, _name
from .options import LayerOptions

FIXED = {"__lr_mult__": "0", "__wd_mult__": "0"}


def needs_native(options):
    """Nothing, where the native operators are built."""
    if not backend.is_native:
        raise OptionError("%s needs the native library, which is not built here: run pip install -e ." % options.op)


class _SymbolBuilder(SymbolBuilder):
    def variables(self, given):
        """{role: symbol} of all parameters; given ones must have a shape, as MXNet crashes on native operators whose
        inputs have none."""
        result = {}
        for role, shape, init, is_state, is_constant in self.options.parameters():
            symbol = given.pop(role, None)
            if symbol is None:
                attr = {**(self.attr or {}), **(FIXED if is_constant else {}),
                        **({"__qnn_lut_table__": "1"} if role == "weight" else {})}
                symbol = mx.sym.Variable("%s_%s" % (self.options.name, role), shape=shape, dtype="float32", init=init,
                                         attr=attr)
            result[role] = symbol if is_state else self.enter(symbol, role)
        return result


class _ArrayBuilder(NDArrayBuilder):
    def arrays(self, given):
        """{role: array}, all given."""
        result = {}
        for role, shape, _, is_state, _ in self.options.parameters():
            array = given.pop(role, None)
            entered = self.enter(array, role)  # checks it
            if array.shape != shape:
                self.options.fail(role, "an array of shape %r" % (shape,), array.shape)
            result[role] = array if is_state else entered
        return result


def _split(kind, arguments):
    """(arguments that are parameters, options)."""
    roles = {"weight", "scores", "connections", "moving_mean", "moving_var", "table", "thresholds", "hidden_weight",
             "hidden_bias", "out_weight", "out_bias"} & set(arguments)
    roles -= {"thresholds"} if not isinstance(arguments.get("thresholds"), (mx.nd.NDArray, mx.sym.Symbol)) else set()
    return {role: arguments[role] for role in roles}, {k: v for k, v in arguments.items() if k not in roles}


def _unused(options, given):
    if given:
        raise OptionError("%s '%s' has no %s with these options" % (options.op, options.name, ", ".join(sorted(given))))


def symbol_layer(kind: type[LayerOptions]):
    """The layer as a function on symbols: automatic variables, names, AttrScope and attr as mx.sym has them."""
    def layer(data=None, name=None, attr=None, **arguments):
        given, arguments = _split(kind, arguments)
        options = kind.make(_name(kind.op, name), arguments)
        needs_native(options)
        build = _SymbolBuilder(options, attr)
        data = mx.sym.Variable(options.name + "_data", attr=attr) if data is None else data
        entered, variables = build.enter(data, "data"), build.variables(given)
        _unused(options, given)
        return build.leave(options.compute(build, entered, variables))
    return _described(layer, kind, "data: symbol; name, attr: as mx.sym has them; parameters may be given by role.")


def ndarray_layer(kind: type[LayerOptions]):
    """The layer as a function on arrays; all parameters are arguments, moving statistics are updated in training."""
    def layer(data, name=None, **arguments):
        given, arguments = _split(kind, arguments)
        options = kind.make(name or "", arguments)
        needs_native(options)
        build = _ArrayBuilder(options, getattr(data, "ctx", None))
        entered, arrays = build.enter(data, "data"), build.arrays(given)
        _unused(options, given)
        return build.leave(options.compute(build, entered, arrays))
    return _described(layer, kind, "data: float32 array; the layer's parameters are arguments by role.")


def _described(layer, kind, convention):
    layer.__name__ = layer.__qualname__ = kind.op
    layer.__doc__ = "%s\n\n    %s\n    " % ((kind.__doc__ or "").rstrip(), convention)
    return layer


class Block(mx.gluon.HybridBlock):
    """A layer as a block; its parameters have the names of their roles."""

    kind: type[LayerOptions]

    def __init__(self, prefix=None, params=None, **arguments):
        super().__init__(prefix=prefix, params=params)
        self._options = self.kind.make(self.prefix.rstrip("_"), arguments)
        needs_native(self._options)
        with self.name_scope():
            for role, shape, init, is_state, is_constant in self._options.parameters():
                is_fixed = is_state or is_constant
                parameter = self.params.get(role, shape=shape, init=init, grad_req="null" if is_fixed else "write",
                                            differentiable=not is_fixed)
                setattr(self, role, parameter)

    def hybrid_forward(self, F, x, **parameters):
        options = self._options
        if F is mx.nd:
            build = _ArrayBuilder(options, x.ctx)
            return build.leave(options.compute(build, build.enter(x, "data"), build.arrays(parameters)))
        build = _SymbolBuilder(options, None)
        return build.leave(options.compute(build, build.enter(x, "data"), build.variables(parameters)))

    def __repr__(self):
        shown = {k: v for k, v in vars(self._options).items() if k in ("num_nodes", "in_units", "n", "connection")}
        return "%s(%s)" % (self.kind.op, ", ".join("%s=%s" % item for item in shown.items()))


def gluon_layer(kind: type[LayerOptions]):
    """The layer as a HybridBlock."""
    return type(kind.op, (Block,), {"kind": kind, "__doc__": kind.__doc__, "__module__": "qnn.gluon"})


def initializer_of(symbol, name):
    """The initializer that the symbol file has for a variable, or None."""
    text = symbol.attr_dict().get(name, {}).get("__init__")
    if text is None:
        return None
    kind, arguments = json.loads(text)
    return mx.init.registry.get_create_func(mx.init.Initializer, "initializer")(kind, **arguments)
