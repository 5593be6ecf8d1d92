"""CNV, the VGG of BinaryNet as BNN-PYNQ has it, with any quantizer: binary, ternary (TWN), residual.

    C64 C64 P | C128 C128 P | C256 C256 | 512 | 512 | classes     3x3, no padding: maps of 32-30-28-14-12-10-5-3-1

Pooling stands in front of BatchNorm; each layer quantizes its own data behind it.
"""
import mxnet as mx

import qnn

from .mlp import TERNARY, batch_norm, squared_hinge

FILTERS = (64, 64, 128, 128, 256, 256)
POOLED = (2, 4)  # convolutions that a pooling follows
QUANTIZERS = {1: "sign", 2: TERNARY}


def cnv(num_classes=10, act_quantizer="sign", weight_quantizer="sign", input_quantizer="fixed(bits=8, fraction=7)",
        scale=2 / 255):
    """CNV: data (N, 3, 32, 32) in 0..255 -> scores (N, num_classes). 1.54 M weights, 59.5 M MACs.

    act_quantizer: of all layers but the first; None: ReLU, float. weight_quantizer: of all layers. input_quantizer: of
    the pixels, which become scale * pixel - 1 before. The last BatchNorm is one number for all classes.
    """
    def layer(net, name, **options):
        quantizer = input_quantizer if name == "conv1" else act_quantizer or "identity"
        op = qnn.sym.QConvolution if "kernel" in options else qnn.sym.QFullyConnected
        return op(net, no_offset=True, act_quantizer=quantizer, weight_quantizer=weight_quantizer, name=name, **options)

    def normalized(net, number):
        net = batch_norm(net, "bn%d" % number)
        return net if act_quantizer else mx.sym.Activation(net, act_type="relu", name="relu%d" % number)

    net = mx.sym.Variable("data") * scale - 1
    for number, filters in enumerate(FILTERS, 1):
        net = layer(net, "conv%d" % number, kernel=(3, 3), num_filter=filters)
        if number in POOLED:
            net = mx.sym.Pooling(net, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool%d" % number)
        net = normalized(net, number)
    net = mx.sym.Flatten(net, name="flatten")
    for number in (7, 8):
        net = normalized(layer(net, "fc%d" % number, num_hidden=512), number)
    net = layer(net, "fc9", num_hidden=num_classes)
    net = batch_norm(mx.sym.Reshape(net, shape=(0, 1, -1), name="as_one_channel"), "bn9")
    return squared_hinge(mx.sym.Flatten(net, name="scores"), num_classes)
