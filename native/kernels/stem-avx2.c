/* stem-avx2.c: 6 pixels x 16 filters in 12 of the 16 registers. */
#include <immintrin.h>

typedef __m256 floats;
enum { LANES = 8, VECTORS = 2, PIXELS = 6 };

static inline floats load(const float *from) { return _mm256_loadu_ps(from); }
static inline void store(float *to, floats x) { _mm256_storeu_ps(to, x); }
static inline floats all(float x) { return _mm256_set1_ps(x); }
static inline floats fused(floats a, floats b, floats c) { return _mm256_fmadd_ps(a, b, c); }
static inline floats larger(floats a, floats b) { return _mm256_max_ps(a, b); }

#include "stem-lanes.h"

const qnn_stem_kernels qnn_stem_kernels__avx2 = {convolve, pool};
