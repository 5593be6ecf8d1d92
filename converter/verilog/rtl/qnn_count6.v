// Number of ones among six bits, those of INVERT inverted: every output is one 6-input LUT. With QNN_XILINX they are
// instances of LUT6: synthesis keeps them as they are, which takes it less time and fewer LUTs than to find others.
module qnn_count6 #(
    parameter [5:0] INVERT = 6'd0
) (
    input  wire [5:0] x,
    output wire [2:0] count
);
`ifdef QNN_XILINX
  function [63:0] init(input integer place);
    integer i;
    reg [5:0] v;
    reg [2:0] ones;
    for (i = 0; i < 64; i = i + 1) begin
      v = i[5:0] ^ INVERT;
      ones = {2'b0, v[0]} + {2'b0, v[1]} + {2'b0, v[2]} + {2'b0, v[3]} + {2'b0, v[4]} + {2'b0, v[5]};
      init[i] = ones[place];
    end
  endfunction
  genvar g;
  generate
    for (g = 0; g < 3; g = g + 1) begin : g_bit
      LUT6 #(
          .INIT(init(g))
      ) i_lut (
          .I0(x[0]),
          .I1(x[1]),
          .I2(x[2]),
          .I3(x[3]),
          .I4(x[4]),
          .I5(x[5]),
          .O (count[g])
      );
    end
  endgenerate
`else
  wire [5:0] v = x ^ INVERT;
  wire sum_low = v[0] ^ v[1] ^ v[2];
  wire carry_low = (v[0] & v[1]) | (v[2] & (v[0] | v[1]));
  wire sum_high = v[3] ^ v[4] ^ v[5];
  wire carry_high = (v[3] & v[4]) | (v[5] & (v[3] | v[4]));
  wire carry = sum_low & sum_high;
  assign count[0] = sum_low ^ sum_high;
  assign count[1] = carry_low ^ carry_high ^ carry;
  assign count[2] = (carry_low & carry_high) | (carry & (carry_low | carry_high));
`endif
endmodule
