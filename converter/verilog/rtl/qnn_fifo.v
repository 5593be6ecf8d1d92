// FIFO of DEPTH >= 2 words. Neither ready nor valid passes through combinationally, so that it also cuts long paths.
module qnn_fifo #(
    parameter WIDTH = 8,
    parameter DEPTH = 2
) (
    input  wire             aclk,
    input  wire             aresetn,
    input  wire [WIDTH-1:0] s_axis_tdata,
    input  wire             s_axis_tvalid,
    output wire             s_axis_tready,
    output wire [WIDTH-1:0] m_axis_tdata,
    output wire             m_axis_tvalid,
    input  wire             m_axis_tready
);
  localparam AT = $clog2(DEPTH);
  localparam COUNT = $clog2(DEPTH + 1);
  localparam [31:0] LAST = DEPTH - 1;
  localparam [31:0] FULL = DEPTH;

  reg [WIDTH-1:0] words[0:DEPTH-1];
  reg [AT-1:0] head, tail;
  reg [COUNT-1:0] count;

  wire push = s_axis_tvalid & s_axis_tready;
  wire pop = m_axis_tvalid & m_axis_tready;
  assign s_axis_tready = count != FULL[COUNT-1:0];
  assign m_axis_tvalid = count != {COUNT{1'b0}};
  assign m_axis_tdata = words[head];

  always @(posedge aclk) begin
    if (push) words[tail] <= s_axis_tdata;
    if (!aresetn) begin
      head <= {AT{1'b0}};
      tail <= {AT{1'b0}};
      count <= {COUNT{1'b0}};
    end else begin
      if (push) tail <= tail == LAST[AT-1:0] ? {AT{1'b0}} : tail + 1'b1;
      if (pop) head <= head == LAST[AT-1:0] ? {AT{1'b0}} : head + 1'b1;
      if (push & ~pop) count <= count + 1'b1;
      if (pop & ~push) count <= count - 1'b1;
    end
  end
endmodule
