"""LUT networks as files and in MXNet's executor; errors of their arrays."""
import numpy as np
import pytest
from lut_nets import images, random_network

import qnn
from qnn import backend
from qnn.files import load_params
from qnn.inference import Model
from qnn.lut_network import Encoder, LutLayer, LutNetwork

needs_native = pytest.mark.skipif(not backend.is_native, reason="qnn._native is not built")


def same(a, b):
    assert a.num_inputs == b.num_inputs and a.num_frames == b.num_frames and len(a.layers) == len(b.layers)
    for name, array in a.arrays.items():
        np.testing.assert_array_equal(array, b.arrays[name], name)


@pytest.mark.parametrize("options", [{}, {"frames": 3}, {"classes": None}, {"with_encoder": False}, {"n": 4}])
def test_save_and_load(tmp_path, options):
    network = random_network(**options)
    paths = network.save(str(tmp_path / "net"), 7)
    assert [path.rsplit("/")[-1] for path in paths] == ["net-symbol.json", "net-0007.params"]
    again = LutNetwork.load(str(tmp_path / "net"), 7)
    same(network, again)
    assert (again.groups is None) == (network.groups is None) and (again.encoder is None) == (network.encoder is None)
    if network.encoder:
        np.testing.assert_array_equal(again.encoder.thresholds, network.encoder.thresholds)
        assert again.encoder.unit == network.encoder.unit
    again.save(str(tmp_path / "again"), 7)
    assert (tmp_path / "again-0007.params").read_bytes() == (tmp_path / "net-0007.params").read_bytes()


@needs_native
@pytest.mark.parametrize("options", [{}, {"frames": 3}, {"classes": None}])
def test_mxnet_runs_it_with_the_same_scores(tmp_path, options):
    network = random_network(**options)
    network.save(str(tmp_path / "net"))
    model = qnn.load(str(tmp_path / "net"), 0)
    assert isinstance(model, qnn.LutModel) and model.is_packed
    x = images(70, network).reshape(70, 1, 8, 5)
    numbers = x.astype(np.float32) / np.float32(255)
    expected = network.reference_scores(network.encode(x))
    np.testing.assert_array_equal(Model.predict(model, numbers), expected)
    np.testing.assert_array_equal(model.predict(numbers), expected)
    np.testing.assert_array_equal(model.predict(x), expected)
    np.testing.assert_array_equal(model.classes(x), expected.argmax(1))
    with pytest.raises(ValueError, match="40"):
        model.predict(numbers[:, :, :7])
    with pytest.raises(ValueError, match="needs 40 features a sample"):
        Model.predict(model, numbers[:, :, :7])


@needs_native
def test_without_encoder_bits_are_numbers_above_a_half(tmp_path):
    network = random_network(with_encoder=False)
    network.save(str(tmp_path / "net"))
    model = qnn.load(str(tmp_path / "net"), 0)
    bits = np.random.default_rng(0).integers(0, 2, (30, 40)).astype(bool)
    expected = network.reference_scores(bits[:, None])
    for numbers in (bits.astype(np.float32), np.where(bits, 1, -1).astype(np.float32)):
        np.testing.assert_array_equal(model.predict(numbers), expected)
        np.testing.assert_array_equal(Model.predict(model, numbers), expected)


@pytest.mark.parametrize("name, change, text", [
    ("lut_tables", lambda x: x.astype(np.int32), "lut_tables' is int32"),
    ("lut_connections", lambda x: x + 1000, "reads signal"),
    ("lut_connections", lambda x: x - 5, "connection is a signal"),
    ("lut_outputs", lambda x: x + 10 ** 6, "outputs are signals"),
    ("lut_starts", lambda x: x[::-1], "do not rise"), ("lut_starts", lambda x: x[:1], "do not rise"),
    ("lut_thresholds", lambda x: x[:, :-1], "Encoder"), ("lut_tables", lambda x: x[:-1], "are not the")])
def test_broken_parameters_are_named(tmp_path, name, change, text):
    from qnn.files import dump_params
    network = random_network()
    _, path = network.save(str(tmp_path / "net"))
    params = load_params(path)
    params["arg:" + name] = np.ascontiguousarray(change(params["arg:" + name]))
    with open(path, "wb") as file:
        file.write(dump_params(params))
    with pytest.raises(ValueError, match=text) as caught:
        LutNetwork.load(str(tmp_path / "net"))
    assert path in str(caught.value)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(OSError):
        LutNetwork.load(str(tmp_path / "none"))
    (tmp_path / "x-symbol.json").write_text("{}")
    with pytest.raises(ValueError, match="x-symbol.json"):
        LutNetwork.load(str(tmp_path / "x"))


@pytest.mark.parametrize("make, text", [
    (lambda: LutLayer(np.zeros((2, 7), int), np.zeros(2, int)), "n = 0..6"),
    (lambda: LutLayer(np.zeros((2, 6)), np.zeros(2, int)), "integers"),
    (lambda: LutLayer(np.zeros((2, 3), int), np.zeros(3, int)), "one uint64 per node"),
    (lambda: LutLayer(np.array([[-1, 3]]), np.zeros(1, int)), "behind the last input"),
    (lambda: LutNetwork(3, [LutLayer([[3]], [1])]), "layer 0 reads signal 3"),
    (lambda: LutNetwork.chain(3, [([[2]], [1]), ([[1]], [1])]), "layer 1 reads output 1 of the 1"),
    (lambda: LutNetwork(0, []), "above 0"), (lambda: LutNetwork(2, [], outputs=[2]), "outputs are signals 0..1"),
    (lambda: LutNetwork(2, [], groups=[0]), "groups name the score"),
    (lambda: LutNetwork(2, [], groups=[0, 3], num_scores=3), "groups are 0..2"),
    (lambda: LutNetwork(2, [], encoder=Encoder.uniform(3)), "makes 3 bits"),
    (lambda: Encoder(2, [0, 2], [0, 0]), "features are 0..1"), (lambda: Encoder(2, [0], [0, 0]), "thresholds"),
    (lambda: Encoder(1, [0], [np.nan]), "thresholds are numbers"),
    (lambda: LutNetwork(2, []).encode(np.zeros((1, 2))), "no encoder"),
    (lambda: LutNetwork(2, []).save("net"), "without nodes")])
def test_wrong_arguments_are_named(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_unreachable_table_bits_are_cleared():
    layer = LutLayer(np.array([[0, 1, -1]]), np.array([0xFFF6], np.uint64))
    assert layer.tables[0] == 6 and layer.arities[0] == 2


def test_summary_counts_nodes():
    text = random_network(frames=3).summary()
    assert "40 bits in 3 frames" in text and "90 nodes" in text and "LUT6 60" in text and "10 classes" in text


def test_uniform_thermometer():
    encoder = Encoder.uniform(2, num_frames=2, bits=2)
    np.testing.assert_allclose(encoder.thresholds, [[0.125, 0.125, 0.625, 0.625], [0.375, 0.375, 0.875, 0.875]])
    np.testing.assert_array_equal(encoder.features, [0, 1, 0, 1])
