// Splits beats of RATIO*OUT lanes into beats of OUT lanes, the low lanes first. A vector has ITEMS lanes; what pads its
// last input beat beyond the last output beat is dropped.
module qnn_width_down #(
    parameter LANE_BITS = 1,
    parameter OUT = 4,
    parameter RATIO = 2,
    parameter ITEMS = 8
) (
    input  wire                           aclk,
    input  wire                           aresetn,
    input  wire [RATIO*OUT*LANE_BITS-1:0] s_axis_tdata,
    input  wire                           s_axis_tvalid,
    output wire                           s_axis_tready,
    output wire [OUT*LANE_BITS-1:0]       m_axis_tdata,
    output wire                           m_axis_tvalid,
    input  wire                           m_axis_tready
);
  localparam WIDTH = OUT * LANE_BITS;
  localparam WORDS = (ITEMS + RATIO * OUT - 1) / (RATIO * OUT);
  localparam IN_LAST = (ITEMS - (WORDS - 1) * RATIO * OUT + OUT - 1) / OUT;  // output beats in the last input beat
  localparam WB = WORDS > 1 ? $clog2(WORDS) : 1;
  localparam CB = $clog2(RATIO + 1);
  localparam [31:0] LAST_WORD = WORDS - 1;
  localparam [31:0] FULL = RATIO;
  localparam [31:0] SHORT = IN_LAST;

  reg [RATIO*WIDTH-1:0] data;
  reg [CB-1:0] left;
  reg [WB-1:0] word;
  wire take = s_axis_tvalid & s_axis_tready;
  wire is_last = word == LAST_WORD[WB-1:0];
  assign m_axis_tvalid = left != {CB{1'b0}};
  assign m_axis_tdata = data[WIDTH-1:0];
  assign s_axis_tready = !m_axis_tvalid || (left == {{(CB - 1) {1'b0}}, 1'b1} && m_axis_tready);

  always @(posedge aclk) begin
    if (!aresetn) begin
      left <= {CB{1'b0}};
      word <= {WB{1'b0}};
    end else if (take) begin
      left <= is_last ? SHORT[CB-1:0] : FULL[CB-1:0];
      word <= is_last ? {WB{1'b0}} : word + 1'b1;
    end else if (m_axis_tvalid & m_axis_tready) begin
      left <= left - 1'b1;
    end
    if (take) data <= s_axis_tdata;
    else if (m_axis_tready) data <= data >> WIDTH;
  end
endmodule
