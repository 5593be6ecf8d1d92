// Line buffer: an image of HEIGHT x WIDTH pixels, LANES bits each, row by row, becomes the windows of a convolution or
// pooling, all taps of one at once: tap (i, j) is bits (j * KERNEL_H + i) * LANES and up. Pixels outside are 0.
//
// A pixel a cycle; so are those of the border, for which the input waits. KERNEL_H - 1 rows are held.
module qnn_lines #(
    parameter LANES = 4,
    parameter HEIGHT = 6,
    parameter WIDTH = 5,
    parameter KERNEL_H = 3,
    parameter KERNEL_W = 3,
    parameter STRIDE_H = 1,
    parameter STRIDE_W = 1,
    parameter PAD_H = 1,
    parameter PAD_W = 1
) (
    input  wire                               aclk,
    input  wire                               aresetn,
    input  wire [                  LANES-1:0] s_axis_tdata,
    input  wire                               s_axis_tvalid,
    output wire                               s_axis_tready,
    output reg  [KERNEL_H*KERNEL_W*LANES-1:0] m_axis_tdata,
    output reg                                m_axis_tvalid,
    input  wire                               m_axis_tready
);
  localparam ROWS = HEIGHT + 2 * PAD_H;
  localparam COLUMNS = WIDTH + 2 * PAD_W;
  localparam COLUMN = KERNEL_H * LANES;
  localparam YB = ROWS > 1 ? $clog2(ROWS) : 1;
  localparam XB = COLUMNS > 1 ? $clog2(COLUMNS) : 1;
  localparam MOST_H = KERNEL_H > STRIDE_H ? KERNEL_H : STRIDE_H;
  localparam MOST_W = KERNEL_W > STRIDE_W ? KERNEL_W : STRIDE_W;
  localparam SYB = MOST_H > 1 ? $clog2(MOST_H) : 1;
  localparam SXB = MOST_W > 1 ? $clog2(MOST_W) : 1;
  localparam [31:0] LAST_Y = ROWS - 1;
  localparam [31:0] LAST_X = COLUMNS - 1;
  localparam [31:0] FIRST_H = KERNEL_H - 1;
  localparam [31:0] FIRST_W = KERNEL_W - 1;
  localparam [31:0] AGAIN_H = STRIDE_H - 1;
  localparam [31:0] AGAIN_W = STRIDE_W - 1;

  reg [YB-1:0] y;
  reg [XB-1:0] x;
  reg [SYB-1:0] rows_left;     // until the next row that ends windows
  reg [SXB-1:0] columns_left;  // until the next column that does
  wire is_last_x = x == LAST_X[XB-1:0];
  wire is_last_y = y == LAST_Y[YB-1:0];
  wire is_window = rows_left == {SYB{1'b0}} && columns_left == {SXB{1'b0}};

  wire is_row, is_column;
  generate
    if (PAD_H > 0) begin : g_pad_h
      localparam [31:0] TOP = PAD_H;
      localparam [31:0] BOTTOM = PAD_H + HEIGHT;
      assign is_row = y >= TOP[YB-1:0] && y < BOTTOM[YB-1:0];
    end else begin : g_rows
      assign is_row = 1'b1;
    end
    if (PAD_W > 0) begin : g_pad_w
      localparam [31:0] LEFT = PAD_W;
      localparam [31:0] RIGHT = PAD_W + WIDTH;
      assign is_column = x >= LEFT[XB-1:0] && x < RIGHT[XB-1:0];
    end else begin : g_columns
      assign is_column = 1'b1;
    end
  endgenerate

  wire enable = ~m_axis_tvalid | m_axis_tready;
  wire is_inside = is_row & is_column;
  wire step = enable & (~is_inside | s_axis_tvalid);
  assign s_axis_tready = enable & is_inside;

  wire [LANES-1:0] pixel = is_inside ? s_axis_tdata : {LANES{1'b0}};
  wire [COLUMN-1:0] column;  // top pixel in the low bits
  generate
    if (KERNEL_H > 1) begin : g_above
      reg [COLUMN-LANES-1:0] above[0:COLUMNS-1];
      assign column = {pixel, above[x]};
      always @(posedge aclk) if (step) above[x] <= column[COLUMN-1:LANES];
    end else begin : g_alone
      assign column = pixel;
    end
    if (KERNEL_W > 1) begin : g_shift
      always @(posedge aclk) if (step) m_axis_tdata <= {column, m_axis_tdata[KERNEL_W*COLUMN-1:COLUMN]};
    end else begin : g_column
      always @(posedge aclk) if (step) m_axis_tdata <= column;
    end
  endgenerate

  always @(posedge aclk)
    if (!aresetn) begin
      y <= {YB{1'b0}};
      x <= {XB{1'b0}};
      rows_left <= FIRST_H[SYB-1:0];
      columns_left <= FIRST_W[SXB-1:0];
      m_axis_tvalid <= 1'b0;
    end else begin
      if (enable) m_axis_tvalid <= step & is_window;
      if (step) begin
        x <= is_last_x ? {XB{1'b0}} : x + 1'b1;
        columns_left <= is_last_x ? FIRST_W[SXB-1:0] : columns_left == {SXB{1'b0}} ? AGAIN_W[SXB-1:0] :
                        columns_left - 1'b1;
        if (is_last_x) begin
          y <= is_last_y ? {YB{1'b0}} : y + 1'b1;
          rows_left <= is_last_y ? FIRST_H[SYB-1:0] : rows_left == {SYB{1'b0}} ? AGAIN_H[SYB-1:0] : rows_left - 1'b1;
        end
      end
    end
endmodule
