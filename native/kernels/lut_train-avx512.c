/* lut_train-avx512.c: a table of 64 floats lies in four registers, and a lookup is two vpermt2ps and a blend. */
#include <immintrin.h>

#define QNN_LUT_LOOKUP
#include "../lut_train.h"

typedef float v16 __attribute__((vector_size(64), aligned(4), may_alias));

typedef struct {
  __m512 parts[4];
} lanes_table;

static inline __attribute__((always_inline)) lanes_table lanes_load_table(const float *table, size_t n) {
  lanes_table result;
  for (size_t part = 0; part < 4; ++part) {
    const size_t first = 16 * part, entries = (size_t)1 << n;
    const __mmask16 valid = first >= entries ? 0 : entries - first >= 16 ? 0xFFFF : (__mmask16)((1u << entries) - 1);
    result.parts[part] = _mm512_maskz_loadu_ps(valid, table + qnn_min(first, entries - 1));
  }
  return result;
}

static inline __attribute__((always_inline)) v16 lanes_lookup(const lanes_table *table, const uint8_t *index, uint8_t with,
                                                              uint8_t without) {
  __m512i i = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)index));
  if (with) i = _mm512_or_si512(i, _mm512_set1_epi32(with));
  if (without) i = _mm512_andnot_si512(_mm512_set1_epi32(without), i);
  const __m512 low = _mm512_permutex2var_ps(table->parts[0], i, table->parts[1]);  /* by the lower 5 bits of i */
  const __m512 high = _mm512_permutex2var_ps(table->parts[2], i, table->parts[3]);
  return (v16)_mm512_mask_blend_ps(_mm512_test_epi32_mask(i, _mm512_set1_epi32(32)), low, high);
}

#include "lut_train-lanes.h"

QNN_LUT_KERNELS(avx512)
