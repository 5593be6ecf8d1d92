/* encode-avx2.c: floats to codes by thresholds, 8 compares to a mask at a time; encode-avx512.c has the method. */
#include <immintrin.h>

#include "encode-runs.h"
#include "plain.h"

/* qnn_rank of 8 floats. */
static inline __m256i ranks(__m256i bits, __m256i turn) {
  const __m256i sign = _mm256_srai_epi32(bits, 31);
  const __m256i key = _mm256_xor_si256(bits, _mm256_and_si256(sign, _mm256_set1_epi32(0x7FFFFFFF)));
  return _mm256_sub_epi32(_mm256_xor_si256(key, turn), _mm256_set1_epi32((int32_t)0x807FFFFFu));
}

static inline __m256i load(const void *from, const bool is_shared) {
  return is_shared ? _mm256_set1_epi32(*(const int32_t *)from) : _mm256_loadu_si256((const __m256i *)from);
}

/* AVX2 compares signed numbers only; but the unsigned maximum of two numbers is the first where it is not below. */
static inline __m256i is_not_below(__m256i a, __m256i b) { return _mm256_cmpeq_epi32(_mm256_max_epu32(a, b), a); }

/* Bits of 8 codes, as masks of lanes, for each plane. Constants where these are called: num_planes of compare, is_shared
 * (one channel for all lanes). */
static inline __attribute__((always_inline)) void compare(const size_t num_planes, const bool is_shared, __m256i rank,
                                                          const uint32_t *limit, size_t stride, __m256i *bits) {
#pragma GCC unroll 4
  for (size_t i = 0; i < num_planes; ++i) bits[i] = _mm256_setzero_si256();
  for (size_t t = 1; t < (size_t)1 << num_planes; ++t, limit += stride) {
    const __m256i is_above = is_not_below(rank, load(limit, is_shared));
#pragma GCC unroll 4
    for (size_t i = 0; i < num_planes; ++i)
      if (t % ((size_t)1 << i) == 0) bits[i] = _mm256_xor_si256(bits[i], is_above);
  }
}

static inline void search(size_t num_planes, const bool is_shared, __m256i rank, const uint32_t *limit, size_t stride,
                          __m256i *bits) {
  __m256i index = is_shared ? _mm256_setzero_si256() : _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  for (size_t i = num_planes; i-- > 0;) {
    const __m256i step = _mm256_set1_epi32((int32_t)(stride << i));
    const __m256i probe = _mm256_sub_epi32(_mm256_add_epi32(index, step), _mm256_set1_epi32((int32_t)stride));
    bits[i] = is_not_below(rank, _mm256_i32gather_epi32((const int *)limit, probe, 4));
    index = _mm256_add_epi32(index, _mm256_and_si256(bits[i], step));
  }
}

/* compared: the number of planes, a constant; 0: more than that, by search. */
static inline __attribute__((always_inline)) void run(const size_t compared, size_t num_planes, const bool is_shared,
                                                      const float *x, size_t n, const qnn_steps *steps,
                                                      uint64_t *words, size_t plane_words) {
  size_t start = 0;
  for (; start + QNN_WORD_BITS <= n; start += QNN_WORD_BITS, ++words) {
    uint64_t word[QNN_MAX_PLANES] = {0};
    for (size_t i = 0; i < QNN_WORD_BITS; i += 8) {
      const size_t channel = is_shared ? 0 : start + i;
      const __m256i floats = _mm256_loadu_si256((const __m256i *)(x + start + i));
      const __m256i rank = ranks(floats, load(steps->turn + channel, is_shared));
      __m256i bits[QNN_MAX_PLANES];
      if (compared)
        compare(compared, is_shared, rank, steps->limit + channel, steps->stride, bits);
      else
        search(num_planes, is_shared, rank, steps->limit + channel, steps->stride, bits);
      for (size_t plane = 0; plane < num_planes; ++plane)
        word[plane] |= (uint64_t)(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(bits[plane])) << i;
    }
    for (size_t i = 0; i < num_planes; ++i) words[i * plane_words] = word[i];
  }
  if (start == n) return;
  const size_t channel = is_shared ? 0 : start;
  const qnn_steps rest = {steps->turn + channel, steps->limit + channel, steps->stride};
  plain_encode(x + start, n - start, num_planes, &rest, is_shared ? 1 : n, words, plane_words);
}

QNN_ENCODE_RUNS(avx2)
