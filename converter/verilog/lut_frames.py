"""LUT frames: a modulated network in hardware: one pipeline, a frame a cycle, scores added up, then their argmax.

    image (held) -> bits = byte >= level[frame] -> nodes and counts -> sums over the frames -> class
"""
from qnn.lut_network import LutNetwork

from ..logic.clean import clean
from ..logic.lower import lower
from ..logic.lower_encoder import BYTE, encoder_network
from ..logic.lower_head import Builder
from ..logic.netlist import Netlist
from . import lut_stages


def argmax(num_scores, width):
    """The LutNetwork of the class of scores of `width` digits."""
    netlist = Netlist(num_scores * width, [], [])
    builder = Builder(netlist)
    netlist.outputs = builder.largest([list(range(s * width, (s + 1) * width)) for s in range(num_scores)])
    return clean(netlist.to_network(LutNetwork(netlist.num_inputs, [])))[0]


def modules(name, network, output, pipeline, device):
    """({file name: text} of `name`, latency, nodes, flip-flops, output bits, report) of a cleaned network of frames."""
    if output not in ("class", "scores"):
        raise ValueError("verilog: output of %d frames is class or scores, got %r" % (network.num_frames, output))
    single = LutNetwork(network.num_inputs, network.layers, network.outputs, network.groups, None, network.num_scores)
    scores, report = lower(single, "scores", False)
    files, stages = lut_stages.modules(name + "_scores", scores, pipeline, device)
    encoder, _ = clean(encoder_network(network.encoder))
    more, encoder_stages = lut_stages.modules(name + "_encoder", encoder, 0, device)
    files.update(more)
    digits = len(scores.outputs) // network.num_scores
    width = (network.num_frames * ((1 << digits) - 1)).bit_length()
    count, nodes = encoder_stages.count + stages.count, encoder.num_nodes + scores.num_nodes
    flops, out_bits = encoder_stages.flip_flops + stages.flip_flops, network.num_scores * width
    latency, last = count + 1, "assign y = sums;"
    if output == "class":
        logic = argmax(network.num_scores, width)
        more, argmax_stages = lut_stages.modules(name + "_argmax", logic, pipeline, device)
        files.update(more)
        latency, out_bits = latency + argmax_stages.count, len(logic.outputs)
        nodes, flops = nodes + logic.num_nodes, flops + argmax_stages.flip_flops
        last = "%s_argmax i_argmax (.clk(clk), .ce(ce), .x(sums), .y(y));" % name
    files[name + ".v"] = CORE % {
        "name": name, "in_top": BYTE * network.num_features - 1,
        "frame_top": max(1, (network.num_frames - 1).bit_length()) - 1,
        "out_top": out_bits - 1, "bits_top": network.num_inputs - 1, "digits": digits, "width": width, "last": last,
        "classes": network.num_scores, "count": count, "zeros": width - digits}
    return files, latency, nodes, flops + network.num_scores * width + count, out_bits, report


CORE = """// y follows the last frame of x after a fixed number of clock cycles with ce.
module %(name)s (
    input  wire          clk,
    input  wire          ce,
    input  wire [%(in_top)5d:0] x,
    input  wire [%(frame_top)5d:0] frame,
    output wire [%(out_top)5d:0] y
);
  localparam COUNT = %(count)d;    // stages of encoder and nodes
  localparam CLASSES = %(classes)d;
  localparam DIGITS = %(digits)d;  // of the score of one frame
  localparam WIDTH = %(width)d;    // of a sum
  wire [%(bits_top)d:0] bits;
  wire [CLASSES*DIGITS-1:0] scores;
  reg [CLASSES*WIDTH-1:0] sums;
  reg [COUNT-1:0] first;  // of frame 0, beside its bits

  %(name)s_encoder i_encoder (.clk(clk), .ce(ce), .x({frame, x}), .y(bits));
  %(name)s_scores i_scores (.clk(clk), .ce(ce), .x(bits), .y(scores));

  always @(posedge clk) if (ce) first <= {first[COUNT-2:0], frame == 0};

  genvar c;
  generate
    for (c = 0; c < CLASSES; c = c + 1) begin : g_class
      always @(posedge clk)
        if (ce)
          sums[c*WIDTH+:WIDTH] <= (first[COUNT-1] ? {WIDTH{1'b0}} : sums[c*WIDTH+:WIDTH])
                                  + {{%(zeros)d{1'b0}}, scores[c*DIGITS+:DIGITS]};
    end
  endgenerate

  %(last)s
endmodule
"""
