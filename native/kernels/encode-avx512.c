/* encode-avx512.c: floats to codes by thresholds, 16 compares to a mask at a time.
 *
 * Up to 4 bits compare with every threshold. Where t thresholds are reached, these are the first t ones, so that bit i
 * of t is the parity of those reached among the thresholds 2^i, 2 2^i, 3 2^i, ... More bits take a binary search. */
#include <immintrin.h>

#include "../internal.h"
#include "encode-runs.h"

/* qnn_rank of 16 floats. */
static inline __m512i ranks(__m512i bits, __m512i turn) {
  const __m512i sign = _mm512_srai_epi32(bits, 31);
  const __m512i key = _mm512_ternarylogic_epi32(bits, sign, _mm512_set1_epi32(0x7FFFFFFF), 0x78);  /* bits ^ (. & .) */
  return _mm512_sub_epi32(_mm512_xor_si512(key, turn), _mm512_set1_epi32((int32_t)0x807FFFFFu));
}

/* Bits of 16 codes for each plane. Constants where these are called: num_planes of compare, is_shared (one channel for
 * all lanes). */
static inline __attribute__((always_inline)) void compare(const size_t num_planes, const bool is_shared, __m512i rank,
                                                          __mmask16 lanes, const uint32_t *limit, size_t stride,
                                                          __mmask16 *bits) {
  for (size_t t = 1; t < (size_t)1 << num_planes; ++t, limit += stride) {
    const __m512i least = is_shared ? _mm512_set1_epi32((int32_t)*limit) : _mm512_maskz_loadu_epi32(lanes, limit);
    const __mmask16 is_above = _mm512_cmpge_epu32_mask(rank, least);
#pragma GCC unroll 4
    for (size_t i = 0; i < num_planes; ++i)
      if (t % ((size_t)1 << i) == 0) bits[i] ^= is_above;
  }
}

static inline void search(size_t num_planes, const bool is_shared, __m512i rank, __mmask16 lanes,
                          const uint32_t *limit, size_t stride, __mmask16 *bits) {
  const __m512i first = is_shared ? _mm512_setzero_si512()
                                  : _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i index = first;
  for (size_t i = num_planes; i-- > 0;) {
    const __m512i step = _mm512_set1_epi32((int32_t)(stride << i));
    const __m512i probe = _mm512_sub_epi32(_mm512_add_epi32(index, step), _mm512_set1_epi32((int32_t)stride));
    bits[i] = _mm512_cmpge_epu32_mask(rank, _mm512_mask_i32gather_epi32(first, lanes, probe, limit, 4));
    index = _mm512_mask_add_epi32(index, bits[i], index, step);
  }
}

/* Bits of 16 codes into bits `at` .. at+15 of a word of each plane. compared: the number of planes, a constant; 0: more
 * than that, by search. */
static inline __attribute__((always_inline)) void encode(const size_t compared, size_t num_planes, const bool is_shared,
                                                         __m512i x, __mmask16 lanes, const qnn_steps *steps,
                                                         size_t channel, size_t at, uint64_t *word) {
  const __m512i turn = is_shared ? _mm512_set1_epi32(steps->turn[0])
                                 : _mm512_maskz_loadu_epi32(lanes, steps->turn + channel);
  const uint32_t *limit = steps->limit + (is_shared ? 0 : channel);
  __mmask16 bits[QNN_MAX_PLANES] = {0};
  if (compared)
    compare(compared, is_shared, ranks(x, turn), lanes, limit, steps->stride, bits);
  else
    search(num_planes, is_shared, ranks(x, turn), lanes, limit, steps->stride, bits);
  for (size_t i = 0; i < num_planes; ++i) word[i] |= (uint64_t)(bits[i] & lanes) << at;
}

static inline __attribute__((always_inline)) void run(const size_t compared, size_t num_planes, const bool is_shared,
                                                      const float *x, size_t n, const qnn_steps *steps,
                                                      uint64_t *words, size_t plane_words) {
  size_t start = 0;
  for (; start + QNN_WORD_BITS <= n; start += QNN_WORD_BITS, ++words) {
    uint64_t word[QNN_MAX_PLANES] = {0};
#pragma GCC unroll 4
    for (size_t i = 0; i < QNN_WORD_BITS; i += 16)
      encode(compared, num_planes, is_shared, _mm512_loadu_si512(x + start + i), 0xFFFF, steps, start + i, i, word);
    for (size_t i = 0; i < num_planes; ++i) words[i * plane_words] = word[i];
  }
  if (start == n) return;
  uint64_t word[QNN_MAX_PLANES] = {0};
  for (size_t i = 0; start + i < n; i += 16) {
    const size_t left = n - start - i;
    const __mmask16 lanes = left < 16 ? (__mmask16)((1u << left) - 1) : 0xFFFF;
    const __m512i floats = _mm512_maskz_loadu_epi32(lanes, x + start + i);
    encode(compared, num_planes, is_shared, floats, lanes, steps, start + i, i, word);
  }
  for (size_t i = 0; i < num_planes; ++i) words[i * plane_words] = word[i];
}

QNN_ENCODE_RUNS(avx512)
