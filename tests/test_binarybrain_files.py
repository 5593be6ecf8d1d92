"""BinaryBrain's files: netlists in its three styles, test data for $readmemb; broken ones with their line."""
import numpy as np
import pytest
from lut_nets import random_network
from qnn.converter.logic.equivalence import bare
from qnn.converter.verilog.binarybrain import read_images, read_netlist, write_images
from qnn.converter.verilog.lut import generate

from qnn import backend_lut_network
from qnn.lut_network import LutNetwork
from qnn.reference_lut_network import pack_bits

TABLE = """wire [%(size)d-1:0] lut_%(k)d_table = %(size)d'b%(bits)s;
wire [%(n)d-1:0] lut_%(k)d_select = {
%(inputs)s};
wire lut_%(k)d_out = lut_%(k)d_table[lut_%(k)d_select];
"""
INSTANCE = """wire lut_%(k)d_out;
bb_lut
        #(
            .N(%(n)d),
            .INIT(%(size)d'b%(bits)s),
            .DEVICE(DEVICE)
        )
    i_lut_%(k)d
        (
            .in_data({
%(inputs)s
                    }),
            .out_data(lut_%(k)d_out)
        );
"""
LUT6 = """wire lut_%(k)d_out;
LUT6
        #(
            .INIT(%(size)d'b%(bits)s)
        )
    i_lut6_%(k)d
        (
            .O  (lut_%(k)d_out),
%(ports)s
        );
"""


def netlist(network, style, begin=0):
    """Text of a chain of layers, as BinaryBrain writes it."""
    units = network.num_inputs
    text = "`timescale 1ns / 1ps\n\nmodule Net (input wire [%d-1:0] in_data);\nendmodule\n" % units
    for number, layer in enumerate(network.layers):
        text += "\nmodule Net_sub%d\n        (\n            input  wire [%d:0]  in_data,\n" % (number, units - 1)
        text += "            output wire [%d:0]  out_data\n        );\n" % (len(layer) - 1)
        for k in range(len(layer)):
            n = int(layer.arities[k])
            inputs = [int(s) - begin for s in layer.connections[k][:n]]
            text += "\n// LUT : %d\n\n" % k + style % {
                "k": k, "n": n, "size": 1 << n, "bits": format(int(layer.tables[k]), "0%db" % (1 << n)),
                "inputs": ",\n".join("    in_data[%d]" % s for s in reversed(inputs)),
                "ports": ",\n".join("            .I%d (in_data[%d])" % item for item in enumerate(inputs))}
            text += "reg   lut_%d_ff;\nassign out_data[%d] = lut_%d_ff;\n" % (k, k, k)
        text += "endmodule\n"
        begin, units = begin + units, len(layer)
    return text


@pytest.mark.parametrize("style, n", [(TABLE, 6), (TABLE, 4), (INSTANCE, 6), (INSTANCE, 2), (LUT6, 6)])
def test_netlist_becomes_the_same_network(tmp_path, style, n):
    network = bare(random_network((30, 17, 8), 21, n=n))
    (tmp_path / "net.v").write_text(netlist(network, style))
    found = read_netlist(str(tmp_path / "net.v"))
    assert isinstance(found, LutNetwork) and found.num_nodes == 55
    bits = np.random.default_rng(0).integers(0, 2, (300, 21)).astype(bool)
    for got, wanted in zip(*(backend_lut_network.run(net, bits=pack_bits(bits)) for net in (found, network))):
        np.testing.assert_array_equal(got, wanted)
    generate(found, tmp_path / "again", interface="binarybrain", num_vectors=5)
    assert "out_valid" in (tmp_path / "again" / "lut_net.v").read_text()


@pytest.mark.parametrize("old, new, text", [
    ("lut_3_table = 64'b0", "lut_3_table = 64'b", "a table of 64 bits is declared, got 63 digits"),
    ("lut_3_table = 64'b", "lut_3_table = 64'b2", "line"), ("in_data[7]", "in_data[99]", "in_data\\[99\\] is read"),
    ("// LUT : 4\n", "// LUT : 3\n", "lut_3 is there twice"),
    ("output wire [16:0]", "output wire [18:0]", "has no node"),
    ("input  wire [29:0]", "input  wire [28:0]", "28|29 inputs"),
    ("wire [64-1:0] lut_2_table", "wire x", "has no table")])
def test_broken_netlist_is_named_with_its_line(tmp_path, old, new, text):
    good = netlist(bare(random_network((30, 17, 8), 21)), TABLE)
    if old.endswith("'b0"):
        at = good.index("lut_3_table = 64'b")
        broken = good[:at + 18] + good[at + 19:]
    else:
        assert old in good
        broken = good.replace(old, new, 1)
    (tmp_path / "net.v").write_text(broken)
    with pytest.raises(ValueError, match=text) as caught:
        read_netlist(str(tmp_path / "net.v"))
    assert "net.v: line " in str(caught.value)


def test_file_without_nodes(tmp_path):
    (tmp_path / "net.v").write_text("module m; endmodule\n")
    with pytest.raises(ValueError, match="no module with nodes"):
        read_netlist(str(tmp_path / "net.v"))


def test_images_round_trip(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2, (5, 20)).astype(bool)
    path = str(tmp_path / "test.txt")
    write_images(path, bits, np.array([0, 9, 3, 255, 1]))
    first = (tmp_path / "test.txt").read_text().splitlines()[0]
    assert first.startswith("00000000_") and first[-1] == str(int(bits[0, 0])) and len(first) == 29
    got, labels = read_images(path)
    np.testing.assert_array_equal(got, bits)
    np.testing.assert_array_equal(labels, [0, 9, 3, 255, 1])
    (tmp_path / "test.txt").write_text(first + "\n" + first[:-1] + "\n")
    with pytest.raises(ValueError, match="line 2"):
        read_images(path)
    with pytest.raises(ValueError, match="labels"):
        write_images(path, bits, np.full(5, 256))
