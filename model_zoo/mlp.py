"""Fully connected networks for 28x28 digits: BinaryConnect's MLP, LFC and SFC of BNN-PYNQ, the MLP of ReBNet.

Layers quantize their own data, behind a BatchNorm; biases, which BatchNorm would absorb, exist in `mlp` only, whose
figures show them. Where dropout is given, a network is for training: its quantizers stand in front of the Dropout, as
sign would make +1 of a dropped 0. Without dropout it is the same function in inference, with the same parameters.
"""
import mxnet as mx

import qnn

EPS = 1e-4
TERNARY = "fixed(bits=2, fraction=0, narrow=True)"  # -1, 0, +1 with thresholds -0.5 and 0.5: BNN-PYNQ's two bits
QUANTIZERS = {1: "sign", 2: TERNARY}


def mlp(num_classes=10, num_hidden=1024, num_layers=3, weight_quantizer=None, dropout=0.0):
    """MLP of BinaryConnect (arXiv:1511.00363): data (N, 1, 28, 28) in 0..1 -> scores (N, num_classes).

    Activations are float ReLUs. weight_quantizer: of all layers; None: float. dropout: behind every hidden layer.
    2,910,208 weights.
    """
    net = mx.sym.Flatten(mx.sym.Variable("data"), name="flatten")
    for number in range(1, num_layers + 2):
        units = num_hidden if number <= num_layers else num_classes
        net = qnn.sym.QFullyConnected(net, num_hidden=units, no_bias=False, act_quantizer="identity",
                                      weight_quantizer=weight_quantizer or "identity", name="fc%d" % number)
        net = batch_norm(net, "bn%d" % number)
        if number <= num_layers:
            net = mx.sym.Activation(net, act_type="relu", name="relu%d" % number)
            net = mx.sym.Dropout(net, p=dropout, name="dropout%d" % number) if dropout else net
    return squared_hinge(net, num_classes)


def lfc(num_classes=10, act_bit=1, weight_bit=1, num_hidden=1024, num_layers=3, input_dropout=0.0, dropout=0.0):
    """LFC of BNN-PYNQ: data (N, 1, 28, 28) in 0..1, binarized at 1/2 -> scores (N, num_classes).

    act_bit, weight_bit: 1 (signs) or 2 (-1, 0, +1).
    """
    net = mx.sym.Flatten(centred(mx.sym.Variable("data")), name="flatten")
    act_quantizers = ["sign"] + [_of_bits("act_bit", act_bit)] * num_layers
    rates = [input_dropout] + [dropout] * num_layers
    for number, (act_quantizer, rate) in enumerate(zip(act_quantizers, rates), 1):
        units = num_hidden if number <= num_layers else num_classes
        net = dense(net, units, act_quantizer, _of_bits("weight_bit", weight_bit), "fc%d" % number, rate)
        net = batch_norm(net, "bn%d" % number)
    return squared_hinge(net, num_classes)


def sfc(num_classes=10, act_bit=1, weight_bit=1, **options):
    """SFC of FINN: LFC with 256 neurons a layer."""
    return lfc(num_classes, act_bit, weight_bit, num_hidden=256, **options)


def residual_mlp(num_classes=10, levels=2, residual="isometric", num_hidden=256, num_layers=3, input_bit=8):
    """MLP of the residual binarization papers: data (N, 1, 28, 28) in 0..1 -> softmax (N, num_classes).

    levels: 1..4 signs per activation; residual: "isometric" (Chen and Tanaka) or "rebnet" (arXiv:1711.01243). Weights
    are signs. input_bit: 8 (fixed point) or 1 (binarized at 1/2).
    """
    if input_bit not in (1, 8):
        raise ValueError("residual_mlp: input_bit is 1 or 8, got %r" % (input_bit,))
    net = mx.sym.Flatten(centred(mx.sym.Variable("data")), name="flatten")
    for number in range(1, num_layers + 2):
        if number > 1:
            act_quantizer = "%s(levels=%d)" % (residual, levels)
        else:
            act_quantizer = "sign" if input_bit == 1 else "fixed(bits=8, fraction=7)"
        net = dense(net, num_hidden if number <= num_layers else num_classes, act_quantizer, "sign", "fc%d" % number)
        net = batch_norm(net, "bn%d" % number)
    return mx.sym.SoftmaxOutput(net, name="softmax")


def centred(data):
    """2*data - 1: 0..1 -> -1..1."""
    return data * 2 - 1


def dense(net, units, act_quantizer, weight_quantizer, name, dropout=0.0):
    """A quantized layer without bias; with dropout, its quantizer stands in front of that."""
    if dropout:
        net = qnn.sym.QActivation(net, quantizer=act_quantizer, name=name + "_qact")
        net = mx.sym.Dropout(net, p=dropout, name=name + "_dropout")
        act_quantizer = "identity"
    return qnn.sym.QFullyConnected(net, num_hidden=units, no_offset=True, act_quantizer=act_quantizer,
                                   weight_quantizer=weight_quantizer, name=name)


def batch_norm(net, name, **options):
    """BatchNorm as BinaryNet has it: eps 1e-4, averages that keep 0.9."""
    return mx.sym.BatchNorm(net, fix_gamma=False, eps=EPS, momentum=0.9, name=name, **options)


def squared_hinge(net, num_classes):
    """The output of scores trained with the squared hinge loss; its label is called softmax_label, as MXNet expects."""
    return qnn.losses.SquaredHingeOutput(net, mx.sym.Variable("softmax_label"), num_classes, name="hinge")


def _of_bits(argument, bits):
    if bits not in QUANTIZERS:
        raise ValueError("lfc: %s is 1 or 2, got %r" % (argument, bits))
    return QUANTIZERS[bits]
