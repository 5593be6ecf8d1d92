/* pairs-avx512.h: the part of the AVX-512 xgemm that counts pairs of words (pairs-avx512.c). */
#ifndef QNN_PAIRS_AVX512_H
#define QNN_PAIRS_AVX512_H

#include "../internal.h"

/* For 4 to 6 pixels; QNN_PAIRS_FROM words and more, where the end of a call costs less than pairs save. */
enum { QNN_PAIRS_FROM = 9 };
qnn_xgemm_ukernel qnn_pairs_ukernel__avx512;

#endif
