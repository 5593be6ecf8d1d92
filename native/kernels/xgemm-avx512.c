/* xgemm-avx512.c: AVX-512 with VPOPCNTDQ. One register = one word of 8 filters; a call runs up to 6 pixels against two
 * panels (32 filters): 24 sums, 4 weights and a broadcast pixel word fill 29 of the 32 registers, and each load of a
 * weight serves 6 pixels. Three instructions per 512 bits: xor, popcount, add.
 *
 * tgemm-avx512.c compiles this file again for masked weights: (x ^ sign) & mask is one vpternlogq. Signs and masks take
 * 8 registers, which leaves sums for 5 pixels. */
#include <immintrin.h>

#include "../internal.h"

#ifdef QNN_TGEMM
enum { has_masks = true, mr = 5, max_registers = 4 };
#else
enum { has_masks = false, mr = 6, max_registers = 4 };
#endif
enum { ahead = 512 };  /* words by which one pixel alone, which waits for memory only, prefetches its weights */

/* The filters of a call: where word 0 of a panel lies, which lanes its even and its odd filters have, how many words the
 * former take, words from k to k + 1. Even filters are one register, odd ones the next. */
typedef struct {
  const uint64_t *panels[max_registers / 2];
  __mmask8 lanes[2];
  size_t num_even, step;
} filters;

/* Sums of even filters and of odd ones, both in 64-bit lanes -> 16 consecutive 32-bit counts. */
static inline void store_panel(__m512i even, __m512i odd, int32_t *counts) {
  _mm512_storeu_si512(counts, _mm512_mask_shuffle_epi32(even, 0xAAAA, odd, _MM_PERM_CCAA));
}

/* Words of `lanes` filters, all 8 where the panel is not short. */
static inline __m512i load(const uint64_t *w, __mmask8 lanes, const bool is_short) {
  return is_short ? _mm512_maskz_loadu_epi64(lanes, w) : _mm512_loadu_si512(w);
}

/* num_pixels, num_registers and is_short are constants where this is called: every loop over them is unrolled. So is a
 * single pair, whose loop would cost the layers of one bit a twentieth. */
static inline __attribute__((always_inline)) void run(
    const size_t num_pixels, const size_t num_registers, const bool is_short, const bool is_single,
    const uint64_t *const *pixels, const filters *f, const qnn_walk *walk, int32_t *counts, size_t ld) {
  __m512i sum[mr][max_registers];
#pragma GCC unroll 4
  for (size_t i = 0; i < num_registers; ++i)
#pragma GCC unroll 6
    for (size_t j = 0; j < num_pixels; ++j) sum[j][i] = _mm512_setzero_si512();
  const size_t step = is_short ? f->step : QNN_PANEL_FILTERS, num_even = is_short ? f->num_even : 8;
  const size_t num_pairs = is_single ? 1 : walk->num_pairs;
  for (size_t n = 0; n < num_pairs; ++n) {
    const qnn_pair *pair = walk->pairs + n;
    const size_t mask_at = pair->panel;
    const uint64_t *w[max_registers / 2];
#pragma GCC unroll 2
    for (size_t i = 0; i < num_registers / 2; ++i) w[i] = f->panels[i] + (has_masks || is_single ? 0 : pair->panel);
    if (!is_single && pair->doubles)
#pragma GCC unroll 4
      for (size_t i = 0; i < num_registers; ++i)
#pragma GCC unroll 6
        for (size_t j = 0; j < num_pixels; ++j) sum[j][i] = _mm512_add_epi64(sum[j][i], sum[j][i]);
    for (size_t s = 0; s < walk->num_segments; ++s) {
      const size_t segment = walk->segments[s] + (is_single ? 0 : pair->pixel);
      const uint64_t *p[mr];
#pragma GCC unroll 6
      for (size_t j = 0; j < num_pixels; ++j) p[j] = pixels[j] + segment;
      for (size_t k = 0; k < walk->segment_words; ++k) {
        __m512i weight[max_registers], mask[max_registers];
#pragma GCC unroll 4
        for (size_t i = 0; i < num_registers; ++i) {
          const uint64_t *at = w[i / 2] + (i % 2 ? num_even : 0);
          weight[i] = load(at, f->lanes[i % 2], is_short);
          if (num_pixels == 1 && !is_short) _mm_prefetch((const char *)(at + ahead), _MM_HINT_T0);
          if (has_masks) mask[i] = load(at + mask_at, f->lanes[i % 2], is_short);
        }
#pragma GCC unroll 2
        for (size_t i = 0; i < num_registers / 2; ++i) w[i] += step;
#pragma GCC unroll 6
        for (size_t j = 0; j < num_pixels; ++j) {
          const __m512i x = _mm512_set1_epi64((long long)p[j][k]);
#pragma GCC unroll 4
          for (size_t i = 0; i < num_registers; ++i) {
            const __m512i differing = has_masks ? _mm512_ternarylogic_epi64(mask[i], x, weight[i], 0x60)
                                                : _mm512_xor_si512(x, weight[i]);
            sum[j][i] = _mm512_add_epi64(sum[j][i], _mm512_popcnt_epi64(differing));
          }
        }
      }
    }
  }
#pragma GCC unroll 6
  for (size_t j = 0; j < num_pixels; ++j)
#pragma GCC unroll 2
    for (size_t i = 0; i < num_registers; i += 2)
      store_panel(sum[j][i], sum[j][i + 1], counts + j * ld + i / 2 * QNN_PANEL_FILTERS);
}

