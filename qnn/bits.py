"""Bits: the one statement of bit order, word size and panel layout, shared by numpy, C (native/include/qnn.h) and
Verilog.

    bit = 1 <=> +1, bit = 0 <=> -1         q(x) = -1 if x < 0 else +1   (so 0, -0.0 and NaN give +1)
    bit j of word i = element 64*i + j     (the first element is the lowest bit; words are little-endian uint64)
    dot(a, w) = K - 2*popcount(a xor w)    (pad bits behind element K are 0 in both operands and count nothing)

Rows of words (one filter, `k_words` words) are stored in *panels* of 16 filters, interleaved word by word, so that one
SIMD register holds one word of several filters and nothing is repacked at run time:

    panels[p][k][i] = rows[16*p + panel_order(n)[i]][k]      n = filters in panel p: 16, fewer in the last one

Even filters come first, then odd ones: two registers of 64-bit counts then merge into consecutive 32-bit ones with one
shuffle. A short last panel is stored short: panels hold exactly as many words as rows do.
"""
import numpy as np

WORD_BITS = 64
WORD_DTYPE = np.dtype("<u8")
PANEL_FILTERS = 16
MAX_K = 1 << 24  # float32 counts exactly up to here; every accumulator of a 1-bit layer is an exact float32


def words_for(num_bits):
    """Number of 64-bit words that hold `num_bits` bits.

    >>> words_for(64), words_for(65)
    (1, 2)
    """
    return -(-num_bits // WORD_BITS)


def panel_order(num_filters):
    """Order of the filters inside a panel of `num_filters` <= 16: even ones, then odd ones.

    >>> panel_order(5)
    [0, 2, 4, 1, 3]
    """
    return list(range(0, num_filters, 2)) + list(range(1, num_filters, 2))


def _panel_slices(num_filters):
    for start in range(0, num_filters, PANEL_FILTERS):
        yield start, min(PANEL_FILTERS, num_filters - start)


def rows_to_panels(rows, num_group=1):
    """Interleaves rows of words into panels.

    rows: (num_filter, k_words) uint64; the filters of each of `num_group` groups form panels of their own.
    Returns (num_filter * k_words,) uint64.

    >>> rows_to_panels(np.arange(6, dtype=np.uint64).reshape(3, 2))
    array([0, 4, 2, 1, 5, 3], dtype=uint64)
    """
    rows = np.ascontiguousarray(rows, WORD_DTYPE)
    panels = [group[start:start + n][panel_order(n)].T.ravel()
              for group in np.split(rows, num_group) for start, n in _panel_slices(len(group))]
    return np.concatenate(panels)


def panels_to_rows(panels, num_filter, num_group=1):
    """Inverse of `rows_to_panels`: (num_filter * k_words,) uint64 -> (num_filter, k_words) uint64."""
    panels = np.ascontiguousarray(panels, WORD_DTYPE).ravel()
    k_words = panels.size // num_filter
    rows = np.empty((num_filter, k_words), WORD_DTYPE)
    filters_per_group, at = num_filter // num_group, 0
    for group in range(num_group):
        for start, n in _panel_slices(filters_per_group):
            block = panels[at:at + n * k_words].reshape(k_words, n).T
            rows[group * filters_per_group + start + np.array(panel_order(n))] = block
            at += n * k_words
    return rows
