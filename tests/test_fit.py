"""qnn.training.fit: what it writes, that interruptions change nothing, and that validation chooses the epoch."""
import json

import mxnet as mx
import numpy as np
import pytest

import qnn
from qnn import losses
from qnn.training import best_epoch, estimate_statistics, exponential_decay, fit, hold_out, read_log, shift, step_decay


def network(dropout=0.3, quantizer="stochastic_binary"):
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=24, name="fc1")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn1")
    net = mx.sym.Dropout(net, p=dropout) if dropout else net
    net = qnn.sym.QFullyConnected(net, num_hidden=16, weight_quantizer=quantizer, no_offset=True, name="fc2")
    net = mx.sym.FullyConnected(mx.sym.BatchNorm(net, fix_gamma=False, name="bn2"), num_hidden=3, name="fc3")
    return losses.SquaredHingeOutput(net, num_classes=3, name="softmax")


def split(seed=0):
    random = np.random.RandomState(seed)
    labels = random.randint(0, 3, 130)
    images = (random.randn(130, 8) * 0.7 + np.eye(3, 8)[labels]).astype(np.float32)
    return hold_out(images, labels, 40)


def train(prefix, num_epochs=6, **options):
    train, validation = split()
    arguments = dict(loss=losses.squared_hinge, learning_rate=exponential_decay(0.02, 0.001, 6), num_epochs=num_epochs,
                     batch_size=20, optimizer="latent", initializer=mx.init.Uniform(0.7),
                     inference_symbol=network(0, "deterministic_binary"),
                     augment=lambda batch, random: batch + random.randn(*batch.shape) * 0.1)
    return fit(network(), train, validation, prefix=prefix, **{**arguments, **options})


class Interruption(Exception):
    pass


def interrupt_in(epoch, batch):
    """A loss that stops a run in the middle of its so-manieth epoch."""
    calls = [0]

    def loss(scores, labels):
        calls[0] += 1
        if calls[0] == (epoch - 1) * 5 + batch:  # 4 batches and the validation
            raise Interruption
        return losses.squared_hinge(scores, labels)
    return loss


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def without_times(rows):
    return [{key: value for key, value in row.items() if key not in ("seconds", "images_per_second")} for row in rows]


@pytest.mark.parametrize("statistics", [0, 60])
def test_interrupted_training_ends_in_the_same_numbers(tmp_path, statistics):
    whole = train(str(tmp_path / "whole"), statistics=statistics)
    for epoch, batch in ((1, 3), (3, 1), (2, 4)):
        with pytest.raises(Interruption):
            train(str(tmp_path / "parts"), loss=interrupt_in(epoch, batch), statistics=statistics)
    parts = train(str(tmp_path / "parts"), statistics=statistics)
    assert without_times(whole[0]) == without_times(parts[0])
    for first, second in zip(whole[1:], parts[1:]):
        assert first.keys() == second.keys()
        for name, value in first.items():
            np.testing.assert_array_equal(value, second[name], name)
    again = train(str(tmp_path / "parts"), statistics=statistics)
    assert again[0] == parts[0]  # nothing was trained: the times are those of before


def test_files(tmp_path):
    rows, args, auxs = train(str(tmp_path / "deep" / "net"), arguments={"flag": True})
    chosen = best_epoch(rows)
    assert set(files(tmp_path / "deep")) == {"net.jsonl", "net-symbol.json", "net-%04d.params" % chosen["epoch"],
                                             "net-last.params", "net-last.states"}
    first, *rest = (tmp_path / "deep" / "net.jsonl").read_text().splitlines()
    assert json.loads(first)["arguments"]["flag"] is True and [json.loads(line) for line in rest] == rows
    assert read_log(str(tmp_path / "deep" / "net.jsonl")) == rows
    model = qnn.load(str(tmp_path / "deep" / "net"), chosen["epoch"])
    _, (images, labels) = split()
    assert np.mean(model.classes(images) == labels) == chosen["validation_accuracy"] > 0.6
    for name, value in {**args, **auxs}.items():
        np.testing.assert_array_equal(model.params[name], value)
    assert "Dropout_dropout" not in model.symbol.tojson() and 0 < rows[-1]["flip_ratio"]["fc2_weight"] < 1
    assert rows[0]["saturation"].keys() == {"fc1_weight", "fc2_weight", "fc3_weight"}


def test_the_chosen_epoch_is_the_best_on_validation():
    rows = [{"epoch": i, "validation_accuracy": accuracy, "validation_loss": loss}
            for i, (accuracy, loss) in enumerate([(0.8, 0.1), (0.9, 0.5), (0.9, 0.4), (0.9, 0.4), (0.7, 0.0)], 1)]
    assert best_epoch(rows)["epoch"] == 3