/* A function for each of them: in one function gcc would keep pointers that all share in vector registers, and wait for
 * the vector ports, busy with the call before, to get them back. */
#define VARIANT(name, num_pixels, ...)                                                                                \
  static __attribute__((noinline)) void name##num_pixels(const uint64_t *const *pixels, const filters *f,             \
                                                         const qnn_walk *walk, int32_t *counts, size_t ld) {          \
    run(num_pixels, __VA_ARGS__, pixels, f, walk, counts, ld);                                                        \
  }
#ifdef QNN_TGEMM
#define VARIANT_SIX(...)
#define RUN_SIX(...)
#else
#define VARIANT_SIX(name, ...) VARIANT(name, 6, __VA_ARGS__)
#define RUN_SIX(name) case 6: name##6(pixels, &f, walk, counts, ld);
#endif
#define VARIANTS(name, ...)                                                                                           \
  VARIANT(name, 1, __VA_ARGS__) VARIANT(name, 2, __VA_ARGS__) VARIANT(name, 3, __VA_ARGS__)                           \
  VARIANT(name, 4, __VA_ARGS__) VARIANT(name, 5, __VA_ARGS__) VARIANT_SIX(name, __VA_ARGS__)
VARIANTS(two_panels, 4, false, true)
VARIANTS(two_panels_planes, 4, false, false)
VARIANTS(panel, 2, false, true)
VARIANTS(panel_planes, 2, false, false)
VARIANTS(short_panel, 2, true, true)
VARIANTS(short_panel_planes, 2, true, false)

#ifdef QNN_TGEMM
#define KERNEL qnn_tgemm_ukernel__avx512
#else
#define KERNEL qnn_xgemm_ukernel__avx512
#endif
qnn_xgemm_ukernel KERNEL;
void KERNEL(size_t num_pixels, const uint64_t *const *pixels, size_t num_filter, const uint64_t *panels,
            const qnn_walk *walk, int32_t *counts, size_t ld) {
  assert(num_pixels >= 1 && num_pixels <= mr);
  assert((num_filter >= 1 && num_filter <= QNN_PANEL_FILTERS) || num_filter == 2 * QNN_PANEL_FILTERS);
  const size_t num_even = num_filter > QNN_PANEL_FILTERS ? 8 : (num_filter + 1) / 2;
  const size_t num_odd = num_filter > QNN_PANEL_FILTERS ? 8 : num_filter / 2;
  const uint64_t *second = panels + QNN_PANEL_FILTERS * walk->num_segments * walk->segment_words;
  const filters f = {{panels, second},
                     {(__mmask8)((1u << num_even) - 1), (__mmask8)((1u << num_odd) - 1)}, num_even, num_filter};
#define RUN(name)                                                                                                     \
  switch (num_pixels) {                                                                                               \
    case 1: name##1(pixels, &f, walk, counts, ld); break;                                                             \
    case 2: name##2(pixels, &f, walk, counts, ld); break;                                                             \
    case 3: name##3(pixels, &f, walk, counts, ld); break;                                                             \
    case 4: name##4(pixels, &f, walk, counts, ld); break;                                                             \
    case 5: name##5(pixels, &f, walk, counts, ld); break;                                                             \
    RUN_SIX(name)                                                                                                     \
  }
  const bool is_single = walk->num_pairs == 1;
  if (num_filter > QNN_PANEL_FILTERS) {
    if (is_single) RUN(two_panels)
    else RUN(two_panels_planes)
  } else if (num_filter == QNN_PANEL_FILTERS) {
    if (is_single) RUN(panel)
    else RUN(panel_planes)
  } else {
    if (is_single) RUN(short_panel)
    else RUN(short_panel_planes)
  }
}
