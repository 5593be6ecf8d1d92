"""Netlist: a LUT network as a list of functions that passes rewrite; layers are found again at the end.

    functions[k] = (inputs, table)       signal num_inputs + k;  inputs are earlier signals
    level = 1 + the highest level of its inputs: the layer in which a node comes to stand
"""
import numpy as np

from qnn.lut_network import Encoder, LutLayer, LutNetwork


class Netlist:
    """num_inputs; functions: [(tuple of signals, table)]; outputs: [signal]."""

    def __init__(self, num_inputs, functions, outputs):
        self.num_inputs, self.functions, self.outputs = num_inputs, list(functions), list(outputs)

    @classmethod
    def of(cls, network):
        """The netlist of a LutNetwork."""
        functions = [(tuple(row[:n].tolist()), int(table)) for layer in network.layers
                     for row, n, table in zip(layer.connections, layer.arities.tolist(), layer.tables)]
        return cls(network.num_inputs, functions, network.outputs.tolist())

    def function(self, signal):
        """(inputs, table) of a node, None of an input."""
        return self.functions[signal - self.num_inputs] if signal >= self.num_inputs else None

    def readers(self):
        """{signal: [numbers of the nodes that read it]}."""
        found: dict = {}
        for k, (inputs, _) in enumerate(self.functions):
            for signal in inputs:
                found.setdefault(signal, []).append(k)
        return found

    def redirect(self, replacements):
        """Lets outputs read {signal: signal}."""
        self.outputs = [replacements.get(signal, signal) for signal in self.outputs]

    def levels(self):
        """Level of every signal; inputs have 0, constants 1."""
        found = [0] * self.num_inputs
        for inputs, _ in self.functions:
            found.append(1 + max((found[signal] for signal in inputs), default=0))
        return found

    def to_network(self, network):
        """The LutNetwork, with the head and the encoder of `network`; an encoder makes only the bits that are read."""
        kept = self.used_inputs() if network.encoder else list(range(self.num_inputs))
        levels = self.levels()
        order = sorted(range(len(self.functions)), key=lambda k: (levels[self.num_inputs + k],
                                                                  len(self.functions[k][0]), k))
        number = {signal: i for i, signal in enumerate(kept)}
        number.update({self.num_inputs + k: len(kept) + i for i, k in enumerate(order)})
        layers: dict = {}
        for k in order:
            layers.setdefault(levels[self.num_inputs + k], []).append(self.functions[k])
        made = []
        for functions in layers.values():
            connections = np.full((len(functions), 6), -1, np.int32)
            for row, (inputs, _) in zip(connections, functions):
                row[:len(inputs)] = [number[signal] for signal in inputs]
            made.append(LutLayer(connections, np.array([table for _, table in functions], np.uint64)))
        encoder = network.encoder
        if encoder:
            encoder = Encoder(encoder.num_features, encoder.features[kept], encoder.thresholds[:, kept], encoder.unit)
        outputs = np.array([number[signal] for signal in self.outputs])
        return LutNetwork(len(kept), made, outputs, network.groups, encoder, network.num_scores, network.num_frames)

    def used_inputs(self):
        """Inputs that a node or an output reads; one at least."""
        used = {signal for inputs, _ in self.functions for signal in inputs} | set(self.outputs)
        return sorted(signal for signal in used if signal < self.num_inputs) or [0]
