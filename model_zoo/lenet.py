"""LeNet for 28x28 digits, float and binary: listings 1 and 2 of the BMXNet paper (arXiv:1705.09864), with the sizes of
its published model (64 and 64 filters of 5x5, 1000 neurons).

First and last layer stay float: making them binary costs accuracy (section 2 of the paper).
"""
import mxnet as mx

import qnn


def lenet(num_classes=10):
    """Float LeNet: data (N, 1, 28, 28) in 0..1 -> softmax (N, num_classes). 1.14 M parameters, 4.6 MB."""
    data = mx.sym.Variable("data")
    net = mx.sym.Convolution(data, kernel=(5, 5), num_filter=64, name="conv1")
    net = mx.sym.Activation(net, act_type="tanh", name="tanh1")
    net = mx.sym.Pooling(net, pool_type="max", kernel=(2, 2), stride=(2, 2), name="pool1")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn1")
    net = mx.sym.Convolution(net, kernel=(5, 5), num_filter=64, name="conv2")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn2")
    net = mx.sym.Activation(net, act_type="tanh", name="tanh2")
    net = mx.sym.Pooling(net, pool_type="max", kernel=(2, 2), stride=(2, 2), name="pool2")
    net = mx.sym.FullyConnected(mx.sym.Flatten(net, name="flatten"), num_hidden=1000, name="fc1")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn3")
    net = mx.sym.Activation(net, act_type="tanh", name="tanh3")
    net = mx.sym.FullyConnected(net, num_hidden=num_classes, name="fc2")
    return mx.sym.SoftmaxOutput(net, name="softmax")


def binary_lenet(num_classes=10):
    """Binary LeNet: data (N, 1, 28, 28) in 0..1 -> softmax (N, num_classes). Packed: 206 kB."""
    data = mx.sym.Variable("data")
    net = mx.sym.Convolution(data, kernel=(5, 5), num_filter=64, name="conv1")
    net = mx.sym.Activation(net, act_type="tanh", name="tanh1")
    net = mx.sym.Pooling(net, pool_type="max", kernel=(2, 2), stride=(2, 2), name="pool1")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn1")
    net = qnn.sym.QActivation(net, name="qact1")
    net = qnn.sym.QConvolution(net, kernel=(5, 5), num_filter=64, name="conv2")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn2")
    net = mx.sym.Pooling(net, pool_type="max", kernel=(2, 2), stride=(2, 2), name="pool2")
    net = qnn.sym.QActivation(mx.sym.Flatten(net, name="flatten"), name="qact2")
    net = qnn.sym.QFullyConnected(net, num_hidden=1000, name="fc1")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn3")
    net = mx.sym.Activation(net, act_type="tanh", name="tanh3")
    net = mx.sym.FullyConnected(net, num_hidden=num_classes, name="fc2")
    return mx.sym.SoftmaxOutput(net, name="softmax")


NETWORKS = {"lenet": lenet, "binary_lenet": binary_lenet}
