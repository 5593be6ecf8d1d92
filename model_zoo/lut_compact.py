"""The smallest network of look-up tables that reads digits well: pixels as bits, one layer of LUT6 whose inputs are
learned, popcounts and an argmax. Data (N, 1, 28, 28) in 0..1.

    bits = x > threshold;  nodes = DifferentiableLut(bits), learned connections;  class = argmax of ten popcounts

LUT6 of the hardware: one a node, about one a node for the popcounts, 13 a class for the argmax; a threshold of 1/2 is
the top bit of a pixel and costs nothing. Source: DWN (arXiv:2410.11112) for learned connections and popcounts.
"""
import mxnet as mx
import numpy as np

import qnn

HALF = 127.5 / 255


def compact(num_nodes=1200, thresholds=(HALF,), temperature=6.0, smooth=False, init_sigma=0.1, connection="learned"):
    """Symbol of softmax scores (N, 10). thresholds: of all pixels, or an array (784, depth), from
    qnn.reference_lut.fit_thermometer for instance. smooth, connection: see qnn.sym.DifferentiableLut."""
    thresholds = np.asarray(thresholds, np.float32)
    thresholds = thresholds.reshape(1, -1) if thresholds.ndim == 1 else thresholds
    net = mx.sym.Flatten(mx.sym.Variable("data"))
    net = qnn.sym.RealToBinary(net, thresholds=thresholds, name="bits")
    net = qnn.sym.DifferentiableLut(net, num_nodes=num_nodes, in_units=784 * thresholds.shape[-1],
                                    connection=connection, smooth=smooth, init_sigma=init_sigma, name="lut1")
    net = qnn.sym.GroupSum(net, num_classes=10, temperature=temperature, name="popcount")
    return mx.sym.SoftmaxOutput(net, name="softmax")
