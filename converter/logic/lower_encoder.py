"""Lower the encoder: comparisons of bytes with constants as nodes, inputs are then the bits of the bytes.

    v >= level    looks at no bit below the lowest 1 of level; 6 bits are one node, 7 and 8 are two:
                  low = v[low bits] >= level[low bits];  high = v[high bits] > level[high bits] or equal and low

Levels that change with the frame are signals, too; they are compared two digits a node, from the lowest on.
"""
import numpy as np

from qnn.lut_network import LutNetwork

from .lower_head import CHOOSE, Builder, table_of
from .netlist import Netlist

BYTE = 8
HIGH = 5  # bits of the second node besides `low`: what lies below is shared by many levels of a feature
AT_LEAST = table_of(5, lambda v0, v1, l0, l1, c: v0 + 2 * v1 + c > l0 + 2 * l1)


def lower_encoder(levels, features):
    """(functions, signals): nodes that compute bits[i] = byte features[i] >= levels[i], and the signal of each bit.

    levels: (bits,) 0..256; features: (bits,). Signal 8 f + j is bit j of byte f; nodes count from 8 * num_features on,
    which the caller adds: they are given as negative numbers, -1 the first.
    """
    functions, signals, made = [], [], {}

    def node(inputs, table):
        key = inputs, table
        if key not in made:
            functions.append(key)
            made[key] = -len(functions)
        return made[key]

    for level, feature in zip(levels, features):
        level, feature = int(level), int(feature)
        if level in (0, 256):
            signals.append(node((), int(level == 0)))
            continue
        first = (level & -level).bit_length() - 1
        bits = [BYTE * feature + j for j in range(first, BYTE)]
        level >>= first
        if len(bits) <= 6:
            signals.append(node(tuple(bits), at_least(len(bits), level)))
            continue
        split = len(bits) - HIGH
        low = node(tuple(bits[:split]), at_least(split, level & ((1 << split) - 1)))
        high = level >> split
        table = sum(1 << (i + (carry << HIGH)) for carry in (0, 1) for i in range(1 << HIGH) if i > high or
                    (i == high and carry))
        signals.append(node(tuple(bits[split:]) + (low,), table))
    return functions, signals


def at_least(n, level):
    """Table of v >= level, v of n bits."""
    return sum(1 << i for i in range(1 << n) if i >= level)


def encoder_network(encoder):
    """The LutNetwork of an Encoder by itself: inputs the bits of its bytes, then, where it has frames, the digits of
    the number of the frame, lowest first; outputs its bits. The last frame stands for numbers that no frame has."""
    first = BYTE * encoder.num_features
    digits = list(range(first, first + (encoder.num_frames - 1).bit_length()))
    netlist = Netlist(first + len(digits), [], [])
    if encoder.num_frames == 1:
        functions, signals = lower_encoder(encoder.levels[0], encoder.features)
        shift = -1 + netlist.num_inputs
        netlist.functions = [(tuple(i if i >= 0 else shift - i for i in inputs), table) for inputs, table in functions]
        netlist.outputs = [shift - signal for signal in signals]
        return netlist.to_network(LutNetwork(netlist.num_inputs, []))
    builder = Builder(netlist)
    columns, numbers = np.unique(encoder.levels, axis=1, return_inverse=True)
    levels = [[chosen(builder, digits, [int(level) >> j & 1 for level in column]) for j in range(BYTE + 1)]
              for column in columns.T]  # bits with the same levels in all frames share their digits
    netlist.outputs = [is_at_least(builder, range(BYTE * feature, BYTE * feature + BYTE), levels[number])
                       for feature, number in zip(encoder.features.tolist(), numbers.ravel())]
    return netlist.to_network(LutNetwork(netlist.num_inputs, []))


def chosen(builder, digits, values):
    """The signal of values[number], a number given by its digits: one node of up to 6 digits, more choose of two."""
    values = values + values[-1:] * ((1 << len(digits)) - len(values))
    if len(digits) <= 6:
        return builder.node(digits, sum(value << i for i, value in enumerate(values)))
    half = len(values) // 2
    return builder.node((chosen(builder, digits[:-1], values[:half]), chosen(builder, digits[:-1], values[half:]),
                         digits[-1]), CHOOSE)


def is_at_least(builder, byte, level):
    """The signal of v >= level; byte: 8, level: 9 signals, lowest first. Two digits a node, from the lowest on."""
    carry = builder.one
    for j in range(0, BYTE - 2, 2):
        carry = builder.node((byte[j], byte[j + 1], level[j], level[j + 1], carry), AT_LEAST)
    return builder.node((byte[-2], byte[-1], level[-3], level[-2], carry, level[-1]), AT_LEAST)  # not from 256 on
