"""Training: epochs of a Module that can be interrupted, and an honest choice among them.

    history = fit(symbol, train, validation, prefix="out/net", ...)      train, validation: (images, labels)

After every epoch these files are renamed into place together:

    PREFIX-symbol.json, PREFIX-EEEE.params      the epoch with the best validation accuracy so far (older ones go)
    PREFIX-last.params, PREFIX-last.states      the last epoch, with the state of the optimizer
    PREFIX.jsonl                                {"arguments": ...}, then a line per epoch

fit() called again with the same arguments goes on behind the last epoch, and ends in the same numbers as if it had not
been interrupted: order, augmentation and MXNet's random numbers are seeded by (seed, epoch).
"""
import json
import logging
import os
import pickle
import time

import mxnet as mx
import numpy as np

from .files import FileFormatError, dump_params, load_params, write_atomically
from .inference import Model
from .metrics import flip_ratio, saturation

SHOWN = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "images_per_second")


def exponential_decay(start, end, num_epochs):
    """Learning rate by epoch e = 0, 1, ...: start * (end/start)^(e / num_epochs), as BinaryNet has it."""
    return lambda epoch: start * (end / start) ** (epoch / num_epochs)


def step_decay(start, factor, epochs):
    """Learning rate by epoch: start, multiplied by `factor` from each of `epochs` on."""
    return lambda epoch: start * factor ** sum(step <= epoch for step in epochs)


def hold_out(images, labels, count):
    """((images, labels) to train with, the last `count` ones for validation). Raises ValueError."""
    if not 0 < count < len(images):
        raise ValueError("validation takes 1..%d of %d images, got %r" % (len(images) - 1, len(images), count))
    return (images[:-count], labels[:-count]), (images[-count:], labels[-count:])


def shift(pixels, share=None, mirror=False):
    """Augmentation of images (N, C, H, W), a function of (batch, RandomState): both axes are moved by -pixels..pixels,
    edges repeated; with `mirror`, half of the images are mirrored too. All offsets are equally likely; with `share`,
    that share of the images is moved along an axis, and the others stay. Raises ValueError."""
    if pixels < 1 or share is not None and not 0 <= share <= 1:
        raise ValueError("shift takes pixels from 1 on and a share of 0..1, got %r and %r" % (pixels, share))
    offsets = np.arange(2 * pixels + 1)
    likely = None if share is None else np.where(offsets == pixels, 1 - share, share / (2 * pixels))

    def augment(batch, random):
        padded = np.pad(batch, ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, batch.shape[2:], axis=(2, 3))
        y, x = random.choice(offsets, (2, len(batch)), p=likely)
        moved = windows[np.arange(len(batch)), :, y, x]
        if mirror:
            chosen = random.rand(len(batch)) < 0.5
            moved[chosen] = moved[chosen, :, :, ::-1]
        return moved
    return augment


def estimate_statistics(symbol, args, auxs, images, batch_size):
    """{name: array} of the auxiliary states with BatchNorm's moving statistics as they are after these images, by
    `symbol` in training mode and its momentum; parameters stay. Where training computes something else than inference,
    such as weights drawn by lot, its statistics are not those that inference needs: `symbol` has the weights of
    inference (deterministic_binary), and then the result has nothing of chance. Raises ValueError."""
    if len(images) < batch_size:
        raise ValueError("statistics take a batch of %d images or more, got %d" % (batch_size, len(images)))
    executor = symbol.simple_bind(mx.cpu(), grad_req="write", data=(batch_size,) + images.shape[1:])
    for arrays, params in ((executor.arg_dict, args), (executor.aux_dict, auxs)):
        for name, value in params.items():
            arrays[name][:] = value
    for begin in range(0, len(images) - batch_size + 1, batch_size):
        executor.forward(is_train=True, data=mx.nd.array(images[begin:begin + batch_size]))
        executor.backward()  # takes the statistics over
        mx.nd.waitall()  # which MXNet's engine does not know: the next batch could come in between
    return _numpy(executor.aux_dict)


