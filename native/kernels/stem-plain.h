/* stem-plain.h: stem-lanes.h in plain C, whose fmaf() rounds once, too. */
#ifndef QNN_STEM_PLAIN_H
#define QNN_STEM_PLAIN_H

#include <math.h>

typedef float floats;
enum { LANES = 1, VECTORS = 2, PIXELS = 6 };

static inline floats load(const float *from) { return *from; }
static inline void store(float *to, floats x) { *to = x; }
static inline floats all(float x) { return x; }
static inline floats fused(floats a, floats b, floats c) { return fmaf(a, b, c); }
static inline floats larger(floats a, floats b) { return a > b ? a : b; }

#include "stem-lanes.h"

#endif
