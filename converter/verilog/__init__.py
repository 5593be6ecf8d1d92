"""qnn.converter.verilog: a packed model becomes synthesizable Verilog that computes the same bits."""
