"""Demo: the whole path on scikit-learn's 8x8 digits: train a float and a binary CNN, pack the binary one, run all
three.

    float:  Convolution - BatchNorm - ReLU ...      binary:  QActivation - QConvolution - BatchNorm ...
"""
import time

import mxnet as mx
import numpy as np

from . import datasets, symbol
from .inference import Model

EPOCHS, BATCH, ROUNDS = 25, 50, 15


def network(is_binary):
    """CNN for (N, 1, 8, 8) digits -> softmax (N, 10). First and last layer are float in both."""
    def block(net, name, layer, **options):
        if not is_binary:
            return mx.sym.relu(mx.sym.BatchNorm(getattr(mx.sym, layer)(net, name=name, no_bias=True, **options),
                                                fix_gamma=False, name=name + "_bn"), name=name + "_relu")
        net = getattr(symbol, "Q" + layer)(symbol.QActivation(net, name=name + "_qact"), name=name, **options)
        return mx.sym.BatchNorm(net, fix_gamma=False, name=name + "_bn")

    net = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=64, pad=(1, 1), no_bias=True,
                             name="conv1")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="conv1_bn")
    net = net if is_binary else mx.sym.relu(net, name="conv1_relu")
    net = block(net, "conv2", "Convolution", kernel=(3, 3), num_filter=128, pad=(1, 1))
    net = mx.sym.Pooling(net, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool2")
    net = block(net, "conv3", "Convolution", kernel=(3, 3), num_filter=128, pad=(1, 1))
    net = mx.sym.Pooling(net, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool3")
    net = block(mx.sym.Flatten(net, name="flatten"), "fc1", "FullyConnected", num_hidden=512)
    net = mx.sym.FullyConnected(net, num_hidden=10, name="fc2")
    return mx.sym.SoftmaxOutput(net, name="softmax")


def train(is_binary, epochs=EPOCHS, progress=None):
    """Trains on the 1437 training digits; returns (Model, accuracy on the 360 test digits after every epoch)."""
    mx.random.seed(0)
    np.random.seed(0)
    images, labels = datasets.load("digits", split="train")
    batches = mx.io.NDArrayIter(images, labels, BATCH, shuffle=True)
    test = mx.io.NDArrayIter(*datasets.load("digits", split="test"), batch_size=60)
    steps = -(-len(images) // BATCH)
    schedule = mx.lr_scheduler.MultiFactorScheduler([steps * epochs * 2 // 3, steps * epochs * 8 // 9], 0.2,
                                                    base_lr=0.005)
    module, curve = mx.mod.Module(network(is_binary)), []
    module.bind(batches.provide_data, batches.provide_label)
    module.init_params(mx.init.Xavier(magnitude=2.0))
    module.init_optimizer(optimizer="adam", optimizer_params={"learning_rate": 0.005, "lr_scheduler": schedule})
    for _ in range(epochs):
        batches.reset()
        for batch in batches:
            module.forward_backward(batch)
            module.update()
        curve.append(dict(module.score(test, "acc"))["accuracy"])
        if progress is not None:
            progress.update()
    args, auxs = ({name: array.asnumpy() for name, array in params.items()} for params in module.get_params())
    return Model(module.symbol, args, auxs, labels=["softmax_label"]), curve


def measure(models, images):
    """Images per second of each model, medians of interleaved rounds, all images in one batch."""
    seconds = {name: [] for name in models}
    for _ in range(ROUNDS):
        for name, model in models.items():
            start = time.perf_counter()
            model.predict(images, batch_size=len(images))
            seconds[name].append(time.perf_counter() - start)
    return {name: len(images) / float(np.median(times)) for name, times in seconds.items()}


def num_bytes(model):
    """Bytes of all parameters as stored."""
    return sum(array.nbytes for array in model.params.values())
