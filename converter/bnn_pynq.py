"""BNN-PYNQ parameter folders: `<layer>-<pe>-weights.bin` and `<layer>-<pe>-thres.bin`, read strictly into matrices.

    weights.bin   little-endian uint64, a word per tile, tile t = nf * SF + sf, SF = columns / SIMD, NF = rows / PE.
                  PE p, tile (nf, sf): neuron nf * PE + p, synapses from sf * SIMD on, each in w bits:
                  w = 1: bit 1 = +1, 0 = -1;   w = 2: two's complement
    thres.bin     little-endian int64, index nf * (thresholds per neuron) + i; the hardware keeps 16 bits of it (24 in a
                  layer of 8-bit data, in units of 1/256)

A neuron's activation is `lowest + sum_i (threshold_i < accum)`. Nothing in a folder states its geometry: it comes from
the table here, or from a JSON file of the same fields. Source: Xilinx/BNN-PYNQ, FINN (arXiv:1612.07119).
"""
import errno
import glob
import json
import os
from dataclasses import asdict, dataclass

import numpy as np

from qnn.files import FileFormatError

KINDS = ("fc", "conv")  # conv: 3x3, stride 1, no padding; columns in the order ky, kx, channel
CONV_TAPS = 9


@dataclass(frozen=True)
class Layer:
    """One layer. inputs: channels (conv) or synapses (fc) that exist; columns: synapses as stored, padded; outputs:
    neurons; simd, pe: as its config.h has them; pool: 2x2 max-pooling behind it."""

    kind: str
    inputs: int
    outputs: int
    simd: int
    pe: int
    columns: int = 0
    pool: bool = False

    @property
    def synapses(self):
        return self.inputs * (CONV_TAPS if self.kind == "conv" else 1)

    @property
    def stored(self):
        return self.columns or self.synapses


@dataclass(frozen=True)
class Network:
    """Layers and number formats. data_shape: (C, H, W); data_bits 1: bit = pixel >= 128, 8: signed, 7 of them fraction;
    has_last_thresholds: the last layer gives one bit per class, else its accumulators."""

    data_shape: tuple
    data_bits: int
    weight_bits: int
    act_bits: int
    has_last_thresholds: bool
    layers: tuple

    def num_thresholds(self, number):
        """Thresholds per neuron of layer `number`: 2-bit activations are -1, 0, 1; the last layer gives bits."""
        if number == len(self.layers) - 1:
            return 1 if self.has_last_thresholds else 0
        return self.act_bits


def _lfc(act_bits):
    return Network((1, 28, 28), 1, 1, act_bits, True, (
        Layer("fc", 784, 1024, 64, 32, columns=832), Layer("fc", 1024, 1024, 32, 64), Layer("fc", 1024, 1024, 64, 32),
        Layer("fc", 1024, 10, 8, 16)))


def _cnv(weight_bits, act_bits, simd, pe):
    sizes = ((3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 10))
    layers = tuple(Layer("conv" if i < 6 else "fc", *sizes[i], simd[i], pe[i], pool=i in (1, 3)) for i in range(9))
    return Network((3, 32, 32), 8, weight_bits, act_bits, False, layers)


_FOLDS_W1 = ((3, 32, 32, 32, 32, 32, 4, 8, 1), (16, 32, 16, 16, 4, 1, 1, 1, 4))
_FOLDS_W2 = ((3, 16, 16, 16, 8, 8, 2, 2, 1), (8, 16, 8, 8, 4, 1, 1, 2, 4))
NETWORKS = {"lfcW1A1": _lfc(1), "lfcW1A2": _lfc(2), "cnvW1A1": _cnv(1, 1, *_FOLDS_W1),
            "cnvW1A2": _cnv(1, 2, *_FOLDS_W1), "cnvW2A2": _cnv(2, 2, *_FOLDS_W2)}


def find_network(name):
    """The Network of a name in NETWORKS, or of a JSON file with its fields. Raises ValueError, OSError."""
    if name in NETWORKS:
        return NETWORKS[name]
    if not str(name).endswith(".json"):
        raise ValueError("unknown BNN-PYNQ network %r; known: %s; or a .json file with %s" % (
            name, ", ".join(NETWORKS), ", ".join(Network.__dataclass_fields__)))
    try:
        with open(name, "rb") as file:
            fields = json.load(file)
        layers = tuple(Layer(**layer) for layer in fields.pop("layers"))
        network = Network(layers=layers, data_shape=tuple(fields.pop("data_shape")), **fields)
        _check(network)
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, KeyError, AttributeError, ValueError) as error:
        raise FileFormatError("%s: not a BNN-PYNQ network: %s" % (name, error)) from None
    return network


def _check(network):
    if not network.layers:
        raise ValueError("it has no layers")
    for field, allowed in (("data_bits", (1, 8)), ("weight_bits", (1, 2)), ("act_bits", (1, 2))):
        if getattr(network, field) not in allowed:
            raise ValueError("%s is %d or %d, got %r" % (field, *allowed, getattr(network, field)))
    for number, layer in enumerate(network.layers):
        sizes = [getattr(layer, size) for size in ("inputs", "outputs", "simd", "pe")]
        if layer.kind not in KINDS or not all(type(size) is int and size > 0 for size in sizes):
            raise ValueError("layer %d: kind is fc or conv, sizes are positive integers, got %r" % (number, layer))
        if layer.stored % layer.simd or layer.stored < layer.synapses or layer.simd * network.weight_bits > 64:
            raise ValueError("layer %d: %d columns do not divide into words of %d synapses" % (
                number, layer.stored, layer.simd))


