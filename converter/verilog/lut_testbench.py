"""LUT testbench: golden vectors and a module that checks itself. Its last line begins with PASS or FAIL.

    PASS images=N beats=N interval=I latency=L     cycles from result to result, and from the first sample to its result

+gap=P: percent of cycles without a sample; +stall=P: percent of cycles in which no result is taken; +resets=R: so many
resets, behind each of which the samples begin anew; +seed=S; +images=N: the first N samples only. Input data are X
while they are not valid.
"""
import numpy as np


def vectors(bits):
    """Lines for $readmemh: (N, width) bool, bit 0 the lowest, -> text, a row a line."""
    width = bits.shape[1]
    padded = np.zeros((len(bits), -(-width // 8) * 8), bool)
    padded[:, :width] = bits
    rows = np.packbits(padded, axis=1, bitorder="little")[:, ::-1]
    digits = -(-width // 4)
    return "".join("%s\n" % row.tobytes().hex()[-digits:] for row in rows)


def axi_testbench(name, in_bits, out_bits, count, num_frames=1):
    """Text of tb.v for the AXI4-Stream module."""
    return _testbench(AXI_PORTS, AXI_STEP, "resetn", "1'b1", "1'b0", name, in_bits, out_bits, count, num_frames)


def binarybrain_testbench(name, in_bits, out_bits, count, num_frames=1):
    """Text of tb.v for BinaryBrain's ports: the number of a sample travels as user data."""
    return _testbench(BB_PORTS, BB_STEP, "reset", "1'b0", "1'b1", name, in_bits, out_bits, count, num_frames)


def _testbench(ports, step, reset, run, halt, name, in_bits, out_bits, count, num_frames):
    values = {"NAME": name, "IN_BITS": in_bits, "OUT_BITS": out_bits, "COUNT": count, "PATIENCE": 200 * num_frames,
              "RESET": reset, "RUN": run, "HALT": halt}
    text = TEXT.replace("@PORTS@", ports).replace("@STEP@", step)
    for key, value in values.items():
        text = text.replace("@%s@" % key, str(value))
    return text


TEXT = """`timescale 1ns / 1ps
module tb;
  localparam COUNT = @COUNT@;
  reg  [@IN_BITS@-1:0] inputs[0:COUNT-1];
  reg  [@OUT_BITS@-1:0] expected[0:COUNT-1];
  reg  clk = 1'b0, @RESET@ = @HALT@, valid = 1'b0, ready = 1'b0;
  wire found;
  wire [@OUT_BITS@-1:0] result;
  integer sent = 0, received = 0, errors = 0, cycles = 0, first_in = 0, first_out = 0;
  integer gap, stall, resets, seed, images;

  always #5 clk = !clk;

@PORTS@
  initial begin
    $readmemh("inputs.mem", inputs);
    $readmemh("expected.mem", expected);
    if (!$value$plusargs("gap=%d", gap)) gap = 0;
    if (!$value$plusargs("stall=%d", stall)) stall = 0;
    if (!$value$plusargs("resets=%d", resets)) resets = 0;
    if (!$value$plusargs("seed=%d", seed)) seed = 1;
    if (!$value$plusargs("images=%d", images) || images > COUNT) images = COUNT;
    repeat (4) @(negedge clk);
    @RESET@ = @RUN@;
    while (resets > 0) begin
      repeat (1 + $unsigned($random(seed)) % 50) @(negedge clk);
      @RESET@ = @HALT@;
      repeat (4) @(negedge clk);
      @RESET@ = @RUN@;
      resets = resets - 1;
    end
  end

  task check(input is_equal);
    begin
      if (!is_equal) begin
        errors = errors + 1;
        if (errors < 10) $display("sample %0d: got %h, expected %h", received, result, expected[received]);
      end
      if (received == 0) first_out = cycles;
      if (received == images - 1 && resets == 0) begin
        if (errors == 0)
          $display("PASS images=%0d beats=%0d interval=%0d latency=%0d", images, images, images > 1 ?
                   (cycles - first_out) / (images - 1) : 0, first_out - first_in);
        else $display("FAIL images=%0d errors=%0d", images, errors);
        $finish;
      end
      received <= received + 1;
    end
  endtask

  always @(posedge clk)
    if (@RESET@ == @HALT@) begin
      sent <= 0;
      received <= 0;
      cycles <= 0;
      valid <= 1'b0;
      ready <= 1'b0;
      held <= 1'b0;
    end else begin
      cycles <= cycles + 1;
      ready <= $unsigned($random(seed)) % 100 >= stall;
@STEP@
      if (cycles > @PATIENCE@ * images + 1000) begin
        $display("FAIL after %0d cycles, %0d of %0d results", cycles, received, images);
        $finish;
      end
    end
endmodule
"""

AXI_PORTS = """  reg  held = 1'b0;
  reg  [@OUT_BITS@-1:0] held_result;
  wire accepted, last;

  @NAME@ dut (
      .aclk(clk),
      .aresetn(resetn),
      .s_axis_tdata(valid ? inputs[sent] : {@IN_BITS@{1'bx}}),
      .s_axis_tvalid(valid),
      .s_axis_tready(accepted),
      .s_axis_tlast(valid ? sent % 7 == 6 || sent == images - 1 : 1'bx),
      .m_axis_tdata(result),
      .m_axis_tvalid(found),
      .m_axis_tready(ready),
      .m_axis_tlast(last)
  );

  wire [31:0] next = sent + (valid && accepted ? 1 : 0);
"""

AXI_STEP = """      if (valid && accepted && sent == 0) first_in <= cycles;
      sent <= next;
      if (!valid || accepted) valid <= next < images && $unsigned($random(seed)) % 100 >= gap;
      if (held && (!found || result !== held_result)) begin
        errors = errors + 1;
        $display("a result that waited has changed at cycle %0d", cycles);
      end
      held <= found && !ready;
      held_result <= result;
      if (found && ready)
        check(result === expected[received] && last === (received % 7 == 6 || received == images - 1));
"""

BB_PORTS = """  reg  held;  // of results that wait, which these ports do not know
  wire [31:0] number;

  @NAME@ #(
      .USER_WIDTH(32)
  ) dut (
      .reset(reset),
      .clk(clk),
      .cke(ready),
      .in_user(valid ? sent : {32{1'bx}}),
      .in_data(valid ? inputs[sent] : {@IN_BITS@{1'bx}}),
      .in_valid(valid),
      .out_user(number),
      .out_data(result),
      .out_valid(found)
  );

  wire [31:0] next = sent + (valid ? 1 : 0);
"""

BB_STEP = """      if (ready) begin
        if (valid && sent == 0) first_in <= cycles;
        sent <= next;
        valid <= next < images && $unsigned($random(seed)) % 100 >= gap;
        if (found) check(number === received && result === expected[received]);
      end
"""
