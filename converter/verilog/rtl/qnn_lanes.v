// What SIMD lanes add to an accumulator in one cycle, by KIND of input code:
//   0 bits    1 bit, +1 or -1:                sum = number of lanes where x equals w      (dot = 2*sum - lanes)
//   1 masked  2 bits, {is inside, sign}:      sum = 2*(inside and equal) - inside = dot product; outside counts 0
//   2 codes   CODE_BITS, signed or not:       sum = sum of w ? x : -x = dot product
// w: 1 is +1, 0 is -1. Padding lanes hold x = 0; bits have w = 1 there, so that they are never equal.
module qnn_lanes #(
    parameter KIND = 0,
    parameter SIMD = 8,
    parameter CODE_BITS = 1,
    parameter IS_SIGNED = 0,
    parameter SUM_BITS = 5
) (
    input wire [SIMD*CODE_BITS-1:0] x,
    input wire [SIMD-1:0] w,
    output wire signed [SUM_BITS-1:0] sum
);
  localparam COUNT_BITS = $clog2(SIMD + 1);
  genvar g;
  generate
    if (KIND == 0) begin : g_bits
      wire [COUNT_BITS-1:0] equal;
      qnn_popcount #(
          .N(SIMD)
      ) i_equal (
          .x(x ~^ w),
          .count(equal)
      );
      assign sum = {{(SUM_BITS - COUNT_BITS) {1'b0}}, equal};
    end else if (KIND == 1) begin : g_masked
      wire [SIMD-1:0] is_inside, is_equal;
      wire [COUNT_BITS-1:0] inside_count, equal_count;
      for (g = 0; g < SIMD; g = g + 1) begin : g_lane
        assign is_inside[g] = x[2*g+1];
        assign is_equal[g]  = x[2*g+1] & (x[2*g] ~^ w[g]);
      end
      qnn_popcount #(
          .N(SIMD)
      ) i_inside (
          .x(is_inside),
          .count(inside_count)
      );
      qnn_popcount #(
          .N(SIMD)
      ) i_equal (
          .x(is_equal),
          .count(equal_count)
      );
      assign sum = {{(SUM_BITS - COUNT_BITS - 1) {1'b0}}, equal_count, 1'b0}
                 - {{(SUM_BITS - COUNT_BITS) {1'b0}}, inside_count};
    end else begin : g_codes
      reg signed [SUM_BITS-1:0] total, value;
      integer i;
      always @* begin
        total = {SUM_BITS{1'b0}};
        for (i = 0; i < SIMD; i = i + 1) begin
          value = {{(SUM_BITS - CODE_BITS) {IS_SIGNED != 0 && x[i*CODE_BITS+CODE_BITS-1]}}, x[i*CODE_BITS+:CODE_BITS]};
          total = w[i] ? total + value : total - value;
        end
      end
      assign sum = total;
    end
  endgenerate
endmodule
