"""Reads a BNN-PYNQ parameter folder as a qnn training graph of weights -1, 0, +1 and its thresholds as BatchNorms.

    1-bit activation:  thr < accum                           = sign((accum - mean) * 1),      mean = thr + 1/2
    2-bit activation:  -1 + (thr0 < accum) + (thr1 < accum)  = floor(clip((accum - mean) / (thr1 - thr0), -1, 1) + 1/2)
    output:            one bit per class; the class is the highest bit that is set, 0 if none is: bit * index, argmax

Accumulators are integers and thresholds stand half-way between them, so that every activation is exact, whatever the
rounding. Padded columns and rows are dropped; what padded columns add is added to the thresholds. Max-pooling stands
before the BatchNorm here: all of them rise. Accumulators are counts of agreeing bits in networks of 1-bit activations
and weights (not in their layer of 8-bit data), else sums.
"""
import numpy as np

from qnn.graph import Graph

from .bnn_pynq import find_network, read_classes, read_folder

EPS = 1e-5
QUANTIZERS = {1: "sign", 2: "fixed(bits=2, fraction=0, narrow=True)", 8: "fixed(bits=8, fraction=7)"}


def load_bnn_pynq(folder, name):
    """(graph, arg_params, aux_params) of the parameter folder of a network: a name, or a JSON file (bnn_pynq.py).

    Data: (N, 1, 28, 28) in 0..1 for 1-bit data, (N, 3, 32, 32) in 0..255 for 8-bit data. Scores: (N, classes): bit *
    index where the last layer has thresholds, else its accumulators (BNN-PYNQ itself begins its argmax at 0, so that
    scores that are all negative give class 0). Raises OSError, ValueError naming the file.
    """
    network = find_network(name)
    classes = read_classes(folder)
    if classes is not None:
        network = _with_classes(network, len(classes))
    return _Builder(network, read_folder(folder, network)).build()


def _with_classes(network, count):
    from dataclasses import replace
    *hidden, last = network.layers
    return replace(network, layers=tuple(hidden) + (replace(last, outputs=count),))


class _Builder:
    def __init__(self, network, params):
        self.network, self.params, self.args, self.auxs = network, params, {}, {}

    def build(self):
        import mxnet as mx
        net = self._input(mx.sym.Variable("data"))
        for number, (layer, (weights, thresholds)) in enumerate(zip(self.network.layers, self.params)):
            name = "%s%d" % (layer.kind, number)
            is_counting = self.network.act_bits == self._bits_into(number) == 1 and self.network.weight_bits == 1
            net = self._layer(net, name, number, layer, weights[:, :layer.synapses], is_counting)
            if layer.pool:
                net = mx.sym.Pooling(net, kernel=(2, 2), stride=(2, 2), pool_type="max", name=name + "_pool")
            if thresholds is not None:
                padding = weights[:, layer.synapses:]  # the data there are -1
                extra = (padding < 0).sum(1) if is_counting else -padding.sum(1, dtype=np.int64)
                net = self._activation(net, name, number, thresholds - extra[:, None])
        if self.network.has_last_thresholds:
            net = self._highest_bit(net)
        return Graph.from_json(net.tojson()), self.args, self.auxs

    def _bits_into(self, number):
        return self.network.data_bits if number == 0 else self.network.act_bits

    def _input(self, data):
        """1 bit: pixel / 255 >= 1/2. 8 bits: 2 * pixel / 255 - 1, of which the first layer takes floor(x * 128 + 1/2)
        in -128..127; the floor's argument is no nearer to an integer than 1/510."""
        import qnn
        if self.network.data_bits == 1:
            return qnn.sym.QActivation(data - 0.5, name="data_act")
        return data * (2 / 255) - 1

    def _layer(self, net, name, number, layer, weights, is_counting):
        import qnn
        weights = weights.astype(np.float32)
        if layer.kind == "conv":
            weights = weights.reshape(layer.outputs, 3, 3, layer.inputs).transpose(0, 3, 1, 2)
        elif number and self.network.layers[number - 1].kind == "conv":  # channels of pixels, not pixels of channels
            channels = self.network.layers[number - 1].outputs
            weights = weights.reshape(layer.outputs, -1, channels).transpose(0, 2, 1).reshape(layer.outputs, -1)
        self.args[name + "_weight"] = np.ascontiguousarray(weights)
        kind, shape = "FullyConnected", dict(num_hidden=layer.outputs)
        if layer.kind == "conv":
            kind, shape = "Convolution", dict(kernel=(3, 3), num_filter=layer.outputs)
        return getattr(qnn.sym, "Q" + kind)(net, act_quantizer=QUANTIZERS[self._bits_into(number)],
                                            weight_quantizer=QUANTIZERS[self.network.weight_bits],
                                            no_offset=not is_counting, name=name, **shape)

    def _activation(self, net, name, number, thresholds):
        """BatchNorm and quantizer. thresholds: (outputs, 1 or 2); in a layer of 8-bit data in units of 1/256, where the
        accumulator has units of 1/128."""
        import mxnet as mx

        import qnn
        first = np.sort(thresholds, axis=1)  # counting passed thresholds needs no order; where gamma < 0 they descend
        if self._bits_into(number) == 8:
            first = first // 2
        steps = first + 0.5
        width = np.maximum(steps[:, -1] - steps[:, 0], 0.25)  # two equal thresholds: from -1 to +1 in one step
        scale = 1 / 128 if self._bits_into(number) == 8 else 1.0
        is_one_bit = thresholds.shape[1] == 1
        gamma = np.ones(len(first)) if is_one_bit else 1 / (width * scale)
        values = {"_bn_gamma": gamma, "_bn_beta": np.zeros(len(first))}
        states = {"_bn_moving_mean": (steps[:, 0] + steps[:, -1]) / 2 * scale,
                  "_bn_moving_var": np.full(len(first), 1 - EPS)}
        for params, arrays in ((self.args, values), (self.auxs, states)):
            params.update({name + key: array.astype(np.float32) for key, array in arrays.items()})
        net = mx.sym.BatchNorm(net, fix_gamma=False, eps=EPS, name=name + "_bn")
        if is_one_bit:
            return qnn.sym.QActivation(net, name=name + "_act")
        return qnn.sym.QActivation(net, quantizer=QUANTIZERS[2], name=name + "_act")

    def _highest_bit(self, net):
        """argmax of bit * index: the highest set bit, 0 where none is set."""
        import mxnet as mx
        count = self.network.layers[-1].outputs
        self.args["class_index"] = np.arange(count, dtype=np.float32)[None]
        index = mx.sym.Variable("class_index", shape=(1, count))
        return mx.sym.broadcast_mul(mx.sym.relu(net), index, name="scores")
