/* stem-avx512.c: 6 pixels x 64 filters in 24 of the 32 registers. */
#include <immintrin.h>

typedef __m512 floats;
enum { LANES = 16, VECTORS = 4, PIXELS = 6 };

static inline floats load(const float *from) { return _mm512_loadu_ps(from); }
static inline void store(float *to, floats x) { _mm512_storeu_ps(to, x); }
static inline floats all(float x) { return _mm512_set1_ps(x); }
static inline floats fused(floats a, floats b, floats c) { return _mm512_fmadd_ps(a, b, c); }
static inline floats larger(floats a, floats b) { return _mm512_max_ps(a, b); }

#include "stem-lanes.h"

const qnn_stem_kernels qnn_stem_kernels__avx512 = {convolve, pool};
