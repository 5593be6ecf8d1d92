/* threshold-avx2.c: counts to bits, 8 compares to a mask at a time. */
#include <immintrin.h>

#include "../internal.h"

/* Bits of counts <= limit for 16 filters. */
static inline uint32_t within(const int32_t *counts, __m256i low, __m256i high) {
  const __m256i a = _mm256_cmpgt_epi32(_mm256_loadu_si256((const __m256i *)counts), low);
  const __m256i b = _mm256_cmpgt_epi32(_mm256_loadu_si256((const __m256i *)(counts + 8)), high);
  const uint32_t above = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(a)) |
                         (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(b)) << 8;
  return ~above & 0xFFFFu;
}

qnn_threshold_ukernel qnn_threshold_ukernel__avx2;
void qnn_threshold_ukernel__avx2(const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter,
                                 const qnn_limits *limits, unsigned char *out, size_t stride) {
  assert(num_filter >= 1 && num_filter <= QNN_MAX_NR);
  __m256i limit[4];
  for (size_t i = 0; i < 4; ++i) limit[i] = _mm256_loadu_si256((const __m256i *)(limits->limit + 8 * i));
  const bool is_two = num_filter > QNN_PANEL_FILTERS;
  for (size_t j = 0; j < num_pixels; ++j, counts += ld, out += stride) {
    uint32_t bits = within(counts, limit[0], limit[1]);
    if (is_two) bits |= within(counts + QNN_PANEL_FILTERS, limit[2], limit[3]) << 16;
    bits = (bits ^ limits->flip) & limits->valid;
    memcpy(out, &bits, is_two ? 4 : 2);
  }
}
