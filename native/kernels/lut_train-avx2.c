/* lut_train-avx2.c: the kernels of table layers, as the compiler vectorizes them. */
#include "lut_train-lanes.h"

QNN_LUT_KERNELS(avx2)
