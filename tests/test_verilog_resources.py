"""Resources of Verilog units: the generator's own estimate beside what yosys counts, and LUTs that a lane may cost."""
import doctest

import numpy as np
import pytest
from hardware import needs
from qnn.converter.verilog import memories, resources, synthesis
from qnn.converter.verilog.folding import Fold
from qnn.converter.verilog.layers import Matrix, Network, Window
from qnn.converter.verilog.structure import Pipeline

CODES = {"bits": {}, "isometric": dict(code_bits=2), "signed": dict(code_bits=2, code="signed"), "masked": {},
         "pixels": dict(code_bits=8, code="signed"), "ternary": {}}


def unit(k, n, pe, simd, code="bits", levels=1):
    """The structure.Block of one layer's unit, random weights."""
    draw = np.random.RandomState(0)
    window = Window(k // 9, 8, 8, (3, 3), (1, 1), (1, 1), (1, 1), 0, 8, 8) if code == "masked" else None
    options = dict(CODES[code])
    weight = draw.rand(n, k) < 0.5
    if code == "ternary":
        options["magnitude"] = (draw.rand(n, k) < 0.6).astype(int)
    spread = np.sqrt(k) * (2 ** options.get("code_bits", 1) - 1)
    thresholds = np.sort(np.rint(draw.randn(n, levels) * spread).astype(np.int64), axis=1) if levels else None
    layer = Matrix("one", weight, thresholds, window, **options)
    network = Network([layer], (8, 8, k // 9) if window else (1, 1, k))
    return next(block for block in Pipeline(network, {"one": Fold(pe, simd)}).blocks if block.module == "qnn_mvtu")


def test_counters_by_hand():
    assert [resources.columns([bits], bits.bit_length()) for bits in (1, 2, 3, 4, 6)] == [0, 2, 2, 3, 3]
    assert [resources.popcount(bits) for bits in (1, 3, 4, 49)] == [1, 2, 7, 67]
    assert resources.popcount(2, 2) == 2


def test_equal_and_constant_columns_of_a_memory_cost_nothing():
    table = np.array([[0, 1, 0, 0, 1], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0]], bool)
    assert resources.rom(table) == (2, 2, 0)


@pytest.mark.parametrize("module", [memories, resources])
def test_examples_in_docstrings(module):
    assert doctest.testmod(module).failed == 0


def test_where_memories_are_kept():
    """Thresholds of few bits stay in LUTs; a buffer of 72 words of 32 bits does not stay in distributed RAM."""
    assert [memories.rom(*size).style for size in ((256, 13), (260, 32), (268, 32))] == ["logic", "logic", "block"]
    assert [memories.ram(*size, 4).style for size in ((2, 13), (2, 14), (36, 32), (72, 32))] == [
        "logic", "distributed", "distributed", "block"]


SMALL = [(64, 16, 4, 16), (100, 10, 5, 10), (81, 70, 7, 27), (36, 10, 2, 36, "bits", 0), (27, 64, 8, 3, "pixels"),
         (128, 32, 4, 16, "ternary")]
LARGE = [(784, 256, 16, 49), (256, 64, 16, 16), (256, 64, 8, 32, "isometric", 3), (256, 64, 8, 32, "ternary"),
         (288, 64, 16, 36)]
DEEP = [(768, 320, 1, 32), (2304, 256, 1, 32), (2304, 256, 4, 64), (1152, 256, 2, 32)]  # chosen from 4, 9, 5, 9


@pytest.mark.slow
@pytest.mark.verilog
@pytest.mark.parametrize("spec, limit", [(spec, 0.15) for spec in SMALL] + [(spec, 0.05) for spec in LARGE + DEEP])
def test_estimate(spec, limit):
    needs("yosys")
    block = unit(*spec)
    counted, estimated = synthesis.synthesize_block(block), resources.estimate(block)
    assert estimated["LUT"] == pytest.approx(counted["LUT"], rel=limit)
    assert estimated["FF"] == pytest.approx(counted["FF"], rel=limit)
    assert (estimated["BRAM18"], estimated["DSP"]) == (counted["BRAM18"], counted["DSP"])
    if spec in SMALL + LARGE and spec[4:] == ():  # deep units are few lanes: control and memory outweigh them
        lanes = spec[2] * spec[3]
        assert counted["LUT"] <= lanes * (2.6 if lanes >= 784 else 4.5)
