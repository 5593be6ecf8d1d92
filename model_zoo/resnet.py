"""ResNet-18 for ImageNet, float and binary, in BMXNet's arrangement (arXiv:1705.09864, section 3): pre-activation units
(arXiv:1603.05027), every convolution behind the stem binary, the 1x1 shortcuts of the stages included.

    unit:  a = BatchNorm, QActivation of x;   y = conv2(QActivation(BatchNorm(conv1(a)))) + (x, or shortcut(a))

Stem and classifier stay float; the float network has relu and Convolution in the places of QActivation and
QConvolution.
"""
import mxnet as mx

import qnn

STAGES = (64, 128, 256, 512)  # filters; two units each, all but the first stage halve height and width
BATCH_NORM = dict(fix_gamma=False, eps=2e-5, momentum=0.9)


def resnet18(num_classes=1000, is_binary=True):
    """ResNet-18: data (N, 3, 224, 224) -> softmax (N, num_classes). 11.7 M parameters; packed 3.5 MB."""
    net = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(7, 7), stride=(2, 2), pad=(3, 3), num_filter=STAGES[0],
                             no_bias=True, name="conv0")
    net = mx.sym.Activation(mx.sym.BatchNorm(net, name="bn0", **BATCH_NORM), act_type="relu", name="relu0")
    net = mx.sym.Pooling(net, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max", name="pool0")
    for stage, num_filter in enumerate(STAGES, 1):
        stride = 1 if stage == 1 else 2
        net = unit(net, num_filter, stride, "stage%d_unit1" % stage, is_binary, has_shortcut=True)
        net = unit(net, num_filter, 1, "stage%d_unit2" % stage, is_binary, has_shortcut=False)
    net = mx.sym.Activation(mx.sym.BatchNorm(net, name="bn1", **BATCH_NORM), act_type="relu", name="relu1")
    net = mx.sym.Pooling(net, kernel=(7, 7), global_pool=True, pool_type="avg", name="pool1")
    net = mx.sym.FullyConnected(mx.sym.Flatten(net, name="flatten0"), num_hidden=num_classes, name="fc1")
    return mx.sym.SoftmaxOutput(net, name="softmax")


def unit(net, num_filter, stride, name, is_binary, has_shortcut):
    """A residual unit of two 3x3 convolutions."""
    active = activation(net, name, 1, is_binary)
    residual = convolution(active, num_filter, 3, stride, name + "_conv1", is_binary)
    residual = convolution(activation(residual, name, 2, is_binary), num_filter, 3, 1, name + "_conv2", is_binary)
    shortcut = convolution(active, num_filter, 1, stride, name + "_sc", is_binary) if has_shortcut else net
    return mx.sym.elemwise_add(residual, shortcut, name=name + "_plus")


def activation(net, name, number, is_binary):
    """BatchNorm and sign, or BatchNorm and relu."""
    net = mx.sym.BatchNorm(net, name="%s_bn%d" % (name, number), **BATCH_NORM)
    if is_binary:
        return qnn.sym.QActivation(net, name="%s_qact%d" % (name, number))
    return mx.sym.Activation(net, act_type="relu", name="%s_relu%d" % (name, number))


def convolution(net, num_filter, kernel, stride, name, is_binary):
    """Square convolution without bias, padded so that stride 1 keeps the size."""
    layer = qnn.sym.QConvolution if is_binary else mx.sym.Convolution
    return layer(net, kernel=(kernel, kernel), stride=(stride, stride), pad=(kernel // 2, kernel // 2),
                 num_filter=num_filter, no_bias=True, name=name)
