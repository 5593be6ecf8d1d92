/* finish-avx2.c: counts to the float output. NCHW turns 8 pixels x 8 filters around in registers. */
#include <immintrin.h>

#include "plain.h"

static inline __m256 accumulators(const int32_t *counts, __m256 base, __m256 step) {
  const __m256 values = _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)counts));
  return _mm256_add_ps(_mm256_mul_ps(values, step), base);  /* exact: step is a power of two */
}

static inline __m256 normalise(__m256 accum, __m256 mean, __m256 scale, __m256 bias) {
  return _mm256_add_ps(_mm256_mul_ps(_mm256_sub_ps(accum, mean), scale), bias);
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
                                      const qnn_finish *finish, const float *residual, float *y, size_t filter_stride) {
  const __m256 step = _mm256_set1_ps(finish->step);
  for (size_t f = 0; f < num_filter; f += 8) {
    const __m256 base = _mm256_loadu_ps(finish->base + f);
    for (size_t j = 0; j < num_pixels; j += 8) {
      __m256 r[8];
#pragma GCC unroll 8
      for (size_t i = 0; i < 8; ++i) r[i] = accumulators(counts + (j + i) * ld + f, base, step);
      transpose(r);
#pragma GCC unroll 8
      for (size_t i = 0; i < 8; ++i) {
        const size_t at = (f + i) * filter_stride + j;
        const __m256 mean = _mm256_set1_ps(finish->mean[f + i]), scale = _mm256_set1_ps(finish->scale[f + i]);
        __m256 value = normalise(r[i], mean, scale, _mm256_set1_ps(finish->bias[f + i]));
        if (residual) value = _mm256_add_ps(value, _mm256_loadu_ps(residual + at));
        _mm256_storeu_ps(y + at, value);
      }
    }
  }
}

static inline void finish_nhwc_blocks(const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter,
                                      const qnn_finish *finish, const float *residual, float *y, size_t pixel_stride) {
  const __m256 step = _mm256_set1_ps(finish->step);
  for (size_t f = 0; f < num_filter; f += 8) {
    const __m256 mean = _mm256_loadu_ps(finish->mean + f), scale = _mm256_loadu_ps(finish->scale + f);
    const __m256 bias = _mm256_loadu_ps(finish->bias + f), base = _mm256_loadu_ps(finish->base + f);
    for (size_t j = 0; j < num_pixels; ++j) {
      const size_t at = j * pixel_stride + f;
      __m256 value = normalise(accumulators(counts + j * ld + f, base, step), mean, scale, bias);
      if (residual) value = _mm256_add_ps(value, _mm256_loadu_ps(residual + at));
      _mm256_storeu_ps(y + at, value);
    }
  }
}

qnn_finish_ukernel qnn_finish_ukernel__avx2;
void qnn_finish_ukernel__avx2(const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter,
                              const qnn_finish *finish, const float *residual, float *y, size_t pixel_stride,
                              size_t filter_stride) {
  assert(pixel_stride == 1 || filter_stride == 1);
  const bool is_nhwc = filter_stride == 1;
  const size_t whole_filters = num_filter / 8 * 8, whole_pixels = is_nhwc ? num_pixels : num_pixels / 8 * 8;
  if (is_nhwc)
    finish_nhwc_blocks(counts, ld, num_pixels, whole_filters, finish, residual, y, pixel_stride);
  else
    finish_nchw_blocks(counts, ld, whole_pixels, whole_filters, finish, residual, y, filter_stride);
  if (whole_pixels < num_pixels) {
    const size_t at = whole_pixels * pixel_stride;
    plain_finish(counts + whole_pixels * ld, ld, num_pixels - whole_pixels, whole_filters, finish,
                 residual ? residual + at : NULL, y + at, pixel_stride, filter_stride);
  }
  if (whole_filters == num_filter) return;
  const size_t rest_filters = num_filter - whole_filters, at = whole_filters * filter_stride;
  qnn_finish rest = *finish;
  memmove(rest.base, rest.base + whole_filters, rest_filters * sizeof *rest.base);
  memmove(rest.mean, rest.mean + whole_filters, rest_filters * sizeof *rest.mean);
  memmove(rest.scale, rest.scale + whole_filters, rest_filters * sizeof *rest.scale);
  memmove(rest.bias, rest.bias + whole_filters, rest_filters * sizeof *rest.bias);
  plain_finish(counts + whole_filters, ld, num_pixels, rest_filters, &rest, residual ? residual + at : NULL, y + at,
               pixel_stride, filter_stride);
}