def file_names(network):
    """Names of the weight and threshold files of a folder, without classes.txt."""
    names = []
    for number, layer in enumerate(network.layers):
        kinds = ["weights"] + (["thres"] if network.num_thresholds(number) else [])
        names += ["%d-%d-%s.bin" % (number, pe, kind) for pe in range(layer.pe) for kind in kinds]
    return names


def to_json(network):
    """The JSON text that find_network reads."""
    return json.dumps(asdict(network), indent=1)


def read_classes(folder):
    """Lines of classes.txt, the names of the classes; None without the file."""
    path = os.path.join(folder, "classes.txt")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8", errors="replace") as file:
        names = [line.strip() for line in file]
    return [name for name in names if name] or None


def read_folder(folder, network):
    """[(weights, thresholds)] of every layer.

    weights: (outputs, columns) int8 of -1, 0, +1; thresholds: (outputs, n) int64, None where the layer gives
    accumulators. Raises OSError for a missing file, FileFormatError naming the file of another size or content.
    """
    if not os.path.isdir(folder):
        code = errno.ENOTDIR if os.path.exists(folder) else errno.ENOENT
        raise OSError(code, os.strerror(code), folder)
    last = len(network.layers) - 1
    extra = glob.glob(os.path.join(glob.escape(folder), "%d-*-weights.bin" % (last + 1)))
    if extra:
        raise FileFormatError("%s: the network has %d layers: this is a folder of another network" % (
            sorted(extra)[0], last + 1))
    result = []
    for number, layer in enumerate(network.layers):
        weights = _read_weights(folder, number, layer, network.weight_bits, is_last=number == last)
        rows, thresholds = len(weights), None
        count = network.num_thresholds(number)
        if count:
            bits = 24 if number == 0 and network.data_bits == 8 else 16
            thresholds = _read_thresholds(folder, number, layer, rows, count, bits)[:layer.outputs]
        result.append((weights[:layer.outputs], thresholds))
    return result


def _read_weights(folder, number, layer, bits, is_last):
    """(rows, columns) int8; a last layer may be padded by any number of rows, others by none."""
    fold = layer.stored // layer.simd
    tiles = []
    for pe in range(layer.pe):
        path = os.path.join(folder, "%d-%d-weights.bin" % (number, pe))
        words = _read(path, "<u8")
        if not len(words) or len(words) % fold or len(words) != len(tiles[0] if tiles else words):
            raise FileFormatError("%s: %d words, expected %s" % (
                path, len(words), len(tiles[0]) if tiles else "a multiple of %d" % fold))
        rows = len(words) // fold * layer.pe
        if rows < layer.outputs or (not is_last and rows != layer.outputs):
            raise FileFormatError("%s: %d rows of %d columns, expected %d: truncated, or of another network" % (
                path, rows, layer.stored, layer.outputs))
        if layer.simd * bits < 64 and (words >> np.uint64(layer.simd * bits)).any():
            raise FileFormatError("%s: bits above the %d synapses of a word are set: this is another network's" % (
                path, layer.simd))
        tiles.append(words)
    return _unfold(np.stack(tiles), layer, bits, os.path.join(folder, "%d-*-weights.bin" % number))


def _unfold(words, layer, bits, path):
    """(PE, NF * SF) words -> (NF * PE, SF * SIMD) weights."""
    shifts = np.arange(layer.simd, dtype=np.uint64) * np.uint64(bits)
    codes = ((words[:, :, None] >> shifts) & np.uint64((1 << bits) - 1)).astype(np.int8)
    if bits == 1:
        values = 2 * codes - 1
    else:
        if (codes == 2).any():
            raise FileFormatError("%s: a weight of -2, expected -1, 0 and 1" % path)
        values = np.where(codes == 3, np.int8(-1), codes)
    return values.reshape(layer.pe, -1, layer.stored).transpose(1, 0, 2).reshape(-1, layer.stored)


def _read_thresholds(folder, number, layer, rows, count, bits):
    """(rows, count) int64, wrapped to `bits` as the hardware does."""
    columns = []
    for pe in range(layer.pe):
        path = os.path.join(folder, "%d-%d-thres.bin" % (number, pe))
        values = _read(path, "<i8")
        if len(values) != rows // layer.pe * count:
            raise FileFormatError("%s: %d thresholds, expected %d" % (path, len(values), rows // layer.pe * count))
        columns.append(values.reshape(-1, count))
    half = 1 << (bits - 1)
    return (np.stack(columns, axis=1).reshape(rows, count) + half) % (2 * half) - half


def _read(path, dtype):
    with open(path, "rb") as file:
        content = file.read()
    if len(content) % 8:
        raise FileFormatError("%s: %d bytes, expected a multiple of 8: truncated" % (path, len(content)))
    return np.frombuffer(content, dtype)
