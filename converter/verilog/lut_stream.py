"""LUT stream: the pipeline of a lowered LUT network between AXI4-Streams, or behind BinaryBrain's ports.

AXI4-Stream: a beat is a sample. The pipeline stands still while a result waits; the enable that goes to every register
is itself a register, because two results can wait.
"""


def axi_module(name, in_bits, out_bits, latency, num_frames=1):
    """Text of the module `name` around `name`_core; with frames the image waits in a register while they pass."""
    front = FRONT if num_frames > 1 else {"ready": "enable", "registers": "", "ports": ".x  (s_axis_tdata)", "valid":
                                          "s_axis_tvalid", "last": "s_axis_tlast", "reset": "", "step": "", "take": ""}
    width = max(1, (num_frames - 1).bit_length())
    front = {key: text % {"top": in_bits - 1, "frame_top": width - 1, "width": width, "final": num_frames - 1}
             for key, text in front.items()}
    return """module %(name)s (
    input  wire          aclk,
    input  wire          aresetn,
    input  wire [%(in_top)5d:0] s_axis_tdata,
    input  wire          s_axis_tvalid,
    output wire          s_axis_tready,
    input  wire          s_axis_tlast,
    output reg  [%(out_top)5d:0] m_axis_tdata,
    output reg           m_axis_tvalid,
    input  wire          m_axis_tready,
    output reg           m_axis_tlast
);
  localparam LATENCY = %(latency)d;
  reg  [LATENCY-1:0] valid, last;
  wire [%(out_top)d:0] y;
  reg  [%(out_top)d:0] spare;  // a second result that waits
  reg  spare_valid, spare_last, enable;

%(registers)s  assign s_axis_tready = %(ready)s;

  %(name)s_core i_core (
      .clk(aclk),
      .ce (enable),
      %(ports)s,
      .y  (y)
  );

  always @(posedge aclk) begin
    if (!aresetn) begin
      valid <= {LATENCY{1'b0}};
      m_axis_tvalid <= 1'b0;
      spare_valid <= 1'b0;
      enable <= 1'b0;
%(reset)s    end else begin
%(step)s      if (enable) valid <= %(shift_valid)s;
      if (m_axis_tready || !m_axis_tvalid) begin
        m_axis_tvalid <= spare_valid | (enable & valid[LATENCY-1]);
        spare_valid <= 1'b0;
        enable <= 1'b1;
      end else if (enable) begin
        spare_valid <= valid[LATENCY-1];
        enable <= !valid[LATENCY-1];
      end
    end
%(take)s    if (enable) last <= %(shift_last)s;
    if (m_axis_tready || !m_axis_tvalid) begin
      m_axis_tdata <= spare_valid ? spare : y;
      m_axis_tlast <= spare_valid ? spare_last : last[LATENCY-1];
    end else if (enable) begin
      spare <= y;
      spare_last <= last[LATENCY-1];
    end
  end
endmodule
""" % {"name": name, "in_top": in_bits - 1, "out_top": out_bits - 1, "latency": latency,
       "shift_valid": _shift("valid", front["valid"], latency), "shift_last": _shift("last", front["last"], latency),
       **front}


FRONT = {
    "registers": """  reg  [%(top)d:0] image;
  reg  [%(frame_top)d:0] frame;
  reg  busy, image_last;
  wire is_final = frame == %(width)d'd%(final)d;
  wire take = s_axis_tvalid & s_axis_tready;

""",
    "ready": "enable & (~busy | is_final)", "ports": ".x  (image),\n      .frame(frame)", "valid": "busy & is_final",
    "last": "image_last",
    "reset": "      busy <= 1'b0;\n      frame <= %(width)d'd0;\n",
    "step": """      if (enable) begin
        if (take) busy <= 1'b1;
        else if (is_final) busy <= 1'b0;
        frame <= busy & ~is_final ? frame + %(width)d'd1 : %(width)d'd0;
      end
""",
    "take": """    if (take) begin
      image <= s_axis_tdata;
      image_last <= s_axis_tlast;
    end
""",
}


def _shift(register, value, length):
    return value if length == 1 else "{%s[LATENCY-2:0], %s}" % (register, value)


def binarybrain_module(name, in_bits, out_bits, latency):
    """Text of the module `name` with BinaryBrain's ports: user data and valid accompany the data, cke enables."""
    return """module %(name)s #(
    parameter USER_WIDTH = 0,
    parameter USER_BITS  = USER_WIDTH > 0 ? USER_WIDTH : 1
) (
    input  wire                 reset,
    input  wire                 clk,
    input  wire                 cke,
    input  wire [USER_BITS-1:0] in_user,
    input  wire [  %(in_top)5d:0] in_data,
    input  wire                 in_valid,
    output wire [USER_BITS-1:0] out_user,
    output wire [  %(out_top)5d:0] out_data,
    output wire                 out_valid
);
  localparam LATENCY = %(latency)d;
  reg [LATENCY*USER_BITS-1:0] user;
  reg [LATENCY-1:0] valid;

  %(name)s_core i_core (
      .clk(clk),
      .ce (cke),
      .x  (in_data),
      .y  (out_data)
  );

  always @(posedge clk) begin
    if (reset) valid <= {LATENCY{1'b0}};
    else if (cke) valid <= %(shift)s;
    if (cke) user <= %(shift_user)s;
  end
  assign out_user  = user[LATENCY*USER_BITS-1-:USER_BITS];
  assign out_valid = valid[LATENCY-1];
endmodule
""" % {"name": name, "in_top": in_bits - 1, "out_top": out_bits - 1, "latency": latency,
       "shift": _shift("valid", "in_valid", latency),
       "shift_user": "in_user" if latency == 1 else "{user[(LATENCY-1)*USER_BITS-1:0], in_user}"}
