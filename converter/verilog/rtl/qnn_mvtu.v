// Matrix-vector-threshold unit: N neurons over K inputs, PE neurons and SIMD inputs at a time.
//
//   A vector enters in SF = ceil(K/SIMD) beats; each beat serves PE neurons, and the vector is replayed from a buffer for
//   the other NF - 1 groups, NF = ceil(N/PE). One beat leaves behind every group: II = SF * NF cycles exactly.
//
//   accum = start + sum over the beats;  start = -T0 (0 without thresholds)
//   LEVELS = 0: the PE accumulators leave, ACC_BITS each, signed
//   LEVELS > 0: OUT_BITS each: how many of T0 <= T1 <= ... are <= the sum; one bit for LEVELS = 1: the sign
//
// Weights: word nf*SF + sf holds, at p*SIMD + i from the right, the weight of neuron nf*PE + p, input sf*SIMD + i.
// Thresholds: word nf holds, for each p from the right, {T[LEVELS-1] - T0, ..., T1 - T0, -T0}, ACC_BITS each.
module qnn_mvtu #(
    parameter KIND = 0,  // of input codes, see qnn_lanes
    parameter CODE_BITS = 1,
    parameter WEIGHT_BITS = 1,
    parameter K = 16,
    parameter N = 8,
    parameter SIMD = 8,
    parameter PE = 4,
    parameter SUM_BITS = 5,
    parameter ACC_BITS = 6,
    parameter LEVELS = 1,
    parameter OUT_BITS = 1,
    parameter WEIGHTS = "",
    parameter THRESHOLDS = ""
) (
    input  wire                      aclk,
    input  wire                      aresetn,
    input  wire [SIMD*CODE_BITS-1:0] s_axis_tdata,
    input  wire                      s_axis_tvalid,
    output wire                      s_axis_tready,
    output wire [   PE*OUT_BITS-1:0] m_axis_tdata,
    output wire                      m_axis_tvalid,
    input  wire                      m_axis_tready
);
  localparam SF = (K + SIMD - 1) / SIMD;
  localparam NF = (N + PE - 1) / PE;
  localparam SB = SF > 1 ? $clog2(SF) : 1;
  localparam NB = NF > 1 ? $clog2(NF) : 1;
  localparam AB = SF * NF > 1 ? $clog2(SF * NF) : 1;
  localparam WORD = SIMD * CODE_BITS;
  localparam [31:0] LAST_SF = SF - 1;
  localparam [31:0] LAST_NF = NF - 1;

  // fetch: which beat, which neurons
  reg [SB-1:0] sf;
  reg [NB-1:0] nf;
  reg [AB-1:0] address;
  wire is_last_sf = sf == LAST_SF[SB-1:0];
  wire is_last_nf = nf == LAST_NF[NB-1:0];
  wire is_fresh = nf == {NB{1'b0}};
  wire enable = ~m_axis_tvalid | m_axis_tready;
  wire step = enable & (~is_fresh | s_axis_tvalid);
  assign s_axis_tready = enable & is_fresh;

  always @(posedge aclk) begin
    if (!aresetn) begin
      sf <= {SB{1'b0}};
      nf <= {NB{1'b0}};
      address <= {AB{1'b0}};
    end else if (step) begin
      sf <= is_last_sf ? {SB{1'b0}} : sf + 1'b1;
      if (is_last_sf) nf <= is_last_nf ? {NB{1'b0}} : nf + 1'b1;
      address <= (is_last_sf & is_last_nf) ? {AB{1'b0}} : address + 1'b1;
    end
  end

  wire [WORD-1:0] beat;
  generate
    if (NF > 1) begin : g_replay
      reg [WORD-1:0] vector[0:SF-1];
      always @(posedge aclk) if (step & is_fresh) vector[sf] <= s_axis_tdata;
      assign beat = is_fresh ? s_axis_tdata : vector[sf];
    end else begin : g_once
      assign beat = s_axis_tdata;
    end
  endgenerate

  // stage 1: operands;  stage 2: sum of the lanes;  stage 3: accumulators
  localparam ROW = SIMD * WEIGHT_BITS;
  reg [PE*ROW-1:0] weights[0:SF*NF-1];
  reg [WORD-1:0] x_1;
  reg [PE*ROW-1:0] w_1;
  reg is_valid_1, is_first_1, is_last_1, is_valid_2, is_first_2, is_last_2, is_valid_3;
  initial $readmemh(WEIGHTS, weights);

  always @(posedge aclk) begin
    if (enable) begin
      x_1 <= beat;
      w_1 <= weights[address];
      is_first_1 <= sf == {SB{1'b0}};
      is_last_1 <= is_last_sf;
      is_first_2 <= is_first_1;
      is_last_2 <= is_last_1;
    end
    if (!aresetn) begin
      is_valid_1 <= 1'b0;
      is_valid_2 <= 1'b0;
      is_valid_3 <= 1'b0;
    end else if (enable) begin
      is_valid_1 <= step;
      is_valid_2 <= is_valid_1;
      is_valid_3 <= is_valid_2 & is_last_2;
    end
  end
  assign m_axis_tvalid = is_valid_3;

  localparam STARTS = LEVELS > 0 ? LEVELS : 1;
  wire [PE*STARTS*ACC_BITS-1:0] thresholds_2;
  generate
    if (LEVELS > 0) begin : g_thresholds
      reg [PE*LEVELS*ACC_BITS-1:0] thresholds[0:NF-1];
      reg [PE*LEVELS*ACC_BITS-1:0] read;
      reg [NB-1:0] nf_1;
      initial $readmemh(THRESHOLDS, thresholds);
      always @(posedge aclk)
        if (enable) begin
          nf_1 <= nf;
          read <= thresholds[nf_1];
        end
      assign thresholds_2 = read;
    end else begin : g_raw
      assign thresholds_2 = {(PE * STARTS * ACC_BITS) {1'b0}};
    end
  endgenerate

  wire [SUM_BITS-1:0] inner_1;
  genvar i, p, t;
  generate
    if (KIND == 1 && WEIGHT_BITS == 1) begin : g_inside
      localparam COUNT_BITS = $clog2(SIMD + 1);
      wire [SIMD-1:0] is_inside;
      wire [COUNT_BITS-1:0] count;
      for (i = 0; i < SIMD; i = i + 1) begin : g_lane
        assign is_inside[i] = x_1[i*CODE_BITS+CODE_BITS-1];
      end
      qnn_popcount #(
          .N(SIMD)
      ) i_inside (
          .x(is_inside),
          .w({SIMD{1'b1}}),
          .gate({SIMD{1'b1}}),
          .count(count)
      );
      wire [SUM_BITS-1:0] number = {{(SUM_BITS - COUNT_BITS) {1'b0}}, count};
      assign inner_1 = (number << (CODE_BITS - KIND)) - number;
    end else begin : g_whole
      assign inner_1 = {SUM_BITS{1'b0}};
    end
  endgenerate

  generate
    for (p = 0; p < PE; p = p + 1) begin : g_pe
      wire signed [SUM_BITS-1:0] sum;
      reg signed [SUM_BITS-1:0] sum_2;
      reg signed [ACC_BITS-1:0] accum;
      wire [STARTS*ACC_BITS-1:0] mine = thresholds_2[p*STARTS*ACC_BITS+:STARTS*ACC_BITS];
      wire signed [ACC_BITS-1:0] start = mine[ACC_BITS-1:0];
      qnn_lanes #(
          .KIND(KIND),
          .SIMD(SIMD),
          .CODE_BITS(CODE_BITS),
          .WEIGHT_BITS(WEIGHT_BITS),
          .SUM_BITS(SUM_BITS)
      ) i_lanes (
          .x    (x_1),
          .w    (w_1[p*ROW+:ROW]),
          .inner(inner_1),
          .sum  (sum)
      );
      always @(posedge aclk)
        if (enable) begin
          sum_2 <= sum;
          // extended by the adder itself, the sum goes into its carry chain and the choice into its LUTs: one a bit
          /* verilator lint_off WIDTH */
          if (is_valid_2) accum <= sum_2 + (is_first_2 ? start : accum);
          /* verilator lint_on WIDTH */
        end
      if (LEVELS == 0) begin : g_accumulators
        assign m_axis_tdata[p*OUT_BITS+:OUT_BITS] = accum;
      end else if (LEVELS == 1) begin : g_sign
        assign m_axis_tdata[p] = ~accum[ACC_BITS-1];
      end else begin : g_code
        reg [(LEVELS-1)*ACC_BITS-1:0] steps_3;
        wire [LEVELS-1:0] is_reached;
        always @(posedge aclk) if (enable) steps_3 <= mine[LEVELS*ACC_BITS-1:ACC_BITS];
        assign is_reached[0] = ~accum[ACC_BITS-1];
        for (t = 1; t < LEVELS; t = t + 1) begin : g_level
          wire signed [ACC_BITS-1:0] level = steps_3[(t-1)*ACC_BITS+:ACC_BITS];
          assign is_reached[t] = accum >= level;
        end
        qnn_popcount #(
            .N(LEVELS),
            .WIDTH(OUT_BITS)
        ) i_code (
            .x(is_reached),
            .w({LEVELS{1'b1}}),
            .gate({LEVELS{1'b1}}),
            .count(m_axis_tdata[p*OUT_BITS+:OUT_BITS])
        );
      end
    end
  endgenerate
endmodule
