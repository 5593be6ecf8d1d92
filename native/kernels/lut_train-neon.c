/* lut_train-neon.c: the kernels of table layers, as the compiler vectorizes them. */
#include "lut_train-lanes.h"

QNN_LUT_KERNELS(neon)
