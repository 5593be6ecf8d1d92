/* roofline-avx2.c: bytes are counted by vpshufb and summed for 16 rounds before vpsadbw widens them, as the xgemm does
 * every 31 words: 2 weights against 2 inputs, 4 sums. */
#include <immintrin.h>

#include "../roofline.h"

enum { num_inputs = 2, num_weights = 2, lanes = 4, byte_rounds = 16,
       round_words = num_inputs * num_weights * lanes * byte_rounds, stream_sums = 4 };

static inline __m256i count_bytes(__m256i x) {
  const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
                                         0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i low = _mm256_and_si256(x, nibble), high = _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble);
  return _mm256_add_epi8(_mm256_shuffle_epi8(table, low), _mm256_shuffle_epi8(table, high));
}

static inline __m256i widen(__m256i bytes) { return _mm256_sad_epu8(bytes, _mm256_setzero_si256()); }

static inline uint64_t add_lanes(__m256i x) {
  uint64_t words[lanes];
  _mm256_storeu_si256((__m256i *)words, x);
  return words[0] + words[1] + words[2] + words[3];
}

qnn_popcount_ukernel qnn_popcount_ukernel__avx2;
uint64_t qnn_popcount_ukernel__avx2(size_t iterations) {
  __m256i x[num_inputs] = {_mm256_set1_epi64x(0x1E3779B97F4A7C15), _mm256_set1_epi64x(0x3C6EF372FE94F82A)};
  __m256i w[num_weights] = {_mm256_set1_epi64x(0x42B2AE3D27D4EB4F), _mm256_set1_epi64x(0x05655C7A4FA9D69E)};
  __m256i sum = _mm256_setzero_si256();
  for (size_t round = iterations * (QNN_POPCOUNT_WORDS / round_words); round > 0; --round) {
    __m256i bytes[num_inputs][num_weights];
#pragma GCC unroll 2
    for (size_t j = 0; j < num_inputs; ++j)
#pragma GCC unroll 2
      for (size_t i = 0; i < num_weights; ++i) bytes[j][i] = _mm256_setzero_si256();
    for (size_t step = 0; step < byte_rounds; ++step)
#pragma GCC unroll 2
      for (size_t j = 0; j < num_inputs; ++j) {
        QNN_OPAQUE(x[j], "x");
#pragma GCC unroll 2
        for (size_t i = 0; i < num_weights; ++i)
          bytes[j][i] = _mm256_add_epi8(bytes[j][i], count_bytes(_mm256_xor_si256(x[j], w[i])));
      }
#pragma GCC unroll 2
    for (size_t j = 0; j < num_inputs; ++j)
#pragma GCC unroll 2
      for (size_t i = 0; i < num_weights; ++i) sum = _mm256_add_epi64(sum, widen(bytes[j][i]));
  }
  return add_lanes(sum);
}

qnn_stream_ukernel qnn_stream_ukernel__avx2;
uint64_t qnn_stream_ukernel__avx2(const uint64_t *x, size_t num_words) {
  __m256i sum = _mm256_setzero_si256(), input = _mm256_set1_epi64x(0x5555555555555555);
  QNN_OPAQUE(input, "x");
  for (size_t k = 0; k < num_words; k += 64) {  /* 16 registers in 4 sums of bytes */
    __m256i bytes[stream_sums];
#pragma GCC unroll 4
    for (size_t i = 0; i < stream_sums; ++i) bytes[i] = _mm256_setzero_si256();
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; ++i)
      bytes[i % stream_sums] = _mm256_add_epi8(
          bytes[i % stream_sums],
          count_bytes(_mm256_xor_si256(input, _mm256_loadu_si256((const __m256i *)(x + k + i * lanes)))));
    const __m256i low = _mm256_add_epi8(bytes[0], bytes[1]), high = _mm256_add_epi8(bytes[2], bytes[3]);
    sum = _mm256_add_epi64(sum, widen(_mm256_add_epi8(low, high)));  /* 16 registers: at most 128 */
  }
  return add_lanes(sum);
}
