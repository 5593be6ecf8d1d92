/* pack-avx512.c: signs of floats to words, 16 compares to a mask at a time. */
#include <immintrin.h>

#include "../internal.h"

/* Masks of x < 0, decided on the bit patterns (internal.h, qnn_is_negative). */
static inline uint64_t negatives(__m512i bits) {
  const __m512i below = _mm512_add_epi32(bits, _mm512_set1_epi32(-1));
  return _mm512_cmplt_epi32_mask(below, _mm512_set1_epi32((int32_t)0xFF800000u));
}

qnn_pack_ukernel qnn_pack_ukernel__avx512;
void qnn_pack_ukernel__avx512(const float *x, size_t n, uint64_t *words) {
  for (; n >= QNN_WORD_BITS; n -= QNN_WORD_BITS, x += QNN_WORD_BITS) {
    uint64_t word = 0;
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; ++i) word |= negatives(_mm512_loadu_si512(x + 16 * i)) << 16 * i;
    *words++ = ~word;
  }
  if (!n) return;
  uint64_t word = 0;
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : 0xFFFF;
    word |= negatives(_mm512_maskz_loadu_epi32(lanes, x + i)) << i;
  }
  *words = ~word & (((uint64_t)1 << n) - 1);
}
