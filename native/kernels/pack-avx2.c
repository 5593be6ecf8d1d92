/* pack-avx2.c: signs of floats to words, 8 compares to a mask at a time. */
#include <immintrin.h>

#include "plain.h"

/* Masks of x < 0, decided on the bit patterns (internal.h, qnn_is_negative). */
static inline uint64_t negatives(const float *x) {
  const __m256i below = _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)x), _mm256_set1_epi32(-1));
  const __m256i is_negative = _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)0xFF800000u), below);
  return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(is_negative));
}

qnn_pack_ukernel qnn_pack_ukernel__avx2;
void qnn_pack_ukernel__avx2(const float *x, size_t n, uint64_t *words) {
  for (; n >= QNN_WORD_BITS; n -= QNN_WORD_BITS, x += QNN_WORD_BITS) {
    uint64_t word = 0;
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; ++i) word |= negatives(x + 8 * i) << 8 * i;
    *words++ = ~word;
  }
  if (!n) return;
  uint64_t word = 0;
  size_t i = 0;
  for (; i + 8 <= n; i += 8) word |= negatives(x + i) << i;
  for (; i < n; ++i) word |= (uint64_t)qnn_is_negative(x[i]) << i;
  *words = ~word & (((uint64_t)1 << n) - 1);
}
