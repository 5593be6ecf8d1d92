/* lanes-avx512.h: registers of 16 floats, or of other 32 bits: masks and transposes. */
#ifndef QNN_KERNELS_LANES_AVX512_H
#define QNN_KERNELS_LANES_AVX512_H

#include <immintrin.h>
#include <stddef.h>

static inline __mmask16 first_lanes(size_t n) { return n < 16 ? (__mmask16)((1u << n) - 1) : 0xFFFF; }

/* Transposes 16 rows of 16 floats: pairs, then quadruples inside 128-bit lanes, then the lanes. */
static inline __attribute__((always_inline)) void transpose16(__m512 r[16]) {
  __m512 t[16];
#pragma GCC unroll 8
  for (size_t i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (size_t i = 0; i < 16; i += 4) {  /* r[i + c]: columns c, c+4, c+8, c+12 of rows i .. i+3, one per lane */
    r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
    r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
    r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
    r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
  }
#pragma GCC unroll 4
  for (size_t c = 0; c < 4; ++c) {
    const __m512 a = _mm512_shuffle_f32x4(r[c], r[c + 4], 0x88), b = _mm512_shuffle_f32x4(r[c], r[c + 4], 0xDD);
    const __m512 d = _mm512_shuffle_f32x4(r[c + 8], r[c + 12], 0x88);
    const __m512 e = _mm512_shuffle_f32x4(r[c + 8], r[c + 12], 0xDD);
    t[c] = _mm512_shuffle_f32x4(a, d, 0x88);
    t[c + 8] = _mm512_shuffle_f32x4(a, d, 0xDD);
    t[c + 4] = _mm512_shuffle_f32x4(b, e, 0x88);
    t[c + 12] = _mm512_shuffle_f32x4(b, e, 0xDD);
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < 16; ++i) r[i] = t[i];
}

#endif
