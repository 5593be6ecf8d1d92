"""Synthesis: what yosys makes of a design or of one block: LUTs, flip-flops, memories; mapped, not routed."""
import json
import re
import tempfile
from pathlib import Path

from . import simulate
from .structure import Verbatim
from .testbench import memory

COMMAND = "synth_xilinx -family %s -flatten -noiopad -noclkbuf -top %s"


def synthesize(folder, sources, top, family="xc7", timeout=3600):
    """{"LUT", "LUTRAM", "FF", "BRAM18", "DSP", "CARRY4"} of `top`; BRAM36 counts as two BRAM18.

    LUT: LUT1..LUT6 and distributed memory, in LUT sites. Raises simulate.SimulationError.
    """
    with tempfile.TemporaryDirectory() as scratch:
        stat = Path(scratch) / "stat.json"
        script = "read_verilog -DQNN_XILINX -defer %s; hierarchy -top %s; %s; tee -q -o %s stat -json" % (
            " ".join(map(str, sources)), top, COMMAND % (family, top), stat)
        simulate.run(["yosys", "-q", "-p", script], folder, timeout)
        modules = json.loads(stat.read_text())["modules"]
    return count(next(iter(modules.values()))["num_cells_by_type"])


LUTRAM_SITES = {"RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4,
                "RAM256X1D": 8, "RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4}


def count(cells):
    """Totals of a {cell type: number} of Xilinx primitives."""
    totals = dict.fromkeys(("LUT", "LUTRAM", "FF", "BRAM18", "DSP", "CARRY4"), 0)
    for kind, number in cells.items():
        if re.fullmatch(r"LUT\d", kind):
            totals["LUT"] += number
        elif kind in LUTRAM_SITES:
            totals["LUTRAM"] += number * LUTRAM_SITES[kind]
        elif re.fullmatch(r"SRL.*", kind):
            totals["LUTRAM"] += number
        elif kind.startswith("FD"):
            totals["FF"] += number
        elif kind.startswith("RAMB"):
            totals["BRAM18"] += number * (2 if "36" in kind else 1)
        elif kind.startswith("DSP"):
            totals["DSP"] += number
        elif kind == "CARRY4":
            totals["CARRY4"] += number
    totals["LUT"] += totals["LUTRAM"]
    return totals


WRAPPER = """module block (input aclk, input aresetn, input [%d:0] s_axis_tdata, input s_axis_tvalid,
              output s_axis_tready, output [%d:0] m_axis_tdata, output m_axis_tvalid, input m_axis_tready);
  %s%s i (aclk, aresetn, s_axis_tdata, s_axis_tvalid, s_axis_tready, m_axis_tdata, m_axis_tvalid, m_axis_tready);
endmodule
"""


def synthesize_block(block, sources=(), family="xc7"):
    """As `synthesize`, of one structure.Block by itself."""
    values = ", ".join(".%s(%s)" % (key, value if isinstance(value, (int, Verbatim)) else '"%s"' % value)
                       for key, value in block.params.items())
    with tempfile.TemporaryDirectory() as folder:
        for name, words in block.memories.items():
            (Path(folder) / name).parent.mkdir(exist_ok=True)
            (Path(folder) / name).write_text(memory(words))
        (Path(folder) / "block.v").write_text(WRAPPER % (block.in_bits - 1, block.out_bits - 1, block.module,
                                                         " #(%s)" % values if values else ""))
        return synthesize(folder, sorted(simulate.RTL.glob("*.v")) + list(sources) + ["block.v"], "block", family)
