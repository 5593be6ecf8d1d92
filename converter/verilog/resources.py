"""Resources: LUTs, flip-flops, block RAM and DSP slices of a block, estimated from its parameters.

Units and unrolled layers are counted as their Verilog is built, LUT by LUT; control, windows, FIFOs, converters and
sums of many planes are fitted to yosys 0.23 `synth_xilinx -family xc7` (docs/hardware.md has the residuals). LUT is LUT
sites, distributed memory included, as synthesis.count has it.
"""
import math

import numpy as np

from . import memories, unrolled
from .structure import ceil_div

COUNTED_TERMS = 3  # up to which qnn_lanes counts bits plane by plane


def estimate(block):
    """{"LUT", "FF", "BRAM18", "DSP"} of a structure.Block."""
    known = {"qnn_mvtu": _mvtu, "qnn_window": _window, "qnn_fifo": _fifo, "qnn_width": _width,
             "qnn_max_pool": _max_pool, "qnn_argmax": _argmax, "qnn_lines": _lines, "qnn_sum": _sum}
    lut, ff, bram = known.get(block.module, _unrolled)(block)
    return {"LUT": lut, "FF": ff, "BRAM18": bram, "DSP": 0}


def _log(number):
    return max(0, math.ceil(math.log2(number))) if number > 1 else 0


def lut_ram(words, bits):
    """LUT sites of a distributed memory, and LUTs that choose a word where it is deeper than those are."""
    memory = memories.distributed(words, bits)
    return memory.luts + bits * memories.choice(memory.beside)


def ram(words, bits, is_passed=False):
    """(LUT, FF, BRAM18) of a memory with a write port and a registered read port; is_passed: what is written to the
    word that is read is read, which distributed RAM does behind a register of the address. Block RAM reads the next
    address, which then takes LUTs, and the word waits beside it, chosen where the addresses are equal."""
    memory, position = memories.ram(words, bits, 4 if is_passed else 1), _log(words)
    if memory.style == "logic":
        return bits * memories.choice(words), bits * words + (position if is_passed else bits), 0
    if memory.style == "distributed":
        return lut_ram(words, bits), position if is_passed else bits, 0
    passing = (position + ceil_div(2 * position, 6) + 1, bits + 1) if is_passed else (0, 0)
    return passing[0] + bits * memories.choice(memory.beside), passing[1] + _log(memory.beside), memory.brams


