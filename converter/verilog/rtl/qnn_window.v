// Sliding window: an image of HEIGHT x WIDTH pixels, BEATS beats each, becomes the windows of a convolution or pooling,
// row by row: for every output pixel KERNEL_H x KERNEL_W taps of BEATS beats. Taps outside the image give PAD (zeros in
// HAS_MASK, where every lane carries one bit more that tells whether it is inside).
//
// Order inside a window: taps outermost, or the beats of a pixel outermost with BEATS_OUTER (pooling). One beat a cycle.
// A ring of ROWS rows of the image lets the next image enter while the last rows of this one are read. All positions
// are in beats: a row has ROW of them.
module qnn_window #(
    parameter LANES = 4,
    parameter LANE_BITS = 1,
    parameter BEATS = 2,
    parameter HEIGHT = 6,
    parameter WIDTH = 5,
    parameter OUT_HEIGHT = 6,
    parameter OUT_WIDTH = 5,
    parameter KERNEL_H = 3,
    parameter KERNEL_W = 3,
    parameter STRIDE_H = 1,
    parameter STRIDE_W = 1,
    parameter DILATE_H = 1,
    parameter DILATE_W = 1,
    parameter PAD_H = 1,
    parameter PAD_W = 1,
    parameter ROWS = 5,
    parameter BEATS_OUTER = 0,
    parameter HAS_MASK = 0,
    parameter [LANES*LANE_BITS-1:0] PAD = 0
) (
    input  wire                                   aclk,
    input  wire                                   aresetn,
    input  wire [            LANES*LANE_BITS-1:0] s_axis_tdata,
    input  wire                                   s_axis_tvalid,
    output wire                                   s_axis_tready,
    output wire [LANES*(LANE_BITS+(HAS_MASK?1:0))-1:0] m_axis_tdata,
    output reg                                    m_axis_tvalid,
    input  wire                                   m_axis_tready
);
  localparam WORD = LANES * LANE_BITS;
  localparam ROW = WIDTH * BEATS;
  localparam SIZE = ROWS * ROW;
  localparam REACH = (HEIGHT + 2 * PAD_H + KERNEL_H * DILATE_H + STRIDE_H) * ROW + (WIDTH + 2 * PAD_W + KERNEL_W * DILATE_W
                     + STRIDE_W) * BEATS;
  localparam PB = $clog2(REACH + SIZE + 1) + 1;  // signed positions
  localparam AB = SIZE > 1 ? $clog2(SIZE) : 1;
  localparam LB = $clog2(SIZE + 1);
  localparam [31:0] CAPACITY = SIZE;
  localparam [31:0] LAST_ADDRESS = SIZE - 1;
  localparam signed [PB-1:0] IMAGE = HEIGHT * ROW;
  localparam signed [PB-1:0] LINE = ROW;
  localparam signed [PB-1:0] FIRST_Y = -PAD_H * ROW;
  localparam signed [PB-1:0] FIRST_X = -PAD_W * BEATS;
  localparam signed [PB-1:0] DOWN = STRIDE_H * ROW;
  localparam signed [PB-1:0] RIGHT = STRIDE_W * BEATS;
  localparam signed [PB-1:0] TAP_DOWN = DILATE_H * ROW;
  localparam signed [PB-1:0] TAP_RIGHT = DILATE_W * BEATS;
  localparam signed [PB-1:0] NONE = 0;
  localparam signed [PB-1:0] RING = SIZE;
  localparam [31:0] LAST_I = KERNEL_H - 1;
  localparam [31:0] LAST_J = KERNEL_W - 1;
  localparam [31:0] LAST_B = BEATS - 1;
  localparam [31:0] LAST_OY = OUT_HEIGHT - 1;
  localparam [31:0] LAST_OX = OUT_WIDTH - 1;
  localparam IB = KERNEL_H > 1 ? $clog2(KERNEL_H) : 1;
  localparam JB = KERNEL_W > 1 ? $clog2(KERNEL_W) : 1;
  localparam BB = BEATS > 1 ? $clog2(BEATS) : 1;
  localparam YB = OUT_HEIGHT > 1 ? $clog2(OUT_HEIGHT) : 1;
  localparam XB = OUT_WIDTH > 1 ? $clog2(OUT_WIDTH) : 1;

  reg [WORD-1:0] ring[0:SIZE-1];
  reg [AB-1:0] write_at, base_at;  // base_at: of the first row that is still needed
  reg [LB-1:0] level;              // beats held from there on

  // loops: output row, output column, taps and beats
  reg [YB-1:0] oy;
  reg [XB-1:0] ox;
  reg [IB-1:0] i;
  reg [JB-1:0] j;
  reg [BB-1:0] b;
  wire is_last_i = i == LAST_I[IB-1:0];
  wire is_last_j = j == LAST_J[JB-1:0];
  wire is_last_b = b == LAST_B[BB-1:0];
  wire is_last_ox = ox == LAST_OX[XB-1:0];
  wire is_last_oy = oy == LAST_OY[YB-1:0];
  wire moves_j = BEATS_OUTER != 0 || is_last_b;
  wire moves_i = moves_j && is_last_j;
  wire moves_b = BEATS_OUTER == 0 || (moves_i && is_last_i);
  wire ends_window = is_last_b && is_last_j && is_last_i;
  wire ends_row = ends_window && is_last_ox;

  // positions in the image: of the window (top, left), of the tap (y, x), of the first row needed (base)
  reg signed [PB-1:0] top, left, y, x, base;
  wire signed [PB-1:0] next_top = is_last_oy ? FIRST_Y : top + DOWN;
  wire signed [PB-1:0] next_left = is_last_ox ? FIRST_X : left + RIGHT;
  wire signed [PB-1:0] next_base = next_top < NONE ? NONE : next_top;
  wire signed [PB-1:0] freed = (is_last_oy ? IMAGE : next_base) - base;
  wire is_inside = y >= NONE && y < IMAGE && x >= NONE && x < LINE;

  wire signed [PB-1:0] offset = y - base + x + $signed({{(PB - BB) {1'b0}}, b});
  wire signed [PB-1:0] held = $signed({{(PB - LB) {1'b0}}, level});
  /* verilator lint_off UNUSEDSIGNAL */  // addresses in the ring, wider than needed
  wire signed [PB-1:0] place = $signed({{(PB - AB) {1'b0}}, base_at}) + offset;
  wire signed [PB-1:0] wrapped = place >= RING ? place - RING : place;
  wire signed [PB-1:0] next_base_at = $signed({{(PB - AB) {1'b0}}, base_at}) + freed;
  wire signed [PB-1:0] wrapped_base = next_base_at >= RING ? next_base_at - RING : next_base_at;
  /* verilator lint_on UNUSEDSIGNAL */

  wire is_here = level != {LB{1'b0}} && (~is_inside || offset < held) && (~ends_row || freed <= held);
  wire enable = ~m_axis_tvalid | m_axis_tready;
  wire step = enable & is_here;
  wire write = s_axis_tvalid & s_axis_tready;
  assign s_axis_tready = level != CAPACITY[LB-1:0];

  always @(posedge aclk) begin
    if (write) ring[write_at] <= s_axis_tdata;
    if (!aresetn) begin
      write_at <= {AB{1'b0}};
      base_at <= {AB{1'b0}};
      level <= {LB{1'b0}};
      oy <= {YB{1'b0}};
      ox <= {XB{1'b0}};
      i <= {IB{1'b0}};
      j <= {JB{1'b0}};
      b <= {BB{1'b0}};
      top <= FIRST_Y;
      y <= FIRST_Y;
      left <= FIRST_X;
      x <= FIRST_X;
      base <= NONE;
      m_axis_tvalid <= 1'b0;
    end else begin
      if (write) write_at <= write_at == LAST_ADDRESS[AB-1:0] ? {AB{1'b0}} : write_at + 1'b1;
      level <= level + {{(LB - 1) {1'b0}}, write} - ((step & ends_row) ? freed[LB-1:0] : {LB{1'b0}});
      if (enable) m_axis_tvalid <= is_here;
      if (step) begin
        if (moves_b) b <= is_last_b ? {BB{1'b0}} : b + 1'b1;
        if (moves_j) j <= is_last_j ? {JB{1'b0}} : j + 1'b1;
        if (moves_i) i <= is_last_i ? {IB{1'b0}} : i + 1'b1;
        if (moves_j) x <= is_last_j ? left : x + TAP_RIGHT;
        if (moves_i) y <= is_last_i ? top : y + TAP_DOWN;
        if (ends_window) begin
          ox <= is_last_ox ? {XB{1'b0}} : ox + 1'b1;
          left <= next_left;
          x <= next_left;
        end
        if (ends_row) begin
          oy <= is_last_oy ? {YB{1'b0}} : oy + 1'b1;
          top <= next_top;
          y <= next_top;
          base <= next_base;
          base_at <= wrapped_base[AB-1:0];
        end
      end
    end
  end

  reg [WORD-1:0] read;
  reg was_inside;
  always @(posedge aclk)
    if (enable) begin
      read <= ring[wrapped[AB-1:0]];
      was_inside <= is_inside;
    end

  wire [WORD-1:0] data = was_inside ? read : PAD;
  genvar g;
  generate
    if (HAS_MASK != 0) begin : g_mask
      for (g = 0; g < LANES; g = g + 1) begin : g_lane
        assign m_axis_tdata[g*(LANE_BITS+1)+:LANE_BITS+1] = {was_inside, data[g*LANE_BITS+:LANE_BITS]};
      end
    end else begin : g_plain
      assign m_axis_tdata = data;
    end
  endgenerate
endmodule
