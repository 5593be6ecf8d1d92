/* tgemm-avx2.c: masked weights, popcount((x ^ sign) & mask), by the loops of xgemm-avx2.c. */
#define QNN_TGEMM
#include "xgemm-avx2.c"
