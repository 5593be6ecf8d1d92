"""LUT parts: what a network of images becomes: one module for every layer, one behind the other.

    [replay -> encoder] -> (line buffer -> nodes -> FIFO) ... -> (collect -> nodes -> counts -> sum of frames) -> class

A line buffer gives a window a cycle, and the nodes of a layer take one: every layer has its nodes once. Only channels
that the layer behind reads leave a layer. A part is an AXI4-Stream in and one out; nothing passes it combinationally.
"""
from dataclasses import dataclass, field

import numpy as np

from qnn.lut_network import Encoder, LutNetwork

from ..logic import clean, lower
from ..logic.lower_encoder import BYTE, encoder_network
from ..logic.netlist import Netlist
from ..lut_layers import image_layers, pixel_encoder
from . import emit, lut_stages
from .lut_frames import argmax
from .resources import estimate
from .structure import Block


@dataclass
class Part:
    """name: of the layer; logic: its nodes on what `front` gives; front, behind: Blocks around them; frames: (frames,
    positions) where the number of the frame is an input, too; cycles: positions of a frame; shapes: what it reads and
    what leaves, as text; trained: nodes of the trained layer."""

    name: str
    logic: LutNetwork
    front: list
    in_bits: int
    cycles: int
    shapes: tuple
    behind: list = field(default_factory=list)
    frames: tuple = (1, 1)
    trained: int = 0

    @property
    def out_bits(self):
        return self.behind[-1].out_bits if self.behind else len(self.logic.outputs)


