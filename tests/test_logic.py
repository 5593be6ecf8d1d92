"""Clean-up of LUT networks: every pass keeps all outputs, finds what it is for, and is compared in three ways."""
import shutil

import numpy as np
import pytest
from lut_nets import images, random_network
from qnn.converter.logic import check, clean, lower, prove
from qnn.converter.logic.clean import PASSES
from qnn.converter.logic.equivalence import bare, outputs
from qnn.converter.logic.lower import byte_bits, decode, outputs_of
from qnn.converter.logic.lower_encoder import encoder_network, lower_encoder
from qnn.converter.logic.netlist import Netlist
from qnn.converter.logic.tables import substitute

from qnn import backend_lut_network
from qnn.lut_network import Encoder, LutLayer, LutNetwork


def evaluate(netlist, bits):
    """Outputs of a netlist, (N, outputs)."""
    return outputs(netlist.to_network(LutNetwork(netlist.num_inputs, [])), bits)


def cleaned(num_inputs, functions, out):
    """Functions of the cleaned netlist, after a comparison on all inputs."""
    netlist = Netlist(num_inputs, functions, out)
    network = netlist.to_network(LutNetwork(num_inputs, []))
    smaller, _ = clean(network)
    bits = (np.arange(1 << num_inputs)[:, None] >> np.arange(num_inputs) & 1).astype(bool)
    np.testing.assert_array_equal(outputs(network, bits), outputs(smaller, bits))
    return Netlist.of(smaller).functions


@pytest.mark.parametrize("functions, out, expected", [  # inputs are 0, 1, 2; nodes 3, 4 ...
    pytest.param([((0, 1), 8), ((0, 1), 14)], [3], [((0, 1), 8)], id="dead"),
    pytest.param([((), 1), ((0, 1, 3), 0b10000000), ((0, 2), 6)], [4, 5], [((0, 1), 8), ((0, 2), 6)], id="constant"),
    pytest.param([((0, 1), 8), ((1, 0), 8), ((3, 4, 2), 0b10010110)], [5], [], id="duplicates, a ^ a ^ x = x"),
    pytest.param([((0, 1), 8), ((0, 1), 7), ((2, 4), 6)], [3, 5], [((0, 1), 8), ((2, 3), 9)], id="complement"),
    pytest.param([((0, 1, 2), 0b10101010)], [3], [], id="one input matters"),
    pytest.param([((0, 0, 1), 0b10000010)], [3], [((0, 1), 8)], id="f(x, x, y)"),
    pytest.param([((0, 1), 6), ((2, 3), 6)], [4], [((0, 1, 2), 0b10010110)], id="composed")])
def test_passes_find_what_they_are_for(functions, out, expected):
    assert sorted(cleaned(3, functions, out)) == sorted(expected)


def test_substitute_gives_one_normal_form():
    assert substitute((3, 1), 0b0010) == ((1, 3), 0b0100)
    assert substitute((0, 1), 8, {0: ((2, 3), 6), 1: ((), 1)}) == ((2, 3), 6)
    assert substitute((0, 1), 8, {0: ((2, 3, 4, 5), 0x8000), 1: ((6, 7, 8), 0x80)}) is None


