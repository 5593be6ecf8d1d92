"""ResNet-18 in BMXNet's arrangement (arXiv:1705.09864, section 3): pre-activation units (arXiv:1603.05027), every
convolution behind the stem binary, the 1x1 shortcuts of the stages included.

    unit:  a = QActivation(BatchNorm(x));   y = conv2(QActivation(BatchNorm(conv1(a)))) + (x, or shortcut(a))

Stem and classifier stay float, and so do the stages in `fp_stages`: the partially binarized networks of the paper's
ImageNet table. Packed parameters of 1000 classes:

    fp_stages      none   1      2      3       4       1, 2   all
    MB             3.51   4.10   5.55   11.65   36.04   6.14   46.80
    paper, MB      3.6    4.1    5.6    11.3    36      6.2    44.7
"""
import mxnet as mx

from . import blocks

STAGES = (64, 128, 256, 512)  # filters; two units each, all but the first stage halve height and width


def resnet18(num_classes=1000, act_bit=1, weight_bit=1, fp_stages=(), image_size=224):
    """ResNet-18: data (N, 3, image_size, image_size) -> softmax (N, num_classes). 11.7 M parameters.

    fp_stages: numbers, 1 to 4, of the stages that stay float. image_size: up to 32 has the stem of CIFAR-10, a 3x3
    convolution; packed 1.45 MB with 10 classes, 1/31 of the float parameters.
    """
    wrong = [stage for stage in fp_stages if stage not in range(1, len(STAGES) + 1)]
    if wrong:
        raise ValueError("resnet18: fp_stages are numbers from 1 to %d, got %r" % (len(STAGES), wrong[0]))
    layers = blocks.Layers(act_bit, weight_bit)
    net = layers.norm(mx.sym.Variable("data"), "bn_data", fix_gamma=True)
    net = blocks.stem(net, layers, STAGES[0], image_size)
    for stage, num_filter in enumerate(STAGES, 1):
        stride = 1 if stage == 1 else 2
        own = layers.as_float() if stage in fp_stages else layers
        net = unit(net, own, num_filter, stride, "stage%d_unit1" % stage, has_shortcut=True)
        net = unit(net, own, num_filter, 1, "stage%d_unit2" % stage, has_shortcut=False)
    net = blocks.relu(layers.norm(net, "bn1"), "relu1")
    return blocks.classifier(net, num_classes)


def unit(net, layers, num_filter, stride, name, has_shortcut):
    """A residual unit of two 3x3 convolutions."""
    active = layers.activation(layers.norm(net, name + "_bn1"), name + "_act1")
    residual = layers.convolution(active, num_filter, name + "_conv1", stride=stride)
    residual = layers.activation(layers.norm(residual, name + "_bn2"), name + "_act2")
    residual = layers.convolution(residual, num_filter, name + "_conv2")
    shortcut = layers.convolution(active, num_filter, name + "_sc", kernel=1, stride=stride) if has_shortcut else net
    return mx.sym.elemwise_add(residual, shortcut, name=name + "_plus")
