"""LUT stages: a lowered LUT network as combinational modules with registers between them.

    stage s holds the nodes of levels s*n + 1 .. s*n + n (n: pipeline); a register behind every stage carries what later
    stages read, and pipeline = 0 makes one stage of all levels
"""
from ..logic.netlist import Netlist

DEVICES = ("generic", "xilinx")


class Stages:
    """What every stage reads and passes on: reads[s], writes[s]: signals; nodes[s]: node numbers."""

    def __init__(self, logic, pipeline=1):
        netlist = self.netlist = Netlist.of(logic)
        n, levels = netlist.num_inputs, netlist.levels()
        depth = max(levels[n:], default=1)
        size = pipeline or depth
        self.count = -(-depth // size)
        stage = [-1] * n + [(level - 1) // size for level in levels[n:]]
        last = list(stage)  # the last stage that reads a signal; self.count behind the last register
        for k, (inputs, _) in enumerate(netlist.functions):
            for signal in inputs:
                last[signal] = max(last[signal], stage[n + k])
        for signal in netlist.outputs:
            last[signal] = self.count
        numbers = range(len(stage))
        self.nodes = [[k for k in range(len(netlist.functions)) if stage[n + k] == s] for s in range(self.count)]
        self.writes = [[i for i in numbers if stage[i] <= s < last[i]] for s in range(self.count)]
        self.reads = [[i for i in numbers if stage[i] < 0 <= last[i]]] + self.writes[:-1]
        self.flip_flops = sum(map(len, self.writes))


def stage_module(name, stages, number, device):
    """Text of the module of one stage: x the signals read, y those written."""
    place = {signal: "x[%d]" % i for i, signal in enumerate(stages.reads[number])}
    lines = ["module %s (" % name, "    input  wire [%d:0] x," % (len(stages.reads[number]) - 1),
             "    output wire [%d:0] y" % (len(stages.writes[number]) - 1), ");"]
    for k in stages.nodes[number]:
        inputs, table = stages.netlist.functions[k]
        place[stages.netlist.num_inputs + k] = "n%d" % k
        lines += node_text("n%d" % k, [place[signal] for signal in inputs], table, device)
    lines += concatenation("y", [place[signal] for signal in stages.writes[number]])
    return "\n".join(lines + ["endmodule", ""])


def concatenation(name, bits):
    """Lines that assign a vector at once, bits from the lowest on: bit by bit a simulator would pass it on for each."""
    rows = [bits[i:i + 12] for i in range(0, len(bits), 12)]
    text = [", ".join(reversed(row)) for row in reversed(rows)]
    return ["  assign %s = {" % name, ",\n".join("    " + row for row in text), "  };"]


def node_text(name, inputs, table, device):
    """Lines of one node: a table that its inputs select from, or an instance of the device's LUT."""
    n = len(inputs)
    if n == 0:
        return ["  wire %s = 1'b%d;" % (name, table)]
    literal = "%d'h%0*x" % (1 << n, max(1, (1 << n) // 4), table)
    if device == "xilinx":
        return ["  wire %s;" % name, "  LUT%d #(.INIT(%s)) i_%s (.O(%s), %s);" % (n, literal, name, name, ", ".join(
            ".I%d(%s)" % item for item in enumerate(inputs)))]
    return ["  localparam [%d:0] T%s = %s;" % ((1 << n) - 1, name[1:], literal),
            "  wire %s = T%s[{%s}];" % (name, name[1:], ", ".join(reversed(inputs)))]


def core_module(name, stages, num_inputs):
    """Text of the pipeline: x the inputs, y the outputs, `count` cycles later where ce was high."""
    lines = ["// y follows x after %d clock cycles with ce." % stages.count, "module %s (" % name,
             "    input  wire          clk,", "    input  wire          ce,",
             "    /* verilator lint_off UNUSEDSIGNAL */  // bits that no node depends on",
             "    input  wire [%5d:0] x," % (num_inputs - 1), "    /* verilator lint_on UNUSEDSIGNAL */",
             "    output wire [%5d:0] y" % (len(stages.netlist.outputs) - 1), ");"]
    lines += ["  wire [%d:0] x0;" % (len(stages.reads[0]) - 1)]
    lines += concatenation("x0", ["x[%d]" % signal for signal in stages.reads[0]])
    for s in range(stages.count):
        width = len(stages.writes[s]) - 1
        lines += ["  wire [%d:0] y%d;" % (width, s), "  reg  [%d:0] x%d;" % (width, s + 1),
                  "  %s_stage%d i_stage%d (.x(x%d), .y(y%d));" % (name, s, s, s, s),
                  "  always @(posedge clk) if (ce) x%d <= y%d;" % (s + 1, s)]
    place = {signal: i for i, signal in enumerate(stages.writes[-1])}
    lines += concatenation("y", ["x%d[%d]" % (stages.count, place[signal]) for signal in stages.netlist.outputs])
    return "\n".join(lines + ["endmodule", ""])


def modules(name, logic, pipeline, device):
    """({file name: text} of the pipeline `name`, its Stages)."""
    if device not in DEVICES:
        raise ValueError("verilog: device is %s, got %r" % (" or ".join(DEVICES), device))
    if int(pipeline) != pipeline or pipeline < 0:
        raise ValueError("verilog: pipeline is a number of levels, 0 for no register in between, got %r" % (pipeline,))
    stages = Stages(logic, pipeline)
    if not stages.reads[0]:
        raise ValueError("verilog: no output depends on any input")
    files = {name + ".v": core_module(name, stages, logic.num_inputs)}
    for s in range(stages.count):
        files["%s_stage%d.v" % (name, s)] = stage_module("%s_stage%d" % (name, s), stages, s, device)
    return files, stages


def lut_models():
    """Simulation models of LUT1 .. LUT6, for tools without the vendor's library."""
    lines = []
    for n in range(1, 7):
        ports = ", ".join("I%d" % j for j in range(n))
        lines += ["module LUT%d #(parameter [%d:0] INIT = %d'h0) (output wire O, input wire %s);" % (
            n, (1 << n) - 1, 1 << n, ports), "  assign O = INIT[{%s}];" % ", ".join(reversed(ports.split(", "))),
                  "endmodule"]
    return "/* verilator lint_off DECLFILENAME */\n" + "\n".join(lines) + "\n"