@pytest.mark.parametrize("run", PASSES, ids=lambda run: run.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_every_pass_alone_keeps_all_outputs(run, seed):
    network = bare(random_network((50, 40, 30), 20, weak=True, seed=seed))
    netlist = Netlist.of(network)
    if run.__name__ != "drop_inputs":
        PASSES[0](netlist)
    run(netlist)
    bits = np.random.default_rng(seed).integers(0, 2, (2000, 20)).astype(bool)
    np.testing.assert_array_equal(evaluate(netlist, bits), outputs(network, bits))


@pytest.mark.parametrize("options", [{}, {"weak": True}, {"weak": True, "frames": 3}, {"classes": None, "weak": True},
                                     {"n": 4, "weak": True}, {"n": 2}])
def test_clean_keeps_scores(options):
    network = random_network((80, 50, 30), 40, **options)
    x = images(500, network)
    smaller, report = clean(network, samples=x)
    np.testing.assert_array_equal(backend_lut_network.run(smaller, bytes=x)[0],
                                  backend_lut_network.run(network, bytes=x)[0])
    assert report["nodes_after"] == smaller.num_nodes < network.num_nodes == report["nodes_before"]
    assert report["equivalence"]["is_equal"] and report["equivalence"]["samples"] == 500 * network.num_frames
    again, second = clean(smaller)
    assert again.num_nodes == smaller.num_nodes and not any(second["passes"].values())


def test_trained_like_tables_shrink_by_a_fifth():
    network = random_network((400, 200, 100, 60), 100, weak=True)
    assert clean(network)[1]["saving"] > 0.2


def test_a_changed_table_bit_is_found():
    network = random_network((30, 20), 12, with_encoder=False)
    layers = list(network.layers)
    tables = layers[1].tables.copy()
    tables[3] ^= np.uint64(1 << 17)
    other = LutNetwork(12, [layers[0], LutLayer(layers[1].connections, tables)], network.outputs)
    found = check(network, other)
    assert found["outputs_exhaustive"] == 20 and not found["is_equal"]


@pytest.mark.parametrize("has_changed", [False, True])
def test_sat_proof(has_changed):
    if shutil.which("yosys-abc") is None:
        pytest.skip("yosys-abc not found: apt install yosys")
    network = bare(random_network((60, 40, 20), 30, weak=True))
    smaller, _ = clean(network)
    if has_changed:
        smaller.layers[-1].tables[0] ^= np.uint64(1)
    assert prove(network, smaller) is not has_changed


@pytest.mark.parametrize("output", ["class", "scores", "bits"])
@pytest.mark.parametrize("with_encoder", [True, False])
@pytest.mark.parametrize("options", [{}, {"classes": 3}, {"classes": 1}, {"widths": (70,), "depth": 4}])
def test_lowered_network_gives_the_same(output, with_encoder, options):
    network = random_network(**options)
    logic, _ = lower(network, output, with_encoder, images(100, network))
    assert logic.groups is None and logic.encoder is None
    x = images(900, network, seed=5)
    bits = byte_bits(x) if with_encoder else network.encode(x)[:, 0]
    scores, classes = backend_lut_network.run(network, bytes=x)
    got = outputs_of(logic, bits)
    if output == "class":
        np.testing.assert_array_equal(decode(got), classes)
    elif output == "scores":
        np.testing.assert_array_equal(decode(got.reshape(len(x), network.num_scores, -1)), scores)
    else:
        groups = np.eye(network.num_scores, dtype=int)[network.groups]
        np.testing.assert_array_equal(got @ groups, scores)


@pytest.mark.parametrize("level", [0, 1, 2, 3, 64, 96, 127, 128, 129, 200, 254, 255, 256])
def test_lowered_comparison_of_all_bytes(level):
    functions, (signal,) = lower_encoder([level], [0])
    functions = [(tuple(s if s >= 0 else 7 - s for s in inputs), table) for inputs, table in functions]
    netlist = Netlist(8, functions, [7 - signal])
    values = np.arange(256)
    bits = (values[:, None] >> np.arange(8) & 1).astype(bool)
    np.testing.assert_array_equal(evaluate(netlist, bits)[:, 0], values >= level)
    assert len(functions) <= 2


@pytest.mark.parametrize("frames", [1, 2, 3, 15, 31, 70])
def test_lowered_encoder_of_all_bytes_and_frames(frames):
    """Levels of 0 (always) and 256 (never), levels that two bits share, and frames whose number takes more than six
    digits."""
    random = np.random.RandomState(frames)
    thresholds = random.uniform(-0.1, 1.1, (frames, 5)).astype(np.float32)
    thresholds[:, 3] = thresholds[:, 0]
    encoder = Encoder(3, [0, 2, 1, 1, 0], thresholds)
    network, _ = clean(encoder_network(encoder))
    digits = (frames - 1).bit_length()
    images = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    images[:, 1:] = random.permutation(images[:, 1:])
    for frame in range(frames):
        number = np.tile(frame >> np.arange(digits) & 1, (256, 1)).astype(bool)
        found = outputs(network, np.concatenate([byte_bits(images), number], axis=1))
        np.testing.assert_array_equal(found, images[:, encoder.features] >= encoder.levels[frame])


def test_lowered_encoder_takes_four_nodes_a_bit():
    """And at most one for each digit of the levels, which all bits share."""
    network, _ = clean(encoder_network(Encoder.uniform(20, 15)))
    assert network.num_nodes <= 4 * 20 + 8


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7, 20, 61])
def test_lowered_count(count):
    from qnn.converter.logic.lower_head import Builder
    netlist = Netlist(count, [], [])
    netlist.outputs = Builder(netlist).count(list(range(count)))
    bits = np.random.default_rng(0).integers(0, 2, (500, count)).astype(bool)
    bits[0] = True
    np.testing.assert_array_equal(decode(evaluate(netlist, bits)), bits.sum(1))


def test_frames_cannot_be_lowered_at_once():
    with pytest.raises(ValueError, match="3 frames"):
        lower(random_network(frames=3))
