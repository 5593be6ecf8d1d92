"""qnn.lut: networks whose nodes are look-up tables, trained by gradient descent (BinaryBrain's method; docs/lut.md).

    data = qnn.sym.RealToBinary(mx.sym.Flatten(mx.sym.Variable("data")), frame_modulation=15)
    net = qnn.sym.DifferentiableLut(data, num_nodes=360, in_units=784)      also qnn.nd, qnn.gluon
    net = qnn.sym.DifferentiableLut(net, num_nodes=10, in_units=360)
    net = qnn.sym.BinaryToReal(net, frame_integration=15)

layers, modulation, spatial: what the layers compute; connections: wirings; front: sym, nd and gluon of them.
"""
from . import layers, modulation, spatial
from .convolution import Convolution2d, Convolution2dBlock
from .front import gluon_layer, ndarray_layer, symbol_layer
from .fuse import fuse
from .optimizer import LutAdam, clamp
from .options import modes
from .prune import prune
from .tables import harden, wiring_of

KINDS = {kind.op: kind for kind in layers.LAYERS + modulation.LAYERS + spatial.LAYERS}

__all__ = ["KINDS", "Convolution2d", "Convolution2dBlock", "LutAdam", "clamp", "fuse", "gluon_layer", "harden", "modes",
           "ndarray_layer", "prune", "symbol_layer", "wiring_of"]
