/* threshold-avx2.c: counts to bits, the 32 comparisons of two panels to a mask at a time. */
#include <immintrin.h>

#include "../internal.h"

static inline __m256i load(const int32_t *from) { return _mm256_loadu_si256((const __m256i *)from); }

/* Words below 0 or not -> bytes of 32 filters: packing keeps lanes apart, words 0 of them come first. */
static inline uint32_t mask_of(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
  return (uint32_t)_mm256_movemask_epi8(_mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
}

qnn_threshold_ukernel qnn_threshold_ukernel__avx2;
void qnn_threshold_ukernel__avx2(const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter,
                                 const qnn_limits *limits, unsigned char *out, size_t stride) {
  assert(num_filter >= 1 && num_filter <= QNN_MAX_NR);
  const bool is_two = num_filter > QNN_PANEL_FILTERS;
  const uint32_t flip = ~limits->flip;  /* of counts above the limits */
  __m256i limit[4];
  for (size_t i = 0; i < 4; ++i) limit[i] = load(limits->limit + 8 * i);
  for (size_t j = 0; j < num_pixels; ++j, counts += ld, out += stride) {
    const __m256i a = _mm256_cmpgt_epi32(load(counts), limit[0]), b = _mm256_cmpgt_epi32(load(counts + 8), limit[1]);
    __m256i c = a, d = b;
    if (is_two) {
      c = _mm256_cmpgt_epi32(load(counts + 16), limit[2]);
      d = _mm256_cmpgt_epi32(load(counts + 24), limit[3]);
    }
    const uint32_t bits = (mask_of(a, b, c, d) ^ flip) & limits->valid;
    memcpy(out, &bits, is_two ? 4 : 2);
  }
}
