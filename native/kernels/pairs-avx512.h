/* pairs-avx512.h: the part of the AVX-512 xgemm that counts pairs of words (pairs-avx512.c). */
#ifndef QNN_PAIRS_AVX512_H
#define QNN_PAIRS_AVX512_H

#include "../internal.h"

/* For 4 to 6 pixels and two full panels; QNN_PAIRS_FROM words of all pairs of planes and more: with less of any, the end
 * of a call costs what pairs save. */
enum { QNN_PAIRS_FROM = 12 };
qnn_xgemm_ukernel qnn_pairs_ukernel__avx512;

#endif
