"""Weights: parameter files that hold 1-bit weights as bits, 1/32 of a checkpoint.

    bits:NAME    uint8: signs of the latent weights, flat, 8 to a byte, first in the lowest bit, 1 = +1
    arg:, aux:   float32, as in any checkpoint

Only what every layer takes the sign of becomes bits, so that the network computes the same numbers; latent magnitudes
are lost, and training goes on from -1 and +1.
"""
import numpy as np

from qnn.files import FileFormatError, load_params
from qnn.graph import Graph, entrances


def pack(symbol, arg_params, aux_params):
    """{name in the file: array} of a trained symbol."""
    signs = sign_weights(symbol)
    packed = {}
    for name, value in arg_params.items():
        if name in signs:
            packed["bits:" + name] = np.packbits(~(value.ravel() < 0), bitorder="little")
        else:
            packed["arg:" + name] = value
    return {**packed, **{"aux:" + name: value for name, value in aux_params.items()}}


def unpack(path, symbol, data_shape):
    """(arg_params, aux_params) in numpy, of the file at `path` for `symbol` with data of `data_shape`, (C, H, W).

    Raises OSError, FileFormatError naming the file and the parameter that is missing, unknown or of another size.
    """
    stored = load_params(path)
    shapes, _, aux_shapes = symbol.infer_shape(data=(1,) + tuple(data_shape))
    found: dict = {"arg": {}, "aux": {}}
    for kind, names, sizes in (("arg", symbol.list_arguments(), shapes),
                               ("aux", symbol.list_auxiliary_states(), aux_shapes)):
        for name, shape in zip(names, sizes):
            if name == "data" or name.endswith("label"):
                continue
            array = stored.pop("bits:" + name, None) if kind == "arg" else None
            if array is None:
                array = stored.pop("%s:%s" % (kind, name), None)
                if array is None:
                    raise FileFormatError("%s: parameter %s is missing" % (path, name))
            else:
                array = _signs(path, name, array, int(np.prod(shape))).reshape(shape)
            if array.shape != tuple(shape):
                raise FileFormatError("%s: parameter %s has shape %s, expected %s" % (path, name, array.shape, shape))
            found[kind][name] = array
    if stored:
        raise FileFormatError("%s: parameter %s is none of the network's" % (path, sorted(stored)[0]))
    return found["arg"], found["aux"]


def sign_weights(symbol):
    """Names of the variables that nothing reads but layers that take their signs, without scales."""
    graph = Graph.from_json(symbol.tojson())
    layers = [node for node in graph.nodes() if node.attrs.get("__qnn_weight_quantizer__", "").split("(")[0] == "sign"]
    signs = {entrances(node)["weight"] for node in layers if node.attrs["__qnn_scaling__"] == "none"}
    readers = graph.consumers()
    weights = {entrance.inputs[0][0] for entrance in signs if "weight" == entrance.attrs["__qnn_input__"]}
    return {weight.name for weight in weights
            if weight.is_variable and all(reader in signs for reader, _ in readers[weight])}


def _signs(path, name, packed, count):
    if packed.dtype != np.uint8 or packed.shape != (-(-count // 8),):
        raise FileFormatError("%s: bits of %s are %s uint8, got %s %s" % (
            path, name, (-(-count // 8),), packed.shape, packed.dtype))
    bits = np.unpackbits(packed, count=count, bitorder="little")
    return np.where(bits, np.float32(1), np.float32(-1))
