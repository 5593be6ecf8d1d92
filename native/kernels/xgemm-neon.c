/* xgemm-neon.c: AArch64. vcnt counts bytes; sums stay in bytes for up to 31 words (31 * 8 = 248), then pairwise
 * additions widen them. One register = one word of 2 filters; 2 pixels x 16 filters. Short panels go word by word.
 * tgemm-neon.c compiles this file again, for masked weights. */
#include <arm_neon.h>

#define QNN_POPCOUNT(word) ((uint64_t)__builtin_popcountll(word))
#include "plain.h"

#ifdef QNN_TGEMM
#define KERNEL qnn_tgemm_ukernel__neon
enum { has_masks = true };
#else
#define KERNEL qnn_xgemm_ukernel__neon
enum { has_masks = false };
#endif
enum { mr = 2, num_registers = 8, max_byte_words = 31 };

/* num_pixels is a constant where this is called. A panel is registers even 0,1 .. 6,7, then odd ones. */
static inline __attribute__((always_inline)) void run(
    const size_t num_pixels, const uint64_t *const *pixels, const uint64_t *panels, const qnn_walk *walk,
    int32_t *counts, size_t ld) {
  uint64x2_t sum[mr][num_registers];
  uint8x16_t bytes[mr][num_registers];
#pragma GCC unroll 2
  for (size_t j = 0; j < num_pixels; ++j)
#pragma GCC unroll 8
    for (size_t i = 0; i < num_registers; ++i) {
      sum[j][i] = vdupq_n_u64(0);
      bytes[j][i] = vdupq_n_u8(0);
    }
  for (const qnn_pair *pair = walk->pairs, *last = pair + walk->num_pairs; pair < last; ++pair) {
    const uint64_t *panel = panels + (has_masks ? 0 : pair->panel);
    if (pair->doubles)
#pragma GCC unroll 2
      for (size_t j = 0; j < num_pixels; ++j)
#pragma GCC unroll 8
        for (size_t i = 0; i < num_registers; ++i) sum[j][i] = vaddq_u64(sum[j][i], sum[j][i]);
    size_t room = max_byte_words;
    for (size_t s = 0; s < walk->num_segments; ++s) {
      const size_t segment = walk->segments[s] + pair->pixel;
      for (size_t k = 0, end; k < walk->segment_words; k = end) {
        end = k + qnn_min(walk->segment_words - k, room);
        room -= end - k;
        for (size_t word = k; word < end; ++word, panel += QNN_PANEL_FILTERS) {
          uint64x2_t x[mr];
#pragma GCC unroll 2
          for (size_t j = 0; j < num_pixels; ++j) x[j] = vdupq_n_u64(pixels[j][segment + word]);
#pragma GCC unroll 8
          for (size_t i = 0; i < num_registers; ++i) {
            const uint64x2_t weight = vld1q_u64(panel + 2 * i);
            const uint64x2_t mask = has_masks ? vld1q_u64(panel + pair->panel + 2 * i) : weight;
#pragma GCC unroll 2
            for (size_t j = 0; j < num_pixels; ++j) {
              uint64x2_t differing = veorq_u64(x[j], weight);
              if (has_masks) differing = vandq_u64(differing, mask);
              bytes[j][i] = vaddq_u8(bytes[j][i], vcntq_u8(vreinterpretq_u8_u64(differing)));
            }
          }
        }
        const bool is_last = s + 1 == walk->num_segments && end == walk->segment_words;
        if (room && !is_last) continue;
        room = max_byte_words;
#pragma GCC unroll 2
        for (size_t j = 0; j < num_pixels; ++j)
#pragma GCC unroll 8
          for (size_t i = 0; i < num_registers; ++i) {
            sum[j][i] = vpadalq_u32(sum[j][i], vpaddlq_u16(vpaddlq_u8(bytes[j][i])));
            bytes[j][i] = vdupq_n_u8(0);
          }
      }
    }
  }
  /* Counts fit 32 bits: odd filters move to the upper halves, and memory order is filter order. */
#pragma GCC unroll 2
  for (size_t j = 0; j < num_pixels; ++j)
#pragma GCC unroll 4
    for (size_t i = 0; i < num_registers / 2; ++i) {
      const uint64x2_t merged = vorrq_u64(sum[j][i], vshlq_n_u64(sum[j][i + num_registers / 2], 32));
      vst1q_s32(counts + j * ld + 4 * i, vreinterpretq_s32_u64(merged));
    }
}

qnn_xgemm_ukernel KERNEL;
void KERNEL(size_t num_pixels, const uint64_t *const *pixels, size_t num_filter, const uint64_t *panels,
            const qnn_walk *walk, int32_t *counts, size_t ld) {
  assert(num_pixels >= 1 && num_pixels <= mr && num_filter >= 1 && num_filter <= QNN_PANEL_FILTERS);
  if (num_filter < QNN_PANEL_FILTERS)
    plain_xgemm(has_masks, num_pixels, pixels, num_filter, panels, walk, counts, ld);
  else if (num_pixels == 2)
    run(2, pixels, panels, walk, counts, ld);
  else
    run(1, pixels, panels, walk, counts, ld);
}