def test_other_arguments_are_refused(tmp_path):
    train(str(tmp_path / "net"), num_epochs=2, arguments={"flag": True})
    before = files(tmp_path)
    with pytest.raises(ValueError, match="net.jsonl is of a training with flag=True, num_epochs=2; take the same"):
        train(str(tmp_path / "net"), num_epochs=3, arguments={"flag": False})
    assert files(tmp_path) == before


@pytest.mark.parametrize("name, content, sentence", [
    ("net.jsonl", b'{"argu', "net.jsonl: not the log of a training"),
    ("net-last.params", b"", "net-last.params: not a parameter file"),
    ("net-last.states", b"", "net-last.states: not the state of an optimizer")])
def test_damaged_files_are_named(tmp_path, name, content, sentence):
    train(str(tmp_path / "net"), num_epochs=1)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        train(str(tmp_path / "net"), num_epochs=1)


def test_without_prefix_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows, args, _ = train(None, num_epochs=2)
    assert len(rows) == 2 and isinstance(args["fc1_weight"], np.ndarray) and not files(tmp_path)


def test_divergence_is_an_error():
    with pytest.raises(ValueError, match="epoch 1: the loss is (nan|inf): use a smaller learning rate"):
        train(None, optimizer="sgd", learning_rate=lambda epoch: 1e30)


@pytest.mark.parametrize("options, sentence", [(dict(batch_size=91), "batch_size is 1..90, got 91"),
                                               (dict(batch_size=0), "batch_size is 1..90, got 0")])
def test_refuses(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        train(None, **options)
    with pytest.raises(ValueError, match="validation takes 1..2 of 3 images, got 3"):
        hold_out(np.zeros((3, 1)), np.zeros(3), 3)


def test_decays():
    assert [exponential_decay(1.0, 0.01, 4)(epoch) for epoch in (0, 2, 4)] == pytest.approx([1, 0.1, 0.01])
    assert [step_decay(1.0, 0.1, (2, 3))(epoch) for epoch in range(4)] == pytest.approx([1, 1, 0.1, 0.01])


@pytest.mark.parametrize("mirror, share, count", [(True, None, 18), (False, None, 9), (False, 0.5, 9), (False, 0.0, 1)])
def test_shift(mirror, share, count):
    """Every result is one of those that can be, and all of them occur."""
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")
    possible = {padded[:, y:y + 3, x:x + 4][:, :, ::step].tobytes() for y in range(3) for x in range(3)
                for step in (1, -1)}
    batch = shift(1, share, mirror)(np.repeat(image[None], 500, axis=0), np.random.RandomState(0))
    found = {one.tobytes() for one in batch}
    assert batch.shape == (500, 1, 3, 4) and batch.dtype == np.float32 and found <= possible and len(found) == count
    stayed = np.mean([one.tobytes() == image.tobytes() for one in batch])
    expected = (1 / 3 if share is None else 1 - share) ** 2 / (2 if mirror else 1)
    assert abs(stayed - expected) < 0.08


def test_shift_refuses():
    with pytest.raises(ValueError, match="pixels from 1 on and a share of 0..1, got 0 and None"):
        shift(0)
    with pytest.raises(ValueError, match="got 1 and 1.5"):
        shift(1, 1.5)


def test_statistics_of_signs_of_stochastic_weights():
    """Weights of 0.2 are 1 in six of ten draws, and their sums hardly move with the data; their signs always are 1."""
    def net(quantizer):
        net = qnn.sym.QFullyConnected(mx.sym.Variable("data"), num_hidden=4, act_bit=32, weight_quantizer=quantizer,
                                      no_offset=True, name="fc")
        return mx.sym.make_loss(mx.sym.BatchNorm(net, fix_gamma=False, name="bn"))
    images = np.random.RandomState(0).randn(400, 50).astype(np.float32) + 1
    args = {"fc_weight": np.full((4, 50), 0.2, np.float32), "bn_gamma": np.ones(4, np.float32),
            "bn_beta": np.zeros(4, np.float32)}
    begin = {"bn_moving_mean": np.zeros(4, np.float32), "bn_moving_var": np.ones(4, np.float32)}
    found = {name: estimate_statistics(net(name), args, begin, np.tile(images, (5, 1)), 40)
             for name in ("stochastic_binary", "deterministic_binary")}
    sums = images.sum(axis=1)
    np.testing.assert_allclose(found["deterministic_binary"]["bn_moving_mean"], sums.mean(), rtol=0.05)
    np.testing.assert_allclose(found["deterministic_binary"]["bn_moving_var"], sums.var(), rtol=0.2)
    assert found["stochastic_binary"]["bn_moving_mean"].max() < 0.5 * sums.mean()
    with pytest.raises(ValueError, match="a batch of 40 images or more, got 39"):
        estimate_statistics(net("sign"), args, begin, images[:39], 40)
