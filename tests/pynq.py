"""BNN-PYNQ in plain numpy, for tests: folders written neuron by neuron, networks run integer by integer."""
import os

import numpy as np
from qnn.converter.bnn_pynq import Layer, Network


def small_network(weight_bits, act_bits, data_bits=8, has_last_thresholds=False):
    """Two convolutions, one pooled, and two fully connected layers on 3x8x8 data; or three fully connected ones."""
    if data_bits == 1:
        layers = (Layer("fc", 49, 12, 16, 3, columns=64), Layer("fc", 12, 8, 4, 8), Layer("fc", 8, 5, 8, 2))
        return Network((1, 7, 7), 1, weight_bits, act_bits, has_last_thresholds, layers)
    layers = (Layer("conv", 3, 6, 3, 2), Layer("conv", 6, 8, 9, 4, pool=True), Layer("fc", 32, 10, 4, 5),
              Layer("fc", 10, 5, 1, 4))
    return Network((3, 8, 8), 8, weight_bits, act_bits, has_last_thresholds, layers)


def random_params(network, seed=0):
    """[(weights, thresholds)] with every stored row and column; last layers are padded to whole PEs."""
    random, params = np.random.RandomState(seed), []
    for number, layer in enumerate(network.layers):
        rows = -(-layer.outputs // layer.pe) * layer.pe
        weights = random.choice([-1, 1] if network.weight_bits == 1 else [-1, 0, 1], (rows, layer.stored))
        count, spread = network.num_thresholds(number), np.sqrt(layer.synapses)
        bits_in = network.data_bits if number == 0 else network.act_bits
        middle = layer.synapses / 2 if is_counting(network, bits_in) else 0
        unit = 128 if bits_in == 8 else 1  # thresholds there are in 1/256, accumulators in 1/128
        thresholds = np.rint(middle + random.randn(rows, count) * spread * unit).astype(np.int64)
        thresholds[::3] = thresholds[::3, :1]  # two equal ones; others stand in either order
        params.append((weights, thresholds if count else None))
    return params


def is_counting(network, bits_in):
    """Popcounts where activations and weights have 1 bit and the data are bits, sums elsewhere."""
    return network.weight_bits == network.act_bits == bits_in == 1


def write_folder(folder, network, params):
    """The files of a parameter folder, bit by bit."""
    os.makedirs(folder, exist_ok=True)
    for number, (layer, (weights, thresholds)) in enumerate(zip(network.layers, params)):
        for pe in range(layer.pe):
            words = []
            for neuron in range(pe, len(weights), layer.pe):
                for begin in range(0, layer.stored, layer.simd):
                    word = 0
                    for at, weight in enumerate(weights[neuron, begin:begin + layer.simd]):
                        code = int(weight > 0) if network.weight_bits == 1 else int(weight) & 3
                        word |= code << at * network.weight_bits
                    words.append(word)
            np.array(words, "<u8").tofile(os.path.join(folder, "%d-%d-weights.bin" % (number, pe)))
            if thresholds is not None:
                thresholds[pe::layer.pe].astype("<i8").tofile(os.path.join(folder, "%d-%d-thres.bin" % (number, pe)))


def run(network, params, images):
    """(accumulators of the last layer, its bits or None) by the formulas of the format. images: (N, C, H, W) floats as
    converted models take them."""
    if network.data_bits == 1:
        data = np.where(np.rint(images * 255) >= 128, 1, -1).transpose(0, 2, 3, 1).reshape(len(images), -1)
    else:
        data = np.floor((2 * images.astype(np.float64) / 255 - 1) * 128 + 0.5).clip(-128, 127).transpose(0, 2, 3, 1)
    for number, (layer, (weights, thresholds)) in enumerate(zip(network.layers, params)):
        bits_in = network.data_bits if number == 0 else network.act_bits
        rows = windows(data) if layer.kind == "conv" else data.reshape(len(data), -1)
        rows = np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, layer.stored - rows.shape[-1])], constant_values=-1)
        accum = (rows.astype(np.float64) @ weights.T.astype(np.float64)).astype(np.int64)  # BLAS; exact
        if is_counting(network, bits_in):
            accum = (layer.stored + accum) // 2
        if thresholds is None:
            return accum[:, :layer.outputs], None
        passed = (thresholds < accum[..., None] * (2 if bits_in == 8 else 1)).sum(-1)
        if number == len(network.layers) - 1:
            return accum[:, :layer.outputs], passed[:, :layer.outputs]
        data = 2 * passed - 1 if network.act_bits == 1 else passed - 1
        if layer.pool:
            n, h, w, c = data.shape
            data = data[:, :h // 2 * 2, :w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))
    raise AssertionError("a network has layers")


def windows(data):
    """(N, H, W, C) -> (N, H - 2, W - 2, 9 C): ky, kx, channel."""
    height, width = data.shape[1] - 2, data.shape[2] - 2
    return np.concatenate([data[:, y:y + height, x:x + width] for y in range(3) for x in range(3)], axis=-1)
