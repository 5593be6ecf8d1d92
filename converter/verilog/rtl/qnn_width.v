// Converts a stream of IN lanes a beat into one of OUT lanes a beat, for any IN and OUT. A vector has ITEMS lanes: it
// enters in ceil(ITEMS/IN) beats and leaves in ceil(ITEMS/OUT), padded with zeros on the right (the high lanes).
module qnn_width #(
    parameter LANE_BITS = 1,
    parameter IN = 6,
    parameter OUT = 4,
    parameter ITEMS = 13
) (
    input  wire                     aclk,
    input  wire                     aresetn,
    input  wire [IN*LANE_BITS-1:0]  s_axis_tdata,
    input  wire                     s_axis_tvalid,
    output wire                     s_axis_tready,
    output wire [OUT*LANE_BITS-1:0] m_axis_tdata,
    output wire                     m_axis_tvalid,
    input  wire                     m_axis_tready
);
  function integer gcd(input integer a, input integer b);
    integer x, y, rest;
    begin
      x = a;
      y = b;
      while (y != 0) begin
        rest = x % y;
        x = y;
        y = rest;
      end
      gcd = x;
    end
  endfunction
  function integer smaller(input integer a, input integer b);
    smaller = a < b ? a : b;
  endfunction

  // Beats are collected until they fill whole beats of the other width, or the vector ends.
  localparam UP = smaller(OUT / gcd(IN, OUT), (ITEMS + IN - 1) / IN);
  localparam DOWN = smaller(IN / gcd(IN, OUT), (ITEMS + OUT - 1) / OUT);
  localparam UP_BITS = UP * IN * LANE_BITS;
  localparam DOWN_BITS = DOWN * OUT * LANE_BITS;

  /* verilator lint_off UNUSEDSIGNAL */  // padding beyond the last beat is cut
  wire [UP_BITS-1:0] up_data;
  /* verilator lint_on UNUSEDSIGNAL */
  wire up_valid, up_ready;
  wire [DOWN_BITS-1:0] down_data;

  generate
    if (UP == 1 && ITEMS % IN == 0) begin : g_through
      assign up_data = s_axis_tdata;
      assign up_valid = s_axis_tvalid;
      assign s_axis_tready = up_ready;
    end else begin : g_up
      qnn_width_up #(
          .LANE_BITS(LANE_BITS),
          .IN(IN),
          .RATIO(UP),
          .ITEMS(ITEMS)
      ) i_up (
          .aclk(aclk),
          .aresetn(aresetn),
          .s_axis_tdata(s_axis_tdata),
          .s_axis_tvalid(s_axis_tvalid),
          .s_axis_tready(s_axis_tready),
          .m_axis_tdata(up_data),
          .m_axis_tvalid(up_valid),
          .m_axis_tready(up_ready)
      );
    end
    if (DOWN_BITS > UP_BITS) begin : g_extend
      assign down_data = {{(DOWN_BITS - UP_BITS) {1'b0}}, up_data};
    end else begin : g_cut
      assign down_data = up_data[DOWN_BITS-1:0];
    end
    if (DOWN == 1) begin : g_out
      assign m_axis_tdata = down_data;
      assign m_axis_tvalid = up_valid;
      assign up_ready = m_axis_tready;
    end else begin : g_down
      qnn_width_down #(
          .LANE_BITS(LANE_BITS),
          .OUT(OUT),
          .RATIO(DOWN),
          .ITEMS(ITEMS)
      ) i_down (
          .aclk(aclk),
          .aresetn(aresetn),
          .s_axis_tdata(down_data),
          .s_axis_tvalid(up_valid),
          .s_axis_tready(up_ready),
          .m_axis_tdata(m_axis_tdata),
          .m_axis_tvalid(m_axis_tvalid),
          .m_axis_tready(m_axis_tready)
      );
    end
  endgenerate
endmodule
