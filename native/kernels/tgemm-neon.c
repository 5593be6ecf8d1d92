/* tgemm-neon.c: masked weights, popcount((x ^ sign) & mask), by the loops of xgemm-neon.c. */
#define QNN_TGEMM
#include "xgemm-neon.c"
