// Adds up bits of weight 1 (A of them), 2 (B) and 4 (C) with 6:3 counters: each takes six bits of the lowest column and
// leaves one bit in it and in the two above (of two or three bits: in the one above). A column with one bit left is a
// bit of the sum. resources.py counts the same. Recursive: iverilog needs -pRECURSIVE_MOD_LIMIT=200 for it.
module qnn_columns #(
    parameter A = 6,
    parameter B = 0,
    parameter C = 0,
    parameter WIDTH = 3
) (
    input wire [(A > 0 ? A : 1)-1:0] a,
    /* verilator lint_off UNUSEDSIGNAL */  // a column without bits has a dummy port
    input wire [(B > 0 ? B : 1)-1:0] b,
    input wire [(C > 0 ? C : 1)-1:0] c,
    /* verilator lint_on UNUSEDSIGNAL */
    output wire [WIDTH-1:0] sum
);
  localparam REST = A % 6;
  localparam HAS_SHORT = (REST > 2 || A == 2) ? 1 : 0;  // a counter for less than six bits
  localparam GROUPS = A / 6 + HAS_SHORT;
  localparam KEEP = HAS_SHORT ? 0 : REST;  // bits that wait for the next round
  localparam FOURS = GROUPS - (HAS_SHORT && REST < 4 ? 1 : 0);
  localparam NEXT_A = GROUPS + KEEP;

  generate
    if (A <= 1) begin : g_column
      assign sum[0] = A == 1 ? a[0] : 1'b0;
      if (WIDTH > 1) begin : g_above
        qnn_columns #(
            .A(B),
            .B(C),
            .C(0),
            .WIDTH(WIDTH - 1)
        ) i_above (
            .a  (b),
            .b  (c),
            .c  (1'b0),
            .sum(sum[WIDTH-1:1])
        );
      end
    end else begin : g_round
      wire [GROUPS*6-1:0] grouped;
      /* verilator lint_off UNUSEDSIGNAL */  // two or three bits have no fours
      wire [GROUPS-1:0] ones, twos, fours;
      /* verilator lint_on UNUSEDSIGNAL */
      wire [NEXT_A-1:0] next_a;
      wire [B+GROUPS-1:0] next_b;
      wire [(C+FOURS>0?C+FOURS:1)-1:0] next_c;
      if (GROUPS * 6 > A) begin : g_short
        assign grouped = {{(GROUPS * 6 - A) {1'b0}}, a};
      end else begin : g_whole
        assign grouped = a[GROUPS*6-1:0];
      end
      genvar g;
      for (g = 0; g < GROUPS; g = g + 1) begin : g_group
        qnn_count6 i_count (
            .x(grouped[6*g+:6]),
            .count({fours[g], twos[g], ones[g]})
        );
      end
      if (KEEP > 0) begin : g_keep
        assign next_a = {a[A-1-:(KEEP>0?KEEP : 1)], ones};
      end else begin : g_no_keep
        assign next_a = ones;
      end
      if (B > 0) begin : g_b
        assign next_b = {b, twos};
      end else begin : g_no_b
        assign next_b = twos;
      end
      if (C > 0 && FOURS > 0) begin : g_c
        assign next_c = {c, fours[(FOURS>0?FOURS : 1)-1:0]};
      end else if (C > 0) begin : g_only_c
        assign next_c = c;
      end else if (FOURS > 0) begin : g_no_c
        assign next_c = fours[(FOURS>0?FOURS : 1)-1:0];
      end else begin : g_none
        assign next_c = 1'b0;
      end
      qnn_columns #(
          .A(NEXT_A),
          .B(B + GROUPS),
          .C(C + FOURS),
          .WIDTH(WIDTH)
      ) i_rest (
          .a  (next_a),
          .b  (next_b),
          .c  (next_c),
          .sum(sum)
      );
    end
  endgenerate
endmodule
