"""LUT testbench: golden vectors and a module that checks itself: prints PASS or FAIL, and the cycles it took.

+gap=P: percent of cycles without a sample; +stall=P: percent of cycles in which no result is taken; +seed=S;
+count=N: the first N samples only. Input data
are X while they are not valid.
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
    return """`timescale 1ns / 1ps
module tb;
  localparam COUNT = %(count)d;
  reg  [%(in_top)d:0] inputs[0:COUNT-1];
  reg  [%(out_top)d:0] expected[0:COUNT-1];
  reg  clk = 1'b0, resetn = 1'b0, valid = 1'b0, ready = 1'b0;
  wire accepted, found, last;
  wire [%(out_top)d:0] result;
  integer sent = 0, received = 0, errors = 0, cycles = 0, gap = 0, stall = 0, seed = 1, count = COUNT;
  reg  held = 1'b0;
  reg  [%(out_top)d:0] held_result;

  always #5 clk = !clk;

  %(name)s dut (
      .aclk(clk),
      .aresetn(resetn),
      .s_axis_tdata(valid ? inputs[sent] : {%(in_bits)d{1'bx}}),
      .s_axis_tvalid(valid),
      .s_axis_tready(accepted),
      .s_axis_tlast(valid ? sent %% 7 == 6 || sent == count - 1 : 1'bx),
      .m_axis_tdata(result),
      .m_axis_tvalid(found),
      .m_axis_tready(ready),
      .m_axis_tlast(last)
  );

  initial begin
    $readmemh("inputs.mem", inputs);
    $readmemh("expected.mem", expected);
    if (!$value$plusargs("gap=%%d", gap)) gap = 0;
    if (!$value$plusargs("stall=%%d", stall)) stall = 0;
    if (!$value$plusargs("seed=%%d", seed)) seed = 1;
    if (!$value$plusargs("count=%%d", count) || count > COUNT) count = COUNT;
    repeat (4) @(negedge clk);
    resetn = 1'b1;
  end

  wire [31:0] next = sent + (valid && accepted ? 1 : 0);

  always @(posedge clk)
    if (resetn) begin
      cycles <= cycles + 1;
      ready <= $unsigned($random(seed)) %% 100 >= stall;
      sent <= next;
      if (!valid || accepted) valid <= next < count && $unsigned($random(seed)) %% 100 >= gap;
      if (held && (!found || result !== held_result)) begin
        errors = errors + 1;
        $display("a result that waited has changed at cycle %%0d", cycles);
      end
      held <= found && !ready;
      held_result <= result;
      if (found && ready) begin
        if (result !== expected[received] || last !== (received %% 7 == 6 || received == count - 1)) begin
          errors = errors + 1;
          if (errors < 10) $display("sample %%0d: got %%h, expected %%h", received, result, expected[received]);
        end
        received <= received + 1;
        if (received == count - 1) begin
          $display("%%0s: %%0d samples, %%0d errors, %%0d cycles", errors == 0 ? "PASS" : "FAIL", count, errors,
                   cycles + 1);
          $finish;
        end
      end
      if (cycles > 200 * %(frames)d * count + 1000) begin
        $display("FAIL: after %%0d cycles %%0d of %%0d results", cycles, received, count);
        $finish;
      end
    end
endmodule
""" % {"name": name, "in_top": in_bits - 1, "in_bits": in_bits, "out_top": out_bits - 1, "count": count,
       "frames": num_frames}


def binarybrain_testbench(name, in_bits, out_bits, count, num_frames=1):
    """Text of tb.v for BinaryBrain's ports: the number of a sample travels as user data."""
    return """`timescale 1ns / 1ps
module tb;
  localparam COUNT = %(count)d;
  reg  [%(in_top)d:0] inputs[0:COUNT-1];
  reg  [%(out_top)d:0] expected[0:COUNT-1];
  reg  clk = 1'b0, reset = 1'b1, cke = 1'b0, valid = 1'b0;
  wire found;
  wire [31:0] number;
  wire [%(out_top)d:0] result;
  integer sent = 0, received = 0, errors = 0, cycles = 0, gap = 0, stall = 0, seed = 1, count = COUNT;

  always #5 clk = !clk;

  %(name)s #(
      .USER_WIDTH(32)
  ) dut (
      .reset(reset),
      .clk(clk),
      .cke(cke),
      .in_user(valid ? sent : {32{1'bx}}),
      .in_data(valid ? inputs[sent] : {%(in_bits)d{1'bx}}),
      .in_valid(valid),
      .out_user(number),
      .out_data(result),
      .out_valid(found)
  );

  initial begin
    $readmemh("inputs.mem", inputs);
    $readmemh("expected.mem", expected);
    if (!$value$plusargs("gap=%%d", gap)) gap = 0;
    if (!$value$plusargs("stall=%%d", stall)) stall = 0;
    if (!$value$plusargs("seed=%%d", seed)) seed = 1;
    if (!$value$plusargs("count=%%d", count) || count > COUNT) count = COUNT;
    repeat (4) @(negedge clk);
    reset = 1'b0;
  end

  always @(posedge clk)
    if (!reset) begin
      cycles <= cycles + 1;
      cke <= $unsigned($random(seed)) %% 100 >= stall;
      if (cke) begin
        sent <= sent + (valid ? 1 : 0);
        valid <= sent + (valid ? 1 : 0) < count && $unsigned($random(seed)) %% 100 >= gap;
        if (found) begin
          if (number !== received || result !== expected[received]) begin
            errors = errors + 1;
            if (errors < 10) $display("sample %%0d: got %%h, expected %%h", received, result, expected[received]);
          end
          received <= received + 1;
          if (received == count - 1) begin
            $display("%%0s: %%0d samples, %%0d errors, %%0d cycles", errors == 0 ? "PASS" : "FAIL", count, errors,
                   cycles + 1);
            $finish;
          end
        end
      end
      if (cycles > 200 * %(frames)d * count + 1000) begin
        $display("FAIL: after %%0d cycles %%0d of %%0d results", cycles, received, count);
        $finish;
      end
    end
endmodule
""" % {"name": name, "in_top": in_bits - 1, "in_bits": in_bits, "out_top": out_bits - 1, "count": count,
       "frames": num_frames}
