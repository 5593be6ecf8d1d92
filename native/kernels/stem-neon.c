/* stem-neon.c: 6 pixels x 16 filters in 24 of the 32 registers. */
#include <arm_neon.h>

typedef float32x4_t floats;
enum { LANES = 4, VECTORS = 4, PIXELS = 6 };

static inline floats load(const float *from) { return vld1q_f32(from); }
static inline void store(float *to, floats x) { vst1q_f32(to, x); }
static inline floats all(float x) { return vdupq_n_f32(x); }
static inline floats fused(floats a, floats b, floats c) { return vfmaq_f32(c, a, b); }
static inline floats larger(floats a, floats b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }

#include "stem-lanes.h"

const qnn_stem_kernels qnn_stem_kernels__neon = {convolve, pool};
