"""Inference: runs a checkpoint, float (latent weights) or packed, on numpy arrays.

    model = qnn.load("lenet", 10)                  lenet-symbol.json, lenet-0010.params
    scores = model.predict(images)                 (N, 1, 28, 28) float32 -> (N, 10) float32
    digits = model.classes(images)                 argmax of the scores
"""
import mxnet as mx
import numpy as np

from . import checkpoint
from .errors import first_sentence
from .graph import Graph
from .recompose import recompose

PACKED = ("_qnn_packed_", "_qnn_bits_", "_qnn_float_", "_qnn_lut_network")
EXECUTORS = 4  # bound batch shapes that a Model keeps


def load(prefix, epoch, ctx=None):
    """Reads PREFIX-symbol.json and PREFIX-EEEE.params and returns a Model; of a LUT network, a LutModel. Layers are
    composed as they are on this machine (recompose.py).

    Raises OSError, or ValueError naming the file and the operator or parameter that is wrong.
    """
    from .lut_files import OPERATOR
    from .lut_model import LutModel
    symbol, *rest = checkpoint.read(prefix, epoch)
    operators = [node.op for node in Graph.from_json(symbol.tojson()).nodes()]
    kind = LutModel if operators.count(OPERATOR) == 1 else Model
    return kind(recompose(symbol), *rest, source=checkpoint.paths(prefix, epoch)[1], ctx=ctx)


class Model:
    """A network and its parameters: symbol, arg_params, aux_params (numpy), data (the input's name), labels (names)."""

    def __init__(self, symbol, arg_params, aux_params, data="data", labels=(), source="the parameters", ctx=None):
        self.symbol, self.arg_params, self.aux_params = symbol, dict(arg_params), dict(aux_params)
        self.data, self.labels, self.source = data, list(labels), source
        self.ctx = ctx or mx.cpu()
        self._executors = {}

    @property
    def params(self):
        """All parameters by name."""
        return {**self.arg_params, **self.aux_params}

    @property
    def is_packed(self):
        """True if layers run on packed bits."""
        return any(op.startswith(PACKED) for op in self.operators())

    def operators(self):
        """Operators of the network by first use, without variables."""
        nodes = Graph.from_json(self.symbol.tojson()).nodes()
        return list(dict.fromkeys(node.op for node in nodes if not node.is_variable))

    def output_shape(self, shape):
        """Shape of the first output for data of `shape`. Raises ValueError if data or a parameter does not fit."""
        try:
            args, outputs, auxs = self.symbol.infer_shape_partial(**{self.data: tuple(shape)})
        except mx.MXNetError as error:
            raise ValueError("data of shape %s does not fit the network: %s"
                             % (tuple(shape), first_sentence(error))) from None
        params = self.params
        names = self.symbol.list_arguments() + self.symbol.list_auxiliary_states()
        for name, expected in zip(names, (args or []) + (auxs or [])):
            if name in params and tuple(expected) != params[name].shape:
                raise ValueError("%s: parameter '%s' has shape %s, expected %s for data of shape %s" % (
                    self.source, name, params[name].shape, tuple(expected), tuple(shape)))
        if not outputs or not outputs[0] or 0 in outputs[0] or outputs[0][0] != shape[0]:
            raise ValueError("data of shape %s gives a first output of shape %s, which has no row per sample"
                             % (tuple(shape), tuple(outputs[0]) if outputs else "unknown"))
        return tuple(outputs[0])

    def bind(self, shape):
        """The MXNet executor for data of `shape`, without gradients; bound at the first call for that shape."""
        shape = tuple(shape)
        if shape in self._executors:
            return self._executors[shape]
        self.output_shape(shape)
        types = {name: array.dtype for name, array in self.params.items()}
        try:
            executor = self.symbol.simple_bind(self.ctx, grad_req="null", type_dict={**types, self.data: np.float32},
                                               **{self.data: shape})
        except (mx.MXNetError, RuntimeError) as error:
            raise ValueError("the network cannot be bound to data of shape %s: %s"
                             % (shape, first_sentence(error))) from None
        for arrays, params in ((executor.arg_dict, self.arg_params), (executor.aux_dict, self.aux_params)):
            for name, array in params.items():
                arrays[name][:] = mx.nd.array(array, ctx=self.ctx, dtype=array.dtype)
        while len(self._executors) >= EXECUTORS:
            del self._executors[next(iter(self._executors))]
        self._executors[shape] = executor
        return executor

    def predict(self, data, batch_size=64, progress=False):
        """First output of the network, as numpy, for any number of samples.

        data: (N, ...) of float32, float64 or integers, taken as float32; NaN passes through. float16 is an error: the
        network would see other values than those it was trained on. progress: a bar on stderr.
        """
        data = as_samples(data)
        if batch_size < 1:
            raise ValueError("predict: batch_size is a number above 0, got %r" % (batch_size,))
        if not len(data):
            return np.zeros((0,) + self.output_shape((1,) + data.shape[1:])[1:], np.float32)
        outputs = [self._forward(data[begin:begin + batch_size])
                   for begin in _steps(range(0, len(data), batch_size), progress)]
        return np.concatenate(outputs)

    def _forward(self, batch):
        executor = self.bind(batch.shape)
        try:
            executor.arg_dict[self.data][:] = batch
            return executor.forward(is_train=False)[0].asnumpy()
        except mx.MXNetError as error:
            raise ValueError("the network fails on data of shape %s: %s"
                             % (batch.shape, first_sentence(error))) from None

    def classes(self, data, batch_size=64, progress=False):
        """Index of the largest score of every sample: (N,) int64."""
        return self.predict(data, batch_size, progress).argmax(axis=1)


def as_samples(data):
    """Data as float32 with a row per sample. Raises ValueError for scalars, float16, and what is no number."""
    data = np.asarray(data)
    if data.dtype == np.float16 or data.dtype.kind not in "fiub":
        raise ValueError("predict: data is float32 (float64 and integers are converted), got %s%s" % (
            data.dtype, "; convert it with .astype('float32')" if data.dtype == np.float16 else ""))
    if data.ndim < 2 or 0 in data.shape[1:]:
        raise ValueError("predict: data has a row per sample, (N, ...), got shape %s" % (data.shape,))
    return np.ascontiguousarray(data, np.float32)


def _steps(begins, progress):
    if not progress:
        return begins
    from tqdm import tqdm
    return tqdm(begins, unit="batch", desc="predict")
