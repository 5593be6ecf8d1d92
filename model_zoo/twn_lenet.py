"""LeNet of Ternary Weight Networks (arXiv:1605.04711): 32C5-BN-ReLU-P2-64C5-BN-ReLU-P2-512-BN-ReLU-10.

All layers have ternary weights, the first and the last ones as well.
"""
import mxnet as mx

import qnn

from .mlp import batch_norm


def twn_lenet(num_classes=10, weight_quantizer="twn", act_quantizer=None):
    """Ternary LeNet: data (N, 1, 28, 28) in 0..1 -> softmax (N, num_classes).

    act_quantizer: of all layers but the first; None: ReLU, float, as in the paper; "quantized_relu(bits=2, limit=2.0)"
    for instance runs on bit planes when it is converted.
    """
    def layer(op, net, name, **options):
        quantizer = "identity" if name == "conv1" else act_quantizer or "identity"
        return op(net, no_bias=False, act_quantizer=quantizer, weight_quantizer=weight_quantizer, name=name, **options)

    def activated(net, number):
        net = batch_norm(net, "bn%d" % number)
        return net if act_quantizer else mx.sym.Activation(net, act_type="relu", name="relu%d" % number)

    net = mx.sym.Variable("data")
    for number, filters in ((1, 32), (2, 64)):
        net = activated(layer(qnn.sym.QConvolution, net, "conv%d" % number, kernel=(5, 5), num_filter=filters), number)
        net = mx.sym.Pooling(net, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool%d" % number)
    net = mx.sym.Flatten(net, name="flatten")
    net = activated(layer(qnn.sym.QFullyConnected, net, "fc1", num_hidden=512), 3)
    net = layer(qnn.sym.QFullyConnected, net, "fc2", num_hidden=num_classes)
    return mx.sym.SoftmaxOutput(net, name="softmax")
