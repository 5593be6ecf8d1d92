"""The VGG of BinaryNet (arXiv:1602.02830, section 2.1): 2 x 128C3 - P2 - 2 x 256C3 - P2 - 2 x 512C3 - P2 - 2 x 1024FC -
10, all but the first layer's data binary, its widths multiplied by `width`.

    block:  QActivation(BatchNorm(maxpool(conv(x))))

| CIFAR-10, as published | error |
|---|---|
| BinaryNet | 10.15 % (Theano), 11.40 % (Torch7) |
"""
import mxnet as mx

from . import blocks

FILTERS, NEURONS = (128, 128, 256, 256, 512, 512), 1024


def binarynet_vgg(num_classes=10, width=1.0, act_bit=1, weight_bit=1):
    """BinaryNet's VGG: data (N, 3, 32, 32) -> softmax (N, num_classes). Width 1 has 14.0 M parameters.

    The first layer takes float data with float weights; the last one is binary, with a BatchNorm behind it.
    """
    if not width > 0:
        raise ValueError("binarynet_vgg: width is a number above 0, got %r" % (width,))
    layers = blocks.Layers(act_bit, weight_bit, eps=1e-4)
    net = mx.sym.Variable("data")
    for number, filters in enumerate(FILTERS, 1):
        num_filter, name = max(1, round(filters * width)), "conv%d" % number
        if number == 1:
            net = blocks.float_convolution(net, num_filter, name, 3)
        else:
            net = layers.convolution(net, num_filter, name)
        if number % 2 == 0:
            net = blocks.pool(net, "max", "pool%d" % number)
        net = layers.activation(layers.norm(net, "bn%d" % number), "act%d" % number)
    net = mx.sym.Flatten(net, name="flatten")
    for number in (1, 2):
        net = layers.fully_connected(net, max(1, round(NEURONS * width)), "fc%d" % number)
        net = layers.activation(layers.norm(net, "bn_fc%d" % number), "act_fc%d" % number)
    net = layers.norm(layers.fully_connected(net, num_classes, "fc3"), "bn_fc3")
    return mx.sym.SoftmaxOutput(net, name="softmax")
