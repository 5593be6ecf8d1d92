"""The packed runtime against numpy: every instruction set, awkward sizes, all kinds of input."""
import numpy as np
import pytest
from lut_nets import images, random_network

from qnn import backend, backend_lut_network
from qnn.lut_network import Encoder, LutLayer, LutNetwork
from qnn.reference_lut_network import lut_signals, pack_bits, unpack_bits


def check(network, x):
    encoded = network.encode(x)
    expected = network.reference_scores(encoded)
    bits = np.concatenate([pack_bits(encoded[:, f]) for f in range(network.num_frames)], axis=1)
    for given in ({"bits": bits}, {"bytes": x}, {"floats": x.astype(np.float32) / np.float32(255)}):
        scores, classes = backend_lut_network.run(network, **given)
        np.testing.assert_array_equal(scores, expected, str(list(given)))
        np.testing.assert_array_equal(classes, expected.argmax(1), str(list(given)))


def test_node_reads_its_table_lowest_input_first():
    bits = np.arange(8)[:, None] >> np.arange(3) & 1
    connections, tables = np.array([[0, 1, 2], [2, -1, -1]]), np.array([0b10010110, 1], np.uint64)
    signals = lut_signals(bits.astype(bool), [(connections, tables)])
    np.testing.assert_array_equal(signals[:, 3], bits.sum(1) % 2)
    np.testing.assert_array_equal(signals[:, 4], bits[:, 2] == 0)


@pytest.mark.parametrize("samples", [1, 63, 64, 65, 127, 257, 511, 512, 513, 1031])
def test_sizes_of_batches(isa, samples):
    network = random_network()
    check(network, images(samples, network))


@pytest.mark.parametrize("inputs", [6, 15, 16, 17, 63, 64, 65, 131])
def test_sizes_of_inputs(isa, inputs):
    network = random_network((23, 11), inputs)
    check(network, images(70, network))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_every_number_of_inputs(isa, n):
    network = random_network((40, 17), 30, n=n)
    check(network, images(130, network))


def test_mixed_arities_earlier_signals_and_constants(isa):
    connections = np.array([[0, 1, 2, 3, 4, 5], [6, -1, -1, -1, -1, -1], [-1] * 6, [3, 2, 1, -1, -1, -1]])
    first = LutLayer(connections, np.array([2 ** 63 + 12345, 1, 1, 0b01100101], np.uint64))
    second = LutLayer(np.array([[7, 0, 10, 9], [8, 9, 1, -1]]), np.array([0b1011001110001111, 0b10010111], np.uint64))
    network = LutNetwork(7, [first, second], outputs=np.array([11, 0, 12, 12, 9]), groups=np.array([2, 0, 0, 1, 2]),
                         encoder=Encoder.uniform(7))
    check(network, images(300, network))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 7, 8, 63, 300])
def test_counts_of_ones(isa, count):
    rng = np.random.default_rng(count)
    bits = rng.integers(0, 2, (200, count)).astype(bool)
    bits[0], bits[1] = True, False
    network = LutNetwork(count, [], outputs=np.arange(count), groups=np.zeros(count, int))
    scores, _ = backend_lut_network.run(network, bits=pack_bits(bits))
    np.testing.assert_array_equal(scores[:, 0], bits.sum(1))


def test_frames_are_summed(isa):
    network = random_network((30, 20), 24, frames=5)
    check(network, images(140, network))


def test_first_largest_wins_and_empty_class_counts_nothing(isa):
    network = LutNetwork(4, [], outputs=np.arange(4), groups=np.array([1, 1, 3, 3]), num_scores=5)
    bits = np.array([[0, 0, 0, 0], [1, 0, 0, 1], [0, 1, 1, 1], [1, 1, 1, 1]], bool)
    scores, classes = backend_lut_network.run(network, bits=pack_bits(bits))
    np.testing.assert_array_equal(scores, [[0, 0, 0, 0, 0], [0, 1, 0, 1, 0], [0, 1, 0, 2, 0], [0, 2, 0, 2, 0]])
    np.testing.assert_array_equal(classes, [0, 1, 3, 1])


def test_levels_of_bytes_are_the_thresholds_exactly(isa):
    values = np.arange(256, dtype=np.float32) / np.float32(255)
    thresholds = np.concatenate([values, np.nextafter(values, np.float32(-1)), [-1, 2, np.inf, -np.inf]])
    network = LutNetwork(len(thresholds), [], encoder=Encoder(1, np.zeros(len(thresholds), int), thresholds))
    x = np.arange(256, dtype=np.uint8)[:, None]
    check(network, x)
    np.testing.assert_array_equal(network.encode(x), network.encode(x.astype(np.float32) / np.float32(255)))


def test_nan_and_infinities(isa):
    network = LutNetwork(2, [], encoder=Encoder(2, [0, 1], [0.0, 0.0]))
    x = np.array([[np.nan, -0.0], [np.inf, -np.inf], [1e-45, 0.0]], np.float32)
    np.testing.assert_array_equal(backend_lut_network.run(network, floats=x)[0], [[0, 0], [1, 0], [1, 0]])


def test_threads_give_the_same(isa):
    network = random_network((300, 200), 100)
    x, before = images(5000, network), backend.threads()
    backend.set_threads(3)
    try:
        check(network, x)
    finally:
        backend.set_threads(before)


def test_numpy_computes_the_same(monkeypatch):
    network = random_network((12, 7), 9, frames=2)
    x = images(20, network)
    expected = backend_lut_network.run(network, bytes=x)
    monkeypatch.setattr(backend, "is_native", False)
    for got, wanted in zip(backend_lut_network.run(network, bytes=x), expected):
        np.testing.assert_array_equal(got, wanted)


def test_pack_bits_round_trip():
    bits = np.random.default_rng(0).integers(0, 2, (5, 131)).astype(bool)
    np.testing.assert_array_equal(unpack_bits(pack_bits(bits), 131), bits)
    assert int(pack_bits(bits)[0, 0]) & 1 == int(bits[0, 0])


@pytest.mark.parametrize("given, text", [
    ({}, "one of bits"), ({"bytes": np.zeros((3, 39), np.uint8)}, "columns of bytes must be 40, got 39"),
    ({"floats": np.zeros((3, 40))}, "must be float32"), ({"bits": np.zeros((3, 2), np.uint64)}, "must be 1, got 2"),
    ({"bytes": np.zeros((0, 40), np.uint8)}, "is empty")])
def test_wrong_samples_are_named(given, text):
    with pytest.raises((ValueError, TypeError), match=text):
        backend_lut_network.run(random_network(), **given)


@pytest.mark.skipif(not backend.is_native, reason="qnn._native is not built")
@pytest.mark.parametrize("field, value", [("connections", 10 ** 6), ("arities", 7), ("outputs", -1), ("starts", 31)])
def test_c_refuses_indices_out_of_range(field, value):
    network = random_network()
    network.arrays[field].flat[-1] = value
    with pytest.raises(ValueError, match="QNN_BAD_SHAPE"):
        backend_lut_network.run(network, bytes=images(3, network))
