/* lut_network-avx512.c: look-up tables on slices of 512 samples; a multiplexer is one ternary logic instruction. */
#include <immintrin.h>

#include "../internal.h"

#define QNN_LUT_LANES 8
#define QNN_LUT_MUX(s, a, b) ((qnn_slice)_mm512_ternarylogic_epi64((__m512i)(s), (__m512i)(a), (__m512i)(b), 0xCA))
#define QNN_LUT_COMPARE

/* Bit i = x[i] >= level, of 64 bytes. */
static inline uint64_t at_least(const uint8_t *x, uint8_t level) {
  return _mm512_cmpge_epu8_mask(_mm512_loadu_si512(x), _mm512_set1_epi8((char)level));
}

#include "lut_network.h"

QNN_LUT_KERNELS(avx512)
