/* stem-lanes.h: the kernels of first layers (stem.c) for an instruction set that defines
 *
 *   floats, LANES                a register, and its numbers
 *   PIXELS, VECTORS              sums that stay in registers over all taps: of so many pixels, times registers of filters
 *   load(p), store(p, v), all(number), fused(a, b, c) = a b + c in one rounding, larger(a, b) = a > b ? a : b
 *
 * Lanes are filters: a pixel's number is broadcast against registers of filters. Steps between pixels are constants, which
 * cost no instruction. */
#ifndef QNN_STEM_LANES_H
#define QNN_STEM_LANES_H

#include "../internal.h"

static inline __attribute__((always_inline)) void convolve_block(const size_t vectors, const size_t num_pixels,
                                                                 const size_t step, const float *x,
                                                                 const qnn_stem_taps *taps, const qnn_stem_ends *ends,
                                                                 size_t f, float *y) {
  floats sums[PIXELS][VECTORS];
#pragma GCC unroll 6
  for (size_t j = 0; j < num_pixels; ++j)
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; ++v) sums[j][v] = load(ends->start + f + v * LANES);
  const float *w = taps->weight + f;
  for (size_t t = 0; t < taps->count; ++t, w += taps->num_filter) {
    const float *from = x + taps->offsets[t];
    __asm__("" : "+r"(from));  /* else gcc adds up a pointer for each pixel, where constants in the loads cost nothing */
    floats filters[VECTORS];
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; ++v) filters[v] = load(w + v * LANES);
#pragma GCC unroll 6
    for (size_t j = 0; j < num_pixels; ++j) {
      const floats pixel = all(from[j * step]);
#pragma GCC unroll 4
      for (size_t v = 0; v < vectors; ++v) sums[j][v] = fused(pixel, filters[v], sums[j][v]);
    }
  }
#pragma GCC unroll 6
  for (size_t j = 0; j < num_pixels; ++j)
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; ++v) {
      const floats sum = sums[j][v] + load(ends->end + f + v * LANES);
      store(y + j * taps->num_filter + f + v * LANES, ends->relu ? larger(sum, all(0)) : sum);
    }
}

static inline __attribute__((always_inline)) void convolve_row(const size_t vectors, const size_t step, size_t num_pixels,
                                                               const float *x, const qnn_stem_taps *taps,
                                                               const qnn_stem_ends *ends, size_t f, float *y) {
  size_t j = 0;
#define QNN_STEM_BLOCKS(pixels)                   \
  for (; j + (pixels) <= num_pixels; j += pixels) \
    convolve_block(vectors, pixels, step, x + j * step, taps, ends, f, y + j * taps->num_filter)
  QNN_STEM_BLOCKS(PIXELS);
  QNN_STEM_BLOCKS(4);
  QNN_STEM_BLOCKS(1);
#undef QNN_STEM_BLOCKS
}

static inline __attribute__((always_inline)) void convolve_filters(const size_t vectors, size_t num_pixels, const float *x,
                                                                   const qnn_stem_taps *taps, const qnn_stem_ends *ends,
                                                                   size_t f, float *y) {
  switch (taps->step) {
    case 1: convolve_row(vectors, 1, num_pixels, x, taps, ends, f, y); break;
    case 2: convolve_row(vectors, 2, num_pixels, x, taps, ends, f, y); break;
    default: convolve_row(vectors, taps->step, num_pixels, x, taps, ends, f, y);
  }
}

static void convolve(size_t num_pixels, const float *x, const qnn_stem_taps *taps, const qnn_stem_ends *ends, float *y) {
  size_t f = 0;
  for (; f + VECTORS * LANES <= taps->num_filter; f += VECTORS * LANES)
    convolve_filters(VECTORS, num_pixels, x, taps, ends, f, y);
  for (; f < taps->num_filter; f += LANES) convolve_filters(1, num_pixels, x, taps, ends, f, y);
}

static inline __attribute__((always_inline)) void pool_windows(const float *x, size_t stride, size_t step,
                                                               const size_t size, size_t num_windows, size_t count,
                                                               float *y) {
  for (size_t j = 0; j < num_windows; ++j, x += stride, y += count)
    for (size_t i = 0; i < count; i += LANES) {
      floats best = load(x + i);
#pragma GCC unroll 3
      for (size_t k = 1; k < size; ++k) best = larger(load(x + k * step + i), best);
      store(y + i, best);
    }
}

static void pool(const float *x, size_t stride, size_t step, size_t size, size_t num_windows, size_t count,
                        float *y) {
  switch (size) {
    case 2: pool_windows(x, stride, step, 2, num_windows, count, y); break;
    case 3: pool_windows(x, stride, step, 3, num_windows, count, y); break;
    default: pool_windows(x, stride, step, size, num_windows, count, y);
  }
}

#endif
