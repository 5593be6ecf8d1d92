/* compare-avx2.c: floats to bits by a threshold per channel, 8 compares to a mask at a time. */
#include <immintrin.h>

#include "plain.h"

/* Bits of !(low <= key < low + span) for 8 floats. AVX2 compares signed numbers only; but the unsigned maximum of
 * key - low and span is key - low itself where that is outside. */
static inline uint64_t outside(const float *x, __m256i low, __m256i span) {
  const __m256i bits = _mm256_loadu_si256((const __m256i *)x), sign = _mm256_srai_epi32(bits, 31);
  const __m256i key = _mm256_xor_si256(bits, _mm256_and_si256(sign, _mm256_set1_epi32(0x7FFFFFFF)));
  const __m256i at = _mm256_sub_epi32(key, low);
  const __m256i is_outside = _mm256_cmpeq_epi32(_mm256_max_epu32(at, span), at);
  return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(is_outside));
}

static inline __attribute__((always_inline)) void run(const float *x, size_t n, const int32_t *low,
                                                      const uint32_t *span, const bool is_uniform, uint64_t *words) {
  __m256i first = _mm256_set1_epi32(low[0]), width = _mm256_set1_epi32((int32_t)span[0]);
  size_t at = 0;
  for (; at + QNN_WORD_BITS <= n; at += QNN_WORD_BITS) {
    uint64_t word = 0;
#pragma GCC unroll 8
    for (size_t i = 0; i < QNN_WORD_BITS; i += 8) {
      if (!is_uniform) {
        first = _mm256_loadu_si256((const __m256i *)(low + at + i));
        width = _mm256_loadu_si256((const __m256i *)(span + at + i));
      }
      word |= outside(x + at + i, first, width) << i;
    }
    *words++ = word;
  }
  if (at == n) return;
  plain_compare(x + at, n - at, is_uniform ? low : low + at, is_uniform ? span : span + at, is_uniform ? 1 : n, words);
}

qnn_compare_ukernel qnn_compare_ukernel__avx2;
void qnn_compare_ukernel__avx2(const float *x, size_t n, const int32_t *low, const uint32_t *span, size_t period,
                               uint64_t *words) {
  assert(period == 1 || period == n || period % QNN_WORD_BITS == 0);
  if (period == 1) {
    run(x, n, low, span, true, words);
    return;
  }
  for (size_t at = 0; at < n; at += period, words += period / QNN_WORD_BITS)
    run(x + at, qnn_min(n - at, period), low, span, false, words);
}
