/* lut_network-avx2.c: look-up tables on slices of 256 samples. */
#include <immintrin.h>

#include "../internal.h"

#define QNN_LUT_LANES 4
#define QNN_LUT_COMPARE

/* Bit i = x[i] >= level, of 64 bytes; max(x, level) == x, as AVX2 has no unsigned comparison. */
static inline uint64_t at_least(const uint8_t *x, uint8_t level) {
  const __m256i low = _mm256_loadu_si256((const __m256i *)x), high = _mm256_loadu_si256((const __m256i *)(x + 32));
  const __m256i least = _mm256_set1_epi8((char)level);
  const int a = _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(low, least), low));
  const int b = _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(high, least), high));
  return (uint32_t)a | (uint64_t)(uint32_t)b << 32;
}

#include "lut_network.h"

QNN_LUT_KERNELS(avx2)
