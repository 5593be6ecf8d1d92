"""Peers: what users would pick instead, one function each: peer(case, num_threads) -> {name: call}, empty where it has
nothing for the case. ImportError, with what to install, where its package is missing.

    mxnet         the float layer or network of the case by MXNet's executor (oneDNN)
    onnxruntime   the same by ONNX Runtime, in float32 and, as "onnxruntime-int8", quantized
    openblas      cblas_sgemm of the matrix product inside the case, nothing else of it (cblas_sgemv for one column)
    naive         that product by three plain loops of C
"""
import ctypes
import os
import re

import numpy as np

from . import roofline
from .executors import executor_call

ROW_MAJOR, NO_TRANSPOSE = 101, 111


def mxnet(case, num_threads):
    """The twin of the case in an executor. num_threads is that of OMP_NUM_THREADS, which MXNet reads when it starts."""
    return {"mxnet": executor_call(case.twin)} if case.twin else {}


def onnxruntime(case, num_threads):
    """The twin of the case in two sessions: float32, and int8 with weights per channel."""
    from . import onnx_twin
    if case.twin is None or case.twin.is_training:
        return {}
    return onnx_twin.sessions(case.twin, num_threads)


def openblas(case, num_threads):
    """The matrix product of the case."""
    if not case.product:
        return {}
    blas = Openblas.find()
    blas.function("openblas_set_num_threads")(num_threads)
    return {"openblas": blas.sgemm(*_matrices(case))}


def naive(case, num_threads):
    """The matrix product of the case, on one thread."""
    call = roofline.naive_sgemm(*_matrices(case)) if case.product and num_threads == 1 else None
    return {"naive": call} if call else {}


PEERS = {"mxnet": mxnet, "onnxruntime": onnxruntime, "openblas": openblas, "naive": naive}


def get(name):
    """The peer called `name`; ValueError lists the known ones."""
    if name not in PEERS:
        raise ValueError('unknown peer "%s"; known: %s' % (name, ", ".join(sorted(PEERS))))
    return PEERS[name]


def _matrices(case):
    m, n, k = case.product
    random = np.random.default_rng(0)
    return random.standard_normal((m, k), np.float32), random.standard_normal((k, n), np.float32)


class Openblas:
    """One of the OpenBLAS libraries that this process has loaded: MXNet brings one, numpy's wheels another."""

    def __init__(self, path):
        self.path, self.library = path, ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
        self.suffix = next(s for s in ("", "64_") if hasattr(self.library, "openblas_get_config" + s))
        self.integer = ctypes.c_int64 if self.suffix else ctypes.c_int
        self.config = self._text("openblas_get_config")
        self.core = self._text("openblas_get_corename")

    @classmethod
    def find(cls, maps="/proc/self/maps"):
        """The library with kernels for AVX-512 if there is one, MXNet's else: no peer is measured below its best."""
        with open(maps) as file:
            paths = {line.split(None, 5)[5].strip() for line in file if re.search(r"/libopenblas[^/]*\.so", line)}
        found = [cls(path) for path in sorted(paths, key=lambda path: ("/mxnet/" not in path, path))]
        if not found:
            raise ImportError("no OpenBLAS is loaded: the wheels of MXNet and numpy bring one")
        return max(found, key=lambda blas: blas.core.lower() in ("skylakex", "cooperlake", "sapphirerapids", "zen4"))

    def function(self, name):
        return getattr(self.library, name + self.suffix)

    def _text(self, name):
        function = self.function(name)
        function.restype = ctypes.c_char_p
        return function().decode()

    @property
    def version(self):
        """Version, kernels, and whose copy: '0.3.20 SkylakeX (numpy.libs)'."""
        number = re.search(r"OpenBLAS (\S+)", self.config)
        folder = os.path.basename(os.path.dirname(self.path))
        return "%s %s (%s)" % (number.group(1) if number else "?", self.core, folder)

    def sgemm(self, a, b):
        """Call of cblas_sgemm for (M, K) x (K, N), or cblas_sgemv for N = 1; returns the product."""
        (m, k), n = a.shape, b.shape[1]
        c = np.empty((m, n), np.float32)
        integer, one, zero = self.integer, ctypes.c_float(1), ctypes.c_float(0)
        pointers = [ctypes.c_void_p(x.ctypes.data) for x in (a, b, c)]
        if n == 1:
            function = self.function("cblas_sgemv")
            arguments = (ROW_MAJOR, NO_TRANSPOSE, integer(m), integer(k), one, pointers[0], integer(k), pointers[1],
                         integer(1), zero, pointers[2], integer(1))
        else:
            function = self.function("cblas_sgemm")
            arguments = (ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, integer(m), integer(n), integer(k), one, pointers[0],
                         integer(k), pointers[1], integer(n), zero, pointers[2], integer(n))
        function.restype = None

        def call(alive=(a, b)):
            function(*arguments)
            return c
        return call
