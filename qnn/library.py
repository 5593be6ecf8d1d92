"""Library: registers qnn's native operators with MXNet, exactly once per process.

A third mx.library.load of the same file raises, and every load writes all operators into mx.sym anew; so the registry
of MXNet itself is asked first, which holds even when `qnn` is imported again after being dropped from sys.modules.
"""
import mxnet as mx

from . import backend

PROBE = "_qnn_sign"


def load():
    """Loads qnn._native into MXNet unless its operators are there; without a native library, does nothing."""
    if backend.is_native and not hasattr(mx.sym._internal, PROBE):
        mx.library.load(backend.native_path(), verbose=False)


def install():
    """Puts QActivation, QConvolution, QFullyConnected on mx.sym and mx.nd, as BMXNet scripts expect them; table layers
    on qnn.sym, qnn.nd and qnn.gluon."""
    from . import gluon, lut, ndarray, symbol
    for op, kind in lut.KINDS.items():
        setattr(symbol, op, lut.symbol_layer(kind))
        setattr(ndarray, op, lut.ndarray_layer(kind))
        setattr(gluon, op, lut.gluon_layer(kind))
    symbol.Convolution2d = ndarray.Convolution2d = lut.Convolution2d
    gluon.Convolution2d = lut.Convolution2dBlock
    for name in ("QActivation", "QConvolution", "QConvolution_v1", "QFullyConnected"):
        setattr(mx.sym, name, getattr(symbol, name))
        setattr(mx.nd, name, getattr(ndarray, name))
