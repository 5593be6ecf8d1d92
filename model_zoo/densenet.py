"""BinaryDenseNet-28, -37 and -45 (arXiv:1906.08637): every binary convolution adds 64 channels to all those before it.

    layer:        y = concat(x, conv(QActivation(BatchNorm(x))))
    transition:   y = conv1x1(relu(maxpool2x2(BatchNorm(x)))), to channels / reduction, in steps of 32

Stem, transitions and classifier stay float. Padding -1, as in BMXNet v2.

| ImageNet, as published | top-1 | top-5 | parameters | packed |
|---|---|---|---|---|
| BinaryDenseNet-28 | 60.7 | 82.4 | 5,150,504 | 4.1 MB |
| BinaryDenseNet-37 | 62.5 | 83.9 | 8,734,120 | 5.2 MB |
| BinaryDenseNet-45 | 63.7 | 84.8 | 13,939,240 | 7.5 MB |
"""
import mxnet as mx

from . import blocks

GROWTH = 64
DEPTHS = {28: ((6, 6, 6, 5), (2.7, 2.7, 2.2)), 37: ((6, 8, 12, 6), (3.3, 3.3, 4)), 45: ((6, 12, 14, 8), (2.7, 3.3, 4))}


def binary_densenet(num_layers=28, num_classes=1000, act_bit=1, weight_bit=1, image_size=224):
    """BinaryDenseNet: data (N, 3, image_size, image_size) -> softmax (N, num_classes)."""
    if num_layers not in DEPTHS:
        raise ValueError("binary_densenet: num_layers is one of %s, got %r" % (sorted(DEPTHS), num_layers))
    layers = blocks.Layers(act_bit, weight_bit, eps=1e-5, pad_value=-1, no_offset=True, grad_clip=1.3)
    net, channels = blocks.stem(mx.sym.Variable("data"), layers, GROWTH, image_size), GROWTH
    counts, reductions = DEPTHS[num_layers]
    for stage, count in enumerate(counts, 1):
        for number in range(1, count + 1):
            net, channels = dense(net, layers, "stage%d_dense%d" % (stage, number)), channels + GROWTH
        if stage < len(counts):
            channels = round(channels // reductions[stage - 1] / 32) * 32
            net = transition(net, layers, channels, "transition%d" % stage)
    return blocks.classifier(blocks.relu(layers.norm(net, "bn1"), "relu1"), num_classes)


def dense(net, layers, name, num_filter=GROWTH):
    """Adds the channels of one convolution."""
    new = layers.activation(layers.norm(net, name + "_bn"), name + "_act")
    return mx.sym.Concat(net, layers.convolution(new, num_filter, name + "_conv"), dim=1, name=name + "_concat")


def transition(net, layers, num_filter, name):
    """Halves height and width, and leaves num_filter channels."""
    net = blocks.relu(blocks.pool(layers.norm(net, name + "_bn"), "max", name + "_pool"), name + "_relu")
    return blocks.float_convolution(net, num_filter, name + "_conv")
