/* threshold-avx512.c: counts to bits, 16 compares to a mask at a time; two panels make one 32-bit store. */
#include <immintrin.h>

#include "../internal.h"

qnn_threshold_ukernel qnn_threshold_ukernel__avx512;
void qnn_threshold_ukernel__avx512(const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter,
                                   const qnn_limits *limits, unsigned char *out, size_t stride) {
  assert(num_filter >= 1 && num_filter <= QNN_MAX_NR);
  const __m512i low = _mm512_loadu_si512(limits->limit), high = _mm512_loadu_si512(limits->limit + QNN_PANEL_FILTERS);
  const uint32_t flip = limits->flip, valid = limits->valid;
  if (num_filter > QNN_PANEL_FILTERS) {
    for (size_t j = 0; j < num_pixels; ++j, counts += ld, out += stride) {
      const __mmask16 first = _mm512_cmple_epi32_mask(_mm512_loadu_si512(counts), low);
      const __mmask16 second = _mm512_cmple_epi32_mask(_mm512_loadu_si512(counts + QNN_PANEL_FILTERS), high);
      const uint32_t bits = (_mm512_kunpackw(second, first) ^ flip) & valid;
      memcpy(out, &bits, sizeof bits);
    }
    return;
  }
  for (size_t j = 0; j < num_pixels; ++j, counts += ld, out += stride) {
    const uint16_t bits = (uint16_t)((_mm512_cmple_epi32_mask(_mm512_loadu_si512(counts), low) ^ flip) & valid);
    memcpy(out, &bits, sizeof bits);
  }
}
