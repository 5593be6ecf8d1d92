"""A convolutional network of look-up tables for 32x32 colour images: BinaryBrain's CIFAR-10 sample, with its sizes.

    C32 (1x1) C32 C64 P | C64 C128 P | 512 (5x5) | classes      3x3, no padding: maps of 32-32-30-28-14-12-10-5-1

A convolution is two table layers: six tables per channel wired at random, and one that reads those six.
"""
import mxnet as mx

import qnn

LAYERS = ((32, 1), (32, 3), (64, 3), (64, 3), (128, 3), (512, 5))  # channels, size of the window
POOLED = (3, 5)  # convolutions that a pooling follows


def _block(outputs, units, name):
    """Function of a window: two table layers."""
    def layer(x):
        x = qnn.sym.DifferentiableLut(x, num_nodes=6 * outputs, in_units=units, name=name + "_lut1")
        return qnn.sym.DifferentiableLut(x, num_nodes=outputs, in_units=6 * outputs, connection="serial",
                                         name=name + "_lut2")
    return layer


def cnn(modulation=7, depth=15, num_classes=10):
    """Cifar10DifferentiableLutCnn: softmax scores (N, num_classes) of data (N, 3, 32, 32) in 0..1. modulation: frames
    of bits an image; depth: bits a channel and frame."""
    net = qnn.sym.RealToBinary(mx.sym.Variable("data"), frame_modulation=modulation, depth=depth, name="modulate")
    channels = 3 * depth
    for number, (outputs, size) in enumerate(LAYERS, 1):
        name = "conv%d" % number
        net = qnn.lut.Convolution2d(net, _block(outputs, size * size * channels, name), (size, size), name=name)
        if number in POOLED:
            net = mx.sym.Pooling(net, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool%d" % number)
        channels = outputs
    net = _block(num_classes, channels, "head")(mx.sym.Flatten(net))
    net = qnn.sym.BinaryToReal(net, frame_integration=modulation, name="integrate")
    return mx.sym.SoftmaxOutput(net, name="softmax")
