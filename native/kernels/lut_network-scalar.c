/* lut_network-scalar.c: look-up tables on slices of 128 samples, in plain C. */
#define QNN_LUT_LANES 2
#include "lut_network.h"

QNN_LUT_KERNELS(scalar)
