"""ResNetE-18 and -34 (arXiv:1906.08637) and Bi-RealNet-18 (arXiv:1808.00278): a shortcut around every binary
convolution.

    layer:  y = BatchNorm(conv(QActivation(x))) + x
            where filters double: y = BatchNorm(conv(QActivation(x), stride 2)) + BatchNorm(conv1x1(average2x2(x)))

Stem, 1x1 shortcuts and classifier stay float. ResNetE differs from Bi-RealNet in the stem (relu, and a second
BatchNorm behind the pooling) and in the relu in front of the classifier; Bi-RealNet scales its weights by their mean
magnitude, and its signs have the gradient of approx_sign. Padding: -1 in ResNetE (BMXNet v2), 0 in Bi-RealNet.

| ImageNet, as published | top-1 | top-5 | parameters | packed |
|---|---|---|---|---|
| Bi-RealNet-18 | 56.4 | 79.5 | 11,699,112 | 4.0 MB |
| ResNetE-18 | 58.1 | 80.6 | 11,699,368 | 4.0 MB |
| ResNetE-34 (BMXNet v2) | 63.2 | 84.7 | 21,814,952 | 5.2 MB |
"""
import mxnet as mx

from . import blocks

FILTERS = (64, 128, 256, 512)
CONVOLUTIONS = {18: (4, 4, 4, 4), 34: (6, 8, 12, 6)}  # per stage


def resnet_e(num_layers=18, num_classes=1000, act_bit=1, weight_bit=1, image_size=224):
    """ResNetE of 18 or 34 layers: data (N, 3, image_size, image_size) -> softmax (N, num_classes)."""
    if num_layers not in CONVOLUTIONS:
        raise ValueError("resnet_e: num_layers is one of %s, got %r" % (sorted(CONVOLUTIONS), num_layers))
    layers = blocks.Layers(act_bit, weight_bit, eps=1e-5, pad_value=-1, no_offset=True, grad_clip=1.25)
    net = blocks.stem(mx.sym.Variable("data"), layers, FILTERS[0], image_size)
    if image_size > 32:
        net = layers.norm(net, "bn1")
    net = blocks.relu(_stages(net, layers, CONVOLUTIONS[num_layers]), "relu1")
    return blocks.classifier(net, num_classes)


def bi_realnet18(num_classes=1000, act_bit=1, weight_bit=1, image_size=224):
    """Bi-RealNet-18: data (N, 3, image_size, image_size) -> softmax (N, num_classes)."""
    layers = blocks.Layers(act_bit, weight_bit, eps=1e-3, momentum=0.8, act_quantizer="approx_sign", pad_value=0,
                           no_offset=True, scaling="filter")
    net = mx.sym.Variable("data")
    if image_size <= 32:
        net = blocks.float_convolution(net, FILTERS[0], "conv0", 3)
    else:
        net = layers.norm(blocks.float_convolution(net, FILTERS[0], "conv0", 7, 2), "bn0")
        net = blocks.pool(net, "max", "pool0", kernel=3, pad=1)
    return blocks.classifier(_stages(net, layers, CONVOLUTIONS[18]), num_classes)


def _stages(net, layers, convolutions):
    for stage, (num_filter, count) in enumerate(zip(FILTERS, convolutions), 1):
        for number in range(1, count + 1):
            net = layer(net, layers, num_filter, stage > 1 and number == 1, "stage%d_layer%d" % (stage, number))
    return net


def layer(net, layers, num_filter, is_first, name):
    """A binary 3x3 convolution with its shortcut; the first one of a stage halves height and width."""
    shortcut = net
    if is_first:
        shortcut = blocks.float_convolution(blocks.pool(net, "avg", name + "_pool"), num_filter, name + "_sc")
        shortcut = layers.norm(shortcut, name + "_sc_bn")
    net = layers.convolution(layers.activation(net, name + "_act"), num_filter, name + "_conv",
                             stride=2 if is_first else 1)
    return mx.sym.elemwise_add(layers.norm(net, name + "_bn"), shortcut, name=name + "_plus")
