// What SIMD lanes add to an accumulator in one cycle: matches, the bits of a number u that equal the sign of its weight,
// by their value and by the magnitude of the weight.
//
//   matches = sum over lanes, bits i of u and j of the magnitude of  2^(i+j) * (u[i] xnor sign) * magnitude[j]
//
//   KIND 0 bits    a lane of x is u, CODE_BITS wide:                 sum = matches
//   KIND 1 masked  a lane of x is {is inside, u}, CODE_BITS wide:    sum = dot product of 2 u - (2^planes - 1), where a
//                  lane outside counts 0:  2 * matches - (2^planes - 1) * sum of magnitudes inside
//
// A lane of w is {magnitude, sign}, sign 1 is +; WEIGHT_BITS = 1: magnitudes are 1. Padding lanes hold x = 0 and sign 1:
// they never match. Few planes are counted bit by bit; of many, whole numbers are added. `inner`: (2^planes - 1) *
// lanes inside, which all neurons of weights without magnitudes share.
module qnn_lanes #(
    parameter KIND = 0,
    parameter SIMD = 8,
    parameter CODE_BITS = 1,
    parameter WEIGHT_BITS = 1,
    parameter SUM_BITS = 5
) (
    input wire [SIMD*CODE_BITS-1:0] x,
    input wire [SIMD*WEIGHT_BITS-1:0] w,
    /* verilator lint_off UNUSEDSIGNAL */  // KIND 1 of weights without magnitudes reads it
    input wire [SUM_BITS-1:0] inner,
    /* verilator lint_on UNUSEDSIGNAL */
    output wire signed [SUM_BITS-1:0] sum
);
  localparam PLANES = CODE_BITS - KIND;
  localparam MASKS = WEIGHT_BITS > 1 ? WEIGHT_BITS - 1 : 1;
  localparam TERMS = PLANES * MASKS;
  localparam COUNT_BITS = $clog2(SIMD + 1);
  localparam IS_GATED = KIND == 1 || WEIGHT_BITS > 1 ? 1 : 0;
  genvar g, i, j;

  wire [SIMD-1:0] is_inside, sign;
  wire [MASKS*SIMD-1:0] counts_at;  // inside, and bit j of the magnitude set
  generate
    for (g = 0; g < SIMD; g = g + 1) begin : g_lane
      assign is_inside[g] = KIND == 0 || x[g*CODE_BITS+CODE_BITS-1];
      assign sign[g] = w[g*WEIGHT_BITS];
      for (j = 0; j < MASKS; j = j + 1) begin : g_mask
        if (WEIGHT_BITS > 1) begin : g_magnitude
          assign counts_at[j*SIMD+g] = is_inside[g] & w[g*WEIGHT_BITS+j+1];
        end else begin : g_one
          assign counts_at[j*SIMD+g] = is_inside[g];
        end
      end
    end
  endgenerate

  wire [SUM_BITS-1:0] matched;
  generate
    if (TERMS <= 3) begin : g_planes
      wire [TERMS*COUNT_BITS-1:0] counts;
      for (i = 0; i < PLANES; i = i + 1) begin : g_plane
        wire [SIMD-1:0] plane;
        for (g = 0; g < SIMD; g = g + 1) begin : g_bit
          assign plane[g] = x[g*CODE_BITS+i];
        end
        for (j = 0; j < MASKS; j = j + 1) begin : g_mask
          qnn_popcount #(
              .N(SIMD),
              .IS_GATED(IS_GATED)
          ) i_equal (
              .x(plane),
              .w(sign),
              .gate(counts_at[j*SIMD+:SIMD]),
              .count(counts[(j*PLANES+i)*COUNT_BITS+:COUNT_BITS])
          );
        end
      end
      reg [SUM_BITS-1:0] total;
      integer t;
      always @* begin
        total = {SUM_BITS{1'b0}};
        for (t = 0; t < TERMS; t = t + 1)
          total = total + ({{(SUM_BITS - COUNT_BITS) {1'b0}}, counts[t*COUNT_BITS+:COUNT_BITS]} << (t % PLANES + t / PLANES));
      end
      assign matched = total;
    end else begin : g_numbers
      reg [SUM_BITS-1:0] total, value;
      integer lane, m;
      always @* begin
        total = {SUM_BITS{1'b0}};
        for (lane = 0; lane < SIMD; lane = lane + 1) begin
          value = {{(SUM_BITS - PLANES) {1'b0}}, x[lane*CODE_BITS+:PLANES] ^ {PLANES{~sign[lane]}}};
          for (m = 0; m < MASKS; m = m + 1)
            total = total + ((value & {SUM_BITS{counts_at[m*SIMD+lane]}}) << m);
        end
      end
      assign matched = total;
    end
  endgenerate

  generate
    if (KIND == 0) begin : g_matches
      assign sum = matched;
    end else if (WEIGHT_BITS == 1) begin : g_dot
      assign sum = (matched << 1) - inner;
    end else begin : g_weighted
      wire [MASKS*COUNT_BITS-1:0] counts;
      for (j = 0; j < MASKS; j = j + 1) begin : g_mask
        qnn_popcount #(
            .N(SIMD)
        ) i_inside (
            .x(counts_at[j*SIMD+:SIMD]),
            .w({SIMD{1'b1}}),
            .gate({SIMD{1'b1}}),
            .count(counts[j*COUNT_BITS+:COUNT_BITS])
        );
      end
      reg [SUM_BITS-1:0] weighted;
      integer m;
      always @* begin
        weighted = {SUM_BITS{1'b0}};
        for (m = 0; m < MASKS; m = m + 1)
          weighted = weighted + ({{(SUM_BITS - COUNT_BITS) {1'b0}}, counts[m*COUNT_BITS+:COUNT_BITS]} << m);
      end
      assign sum = (matched << 1) - (weighted << PLANES) + weighted;
    end
  endgenerate
endmodule
