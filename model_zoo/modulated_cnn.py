"""A convolutional network on modulated bits: signals between layers are bits, and F frames of them stand for an image.

    C64 C64 P | C128 C128 P | 512 | classes     3x3, no padding: maps of 32-30-28-14-12-10-5 for CIFAR-10

With more frames the mean of the scores approaches what real numbers give. Source: BinaryBrain's CIFAR-10 sample.
"""
import mxnet as mx

import qnn

from .mlp import batch_norm

POOLED = (2, 4)  # convolutions that a pooling follows


def modulated_cnn(modulation=1, width=64, num_classes=10):
    """Softmax scores (N, num_classes) of data (N, C, H, W) in 0..1. modulation: frames of bits an image; None: real
    numbers and ReLU. width: filters of the first convolutions; the others are multiples of it. Weights are float."""
    def activated(net, name):
        net = batch_norm(net, "bn" + name)
        if modulation is None:
            return mx.sym.Activation(net, act_type="relu", name="relu" + name)
        return qnn.sym.QActivation(net, act_bit=1, name="sign" + name)

    net = mx.sym.Variable("data")
    if modulation is not None:
        net = qnn.sym.RealToBinary(net, frame_modulation=modulation, name="modulate")
    for number, filters in enumerate((width, width, 2 * width, 2 * width), 1):
        net = mx.sym.Convolution(net, kernel=(3, 3), num_filter=filters, no_bias=True, name="conv%d" % number)
        net = activated(net, str(number))
        if number in POOLED:
            net = mx.sym.Pooling(net, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool%d" % number)
    net = activated(mx.sym.FullyConnected(net, num_hidden=8 * width, no_bias=True, name="fc5"), "5")
    net = mx.sym.FullyConnected(net, num_hidden=num_classes, name="fc6")
    if modulation is not None:
        net = qnn.sym.BinaryToReal(net, frame_integration=modulation, name="integrate")
    return mx.sym.SoftmaxOutput(net, name="softmax")
