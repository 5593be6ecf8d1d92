"""Testbench: a self-checking Verilog testbench for any module with one AXI4-Stream input and output.

It sends the beats of a file and compares every beat that comes with another file, with random gaps and stalls, X on the
data of idle cycles, resets in the middle of the stream, and a look at tdata and tvalid while the sink stalls. The last
line it prints begins with PASS or FAIL.
"""

TEXT = """// Testbench of @TITLE@: compares every beat with the golden vectors, then prints PASS or FAIL.
// +images=N  +gap=PERCENT (idle source)  +stall=PERCENT (sink not ready)  +resets=N (in mid stream)  +seed=N
module @NAME@;
  localparam IN_BITS = @IN_BITS@;
  localparam OUT_BITS = @OUT_BITS@;
  localparam IN_BEATS = @IN_BEATS@;    // an image
  localparam OUT_BEATS = @OUT_BEATS@;  // an image
  localparam IMAGES = @IMAGES@;
  localparam PATIENCE = @PATIENCE@;  // cycles without any beat that count as a hang

  reg aclk = 1'b0;
  reg aresetn = 1'b0;
  always #5 aclk = ~aclk;

  reg [IN_BITS-1:0] inputs[0:IMAGES*IN_BEATS-1];
  reg [OUT_BITS-1:0] outputs[0:IMAGES*OUT_BEATS-1];
  reg [IN_BITS-1:0] s_axis_tdata;
  reg s_axis_tvalid = 1'b0;
  wire s_axis_tready;
  wire [OUT_BITS-1:0] m_axis_tdata;
  wire m_axis_tvalid;
  reg m_axis_tready = 1'b0;

  @MODULE@ dut (
      .aclk(aclk),
      .aresetn(aresetn),
      .s_axis_tdata(s_axis_tdata),
      .s_axis_tvalid(s_axis_tvalid),
      .s_axis_tready(s_axis_tready),
      .m_axis_tdata(m_axis_tdata),
      .m_axis_tvalid(m_axis_tvalid),
      .m_axis_tready(m_axis_tready)
  );

  integer images, gap, stall, resets, seed;
  integer sent = 0, received = 0, errors = 0, cycle = 0, idle = 0, quiet = 0;
  integer until_reset = 4, first_in = -1, first_out = 0, last_out = 0, draw;
  reg was_stalled = 1'b0;
  reg [OUT_BITS-1:0] held;

  initial begin
    $readmemh("@INPUTS@", inputs);
    $readmemh("@OUTPUTS@", outputs);
    if (!$value$plusargs("images=%d", images)) images = IMAGES;
    if (!$value$plusargs("gap=%d", gap)) gap = 0;
    if (!$value$plusargs("stall=%d", stall)) stall = 0;
    if (!$value$plusargs("resets=%d", resets)) resets = 0;
    if (!$value$plusargs("seed=%d", seed)) seed = 1;
    if (images > IMAGES) images = IMAGES;
  end

  task finish_with(input integer is_good);
    begin
      if (is_good != 0)
        $display("PASS images=%0d beats=%0d interval=%0d latency=%0d", images, received, images > 1 ?
                 (last_out - first_out) / (images - 1) : 0, first_out - first_in + 1);
      else $display("FAIL received=%0d errors=%0d", received, errors);
      $finish;
    end
  endtask

  always @(posedge aclk) begin
    cycle <= cycle + 1;
    if (until_reset > 0) until_reset <= until_reset - 1;
    if (until_reset == 1 && !aresetn) begin
      aresetn <= 1'b1;
      draw = $unsigned($random(seed)) % (2 * PATIENCE / 100 + IN_BEATS + OUT_BEATS);
      if (resets > 0) until_reset <= 2 + draw;
    end else if (until_reset == 1) begin
      aresetn <= 1'b0;
      resets = resets - 1;
      draw = $unsigned($random(seed)) % 3;
      until_reset <= 1 + draw;
    end

    // source
    if (!aresetn) begin
      s_axis_tvalid <= 1'b0;
      s_axis_tdata <= {IN_BITS{1'bx}};
      sent = 0;
      first_in = -1;
    end else begin
      if (s_axis_tvalid && s_axis_tready) begin
        sent = sent + 1;
        if (first_in < 0) first_in = cycle;
      end
      if (!s_axis_tvalid || s_axis_tready) begin
        draw = $unsigned($random(seed)) % 100;
        if (sent < images * IN_BEATS && draw >= gap) begin
          s_axis_tvalid <= 1'b1;
          s_axis_tdata  <= inputs[sent];
        end else begin
          s_axis_tvalid <= 1'b0;
          s_axis_tdata  <= {IN_BITS{1'bx}};
        end
      end
    end

    // sink
    draw = $unsigned($random(seed)) % 100;
    m_axis_tready <= draw >= stall;
    if (!aresetn) begin
      received = 0;
      idle = 0;
      quiet = 0;
    end else begin
      idle = (m_axis_tvalid && m_axis_tready) || (s_axis_tvalid && s_axis_tready) ? 0 : idle + 1;
      if (was_stalled && (m_axis_tvalid !== 1'b1 || m_axis_tdata !== held)) begin
        errors = errors + 1;
        if (errors <= 10) $display("beat %0d changed while the sink stalled", received);
      end
      if (m_axis_tvalid === 1'b1 && m_axis_tready) begin
        if (received >= images * OUT_BEATS) begin
          errors = errors + 1;
          if (errors <= 10) $display("a beat too much: %h", m_axis_tdata);
        end else if (m_axis_tdata !== outputs[received]) begin
          errors = errors + 1;
          if (errors <= 10)
            $display("image %0d, beat %0d: expected %h, got %h", received / OUT_BEATS, received % OUT_BEATS,
                     outputs[received], m_axis_tdata);
        end
        received = received + 1;
        if (received == OUT_BEATS) first_out = cycle;
        if (received == images * OUT_BEATS) last_out = cycle;
      end else if (m_axis_tvalid !== 1'b1 && m_axis_tvalid !== 1'b0) begin
        errors = errors + 1;
        if (errors <= 10) $display("m_axis_tvalid is unknown");
      end
      if (received >= images * OUT_BEATS) quiet = quiet + 1;
      if (until_reset == 0) begin
        if (quiet == 40) finish_with(errors == 0);
        if (idle > PATIENCE) begin
          $display("no beat for %0d cycles", idle);
          finish_with(0);
        end
        if (errors > 100) finish_with(0);
      end
    end
    was_stalled <= aresetn && m_axis_tvalid === 1'b1 && !m_axis_tready;
    held <= m_axis_tdata;
  end
endmodule
"""