def fit(symbol, train, validation, loss, learning_rate, num_epochs, batch_size, optimizer="adam", optimizer_params=(),
        initializer=None, seed=1, prefix=None, arguments=None, inference_symbol=None, statistics=0, augment=None,
        clip=1.0, progress=False):
    """Trains `symbol`; returns (rows, arg_params, aux_params): a dict per epoch, and the parameters, as numpy arrays,
    of the epoch with the best validation accuracy (of equal ones, the smaller loss).

    train, validation: (images, labels); a last batch that is not full is left out of training, others come in its place
    in the next epoch. loss: function of (scores, labels), for the log; gradients are the symbol's. learning_rate:
    function of the epoch from 0 on. inference_symbol: the network for validation and for the checkpoint, where
    training needs another one; same parameters; its statistics are estimated anew (estimate_statistics) with as many
    training images as `statistics` says, 0: they are those of training. augment: function of (batch, RandomState).
    arguments: a dict that a later run must repeat to go on. clip: limit of |w| for the shares in the log. Raises
    OSError, ValueError.
    """
    if not 0 < batch_size <= len(train[0]):
        raise ValueError("batch_size is 1..%d, got %r" % (len(train[0]), batch_size))
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
    inference_symbol = symbol if inference_symbol is None else inference_symbol
    state = _State(prefix, {**(arguments or {}), "seed": seed, "batch_size": batch_size, "num_epochs": num_epochs,
                            "images": len(train[0])})
    _seed(seed, 0)
    module = mx.mod.Module(symbol, label_names=[n for n in symbol.list_arguments() if n.endswith("label")])
    module.bind([("data", (batch_size,) + train[0].shape[1:])], [(module.label_names[0], (batch_size,))])
    module.init_params(initializer or mx.init.Xavier(magnitude=2.0), arg_params=_arrays(state.last[0]),
                       aux_params=_arrays(state.last[1]))
    module.init_optimizer(kvstore=None, optimizer=optimizer,
                          optimizer_params={"learning_rate": learning_rate(0), **dict(optimizer_params)})
    if state.optimizer is not None:
        state.restore(module._updater)
    for epoch in range(len(state.rows), num_epochs):
        _seed(seed, epoch)
        module._updater.optimizer.set_learning_rate(learning_rate(epoch))
        before = _numpy(module.get_params()[0])
        row = {"epoch": epoch + 1, "learning_rate": learning_rate(epoch)}
        row.update(_train_epoch(module, train, batch_size, loss, np.random.RandomState([seed, epoch]), augment,
                                "epoch %d/%d" % (epoch + 1, num_epochs) if progress else None))
        args, auxs = map(_numpy, module.get_params())
        if statistics:
            auxs = estimate_statistics(inference_symbol, args, auxs, train[0][:statistics], batch_size)
            module.set_params(_arrays(args), _arrays(auxs))  # what a run that goes on here begins with
        scores = Model(inference_symbol, args, auxs, labels=module.label_names).predict(validation[0], 250)
        row.update(validation_loss=loss(scores, validation[1]), validation_accuracy=_accuracy(scores, validation[1]))
        weights = [name for name in args if name.endswith("_weight")]
        row["saturation"] = {name: saturation(args[name], clip) for name in weights}
        row["flip_ratio"] = {name: flip_ratio(before[name], args[name]) for name in weights}
        if not np.isfinite(row["train_loss"]):
            raise ValueError("epoch %d: the loss is %r: use a smaller learning rate" % (epoch + 1, row["train_loss"]))
        state.take(row, inference_symbol, args, auxs, module._updater.get_states(dump_optimizer=True))
        logging.getLogger(__name__).info(
            "epoch %d/%d: loss %.4f, accuracy %.4f; validation: loss %.4f, accuracy %.4f; %.0f images/s", epoch + 1,
            num_epochs, *(row[key] for key in SHOWN))
    return (state.rows,) + state.best


def _seed(seed, epoch):
    mx.random.seed(seed * 100003 + epoch)
    np.random.seed(seed * 100003 + epoch)  # MXNet's initializers draw from it


def _numpy(params):
    return {name: value.asnumpy() for name, value in params.items()}


def _accuracy(scores, labels):
    return float((scores.argmax(axis=1) == labels).mean())


