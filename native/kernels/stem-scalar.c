/* stem-scalar.c: one number at a time. */
#include "stem-plain.h"

const qnn_stem_kernels qnn_stem_kernels__scalar = {convolve, pool};
