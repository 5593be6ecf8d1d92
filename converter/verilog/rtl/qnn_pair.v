// Number of lanes, of two, that are open and whose bits are equal. With QNN_XILINX: two LUT6, of which synthesis finds
// four LUT3 otherwise.
module qnn_pair (
    input  wire [1:0] x,
    input  wire [1:0] w,
    input  wire [1:0] gate,
    output wire [1:0] count
);
`ifdef QNN_XILINX
  function [63:0] init(input integer place);
    integer i;
    reg [1:0] t;
    for (i = 0; i < 64; i = i + 1) begin
      t = i[5:4] & (i[3:2] ~^ i[1:0]);
      init[i] = place == 0 ? ^t : &t;
    end
  endfunction
  genvar g;
  generate
    for (g = 0; g < 2; g = g + 1) begin : g_bit
      LUT6 #(
          .INIT(init(g))
      ) i_lut (
          .I0(x[0]),
          .I1(x[1]),
          .I2(w[0]),
          .I3(w[1]),
          .I4(gate[0]),
          .I5(gate[1]),
          .O (count[g])
      );
    end
  endgenerate
`else
  wire [1:0] t = gate & (x ~^ w);
  assign count = {&t, ^t};
`endif
endmodule