def testbench(module, in_bits, out_bits, in_beats, out_beats, images, interval, name="qnn_tb", title=None,
              inputs="tb/inputs.mem", outputs="tb/outputs.mem"):
    """The text of a testbench. module: name and parameters of an instance; in_beats, out_beats: of an image; interval:
    cycles that the design may take for an image, from which a hang is told."""
    values = {"TITLE": title or module.split()[0], "NAME": name, "MODULE": module, "IN_BITS": in_bits,
              "OUT_BITS": out_bits, "IN_BEATS": in_beats, "OUT_BEATS": out_beats, "IMAGES": images,
              "PATIENCE": 20000 + 60 * interval, "INPUTS": inputs, "OUTPUTS": outputs}
    text = TEXT
    for key, value in values.items():
        text = text.replace("@%s@" % key, str(value))
    return text


def memory(words):
    """$readmemh text of (n, bits) bools, the low bit first in a row."""
    import numpy as np
    digits = -(-words.shape[1] // 4)
    padded = np.zeros((words.shape[0], 4 * digits), np.uint8)
    padded[:, :words.shape[1]] = words
    nibbles = (padded.reshape(len(words), digits, 4) * np.array([1, 2, 4, 8], np.uint8)).sum(-1)[:, ::-1]
    rows = np.frombuffer(b"0123456789abcdef", np.uint8)[nibbles]
    return "".join(row.tobytes().decode("ascii") + "\n" for row in rows)


def beats(codes, lanes, lane_bits):
    """(n, items) codes -> (n * ceil(items / lanes), lanes * lane_bits) bool: the beats of a stream."""
    import numpy as np

    from .structure import to_bits
    count = -(-codes.shape[1] // lanes)
    padded = np.zeros((len(codes), count * lanes), np.int64)
    padded[:, :codes.shape[1]] = codes
    return to_bits(padded, lane_bits).reshape(len(codes) * count, lanes * lane_bits)
