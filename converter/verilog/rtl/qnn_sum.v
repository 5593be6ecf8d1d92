// Sum of vectors: BEATS beats of LANES unsigned numbers of IN_BITS become one beat of LANES numbers of OUT_BITS, not
// below IN_BITS and wide enough for the sum.
module qnn_sum #(
    parameter LANES = 4,
    parameter IN_BITS = 3,
    parameter OUT_BITS = 5,
    parameter BEATS = 3
) (
    input  wire                      aclk,
    input  wire                      aresetn,
    input  wire [ LANES*IN_BITS-1:0] s_axis_tdata,
    input  wire                      s_axis_tvalid,
    output wire                      s_axis_tready,
    output reg  [LANES*OUT_BITS-1:0] m_axis_tdata,
    output reg                       m_axis_tvalid,
    input  wire                      m_axis_tready
);
  localparam BB = BEATS > 1 ? $clog2(BEATS) : 1;
  localparam [31:0] LAST = BEATS - 1;
  reg [BB-1:0] beat;
  wire take = s_axis_tvalid & s_axis_tready;
  wire is_last = beat == LAST[BB-1:0];
  assign s_axis_tready = ~m_axis_tvalid | m_axis_tready;

  always @(posedge aclk)
    if (!aresetn) begin
      beat <= {BB{1'b0}};
      m_axis_tvalid <= 1'b0;
    end else if (s_axis_tready) begin
      m_axis_tvalid <= take & is_last;
      if (take) beat <= is_last ? {BB{1'b0}} : beat + 1'b1;
    end

  genvar g;
  generate
    for (g = 0; g < LANES; g = g + 1) begin : g_lane
      wire [OUT_BITS-1:0] number;
      if (OUT_BITS > IN_BITS) begin : g_extend
        assign number = {{(OUT_BITS - IN_BITS) {1'b0}}, s_axis_tdata[g*IN_BITS+:IN_BITS]};
      end else begin : g_equal
        assign number = s_axis_tdata[g*IN_BITS+:IN_BITS];
      end
      always @(posedge aclk)
        if (take)
          m_axis_tdata[g*OUT_BITS+:OUT_BITS] <= number
              + (beat == {BB{1'b0}} ? {OUT_BITS{1'b0}} : m_axis_tdata[g*OUT_BITS+:OUT_BITS]);
    end
  endgenerate
endmodule
