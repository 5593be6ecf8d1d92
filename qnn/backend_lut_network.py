"""Backend of LUT networks: bits, bytes or floats in, scores and classes out. See qnn_lut_run in native/include/qnn.h.

    scores, classes = run(network, bytes=images)         numpy computes the same without the native module
"""
import numpy as np

from . import backend, checks
from .bits import WORD_DTYPE, words_for
from .reference_lut_network import unpack_bits


def run(network, bits=None, bytes=None, floats=None, want=("scores", "classes")):
    """Evaluates samples, given as one of:

    bits: (N, frames * words) uint64 of pack_bits, frame by frame; bytes: (N, num_features) uint8; floats: the same in
    float32. Returns (scores (N, num_scores) int32, classes (N,) int32), None for what is not in `want`.
    """
    given = {name: x for name, x in (("bits", bits), ("bytes", bytes), ("floats", floats)) if x is not None}
    if len(given) != 1:
        raise ValueError("lut run: samples are one of bits, bytes and floats, got %s" % (sorted(given) or "none"))
    (kind, x), = given.items()
    x = checks.array("lut run", kind, x, {"bits": WORD_DTYPE, "bytes": np.uint8, "floats": np.float32}[kind], 2)
    width = network.num_frames * words_for(network.num_inputs) if kind == "bits" else network.num_features
    checks.expect("lut run", "columns of " + kind, x.shape[1], width)
    if kind != "bits" and network.encoder is None:
        raise ValueError("lut run: the network has no encoder; give bits")
    if not backend.is_native:
        return _numpy(network, kind, x, want)
    scores = backend._empty((len(x), network.num_scores), np.int32) if "scores" in want else None
    classes = backend._empty((len(x),), np.int32) if "classes" in want else None
    call(network, kind, x, scores, classes)()
    return scores, classes


def call(network, kind, x, scores, classes):
    """The call of the C function alone, on checked arrays."""
    structs, alive = _structs(network, kind, x)
    pointers = [_pointer(scores), _pointer(classes)]
    backend._check("lut run", backend.lib.qnn_lut_check(*structs))

    def run_native(alive=(alive, x, scores, classes)):
        backend._check("lut run", backend.lib.qnn_lut_run(*structs, len(x), *pointers))
    return run_native


def _pointer(x, kind="int32_t *"):
    return backend.ffi.NULL if x is None else backend.ffi.cast(kind, backend.ffi.from_buffer(x))


def _structs(network, kind, x):
    """(qnn_lut_network, qnn_lut_samples) and the arrays that they point to."""
    arrays, new = dict(network.arrays), backend.ffi.new
    types = {"uint8": "uint8_t *", "int32": "int32_t *", "uint64": "uint64_t *", "uint16": "uint16_t *",
             "float32": "float *"}
    net = {name: _pointer(array, types[str(array.dtype)]) for name, array in arrays.items() if array.size}
    net.update(num_inputs=network.num_inputs, num_nodes=network.num_nodes, num_outputs=len(network.outputs),
               num_scores=network.num_scores, num_frames=network.num_frames)
    fields = {kind: _pointer(x, types[str(x.dtype)])}
    if kind != "bits":
        encoder = network.encoder
        arrays.update(features=encoder.features, levels=encoder.levels, thresholds=encoder.thresholds)
        for name in ("features", "levels", "thresholds"):
            arrays[name] = np.ascontiguousarray(arrays[name])
            fields[name] = _pointer(arrays[name], types[str(arrays[name].dtype)])
        fields["num_features"] = encoder.num_features
    return (new("qnn_lut_network *", net), new("qnn_lut_samples *", fields)), arrays


def _numpy(network, kind, x, want):
    if kind == "bits":
        bits = unpack_bits(x.reshape(len(x), network.num_frames, -1), network.num_inputs)
    else:
        bits = network.encode(x)
    scores = network.reference_scores(bits)
    return (scores if "scores" in want else None,
            scores.argmax(1).astype(np.int32) if "classes" in want else None)
