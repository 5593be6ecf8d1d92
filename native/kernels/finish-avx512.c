/* finish-avx512.c: counts to the float output. NCHW turns 16 pixels x 16 filters around in registers. */
#include <immintrin.h>

#include "../internal.h"
#include "lanes-avx512.h"

/* base + step * count: exact (internal.h, qnn_finish), hence fused. */
static inline __m512 accumulators(const int32_t *counts, __m512 base, __m512 step) {
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(counts)), step, base);
}

/* Not a fused multiply-add: the definition rounds every operation. */
static inline __m512 normalise(__m512 accum, __m512 mean, __m512 scale, __m512 bias) {
  return _mm512_add_ps(_mm512_mul_ps(_mm512_sub_ps(accum, mean), scale), bias);
}

static inline void finish_nhwc(const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter,
                               const qnn_finish *finish, const float *residual, float *y, size_t pixel_stride) {
  const __m512 step = _mm512_set1_ps(finish->step);
  for (size_t f = 0; f < num_filter; f += 16) {
    const __mmask16 lanes = first_lanes(num_filter - f);
    const __m512 mean = _mm512_loadu_ps(finish->mean + f), scale = _mm512_loadu_ps(finish->scale + f);
    const __m512 bias = _mm512_loadu_ps(finish->bias + f), base = _mm512_loadu_ps(finish->base + f);
    for (size_t j = 0; j < num_pixels; ++j) {
      const size_t at = j * pixel_stride + f;
      __m512 value = normalise(accumulators(counts + j * ld + f, base, step), mean, scale, bias);
      if (residual) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(lanes, residual + at));
      _mm512_mask_storeu_ps(y + at, lanes, value);
    }
  }
}

static inline void finish_nchw(const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter,
                               const qnn_finish *finish, const float *residual, float *y, size_t filter_stride) {
  const __m512 step = _mm512_set1_ps(finish->step);
  for (size_t f = 0; f < num_filter; f += 16) {
    const __m512 base = _mm512_loadu_ps(finish->base + f);
    for (size_t j = 0; j < num_pixels; j += 16) {
      const size_t rows = qnn_min(num_pixels - j, 16), columns = qnn_min(num_filter - f, 16);
      const __mmask16 lanes = first_lanes(rows);
      __m512 r[16];
      if (rows == 16) {
#pragma GCC unroll 16
        for (size_t i = 0; i < 16; ++i) r[i] = accumulators(counts + (j + i) * ld + f, base, step);
      } else {
#pragma GCC unroll 16
        for (size_t i = 0; i < 16; ++i)
          r[i] = i < rows ? accumulators(counts + (j + i) * ld + f, base, step) : _mm512_setzero_ps();
      }
      transpose16(r);
#pragma GCC unroll 16
      for (size_t i = 0; i < 16; ++i) {
        if (i >= columns) break;
        const size_t at = (f + i) * filter_stride + j;
        const __m512 mean = _mm512_set1_ps(finish->mean[f + i]), scale = _mm512_set1_ps(finish->scale[f + i]);
        __m512 value = normalise(r[i], mean, scale, _mm512_set1_ps(finish->bias[f + i]));
        if (residual) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(lanes, residual + at));
        _mm512_mask_storeu_ps(y + at, lanes, value);
      }
    }
  }
}

qnn_finish_ukernel qnn_finish_ukernel__avx512;
void qnn_finish_ukernel__avx512(const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter,
                                const qnn_finish *finish, const float *residual, float *y, size_t pixel_stride,
                                size_t filter_stride) {
  assert(pixel_stride == 1 || filter_stride == 1);
  if (filter_stride == 1)
    finish_nhwc(counts, ld, num_pixels, num_filter, finish, residual, y, pixel_stride);
  else
    finish_nchw(counts, ld, num_pixels, num_filter, finish, residual, y, filter_stride);
}
