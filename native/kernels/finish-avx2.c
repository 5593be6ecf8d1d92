/* finish-avx2.c: counts to the float output. NCHW turns 8 pixels x 8 filters around in registers. */
#include <immintrin.h>

#include "plain.h"

static inline __m256 accumulators(const int32_t *counts, __m256 base, __m256 step) {
  const __m256 values = _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)counts));
  return _mm256_add_ps(_mm256_mul_ps(values, step), base);  /* exact: step is a power of two */
}

static inline __m256 scale_and_shift(__m256 accum, __m256 scale, __m256 bias) {
  return _mm256_add_ps(_mm256_mul_ps(accum, scale), bias);
}

static inline void transpose(__m256 r[8]) {
  __m256 t[8];
#pragma GCC unroll 4
  for (size_t i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 2
  for (size_t i = 0; i < 8; i += 4) {  /* r[i + c]: columns c and c+4 of rows i .. i+3 */
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
  }
#pragma GCC unroll 4
  for (size_t c = 0; c < 4; ++c) {
    t[c] = _mm256_permute2f128_ps(r[c], r[c + 4], 0x20);
    t[c + 4] = _mm256_permute2f128_ps(r[c], r[c + 4], 0x31);
  }
#pragma GCC unroll 8
  for (size_t i = 0; i < 8; ++i) r[i] = t[i];
}

/* Whole 8x8 blocks; the caller does what is left of pixels and filters. */
static inline void finish_nchw_blocks(const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter,
                                      const qnn_finish *finish, float *y, size_t filter_stride) {
  const __m256 base = _mm256_set1_ps(finish->base), step = _mm256_set1_ps(finish->step);
  for (size_t f = 0; f < num_filter; f += 8)
    for (size_t j = 0; j < num_pixels; j += 8) {
      __m256 r[8];
#pragma GCC unroll 8
      for (size_t i = 0; i < 8; ++i) r[i] = accumulators(counts + (j + i) * ld + f, base, step);
      transpose(r);
#pragma GCC unroll 8
      for (size_t i = 0; i < 8; ++i) {
        const __m256 scale = _mm256_set1_ps(finish->scale[f + i]), bias = _mm256_set1_ps(finish->bias[f + i]);
        _mm256_storeu_ps(y + (f + i) * filter_stride + j, scale_and_shift(r[i], scale, bias));
      }
    }
}

static inline void finish_nhwc_blocks(const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter,
                                      const qnn_finish *finish, float *y, size_t pixel_stride) {
  const __m256 base = _mm256_set1_ps(finish->base), step = _mm256_set1_ps(finish->step);
  for (size_t f = 0; f < num_filter; f += 8) {
    const __m256 scale = _mm256_loadu_ps(finish->scale + f), bias = _mm256_loadu_ps(finish->bias + f);
    for (size_t j = 0; j < num_pixels; ++j)
      _mm256_storeu_ps(y + j * pixel_stride + f,
                       scale_and_shift(accumulators(counts + j * ld + f, base, step), scale, bias));
  }
}

qnn_finish_ukernel qnn_finish_ukernel__avx2;
void qnn_finish_ukernel__avx2(const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter,
                              const qnn_finish *finish, float *y, size_t pixel_stride, size_t filter_stride) {
  assert(pixel_stride == 1 || filter_stride == 1);
  const bool is_nhwc = filter_stride == 1;
  const size_t whole_filters = num_filter / 8 * 8, whole_pixels = is_nhwc ? num_pixels : num_pixels / 8 * 8;
  if (is_nhwc)
    finish_nhwc_blocks(counts, ld, num_pixels, whole_filters, finish, y, pixel_stride);
  else
    finish_nchw_blocks(counts, ld, whole_pixels, whole_filters, finish, y, filter_stride);
  if (whole_pixels < num_pixels)
    plain_finish(counts + whole_pixels * ld, ld, num_pixels - whole_pixels, whole_filters, finish,
                 y + whole_pixels * pixel_stride, pixel_stride, filter_stride);
  if (whole_filters == num_filter) return;
  qnn_finish rest = *finish;
  memmove(rest.scale, rest.scale + whole_filters, (num_filter - whole_filters) * sizeof *rest.scale);
  memmove(rest.bias, rest.bias + whole_filters, (num_filter - whole_filters) * sizeof *rest.bias);
  plain_finish(counts + whole_filters, ld, num_pixels, num_filter - whole_filters, &rest,
               y + whole_filters * filter_stride, pixel_stride, filter_stride);
}
