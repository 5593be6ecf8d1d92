"""Lower the encoder: comparisons of bytes with constants as nodes, inputs are then the bits of the bytes.

    v >= level    looks at no bit below the lowest 1 of level; 6 bits are one node, 7 and 8 are two:
                  low = v[low bits] >= level[low bits];  high = v[high bits] > level[high bits] or equal and low
"""
from qnn.lut_network import LutNetwork

from .lower_head import CHOOSE, Builder
from .netlist import Netlist

BYTE = 8
HIGH = 5  # bits of the second node besides `low`: what lies below is shared by many levels of a feature


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
    the number of the frame, lowest first; outputs its bits."""
    first = BYTE * encoder.num_features
    digits = [first + d for d in range((encoder.num_frames - 1).bit_length())]
    netlist = Netlist(first + len(digits), [], [])
    builder, frames = Builder(netlist), []
    for levels in encoder.levels:
        functions, signals = lower_encoder(levels, encoder.features)
        nodes: list = []

        def placed(signal, nodes=nodes):
            return signal if signal >= 0 else nodes[-1 - signal]
        for inputs, table in functions:
            nodes.append(builder.node(map(placed, inputs), table))
        frames.append([placed(signal) for signal in signals])
    for digit in digits:  # the last frame stands for numbers that no frame has
        pairs = [frames[i:i + 2] for i in range(0, len(frames), 2)]
        frames = [[builder.node((a, b, digit), CHOOSE) for a, b in zip(*pair)] if len(pair) == 2 else pair[0]
                  for pair in pairs]
    netlist.outputs = frames[0]
    return netlist.to_network(LutNetwork(netlist.num_inputs, []))
