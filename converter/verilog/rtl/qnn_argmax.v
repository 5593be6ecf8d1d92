// Index of the largest of N signed numbers that come LANES a beat; of equal ones the first.
module qnn_argmax #(
    parameter N = 10,
    parameter LANES = 1,
    parameter BITS = 8,
    parameter OUT_BITS = 4
) (
    input  wire                  aclk,
    input  wire                  aresetn,
    input  wire [LANES*BITS-1:0] s_axis_tdata,
    input  wire                  s_axis_tvalid,
    output wire                  s_axis_tready,
    output reg  [  OUT_BITS-1:0] m_axis_tdata,
    output reg                   m_axis_tvalid,
    input  wire                  m_axis_tready
);
  localparam BEATS = (N + LANES - 1) / LANES;
  localparam [31:0] LAST = N - 1;
  localparam [31:0] STEP = LANES;
  localparam [31:0] LAST_FIRST = (BEATS - 1) * LANES;

  reg [OUT_BITS-1:0] first;  // index of lane 0
  reg signed [BITS-1:0] largest, best, value;
  reg [OUT_BITS-1:0] index, number;
  wire take = s_axis_tvalid & s_axis_tready;
  wire is_last = first == LAST_FIRST[OUT_BITS-1:0];
  assign s_axis_tready = ~m_axis_tvalid | m_axis_tready;

  integer i;
  always @* begin
    best = largest;
    index = m_axis_tdata;
    value = largest;
    number = first;
    for (i = 0; i < LANES; i = i + 1) begin
      value = s_axis_tdata[i*BITS+:BITS];
      number = first + i[OUT_BITS-1:0];
      if ((first == {OUT_BITS{1'b0}} && i == 0) || (number <= LAST[OUT_BITS-1:0] && number >= first && value > best)) begin
        best = value;
        index = number;
      end
    end
  end

  always @(posedge aclk) begin
    if (!aresetn) begin
      first <= {OUT_BITS{1'b0}};
      m_axis_tvalid <= 1'b0;
    end else if (s_axis_tready) begin
      m_axis_tvalid <= take & is_last;
      if (take) first <= is_last ? {OUT_BITS{1'b0}} : first + STEP[OUT_BITS-1:0];
    end
    if (take) begin
      largest <= best;
      m_axis_tdata <= index;
    end
  end
endmodule
