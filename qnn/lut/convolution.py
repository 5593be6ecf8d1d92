"""Convolution2d: a layer on every window of an image, by lowering: table layers whose tables the pixels share.

    net = qnn.lut.Convolution2d(net, lambda x: qnn.sym.DifferentiableLut(x, num_nodes=36, in_units=144), kernel=(3, 3))

The inner layers see (N, C kh kw, OH, OW), inputs on axis 1, a frame per pixel; they are made with flatten=False.
"""
import mxnet as mx

from .front import gluon_layer, ndarray_layer, symbol_layer
from .options import modes
from .spatial import Columns


def Convolution2d(data, sub_layer, kernel=(3, 3), stride=(1, 1), pad=(0, 0), border="constant", name=None):
    """sub_layer(windows of data). data: symbol or array (N, C, H, W); sub_layer: function of the same kind of thing.

    Returns (N, nodes, OH, OW), OH = (H + 2 pad - kh) // stride + 1. border: what lies around: constant (0 bits),
    reflect, edge. Raises OptionError.
    """
    lower = (symbol_layer if isinstance(data, mx.sym.Symbol) else ndarray_layer)(Columns)
    with modes(flatten=False):
        return sub_layer(lower(data, kernel=kernel, stride=stride, pad=pad, border=border, name=name))


class Convolution2dBlock(mx.gluon.HybridBlock):
    """The same as a block: make_layers() returns the list of inner blocks.

    >>> qnn.gluon.Convolution2d(lambda: [qnn.gluon.DifferentiableLut(num_nodes=36, in_units=9)], kernel=(3, 3))
    """

    def __init__(self, make_layers, kernel=(3, 3), stride=(1, 1), pad=(0, 0), border="constant", **kwargs):
        super().__init__(**kwargs)
        with self.name_scope(), modes(flatten=False):
            self.body = mx.gluon.nn.HybridSequential(prefix="")
            self.body.add(gluon_layer(Columns)(kernel=kernel, stride=stride, pad=pad, border=border))
            self.body.add(*make_layers())

    def hybrid_forward(self, F, x):
        return self.body(x)
