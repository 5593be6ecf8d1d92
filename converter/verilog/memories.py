"""Memories: what yosys makes of words x bits: logic, distributed RAM or block RAM, the one of the least cost.

The cost of a RAM of `widths` bits (`depth` words at the first of them, half as many at each next), as memory_libmap of
yosys 0.23 has it for the libraries of `synth_xilinx -family xc7`:

    beside = ceil(words / depth)                      RAMs whose outputs are chosen from
    cost   = RAMs * cost of one + (beside - 1) * bits / 2 + 2 * emulation [+ beside / 2 if written and beside > 1]

against 1 a bit in flip-flops, 1/64 a bit of constants in LUTs. emulation: 1 for a read port, 3 more where a word that
is written while it is read must be passed by. Of equal costs the first is taken.
"""
from collections import namedtuple

from .structure import ceil_div

Memory = namedtuple("Memory", "cost style luts brams beside")  # luts: sites of distributed RAM; brams: BRAM18
Ram = namedtuple("Ram", "widths depth cost brams")
BLOCK = (Ram((1,), 65536, 513, 4), Ram((1, 2, 4, 9, 18, 36), 32768, 257, 2), Ram((1, 2, 4, 9, 18), 16384, 129, 1),
         Ram((1, 2, 4, 9, 18, 36, 72), 32768, 257, 2), Ram((1, 2, 4, 9, 18, 36), 16384, 129, 1))
DISTRIBUTED = ((64, 3), (32, 6))  # (words, bits) of four LUT sites
ROM_BIT = 1 / 64


def choice(count):
    """LUTs a bit of choosing one of `count` words: four a LUT6, and again of what those give. Of five words, eight
    inputs, one LUT8 is a level less and four sites; of six, the last two go into the LUT5 that chooses last; of 10 to
    15 yosys ends in a LUT7 of two sites.

    >>> [choice(count) for count in (1, 2, 4, 5, 6, 8, 9, 13, 16)]
    [0, 1, 1, 4, 2, 3, 3, 5, 5]
    """
    known = {1: 0, 5: 4, 6: 2}
    if count in known:
        return known[count]
    groups = ceil_div(count, 4)
    return groups - (count % 4 == 1) + choice(groups) + (10 <= count <= 15)


def _cost(rams, each, beside, bits, is_written, emulation):
    return rams * each + ((beside - 1) * bits + (beside if is_written and beside > 1 else 0)) / 2 + 2 * emulation


def block(words, bits, is_written=False, emulation=1):
    """The Memory of block RAM with the least cost; a write port takes bytes of 9 bits.

    >>> block(784, 256)[3:], block(18432, 32)[3:], block(16384, 64)[3:]
    ((15, 1), (32, 9), (58, 4))
    """
    best = None
    for ram in BLOCK:
        shape = None
        for place, width in enumerate(ram.widths):
            beside, byte = ceil_div(words, ram.depth >> place), min(9, width) if is_written else 1
            count = ceil_div(beside * byte * ceil_div(bits, byte), width)
            cost = _cost(count, ram.cost, beside, bits, is_written, emulation)
            if shape is None or cost < int(shape.cost):
                shape = Memory(cost, "block", 0, count * ram.brams, beside)
        if best is None or shape.cost < best.cost:
            best = shape
    return best


def distributed(words, bits, emulation=1):
    """The Memory of distributed RAM, one write and one read port, with the least cost.

    >>> distributed(16, 49)[2:], distributed(72, 32)[2:]
    ((36, 0, 1), (72, 0, 3))
    """
    shapes = []
    for depth, width in DISTRIBUTED:
        beside = ceil_div(words, depth)
        count = beside * ceil_div(bits, width)
        cost = _cost(count + 7 * beside * bits / width, 1, beside, bits, True, emulation)
        shapes.append(Memory(cost, "distributed", 4 * count, 0, beside))
    return min(shapes, key=lambda shape: shape.cost)


def _least(logic, *others):
    best, least = Memory(logic, "logic", 0, 0, 1), int(logic)
    for other in others:
        if other.cost < least:
            best, least = other, int(other.cost)
    return best


def ram(words, bits, emulation=1):
    """The Memory of a memory with a write port and a read port that waits for a clock."""
    return _least(words * bits, distributed(words, bits, emulation), block(words, bits, True, emulation))


def rom(words, bits):
    """The Memory of constants with a read port that waits for a clock; bits: those that change.

    >>> rom(256, 32).style, rom(268, 32).style
    ('logic', 'block')
    """
    return _least(words * bits * ROM_BIT, block(words, bits))
