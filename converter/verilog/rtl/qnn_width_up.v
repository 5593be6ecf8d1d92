// Collects beats of IN lanes into beats of RATIO*IN lanes. A vector has ITEMS lanes; its last beats, in and out, are
// padded with zeros on the right (the high lanes), whatever the high lanes of the last input beat hold.
module qnn_width_up #(
    parameter LANE_BITS = 1,
    parameter IN = 4,
    parameter RATIO = 2,
    parameter ITEMS = 8
) (
    input  wire                          aclk,
    input  wire                          aresetn,
    input  wire [IN*LANE_BITS-1:0]       s_axis_tdata,
    input  wire                          s_axis_tvalid,
    output wire                          s_axis_tready,
    output reg  [RATIO*IN*LANE_BITS-1:0] m_axis_tdata,
    output reg                           m_axis_tvalid,
    input  wire                          m_axis_tready
);
  localparam WIDTH = IN * LANE_BITS;
  localparam BEATS = (ITEMS + IN - 1) / IN;
  localparam REST = (ITEMS - (BEATS - 1) * IN) * LANE_BITS;  // bits of the last input beat that exist
  localparam BB = BEATS > 1 ? $clog2(BEATS) : 1;
  localparam RB = RATIO > 1 ? $clog2(RATIO) : 1;
  localparam [31:0] LAST_BEAT = BEATS - 1;
  localparam [31:0] LAST_PLACE = RATIO - 1;

  reg [BB-1:0] beat;
  reg [RB-1:0] place;
  wire take = s_axis_tvalid & s_axis_tready;
  wire is_last = beat == LAST_BEAT[BB-1:0];
  wire [WIDTH-1:0] data = is_last ? s_axis_tdata & ({WIDTH{1'b1}} >> (WIDTH - REST)) : s_axis_tdata;
  assign s_axis_tready = ~m_axis_tvalid | m_axis_tready;

  integer i;
  always @(posedge aclk) begin
    if (!aresetn) begin
      beat <= {BB{1'b0}};
      place <= {RB{1'b0}};
      m_axis_tvalid <= 1'b0;
    end else begin
      if (m_axis_tready) m_axis_tvalid <= 1'b0;
      if (take) begin
        beat <= is_last ? {BB{1'b0}} : beat + 1'b1;
        place <= (is_last || place == LAST_PLACE[RB-1:0]) ? {RB{1'b0}} : place + 1'b1;
        m_axis_tvalid <= is_last || place == LAST_PLACE[RB-1:0];
      end
    end
    if (take) begin
      for (i = 0; i < RATIO; i = i + 1) begin
        if (place == i[RB-1:0]) m_axis_tdata[i*WIDTH+:WIDTH] <= data;
        else if (place == {RB{1'b0}}) m_axis_tdata[i*WIDTH+:WIDTH] <= {WIDTH{1'b0}};
      end
    end
  end
endmodule
