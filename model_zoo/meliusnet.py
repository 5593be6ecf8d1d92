"""MeliusNet-22 and -29 (arXiv:2001.05936): a layer that adds 64 channels, as in BinaryDenseNet, then one that improves
those 64.

    dense:        y = concat(x, conv(QActivation(BatchNorm(x))))
    improvement:  y = x, its last 64 channels + conv(QActivation(BatchNorm(x)))

Stem (a 3x3 and two grouped 3x3 convolutions; one 3x3 for images up to 32 pixels), transitions and classifier stay
float. Padding -1, as in BMXNet v2.

| ImageNet, as published (BMXNet v2) | top-1 | top-5 | packed |
|---|---|---|---|
| MeliusNet-22 | 63.6 | 84.7 | 3.9 MB |
| MeliusNet-29 | 65.8 | 86.2 | 5.1 MB |
"""
import mxnet as mx

from . import blocks
from .densenet import GROWTH, dense, transition

DEPTHS = {22: ((4, 5, 4, 4), (160, 224, 256)), 29: ((4, 6, 8, 6), (128, 192, 256))}


def meliusnet(num_layers=22, num_classes=1000, act_bit=1, weight_bit=1, image_size=224):
    """MeliusNet: data (N, 3, image_size, image_size) -> softmax (N, num_classes)."""
    if num_layers not in DEPTHS:
        raise ValueError("meliusnet: num_layers is one of %s, got %r" % (sorted(DEPTHS), num_layers))
    layers = blocks.Layers(act_bit, weight_bit, eps=1e-5, pad_value=-1, no_offset=True, grad_clip=1.3)
    net, channels = _stem(mx.sym.Variable("data"), layers, image_size), GROWTH
    counts, reduced = DEPTHS[num_layers]
    for stage, count in enumerate(counts, 1):
        for number in range(1, count + 1):
            name = "stage%d_block%d" % (stage, number)
            net, channels = dense(net, layers, name + "_dense"), channels + GROWTH
            net = improvement(net, layers, channels, name + "_improve")
        if stage < len(counts):
            channels = reduced[stage - 1]
            net = transition(net, layers, channels, "transition%d" % stage)
    return blocks.classifier(blocks.relu(layers.norm(net, "bn1"), "relu1"), num_classes)


def improvement(net, layers, channels, name):
    """Adds a convolution of all channels to the last 64."""
    change = layers.activation(layers.norm(net, name + "_bn"), name + "_act")
    change = layers.convolution(change, GROWTH, name + "_conv")
    kept = mx.sym.slice_axis(net, axis=1, begin=0, end=channels - GROWTH, name=name + "_kept")
    last = mx.sym.slice_axis(net, axis=1, begin=channels - GROWTH, end=channels, name=name + "_last")
    return mx.sym.Concat(kept, mx.sym.elemwise_add(last, change, name=name + "_plus"), dim=1, name=name + "_concat")


def _stem(net, layers, image_size):
    if image_size <= 32:
        return blocks.stem(net, layers, GROWTH, image_size)
    for number, (num_filter, stride, num_group) in enumerate(((32, 2, 1), (32, 1, 4), (64, 1, 8))):
        net = blocks.float_convolution(net, num_filter, "conv0%s" % "abc"[number], 3, stride, num_group)
        net = blocks.relu(layers.norm(net, "bn0%s" % "abc"[number]), "relu0%s" % "abc"[number])
    return blocks.pool(net, "max", "pool0")
