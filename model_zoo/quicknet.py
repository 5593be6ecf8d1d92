"""QuickNet-small (larq, arXiv:2011.09398): residual layers of one binary convolution, and cheap float transitions.

    layer:        y = BatchNorm(relu(conv(QActivation(x)))) + x
    transition:   y = BatchNorm(conv1x1(blur3x3(maxpool(relu(x))))) , blur of stride 2 with constant weights

Stem, transitions and classifier stay float. Padding +1.

| ImageNet, as published | top-1 | top-5 | parameters | packed |
|---|---|---|---|---|
| QuickNet-small | 59.4 | 81.8 | 12,655,688 | 4.0 MB |
"""
import mxnet as mx

from . import blocks

FILTERS, LAYERS_PER_STAGE = (32, 64, 256, 512), 4


@mx.init.register
class Blur(mx.init.Initializer):
    """Weights of a depthwise 3x3 convolution that blurs."""

    def _init_weight(self, _, array):
        array[:] = mx.nd.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], ctx=array.context) / 16


def quicknet_small(num_classes=1000, act_bit=1, weight_bit=1, image_size=224):
    """QuickNet-small: data (N, 3, image_size, image_size) -> softmax (N, num_classes)."""
    layers = blocks.Layers(act_bit, weight_bit, eps=1e-5, no_offset=True, grad_clip=1.25)
    net = _stem(mx.sym.Variable("data"), layers, image_size)
    for stage, num_filter in enumerate(FILTERS, 1):
        if stage > 1:
            net = transition(net, layers, FILTERS[stage - 2], num_filter, "transition%d" % (stage - 1))
        for number in range(1, LAYERS_PER_STAGE + 1):
            net = layer(net, layers, num_filter, "stage%d_layer%d" % (stage, number))
    return blocks.classifier(blocks.relu(net, "relu1"), num_classes)


def layer(net, layers, num_filter, name):
    """A residual layer."""
    new = layers.convolution(layers.activation(net, name + "_act"), num_filter, name + "_conv")
    new = layers.norm(blocks.relu(new, name + "_relu"), name + "_bn")
    return mx.sym.elemwise_add(new, net, name=name + "_plus")


def transition(net, layers, channels, num_filter, name):
    """Halves height and width without aliasing (arXiv:1904.11486): the blur is [1 2 1] x [1 2 1] / 16 per channel."""
    net = blocks.pool(blocks.relu(net, name + "_relu"), "max", name + "_pool", kernel=2, stride=1)
    kernel = mx.sym.Variable(name + "_blur_weight", shape=(channels, 1, 3, 3), lr_mult=0, wd_mult=0, init=Blur())
    net = mx.sym.Convolution(net, kernel, name=name + "_blur", num_group=channels, **blocks.geometry(channels, 3, 2))
    return layers.norm(blocks.float_convolution(net, num_filter, name + "_conv"), name + "_bn")


def _stem(net, layers, image_size):
    """3x3, depthwise 3x3 and 1x1 convolutions: an eighth of the cost of a 7x7 one. Stride 4, or 1 up to 32 pixels."""
    stride = 1 if image_size <= 32 else 2
    small = FILTERS[0] // 4
    net = layers.norm(blocks.float_convolution(net, small, "conv0a", 3, stride), "bn0a")
    net = blocks.float_convolution(blocks.relu(net, "relu0a"), small, "conv0b", 3, stride, num_group=small)
    net = blocks.float_convolution(layers.norm(net, "bn0b"), FILTERS[0], "conv0c")
    return layers.norm(net, "bn0c")
