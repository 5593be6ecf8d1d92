// Number of lanes, of N, whose bits x and w are equal; with IS_GATED: and whose gate is open. The first round takes as
// many lanes as six signals are, the inputs of one LUT: three lanes, or two with gates; later rounds take six bits. With
// QNN_BEHAVIOURAL: a loop, or what Verilator has for it, for fast simulation; both views are proven equal by
// tests/test_verilog_proofs.py.
module qnn_popcount #(
    parameter N = 64,
    parameter IS_GATED = 0,
    parameter WIDTH = $clog2(N + 1)
) (
    input wire [N-1:0] x,
    input wire [N-1:0] w,
    /* verilator lint_off UNUSEDSIGNAL */  // without IS_GATED
    input wire [N-1:0] gate,
    /* verilator lint_on UNUSEDSIGNAL */
    output wire [WIDTH-1:0] count
);
`ifdef QNN_BEHAVIOURAL
  wire [N-1:0] equal = (IS_GATED ? gate : {N{1'b1}}) & (x ~^ w);
`ifdef VERILATOR
  assign count = WIDTH'($countones(equal));
`else
  reg [WIDTH-1:0] total;
  integer i;
  always @* begin
    total = {WIDTH{1'b0}};
    for (i = 0; i < N; i = i + 1) total = total + {{(WIDTH - 1) {1'b0}}, equal[i]};
  end
  assign count = total;
`endif
`else
  localparam PER = IS_GATED ? 2 : 3;
  localparam GROUPS = (N + PER - 1) / PER;
  localparam TWOS = GROUPS - (N % PER == 1 ? 1 : 0);  // groups of more than one lane
  localparam PAD = PER * GROUPS - N;
  /* verilator lint_off UNUSEDSIGNAL */  // one lane has no twos
  wire [GROUPS-1:0] ones, twos;
  /* verilator lint_on UNUSEDSIGNAL */
  genvar g;
  generate
    if (IS_GATED) begin : g_gated
      wire [2*GROUPS-1:0] x_padded, w_padded, gate_padded;
      if (PAD > 0) begin : g_pad
        assign x_padded = {1'b0, x};
        assign w_padded = {1'b0, w};
        assign gate_padded = {1'b0, gate};
      end else begin : g_even
        assign x_padded = x;
        assign w_padded = w;
        assign gate_padded = gate;
      end
      for (g = 0; g < GROUPS; g = g + 1) begin : g_pair
        qnn_pair i_pair (
            .x(x_padded[2*g+:2]),
            .w(w_padded[2*g+:2]),
            .gate(gate_padded[2*g+:2]),
            .count({twos[g], ones[g]})
        );
      end
    end else begin : g_open
      wire [N-1:0] equal = x ~^ w;
      wire [3*GROUPS-1:0] padded;
      if (PAD > 0) begin : g_pad
        assign padded = {{PAD{1'b0}}, equal};
      end else begin : g_whole
        assign padded = equal;
      end
      for (g = 0; g < GROUPS; g = g + 1) begin : g_triple
        wire [2:0] t = padded[3*g+:3];
        assign ones[g] = t[0] ^ t[1] ^ t[2];
        assign twos[g] = (t[0] & t[1]) | (t[2] & (t[0] | t[1]));
      end
    end
  endgenerate
  qnn_columns #(
      .A(GROUPS),
      .B(TWOS),
      .C(0),
      .WIDTH(WIDTH)
  ) i_columns (
      .a  (ones),
      .b  (twos[(TWOS>0?TWOS : 1)-1:0]),
      .c  (1'b0),
      .sum(count)
  );
`endif
endmodule
