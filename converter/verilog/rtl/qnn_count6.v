// Number of ones among six bits: every output is one 6-input LUT.
module qnn_count6 (
    input  wire [5:0] x,
    output wire [2:0] count
);
  wire sum_low = x[0] ^ x[1] ^ x[2];
  wire carry_low = (x[0] & x[1]) | (x[2] & (x[0] | x[1]));
  wire sum_high = x[3] ^ x[4] ^ x[5];
  wire carry_high = (x[3] & x[4]) | (x[5] & (x[3] | x[4]));
  wire carry = sum_low & sum_high;
  assign count[0] = sum_low ^ sum_high;
  assign count[1] = carry_low ^ carry_high ^ carry;
  assign count[2] = (carry_low & carry_high) | (carry & (carry_low | carry_high));
endmodule
