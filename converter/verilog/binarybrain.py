"""BinaryBrain's files: its Verilog netlists read into a LutNetwork, its $readmemb test data written and read.

    network = read_netlist("MnistLutSimple.v")          every layer a module, its nodes tables, bb_lut or LUT6
    write_images("mnist_test.txt", images, labels)      class in 8 bits, "_", the bits, the last first
"""
import re

import numpy as np

from qnn.files import FileFormatError, write_atomically
from qnn.lut_network import LutLayer, LutNetwork

MODULE = re.compile(r"\bmodule\s+(\w+)")
PORT = re.compile(r"\b(input|output)\s+(?:wire|reg)?\s*\[\s*(\d+)\s*(-\s*1\s*)?:\s*0\s*\]\s*(in_data|out_data)\b")
TABLE = re.compile(r"(?:wire\s*(?:\[[^\]]*\])?\s*lut_(\d+)_table\s*=|\.INIT\s*\()\s*(\d+)'([bh])([0-9a-fA-F_]+)")
ELEMENT = re.compile(r"in_data\s*\[\s*(\d+)\s*\]")
OUTPUT = re.compile(r"\bassign\s+out_data\s*\[\s*(\d+)\s*\]\s*=\s*lut_(\d+)_")


def read_netlist(path):
    """The LutNetwork of a netlist of BinaryBrain: modules with in_data, out_data and nodes lut_<k>, layer by layer in
    the order of the file. Raises OSError, or FileFormatError naming file and line."""
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    layers = [_Layer(path, *part) for part in _modules(lines)]
    layers = [layer for layer in layers if layer.nodes]
    if not layers:
        raise FileFormatError("%s: no module with nodes lut_<number> is in it" % path)
    made, units = [], layers[0].ports["input"]
    for number, layer in enumerate(layers):
        if number and layer.ports["input"] != layers[number - 1].ports["output"]:
            raise FileFormatError("%s: line %d: module %s has %d inputs, the layer before it %d outputs" % (
                path, layer.line, layer.name, layer.ports["input"], layers[number - 1].ports["output"]))
        made.append(layer.arrays())
    return LutNetwork.chain(units, made)


def _modules(lines):
    """(name, first line, lines) of every module."""
    name, begin = None, 0
    for number, line in enumerate(lines, 1):
        found = MODULE.search(line.partition("//")[0])
        if found:
            name, begin = found.group(1), number
        if name and re.search(r"\bendmodule\b", line):
            yield name, begin, lines[begin - 1:number]
            name = None


class _Layer:
    """One module: nodes {number: (line, table size, table, [inputs])}."""

    def __init__(self, path, name, line, lines):
        self.path, self.name, self.line = path, name, line
        self.nodes: dict = {}
        self.ports, self.targets = {}, {}
        self.parse(lines)

    def fail(self, line, text):
        raise FileFormatError("%s: line %d: %s" % (self.path, line, text))

    def parse(self, lines):
        table, number, inputs, waiting, is_vector = None, None, [], None, True
        for offset, raw in enumerate(lines):
            line, text = self.line + offset, raw.partition("//")[0]
            port = PORT.search(text)
            if port:
                self.ports[port.group(1)] = int(port.group(2)) + (0 if port.group(3) else 1)
                continue
            comment = re.match(r"\s*//\s*LUT\s*:\s*(\d+)", raw)
            if comment:
                self.finish(number, table, inputs, waiting, is_vector)
                number, table, inputs, waiting, is_vector = int(comment.group(1)), None, [], line, True
            found = TABLE.search(text)
            if found:
                digits, base = found.group(4).replace("_", ""), 2 if found.group(3) == "b" else 16
                try:
                    table = line, int(found.group(2)), int(digits, base)
                except ValueError:
                    self.fail(line, "a table is a binary or hexadecimal number, got '%s'" % digits)
                if base == 2 and len(digits) != table[1] or table[2] >> table[1]:
                    self.fail(line, "a table of %d bits is declared, got %d digits" % (table[1], len(digits)))
                text = text[:found.start()] + text[found.end():]
            is_vector = is_vector and not re.search(r"\.I0\s*\(", text)
            inputs += [(line, int(i)) for i in ELEMENT.findall(text)]
            target = OUTPUT.search(text)
            if target:
                self.targets[int(target.group(1))] = line, int(target.group(2))
        self.finish(number, table, inputs, waiting, is_vector)

    def finish(self, number, table, inputs, line, is_vector):
        if number is None:
            return
        if table is None:
            self.fail(line, "node lut_%d has no table" % number)
        if 1 << len(inputs) != table[1]:
            self.fail(table[0], "node lut_%d has a table of %d bits for %d inputs" % (number, table[1], len(inputs)))
        if number in self.nodes:
            self.fail(line, "node lut_%d is there twice" % number)
        if is_vector:  # {in_data[..], ...} begins with the highest bit, .I0(..) with the lowest
            inputs = inputs[::-1]
        self.nodes[number] = table[2], [signal for _, signal in inputs], inputs

    def arrays(self):
        """(connections, tables) in the order of out_data."""
        for direction in ("input", "output"):
            if direction not in self.ports:
                name = {"input": "in_data", "output": "out_data"}[direction]
                self.fail(self.line, "module %s has no port %s" % (self.name, name))
        count = self.ports["output"]
        connections, tables = np.full((count, 6), -1, np.int32), np.zeros(count, np.uint64)
        for row in range(count):
            line, node = self.targets.get(row, (self.line, row))
            if node not in self.nodes:
                self.fail(line, "out_data[%d] of module %s has no node" % (row, self.name))
            table, signals, inputs = self.nodes[node]
            for at, signal in inputs:
                if signal >= self.ports["input"]:
                    self.fail(at, "in_data[%d] is read, but there are %d inputs" % (signal, self.ports["input"]))
            if len(signals) > 6:
                self.fail(inputs[0][0], "a node of %d inputs; 6 at most" % len(signals))
            connections[row, :len(signals)] = signals
            tables[row] = table
        return LutLayer(connections, tables).connections, tables


def write_images(path, bits, labels):
    """Test data for $readmemb: a line a sample, its class in 8 binary digits, "_" and its bits, bit 0 last.

    bits: (N, width) bool; labels: (N,) 0..255. Raises ValueError, OSError.
    """
    bits, labels = np.asarray(bits, bool), np.asarray(labels)
    if bits.ndim != 2 or labels.shape != (len(bits),) or labels.min() < 0 or labels.max() > 255:
        raise ValueError("write_images: bits are (N, width), labels (N,) 0..255, got shapes %s and %s"
                         % (bits.shape, labels.shape))
    rows = ["{:08b}_{}\n".format(label, "".join("1" if bit else "0" for bit in row[::-1]))
            for row, label in zip(bits, labels)]
    write_atomically({path: "".join(rows).encode()})


def read_images(path):
    """Inverse of write_images: (bits (N, width) bool, labels (N,) int64). Raises FileFormatError naming the line."""
    with open(path) as file:
        lines = file.read().split()
    rows, labels = [], []
    for number, line in enumerate(lines, 1):
        if not re.fullmatch(r"[01]{8}_[01]+", line) or len(line) != len(lines[0]):
            raise FileFormatError("%s: line %d: 8 binary digits, _ and %d more are expected"
                                  % (path, number, len(lines[0]) - 9))
        label, _, digits = line.partition("_")
        labels.append(int(label, 2))
        rows.append([digit == "1" for digit in digits[::-1]])
    return np.array(rows, bool), np.array(labels, np.int64)
