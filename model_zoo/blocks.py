"""Blocks: what the networks here are made of, in binary and in float from one definition.

    1..31 bits:     activation = QActivation, convolution = QConvolution
    32/32 bits:     activation = relu,        convolution = Convolution
"""
import mxnet as mx

import qnn

FLOAT = 32


class Layers:
    """The layers of a network, or of a part of it, of `act_bit` and `weight_bit` bits.

    eps, momentum: of BatchNorm. act_quantizer: of activations of one bit. options: what Q layers take beyond shapes
    and bits: pad_value, no_offset, scaling, grad_clip.
    """

    def __init__(self, act_bit=1, weight_bit=1, eps=2e-5, momentum=0.9, act_quantizer="sign", **options):
        self.act_quantizer = act_quantizer
        self.bits, self.options = dict(act_bit=act_bit, weight_bit=weight_bit), options
        self.batch_norm = dict(fix_gamma=False, eps=eps, momentum=momentum)
        self.is_float = act_bit == weight_bit == FLOAT

    def as_float(self):
        """The same in float."""
        return Layers(FLOAT, FLOAT, self.batch_norm["eps"], self.batch_norm["momentum"])

    def norm(self, net, name, **options):
        """BatchNorm."""
        return mx.sym.BatchNorm(net, name=name, **{**self.batch_norm, **options})

    def activation(self, net, name):
        """Quantizer, or relu."""
        if self.bits["act_bit"] == FLOAT:
            return mx.sym.Activation(net, act_type="relu", name=name)
        options = {key: value for key, value in self.options.items() if key == "grad_clip"}
        if self.bits["act_bit"] == 1 and self.act_quantizer != "sign":
            options["quantizer"] = self.act_quantizer
        return qnn.sym.QActivation(net, act_bit=self.bits["act_bit"], name=name, **options)

    def convolution(self, net, num_filter, name, kernel=3, stride=1):
        """Square convolution without bias, padded so that stride 1 keeps the size."""
        if self.is_float:
            return float_convolution(net, num_filter, name, kernel, stride)
        return qnn.sym.QConvolution(net, name=name, **self.bits, **self.options, **geometry(num_filter, kernel, stride))

    def fully_connected(self, net, num_hidden, name):
        """Fully connected layer without bias."""
        if self.is_float:
            return mx.sym.FullyConnected(net, num_hidden=num_hidden, no_bias=True, name=name)
        options = {key: value for key, value in self.options.items() if key != "pad_value"}
        return qnn.sym.QFullyConnected(net, num_hidden=num_hidden, name=name, **self.bits, **options)


def geometry(num_filter, kernel, stride):
    """Arguments of a square convolution that is padded by half its kernel."""
    return dict(num_filter=num_filter, kernel=(kernel, kernel), stride=(stride, stride),
                pad=(kernel // 2, kernel // 2), no_bias=True)


def float_convolution(net, num_filter, name, kernel=1, stride=1, num_group=1):
    """MXNet's own Convolution: stems, and the 1x1 convolutions of shortcuts and transitions."""
    return mx.sym.Convolution(net, num_group=num_group, name=name, **geometry(num_filter, kernel, stride))


def relu(net, name):
    """max(x, 0)."""
    return mx.sym.Activation(net, act_type="relu", name=name)


def pool(net, pool_type, name, kernel=2, stride=2, pad=0):
    """Max- or average-pooling."""
    return mx.sym.Pooling(net, pool_type=pool_type, kernel=(kernel, kernel), stride=(stride, stride), pad=(pad, pad),
                          name=name)


def stem(net, layers, num_filter, image_size):
    """7x7 convolution of stride 2, BatchNorm, relu and max-pooling; a 3x3 convolution for images up to 32 pixels."""
    if image_size <= 32:
        return float_convolution(net, num_filter, "conv0", 3)
    net = layers.norm(float_convolution(net, num_filter, "conv0", 7, 2), "bn0")
    return pool(relu(net, "relu0"), "max", "pool0", kernel=3, pad=1)


def classifier(net, num_classes):
    """Global average, float fully connected layer fc1, softmax."""
    net = mx.sym.Pooling(net, kernel=(1, 1), global_pool=True, pool_type="avg", name="pool1")
    net = mx.sym.FullyConnected(mx.sym.Flatten(net, name="flatten0"), num_hidden=num_classes, name="fc1")
    return mx.sym.SoftmaxOutput(net, name="softmax")