def rom(contents):
    """(LUT, FF, BRAM18) of constants, (words, bits) bool, with a registered read port: bits that are equal in all words
    are one, and those that never change are none."""
    words = len(contents)
    is_live = contents.any(0) & ~contents.all(0)
    bits = int(is_live.sum())
    memory = memories.rom(words, bits)
    if memory.style == "block":
        return bits * memories.choice(memory.beside), _log(memory.beside), memory.brams
    columns = len({column.tobytes() for column in np.ascontiguousarray(contents[:, is_live].T)})
    table = 1 if words <= 64 else ceil_div(words, 64) + memories.choice(max(1, words // 256))
    return columns * table, columns, 0


def columns(sizes, width):
    """LUTs of rtl/qnn_columns.v for sizes[i] bits of weight 2^i, and a sum of `width` bits.

    >>> columns([6], 3), columns([2, 1], 2)
    (3, 3)
    """
    sizes, luts = list(sizes) + [0] * (width + 2), 0
    for place in range(width):
        while sizes[place] > 1:
            full, rest = divmod(sizes[place], 6)
            is_short = rest > 2 or sizes[place] == 2
            outputs = full + is_short, full + is_short, full + (is_short and rest > 3)
            luts += sum(outputs[:width - place])
            sizes[place] = outputs[0] + (0 if is_short else rest)
            sizes[place + 1] += outputs[1]
            sizes[place + 2] += outputs[2]
    return luts


def popcount(bits, per=3):
    """LUTs of rtl/qnn_popcount.v whose first round takes `per` bits and what they are made of into one LUT.

    >>> popcount(1), popcount(3), popcount(49)
    (1, 2, 67)
    """
    ones, twos = ceil_div(bits, per), ceil_div(bits, per) - (bits % per == 1)
    return ones + twos + columns([ones, twos], bits.bit_length())


def lanes(layer, simd, beside=1):
    """LUTs of one neuron's lanes: counters plane by plane and their sum, or additions. beside: words that its weights
    are chosen from; 4 or 16 fill the last LUT of the choice, and what compares one of three lanes stands by itself."""
    terms, is_masked = layer.code_bits * max(1, layer.weight_bits - 1), layer.kind == "masked"
    if terms > COUNTED_TERMS:
        return terms * max(simd, 2.1 * simd - 3.5)
    is_gated = is_masked or layer.weight_bits > 1
    gates = simd * max(1, layer.weight_bits - 1) if is_masked and layer.weight_bits > 1 else 0
    adders = terms - 1 + is_masked
    apart = simd // 3 if beside in (4, 16) and not is_gated else 0
    return terms * (popcount(simd, 2 if is_gated else 3) + apart) + gates + adders * simd.bit_length()


def _mvtu(block):
    layer, p = block.layer, block.params
    pe, simd, accum, levels = p["PE"], p["SIMD"], p["ACC_BITS"], p["LEVELS"]
    sf, nf = ceil_div(p["K"], simd), ceil_div(p["N"], pe)
    counters, word = _log(sf) + _log(nf) + _log(sf * nf), simd * p["CODE_BITS"]
    weights, thresholds = (rom(block.memories[p[key]]) if key in p else (0, 0, 0) for key in ("WEIGHTS", "THRESHOLDS"))
    beside = memories.rom(*block.memories[p["WEIGHTS"]].shape).beside
    replay = ram(sf, word, is_passed=True) if sf > 1 and nf > 1 else (0, 0, 0)
    shared = popcount(simd) if layer.kind == "masked" else 0
    compare = max(0, levels - 1) * accum + (popcount(levels) if levels > 1 else 0)
    addition = accum if sf > 1 or levels else 0
    control = min(max(10, 4.7 * counters - 29), 56) + (word if nf > 1 else 0)
    lut = (control + replay[0] + weights[0] + thresholds[0] + shared
           + pe * (lanes(layer, simd, beside) + addition + compare))
    sums = p["SUM_BITS"] - (layer.kind == "bits")  # without the sign
    word *= 2 if sf == 1 and nf > 1 else 1  # a replay buffer of one beat is a register
    ff = (word + replay[1] + weights[1] + thresholds[1] + _upper(block)[1] + pe * (sums + accum) + counters + 7
          + (_log(nf) if levels else 0))
    return lut, ff, replay[2] + weights[2] + thresholds[2]


def _upper(block):
    """`rom` of the thresholds above the first of each neuron, which a second register holds."""
    p = block.params
    if p["LEVELS"] < 2:
        return 0, 0, 0
    words = block.memories[p["THRESHOLDS"]]
    return rom(words.reshape(len(words), p["PE"], p["LEVELS"], -1)[:, :, 1:].reshape(len(words), -1))


def _window(block):
    p = block.params
    word, row = p["LANES"] * p["LANE_BITS"], p["WIDTH"] * p["BEATS"]
    reach = ((p["HEIGHT"] + 2 * p["PAD_H"] + p["KERNEL_H"] * p["DILATE_H"] + p["STRIDE_H"]) * row
             + (p["WIDTH"] + 2 * p["PAD_W"] + p["KERNEL_W"] * p["DILATE_W"] + p["STRIDE_W"]) * p["BEATS"])
    position = _log(reach + p["ROWS"] * row + 1) + 1
    memory = ram(p["ROWS"] * row, word)
    has_pad = p["PAD_H"] or p["PAD_W"]
    return 20 * position + (word if has_pad else 0) + memory[0], 8 * position + memory[1], memory[2]


def _fifo(block):
    width, depth = block.params["WIDTH"], block.params["DEPTH"]
    lut, ff, bram = ram(depth, width, is_passed=True)
    control = 8 if depth == 2 else 2 + 5.2 * _log(depth)
    return control + lut + (width if bram else 0), ff + 2 * _log(depth) + _log(depth + 1), bram


def _width(block):
    p = block.params
    common = math.gcd(p["IN"], p["OUT"])
    up = min(p["OUT"] // common, ceil_div(p["ITEMS"], p["IN"]))
    down = min(p["IN"] // common, ceil_div(p["ITEMS"], p["OUT"]))
    up_bits = up * p["IN"] * p["LANE_BITS"] if up > 1 or p["ITEMS"] % p["IN"] else 0
    down_bits = down * p["OUT"] * p["LANE_BITS"] if down > 1 else 0
    if not up_bits + down_bits:
        return 0, 0, 0
    return 15 + 0.95 * up_bits + 1.2 * down_bits, up_bits + down_bits + 6, 0


def _max_pool(block):
    bits = block.params["LANES"] * block.params["LANE_BITS"]
    return 1.05 * bits + 4 + 3 * _log(block.params["BEATS"]), bits + 3 + 3 * _log(block.params["BEATS"]), 0


def _argmax(block):
    p = block.params
    return p["LANES"] * (1.5 * p["BITS"] + p["OUT_BITS"]) + 10, p["BITS"] + 2 * p["OUT_BITS"] + 1, 0


def _lines(block):
    p = block.params
    (rows, columns), lanes = (p["HEIGHT"] + 2 * p["PAD_H"], p["WIDTH"] + 2 * p["PAD_W"]), p["LANES"]
    counters = _log(rows) + _log(columns) + _log(max(p["KERNEL_H"], p["STRIDE_H"])) + _log(max(p["KERNEL_W"],
                                                                                          p["STRIDE_W"]))
    memory = lut_ram(columns, (p["KERNEL_H"] - 1) * lanes) if p["KERNEL_H"] > 1 else 0
    is_padded = p["PAD_H"] or p["PAD_W"]
    return 10 + 2 * counters + memory + (lanes if is_padded else 0), p["KERNEL_H"] * p["KERNEL_W"] * lanes + counters, 0


def _sum(block):
    p = block.params
    bits = p["LANES"] * p["OUT_BITS"]
    return bits + p["LANES"] * p["IN_BITS"] + 5, bits + _log(p["BEATS"]) + 1, 0


def _unrolled(block):
    return unrolled.luts(block.layer), block.in_bits + block.out_bits + 2, 0