def _train_epoch(module, train, batch_size, loss, random, augment, title):
    images, labels = train
    order = random.permutation(len(images))
    begins = range(0, len(images) - batch_size + 1, batch_size)
    total, correct, start = 0.0, 0.0, time.perf_counter()
    for begin in _bar(begins, title):
        chosen = np.sort(order[begin:begin + batch_size])
        batch = images[chosen] if augment is None else augment(images[chosen], random)
        module.forward_backward(mx.io.DataBatch([mx.nd.array(batch)], [mx.nd.array(labels[chosen])]))
        module.update()
        scores = module.get_outputs()[0].asnumpy()
        total += loss(scores, labels[chosen])
        correct += _accuracy(scores, labels[chosen])
    seconds = time.perf_counter() - start
    return {"train_loss": total / len(begins), "train_accuracy": correct / len(begins), "seconds": round(seconds, 2),
            "images_per_second": round(len(begins) * batch_size / seconds, 1)}


def _bar(begins, title):
    if title is None:
        return begins
    from tqdm import tqdm
    return tqdm(begins, desc=title, unit="batch", leave=False)


def rank(row):
    """What the chosen epoch has most of: validation accuracy; of equal ones, the smaller loss."""
    return row["validation_accuracy"], -row["validation_loss"]


def best_epoch(rows):
    """The row of the epoch that validation chooses."""
    return max(rows, key=rank)


def read_log(path):
    """The rows of a PREFIX.jsonl. Raises OSError, FileFormatError."""
    return _read_log(path)[1]


def _read_log(path):
    with open(path) as file:
        try:
            first, *rows = [json.loads(line) for line in file]
            arguments = first["arguments"]
            if any(row["epoch"] != number for number, row in enumerate(rows, 1)):
                raise KeyError("epoch")
        except (ValueError, KeyError, TypeError, UnicodeDecodeError):
            raise FileFormatError("%s: not the log of a training" % path) from None
    return arguments, rows


class _State:
    """What a training has reached, and its files. rows: a dict per epoch; best, last: (args, auxs) in numpy; optimizer:
    bytes."""

    def __init__(self, prefix, arguments):
        self.prefix, self.arguments = prefix, json.loads(json.dumps(arguments))
        self.rows, self.best, self.last, self.optimizer = [], (None, None), (None, None), None
        if prefix is not None:
            os.makedirs(os.path.dirname(os.path.abspath(prefix)), exist_ok=True)
            if os.path.exists(prefix + ".jsonl"):
                self.read()

    def read(self):
        stored, self.rows = _read_log(self.prefix + ".jsonl")
        changed = sorted(key for key in {**stored, **self.arguments} if stored.get(key) != self.arguments.get(key))
        if changed:
            raise ValueError("%s.jsonl is of a training with %s; take the same arguments to go on, or another prefix"
                             % (self.prefix, ", ".join("%s=%r" % (key, stored.get(key)) for key in changed)))
        self.last = _split(load_params(self.prefix + "-last.params"))
        self.best = _split(load_params(self.path(best_epoch(self.rows))))
        with open(self.prefix + "-last.states", "rb") as file:
            self.optimizer = file.read()

    def restore(self, updater):
        """Gives `updater` its states and its optimizer back."""
        try:
            updater.set_states(self.optimizer)
        except (EOFError, pickle.UnpicklingError, AttributeError, ImportError, IndexError):
            raise FileFormatError("%s-last.states: not the state of an optimizer" % self.prefix) from None

    def path(self, row):
        return "%s-%04d.params" % (self.prefix, row["epoch"])

    def take(self, row, symbol, args, auxs, optimizer):
        """Takes an epoch over, and writes the files."""
        old = best_epoch(self.rows) if self.rows else None
        self.rows.append(row)
        is_best = best_epoch(self.rows) is row
        if is_best:
            self.best = args, auxs
        if self.prefix is None:
            return
        params = dump_params({**{"arg:" + name: array for name, array in args.items()},
                              **{"aux:" + name: array for name, array in auxs.items()}})
        log = "".join(json.dumps(line) + "\n" for line in [{"arguments": self.arguments}] + self.rows)
        files = {self.path(row): params, self.prefix + "-symbol.json": symbol.tojson().encode()} if is_best else {}
        write_atomically({**files, self.prefix + "-last.params": params, self.prefix + "-last.states": optimizer,
                          self.prefix + ".jsonl": log.encode()})
        if is_best and old is not None:
            os.unlink(self.path(old))


def _split(params):
    """(arguments, auxiliary states) of {"arg:name": array}."""
    return tuple({key[4:]: value for key, value in params.items() if key.startswith(kind)} for kind in ("arg:", "aux:"))


def _arrays(params):
    return params and {name: mx.nd.array(value, dtype=value.dtype) for name, value in params.items()}
