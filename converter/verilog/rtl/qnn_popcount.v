// Number of ones among N bits. The first round takes three bits at a time: when each of them is an XNOR of two signals,
// three lanes are the six inputs of one LUT. Later rounds take six. With QNN_BEHAVIOURAL: a loop, for fast simulation;
// both views are proven equal by tests/test_verilog_proofs.py.
module qnn_popcount #(
    parameter N = 64,
    parameter WIDTH = $clog2(N + 1)
) (
    input wire [N-1:0] x,
    output wire [WIDTH-1:0] count
);
`ifdef QNN_BEHAVIOURAL
  reg [WIDTH-1:0] total;
  integer i;
  always @* begin
    total = {WIDTH{1'b0}};
    for (i = 0; i < N; i = i + 1) total = total + {{(WIDTH - 1) {1'b0}}, x[i]};
  end
  assign count = total;
`else
  localparam TRIPLES = (N + 2) / 3;
  wire [3*TRIPLES-1:0] padded;
  wire [TRIPLES-1:0] ones, twos;
  genvar g;
  generate
    if (3 * TRIPLES > N) begin : g_pad
      assign padded = {{(3 * TRIPLES - N) {1'b0}}, x};
    end else begin : g_whole
      assign padded = x;
    end
    for (g = 0; g < TRIPLES; g = g + 1) begin : g_triple
      wire [2:0] t = padded[3*g+:3];
      assign ones[g] = t[0] ^ t[1] ^ t[2];
      assign twos[g] = (t[0] & t[1]) | (t[2] & (t[0] | t[1]));
    end
  endgenerate
  qnn_columns #(
      .A(TRIPLES),
      .B(TRIPLES),
      .C(0),
      .WIDTH(WIDTH)
  ) i_columns (
      .a  (ones),
      .b  (twos),
      .c  (1'b0),
      .sum(count)
  );
`endif
endmodule
