"""Reference of LUT networks, in numpy: the definition that C, MXNet and Verilog are tested against.

    encoder   bit i of frame f = x[features[i]] > thresholds[f][i]                        (NaN gives 0)
    node      y = bit sum_j x_j << j of its table, x_j the signal connections[j]          (-1: no input, counts as 0)
    head      score s = ones among the outputs of group s, summed over frames;  class = first largest score

Signals: 0 .. num_inputs-1 are the bits of a sample, then come the nodes, layer by layer.
"""
import numpy as np

CHUNK = 512  # samples at once: an index of 64 bits for each node of each


def encode(x, features, thresholds):
    """Bits of samples: x (N, F) float32, features (bits,) int, thresholds (frames, bits) -> (N, frames, bits) bool."""
    return x[:, None, features] > thresholds[None]


def lut_signals(bits, layers):
    """All signals of samples: bits (N, num_inputs) bool; layers: [(connections (nodes, n), tables (nodes,))].

    Returns (N, num_inputs + nodes of all layers) bool.
    """
    signals = np.asarray(bits, bool)
    for connections, tables in layers:
        index = np.zeros((len(signals), len(tables)), np.uint64)
        for j in range(connections.shape[1]):
            x = signals[:, connections[:, j]] & (connections[:, j] >= 0)
            index |= x.astype(np.uint64) << np.uint64(j)
        signals = np.concatenate([signals, (tables >> index & np.uint64(1)).astype(bool)], axis=1)
    return signals


def lut_scores(bits, layers, outputs, groups, num_scores):
    """Scores of samples: bits (N, frames, num_inputs) bool -> (N, num_scores) int32."""
    members = np.zeros((len(outputs), num_scores), np.int32)
    members[np.arange(len(outputs)), groups] = 1
    scores = np.zeros((len(bits), num_scores), np.int32)
    for begin in range(0, len(bits), CHUNK):
        part = slice(begin, begin + CHUNK)
        for frame in range(bits.shape[1]):
            scores[part] += lut_signals(bits[part, frame], layers)[:, outputs].astype(np.int32) @ members
    return scores


def pack_bits(bits):
    """(..., K) bool -> (..., ceil(K/64)) uint64, first element in bit 0."""
    pad = -bits.shape[-1] % 64
    padded = np.concatenate([bits, np.zeros(bits.shape[:-1] + (pad,), bool)], axis=-1)
    return np.ascontiguousarray(np.packbits(padded, axis=-1, bitorder="little")).view("<u8")


def unpack_bits(words, k):
    """Inverse of pack_bits: (..., ceil(k/64)) uint64 -> (..., k) bool."""
    flat = np.ascontiguousarray(words, "<u8").view(np.uint8)
    return np.unpackbits(flat, axis=-1, bitorder="little")[..., :k].astype(bool)