def parts(network, output):
    """([Part], {layer: report of its clean-up}) of a LutNetwork with a plan; output: class, scores, bits. Raises
    ValueError naming the layer."""
    frames, layers, reports, made = network.num_frames, image_layers(network), {}, []
    if frames > 1 and output not in ("class", "scores"):
        raise ValueError("verilog: output of %d frames is class or scores, got %r" % (frames, output))
    encoder, wanted = pixel_encoder(network), None
    for layer in reversed(layers):
        logic, reports[layer.name] = cleaned(layer, network, wanted, "scores" if frames > 1 else output)
        is_first = layer is layers[0] and encoder is None
        wanted = list(range(layer.in_shape[0])) if is_first else sorted(
            {i // int(np.prod(layer.kernel)) for i in Netlist.of(logic).used_inputs()})
        made.insert(0, part(layer, logic, wanted))
    if encoder is not None:
        made.insert(0, encoder_part(encoder, wanted, network.plan["shape"][1:]))
    if frames > 1:
        made[-1].behind.append(frame_sum(network, made[-1]))
        if output == "class":
            sums = made[-1].behind[-1]
            logic = argmax(network.num_scores, sums.params["OUT_BITS"])
            made.append(Part("class", logic, [], sums.out_bits, 1, ("%d sums" % network.num_scores, "1")))
    for one in made:
        one.behind.insert(0, fifo(len(one.logic.outputs)))
    return made, reports


def most(network):
    """The highest count of a frame."""
    return 1 if network.groups is None else int(np.bincount(network.groups).max())


def frame_sum(network, last):
    """The Block that adds the scores of the frames up."""
    lanes, in_bits, frames = network.num_scores, len(last.logic.outputs), network.num_frames
    out_bits = (frames * most(network)).bit_length()
    return Block("qnn_sum", "sum", {"LANES": lanes, "IN_BITS": in_bits // lanes, "OUT_BITS": out_bits, "BEATS": frames},
                 in_bits, lanes * out_bits)


def cleaned(layer, network, wanted, output):
    """(nodes of a layer, report): of those outputs that are wanted; of the last layer, wanted = None, with its head."""
    nodes = layer.network
    if wanted is None:
        nodes.groups, nodes.num_scores = network.groups, network.num_scores
        logic, report = lower(nodes, output, False)
        if output == "scores":  # without digits that no count has
            digits = logic.outputs.reshape(network.num_scores, -1)[:, :most(network).bit_length()]
            logic, _ = clean(LutNetwork(logic.num_inputs, logic.layers, digits.reshape(-1)))
    else:
        nodes.outputs = nodes.outputs[wanted]
        logic, report = clean(LutNetwork(nodes.num_inputs, nodes.layers, nodes.outputs))
    if not any(signal < logic.num_inputs for signal in Netlist.of(logic).outputs) and not any(
            signal < logic.num_inputs for inputs, _ in Netlist.of(logic).functions for signal in inputs):
        raise ValueError("verilog: no output of '%s' depends on any input" % layer.name)
    return logic, report


def part(layer, logic, used):
    """The Part of an ImageLayer, whose window has the channels `used` only."""
    (height, width), (kh, kw), lanes = layer.in_shape[1:], layer.kernel, len(used)
    order, front, bits = np.arange(kh * kw).reshape(kh, kw), [], kh * kw * lanes  # order of the taps on the bus
    sizes = {"LANES": lanes, "HEIGHT": height, "WIDTH": width}
    for key in ("kernel", "stride", "pad"):
        sizes.update({"%s_%s" % (key.upper(), axis): size for axis, size in zip("HW", getattr(layer, key))})
    if layer.is_whole:  # one window: a shift register, whose one row is the image
        sizes.update(HEIGHT=1, WIDTH=kh * kw, KERNEL_H=1, KERNEL_W=kh * kw)
    else:
        order = order.reshape(kw, kh).T
    if not layer.is_pixel:
        front = [Block("qnn_lines", "lines", sizes, lanes, bits)]
    place = {(channel * kh + i) * kw + j: int(order[i, j]) * lanes + lane
             for lane, channel in enumerate(used) for i in range(kh) for j in range(kw)}
    shapes = tuple("%dx%dx%d" % shape for shape in (layer.in_shape, layer.out_shape))
    return Part(layer.name, moved(logic, place, bits), front, lanes, int(np.prod(layer.places)), shapes,
                trained=layer.trained)


def moved(logic, place, num_inputs):
    """The same nodes on inputs that lie elsewhere: {input: new number}; others are not read."""
    netlist, shift = Netlist.of(logic), num_inputs - logic.num_inputs

    def new(signal):
        return signal + shift if signal >= logic.num_inputs else place[signal]
    functions = [(tuple(map(new, inputs)), table) for inputs, table in netlist.functions]
    return Netlist(num_inputs, functions, list(map(new, netlist.outputs))).to_network(LutNetwork(num_inputs, []))


def encoder_part(encoder, wanted, size):
    """Bytes of a pixel to bits; an image of several frames is held, and passes once for each."""
    height, width = size
    used = Encoder(encoder.num_features, encoder.features[wanted], encoder.thresholds[:, wanted], encoder.unit)
    logic, _ = clean(encoder_network(used))
    bits, front = BYTE * encoder.num_features, []
    if encoder.num_frames > 1:
        sizes = {"LANES": bits, "LANE_BITS": 1, "BEATS": 1, "HEIGHT": height, "WIDTH": width, "KERNEL_H": height,
                 "KERNEL_W": width, "OUT_HEIGHT": encoder.num_frames, "OUT_WIDTH": 1, "STRIDE_H": 0, "STRIDE_W": 1,
                 "DILATE_H": 1, "DILATE_W": 1, "PAD_H": 0, "PAD_W": 0, "ROWS": 2 * height}
        front = [Block("qnn_window", "replay", sizes, bits, bits)]
    shapes = ("%dx%dx%d bytes" % (encoder.num_features, height, width), "%dx%dx%d" % (len(wanted), height, width))
    return Part("encoder", logic, front, bits, height * width, shapes, frames=(encoder.num_frames, height * width))


def fifo(width):
    """The FIFO behind the nodes: what waits there lets the pipeline run on."""
    return Block("qnn_fifo", "fifo", {"WIDTH": width, "DEPTH": 2}, width, width)


def module(name, one, pipeline, device):
    """({file name: text} of the module `name` of a Part, its lut_stages.Stages)."""
    files, stages = lut_stages.modules(name + "_core", one.logic, pipeline, device)
    frames, places = one.frames
    x_bits = one.front[-1].out_bits if one.front else one.in_bits
    counter = FRAMES % {"width": (frames - 1).bit_length(), "bits": max(1, (places - 1).bit_length()),
                        "final": frames - 1, "last": places - 1} if frames > 1 else ""
    text = PORTS % {"name": name, "in_top": one.in_bits - 1, "out_top": one.out_bits - 1,
                    "what": "%s: %s -> %s" % (one.name, *one.shapes)}
    text += chain("entry", one.in_bits, one.front, "x")
    text += CORE % {"name": name, "latency": stages.count, "top": len(one.logic.outputs) - 1,
                    "x": "{frame, x_data}" if frames > 1 else "x_data", "counter": counter,
                    "shift": "x_valid" if stages.count == 1 else "{valid[LATENCY-2:0], x_valid}"}
    text += chain("nodes", len(one.logic.outputs), one.behind, "exit")
    assert one.logic.num_inputs == x_bits + (frames - 1).bit_length()
    return {name + ".v": text + ENDS, **files}, stages


def chain(source, in_bits, blocks, target):
    """Wires `target`, and the instances between `source`, which is there, and them."""
    lines, names = [], [source] + [block.name for block in blocks[:-1]] + [target]
    if not blocks:
        return "\n".join(["", wires(target, in_bits)] + ["  assign %s = %s;" % pair for pair in (
            (target + "_data", source + "_data"), (target + "_valid", source + "_valid"),
            (source + "_ready", target + "_ready"))]) + "\n"
    for block, before, behind in zip(blocks, names, names[1:]):
        lines += ["", wires(behind, block.out_bits), emit.instance_text(block, before, behind)]
    return "\n".join(lines) + "\n"


def wires(name, bits):
    return "  wire [%d:0] %s_data;\n  wire %s_valid, %s_ready;" % (bits - 1, name, name, name)


def top(name, made):
    """Text of the module `name`: the parts [(module name, Part)] in a row."""
    blocks = [Block(module_name, module_name[len(name) + 1:], {}, one.in_bits, one.out_bits)
              for module_name, one in made]
    return PORTS % {"name": name, "in_top": made[0][1].in_bits - 1, "out_top": made[-1][1].out_bits - 1, "what":
                    "%d layers; a beat in is a pixel, row by row, a beat out an image" % len(made)} + chain(
        "entry", made[0][1].in_bits, blocks, "exit") + ENDS


def cells(one, stages):
    """Cells before placement, {"lut", "flip_flops", "bram18"}."""
    blocks = [estimate(block) for block in one.front + one.behind]
    frames, places = one.frames
    counters = (frames - 1).bit_length() + (places - 1).bit_length() if frames > 1 else 0
    return {"lut": one.logic.num_nodes + round(sum(block["LUT"] for block in blocks)) + 1 + counters,
            "flip_flops": stages.flip_flops + stages.count + round(sum(block["FF"] for block in blocks)) + counters,
            "bram18": int(sum(block["BRAM18"] for block in blocks))}


PORTS = """// %(what)s.
module %(name)s (
    input  wire aclk,
    input  wire aresetn,
    input  wire [%(in_top)d:0] s_axis_tdata,
    input  wire s_axis_tvalid,
    output wire s_axis_tready,
    output wire [%(out_top)d:0] m_axis_tdata,
    output wire m_axis_tvalid,
    input  wire m_axis_tready
);
  wire [%(in_top)d:0] entry_data = s_axis_tdata;
  wire entry_valid = s_axis_tvalid;
  wire entry_ready;
  assign s_axis_tready = entry_ready;
"""

CORE = """
  localparam LATENCY = %(latency)d;
%(counter)s  wire [%(top)d:0] nodes_data;
  wire nodes_ready;
  reg [LATENCY-1:0] valid;
  wire nodes_valid = valid[LATENCY-1];
  wire enable = ~nodes_valid | nodes_ready;
  assign x_ready = enable;
  %(name)s_core i_core (
      .clk(aclk),
      .ce(enable),
      .x(%(x)s),
      .y(nodes_data)
  );
  always @(posedge aclk)
    if (!aresetn) valid <= {LATENCY{1'b0}};
    else if (enable) valid <= %(shift)s;
"""

FRAMES = """  reg [%(width)d-1:0] frame;
  reg [%(bits)d-1:0] place;
  always @(posedge aclk)
    if (!aresetn) begin
      frame <= %(width)d'd0;
      place <= %(bits)d'd0;
    end else if (x_valid & x_ready) begin
      place <= place == %(bits)d'd%(last)d ? %(bits)d'd0 : place + 1'b1;
      if (place == %(bits)d'd%(last)d) frame <= frame == %(width)d'd%(final)d ? %(width)d'd0 : frame + 1'b1;
    end
"""

ENDS = """
  assign m_axis_tdata = exit_data;
  assign m_axis_tvalid = exit_valid;
  assign exit_ready = m_axis_tready;
endmodule
"""
