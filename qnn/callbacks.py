"""Callbacks: what becomes of the weights of every layer, epoch by epoch.

    monitor = qnn.callbacks.WeightMonitor("out/net-weights.jsonl")
    module.fit(..., epoch_end_callback=[monitor, mx.callback.do_checkpoint("out/net")])

A record an epoch: {"epoch": 3, "layers": [distribution and "flip_ratio" of each layer]}; see qnn/distributions.py.
"""
import json
import logging

import mxnet as mx
import numpy as np

from .distributions import weight_distributions
from .latent import quantized_weights
from .metrics import flip_ratio


class WeightMonitor:
    """Records the histogram of every layer's weight and bias, its saturation, and the share of its signs that flipped
    since the record before.

    path: a file that gets a line of JSON per record, appended; None keeps them in `records` alone. clip: limit of the
    weights. Weights that Q layers quantize, but that nobody clips, warn once: beyond the window of the straight-through
    estimator they get no gradient.
    """

    def __init__(self, path=None, clip=1.0, bins=80):
        self.path, self.clip, self.bins = path, clip, bins
        self.records = []
        self._before, self._warned = {}, False

    def __call__(self, epoch, symbol, arg_params, aux_params=None):
        """What Module.fit calls at the end of epoch `epoch` (from 0; records count from 1)."""
        self.record(epoch + 1, arg_params)
        if not self._warned:
            self._warn(symbol)

    def record(self, epoch, params):
        """Takes a record of {name: NDArray, numpy array or gluon Parameter}, and returns it."""
        weights = {name: _as_numpy(value) for name, value in params.items()}
        layers = weight_distributions(weights, self.clip, self.bins)
        for layer in layers:
            before, now = self._before.get(layer["name"]), weights[layer["name"]]
            layer["flip_ratio"] = None if before is None else flip_ratio(before, now)
            self._before[layer["name"]] = now.copy()
        self.records.append({"epoch": epoch, "layers": layers})
        if self.path is not None:
            with open(self.path, "a") as file:
                file.write(json.dumps(self.records[-1]) + "\n")
        return self.records[-1]

    def _warn(self, symbol):
        if symbol is None:
            return
        latent = set(quantized_weights(symbol))
        beyond = [layer["name"] for layer in self.records[-1]["layers"]
                  if layer["name"] in latent and max(-layer["min"], layer["max"]) > self.clip]
        if beyond:
            self._warned = True
            logging.getLogger(__name__).warning(
                "weights beyond %g: %s. No gradient passes there: clip them (optimizer latent)", self.clip,
                ", ".join(beyond))


def _as_numpy(value):
    if isinstance(value, mx.gluon.Parameter):
        value = value.data()
    return value.asnumpy() if isinstance(value, mx.nd.NDArray) else np.asarray(value)
