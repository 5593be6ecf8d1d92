// Max-pooling of windows as qnn_window makes them with BEATS_OUTER and PAD = 0: TAPS beats become one, lane by lane the
// largest unsigned code (of single bits: OR). FLIP, a bit for each of BEATS*LANES channels, inverts codes behind it.
module qnn_max_pool #(
    parameter LANES = 4,
    parameter LANE_BITS = 1,
    parameter BEATS = 2,
    parameter TAPS = 4,
    parameter [BEATS*LANES-1:0] FLIP = 0
) (
    input  wire                       aclk,
    input  wire                       aresetn,
    input  wire [LANES*LANE_BITS-1:0] s_axis_tdata,
    input  wire                       s_axis_tvalid,
    output wire                       s_axis_tready,
    output wire [LANES*LANE_BITS-1:0] m_axis_tdata,
    output reg                        m_axis_tvalid,
    input  wire                       m_axis_tready
);
  localparam TB = TAPS > 1 ? $clog2(TAPS) : 1;
  localparam BB = BEATS > 1 ? $clog2(BEATS) : 1;
  localparam [31:0] LAST_TAP = TAPS - 1;
  localparam [31:0] LAST_BEAT = BEATS - 1;

  reg [LANES*LANE_BITS-1:0] largest;
  reg [TB-1:0] tap;
  reg [BB-1:0] beat;
  wire take = s_axis_tvalid & s_axis_tready;
  wire is_last = tap == LAST_TAP[TB-1:0];
  assign s_axis_tready = ~m_axis_tvalid | m_axis_tready;

  always @(posedge aclk) begin
    if (!aresetn) begin
      tap <= {TB{1'b0}};
      beat <= {BB{1'b0}};
      m_axis_tvalid <= 1'b0;
    end else if (s_axis_tready) begin
      m_axis_tvalid <= take & is_last;
      if (take) tap <= is_last ? {TB{1'b0}} : tap + 1'b1;
      if (take & is_last) beat <= beat == LAST_BEAT[BB-1:0] ? {BB{1'b0}} : beat + 1'b1;
    end
  end

  wire [LANES-1:0] flip;
  generate
    if (BEATS > 1) begin : g_flips
      wire [BEATS*LANES-1:0] flips = FLIP;
      reg [BB-1:0] beat_of_output;
      always @(posedge aclk) if (take) beat_of_output <= beat;
      assign flip = flips[beat_of_output*LANES+:LANES];
    end else begin : g_flip
      assign flip = FLIP;
    end
  endgenerate
  genvar g;
  generate
    for (g = 0; g < LANES; g = g + 1) begin : g_lane
      wire [LANE_BITS-1:0] mine = largest[g*LANE_BITS+:LANE_BITS];
      wire [LANE_BITS-1:0] code = s_axis_tdata[g*LANE_BITS+:LANE_BITS];
      always @(posedge aclk)
        if (take) largest[g*LANE_BITS+:LANE_BITS] <= (tap == {TB{1'b0}} || code > mine) ? code : mine;
      assign m_axis_tdata[g*LANE_BITS+:LANE_BITS] = mine ^ {LANE_BITS{flip[g]}};
    end
  endgenerate
endmodule
