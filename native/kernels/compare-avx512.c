/* compare-avx512.c: floats to bits by a threshold per channel, 16 compares to a mask at a time. */
#include <immintrin.h>

#include "../internal.h"

/* qnn_float_key of 16 floats. */
static inline __m512i keys(__m512i bits) {
  const __m512i sign = _mm512_srai_epi32(bits, 31);
  return _mm512_ternarylogic_epi32(bits, sign, _mm512_set1_epi32(0x7FFFFFFF), 0x78);  /* bits ^ (sign & ...) */
}

static inline uint64_t outside(__m512i bits, __m512i low, __m512i span) {
  return _mm512_cmpge_epu32_mask(_mm512_sub_epi32(keys(bits), low), span);
}

static inline __attribute__((always_inline)) void run(const float *x, size_t n, const int32_t *low,
                                                      const uint32_t *span, const bool is_uniform, uint64_t *words) {
  __m512i first = _mm512_set1_epi32(low[0]), width = _mm512_set1_epi32((int32_t)span[0]);
  size_t at = 0;
  for (; at + QNN_WORD_BITS <= n; at += QNN_WORD_BITS) {
    uint64_t word = 0;
#pragma GCC unroll 4
    for (size_t i = 0; i < QNN_WORD_BITS; i += 16) {
      if (!is_uniform) first = _mm512_loadu_si512(low + at + i), width = _mm512_loadu_si512(span + at + i);
      word |= outside(_mm512_loadu_si512(x + at + i), first, width) << i;
    }
    *words++ = word;
  }
  if (at == n) return;
  uint64_t word = 0;
  for (size_t i = 0; at + i < n; i += 16) {
    const size_t left = n - at - i;
    const __mmask16 lanes = left < 16 ? (__mmask16)((1u << left) - 1) : 0xFFFF;
    if (!is_uniform) {
      first = _mm512_maskz_loadu_epi32(lanes, low + at + i);
      width = _mm512_maskz_loadu_epi32(lanes, span + at + i);
    }
    word |= (outside(_mm512_maskz_loadu_epi32(lanes, x + at + i), first, width) & lanes) << i;
  }
  *words = word;
}

qnn_compare_ukernel qnn_compare_ukernel__avx512;
void qnn_compare_ukernel__avx512(const float *x, size_t n, const int32_t *low, const uint32_t *span, size_t period,
                                 uint64_t *words) {
  assert(period == 1 || period == n || period % QNN_WORD_BITS == 0);
  if (period == 1) {
    run(x, n, low, span, true, words);
    return;
  }
  for (size_t at = 0; at < n; at += period, words += period / QNN_WORD_BITS)
    run(x + at, qnn_min(n - at, period), low, span, false, words);
}
