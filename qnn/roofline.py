"""Roofline: what this machine reaches at most, by loops in C of the instruction set in use.

    popcount loop:    xor + popcount + add between registers  ->  binary multiply-accumulates (MACs) per second
    popcount stream:  the same, every word read from memory once  ->  bound of a fully connected layer at batch 1
"""
import numpy as np

from . import backend
from .bits import WORD_BITS, WORD_DTYPE

ITERATIONS = 64  # of 4096 words each: some 10 us


def popcount_loop():
    """(call, binary MACs of a call), or None where the kernels are numpy's."""
    if not backend.is_native:
        return None
    words = backend.lib.qnn_popcount_loop(1)
    return lambda: backend.lib.qnn_popcount_loop(ITERATIONS), ITERATIONS * words * WORD_BITS


def popcount_stream(num_bytes):
    """Call that reads num_bytes of memory once, in lines of 512 bytes; None where the kernels are numpy's."""
    if not backend.is_native:
        return None
    words = backend._empty((-(-num_bytes // 512) * 64,), WORD_DTYPE)
    words[:] = np.random.RandomState(0).randint(0, 2 ** 32, words.size)
    return lambda: backend._check("popcount_stream", backend.lib.qnn_popcount_stream(backend._words(words), words.size))


def naive_sgemm(a, b):
    """Call that multiplies (M, K) by (K, N) float32 in three plain loops of C; None where the kernels are numpy's."""
    if not backend.is_native:
        return None
    c = np.empty((a.shape[0], b.shape[1]), np.float32)

    def call():
        backend._check("naive_sgemm", backend.lib.qnn_naive_sgemm(
            backend._floats(a), backend._floats(b), *c.shape, a.shape[1], backend._floats(c)))
        return c
    return call
