/* roofline-avx512.c: 4 weights against 4 inputs, 16 sums: three instructions per 512 bits. */
#include <immintrin.h>

#include "../roofline.h"

enum { num_inputs = 4, num_weights = 4, lanes = 8, round_words = num_inputs * num_weights * lanes, stream_sums = 8 };

qnn_popcount_ukernel qnn_popcount_ukernel__avx512;
uint64_t qnn_popcount_ukernel__avx512(size_t iterations) {
  __m512i x[num_inputs], w[num_weights], sum[num_inputs][num_weights];
#pragma GCC unroll 4
  for (size_t j = 0; j < num_inputs; ++j) {
    x[j] = _mm512_set1_epi64((long long)(0x9E3779B97F4A7C15u * (j + 1)));
    w[j] = _mm512_set1_epi64((long long)(0xC2B2AE3D27D4EB4Fu * (j + 1)));
#pragma GCC unroll 4
    for (size_t i = 0; i < num_weights; ++i) sum[j][i] = _mm512_setzero_si512();
  }
  for (size_t round = iterations * (QNN_POPCOUNT_WORDS / round_words); round > 0; --round) {
#pragma GCC unroll 4
    for (size_t j = 0; j < num_inputs; ++j) {
      QNN_OPAQUE(x[j], "v");
#pragma GCC unroll 4
      for (size_t i = 0; i < num_weights; ++i)
        sum[j][i] = _mm512_add_epi64(sum[j][i], _mm512_popcnt_epi64(_mm512_xor_si512(x[j], w[i])));
    }
  }
  __m512i total = _mm512_setzero_si512();
  for (size_t j = 0; j < num_inputs; ++j)
    for (size_t i = 0; i < num_weights; ++i) total = _mm512_add_epi64(total, sum[j][i]);
  return (uint64_t)_mm512_reduce_add_epi64(total);
}

qnn_stream_ukernel qnn_stream_ukernel__avx512;
uint64_t qnn_stream_ukernel__avx512(const uint64_t *x, size_t num_words) {
  __m512i sum[stream_sums], input = _mm512_set1_epi64(0x5555555555555555);
  QNN_OPAQUE(input, "v");
#pragma GCC unroll 8
  for (size_t i = 0; i < stream_sums; ++i) sum[i] = _mm512_setzero_si512();
  for (size_t k = 0; k < num_words; k += stream_sums * lanes)
#pragma GCC unroll 8
    for (size_t i = 0; i < stream_sums; ++i)
      sum[i] = _mm512_add_epi64(sum[i], _mm512_popcnt_epi64(_mm512_xor_si512(
                                            input, _mm512_loadu_si512(x + k + i * lanes))));
  __m512i total = sum[0];
  for (size_t i = 1; i < stream_sums; ++i) total = _mm512_add_epi64(total, sum[i]);
  return (uint64_t)_mm512_reduce_add_epi64(total);
}
