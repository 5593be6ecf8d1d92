/* xgemm-avx2.c: AVX2 has no popcount. A table of 16 nibble counts (vpshufb) counts bytes; sums stay in bytes for up to
 * 31 words (31 * 8 = 248), then vpsadbw widens them. One register = one word of 4 filters; 2 pixels x 16 filters.
 * tgemm-avx2.c compiles this file again, for masked weights.
 * (W. Mula, N. Kurz, D. Lemire: Faster population counts using AVX2 instructions, arXiv:1611.07612) */
#include <immintrin.h>

#include "../internal.h"

#ifdef QNN_TGEMM
#define KERNEL qnn_tgemm_ukernel__avx2
enum { has_masks = true };
#else
#define KERNEL qnn_xgemm_ukernel__avx2
enum { has_masks = false };
#endif
enum { mr = 2, num_registers = 4, max_byte_words = 31 };

static inline __m256i count_bytes(__m256i x) {
  const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
                                         0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i low = _mm256_and_si256(x, nibble), high = _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble);
  return _mm256_add_epi8(_mm256_shuffle_epi8(table, low), _mm256_shuffle_epi8(table, high));
}

/* Lanes 0 .. n-1 of 4, as a mask for vpmaskmovq. */
static inline __m256i first_lanes(size_t n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)n), _mm256_setr_epi64x(0, 1, 2, 3));
}

static inline __m256i load(const uint64_t *w, __m256i lanes, const bool is_short) {
  return is_short ? _mm256_maskload_epi64((const long long *)w, lanes) : _mm256_loadu_si256((const __m256i *)w);
}

/* num_pixels and is_short are constants where this is called. A panel is registers even 0..3, 4..7, odd 0..3, 4..7. */
static inline __attribute__((always_inline)) void run(
    const size_t num_pixels, const bool is_short, const uint64_t *const *pixels, size_t num_filter,
    const uint64_t *panels, const qnn_walk *walk, int32_t *counts, size_t ld) {
  const size_t num_even = is_short ? (num_filter + 1) / 2 : 8, num_odd = is_short ? num_filter / 2 : 8;
  const size_t step = is_short ? num_filter : QNN_PANEL_FILTERS;
  __m256i lanes[num_registers] = {_mm256_setzero_si256()};
  if (is_short) {
    lanes[0] = first_lanes(num_even), lanes[1] = first_lanes(num_even > 4 ? num_even - 4 : 0);
    lanes[2] = first_lanes(num_odd), lanes[3] = first_lanes(num_odd > 4 ? num_odd - 4 : 0);
  }
  __m256i sum[mr][num_registers], bytes[mr][num_registers];
#pragma GCC unroll 2
  for (size_t j = 0; j < num_pixels; ++j)
#pragma GCC unroll 4
    for (size_t i = 0; i < num_registers; ++i) sum[j][i] = bytes[j][i] = _mm256_setzero_si256();

  for (const qnn_pair *pair = walk->pairs, *last = pair + walk->num_pairs; pair < last; ++pair) {
    const uint64_t *panel = panels + (has_masks ? 0 : pair->panel);
    const size_t mask_at = pair->panel;
    if (pair->doubles)
#pragma GCC unroll 2
      for (size_t j = 0; j < num_pixels; ++j)
#pragma GCC unroll 4
        for (size_t i = 0; i < num_registers; ++i) sum[j][i] = _mm256_add_epi64(sum[j][i], sum[j][i]);
    size_t room = max_byte_words;
    for (size_t s = 0; s < walk->num_segments; ++s) {
      const size_t segment = walk->segments[s] + pair->pixel;
      for (size_t k = 0, end; k < walk->segment_words; k = end) {
        end = k + qnn_min(walk->segment_words - k, room);
        room -= end - k;
        for (size_t word = k; word < end; ++word, panel += step) {
          __m256i x[mr];
#pragma GCC unroll 2
          for (size_t j = 0; j < num_pixels; ++j) x[j] = _mm256_set1_epi64x((long long)pixels[j][segment + word]);
#pragma GCC unroll 4
          for (size_t i = 0; i < num_registers; ++i) {
            const uint64_t *w = panel + (i < 2 ? 0 : num_even) + (i % 2) * 4;
            const __m256i weight = load(w, lanes[i], is_short);
            const __m256i mask = has_masks ? load(w + mask_at, lanes[i], is_short) : weight;
#pragma GCC unroll 2
            for (size_t j = 0; j < num_pixels; ++j) {
              __m256i differing = _mm256_xor_si256(x[j], weight);
              if (has_masks) differing = _mm256_and_si256(differing, mask);
              bytes[j][i] = _mm256_add_epi8(bytes[j][i], count_bytes(differing));
            }
          }
        }
        const bool is_last = s + 1 == walk->num_segments && end == walk->segment_words;
        if (room && !is_last) continue;
        room = max_byte_words;
#pragma GCC unroll 2
        for (size_t j = 0; j < num_pixels; ++j)
#pragma GCC unroll 4
          for (size_t i = 0; i < num_registers; ++i) {
            sum[j][i] = _mm256_add_epi64(sum[j][i], _mm256_sad_epu8(bytes[j][i], _mm256_setzero_si256()));
            bytes[j][i] = _mm256_setzero_si256();
          }
      }
    }
  }
  /* Counts fit 32 bits: odd filters move to the upper halves, and memory order is filter order. */
#pragma GCC unroll 2
  for (size_t j = 0; j < num_pixels; ++j)
#pragma GCC unroll 2
    for (size_t i = 0; i < 2; ++i) {
      const __m256i merged = _mm256_or_si256(sum[j][i], _mm256_slli_epi64(sum[j][i + 2], 32));
      _mm256_storeu_si256((__m256i *)(counts + j * ld + 8 * i), merged);
    }
}

qnn_xgemm_ukernel KERNEL;
void KERNEL(size_t num_pixels, const uint64_t *const *pixels, size_t num_filter, const uint64_t *panels,
            const qnn_walk *walk, int32_t *counts, size_t ld) {
  assert(num_pixels >= 1 && num_pixels <= mr && num_filter >= 1 && num_filter <= QNN_PANEL_FILTERS);
#define RUN(pixel_count, is_short) run(pixel_count, is_short, pixels, num_filter, panels, walk, counts, ld)
  if (num_filter == QNN_PANEL_FILTERS) {
    if (num_pixels == 2) RUN(2, false);
    else RUN(1, false);
  } else {
    if (num_pixels == 2) RUN(2, true);
    else RUN(1, true);
  }
}
