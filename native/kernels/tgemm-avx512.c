/* tgemm-avx512.c: masked weights, popcount((x ^ sign) & mask), by the loops of xgemm-avx512.c. */
#define QNN_TGEMM
#include "xgemm-avx512.c"
