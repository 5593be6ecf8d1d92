/* encode-avx2.c: floats to codes by thresholds, 8 compares to a mask at a time; encode-avx512.c has the method. */
#include <immintrin.h>

#include "plain.h"

enum { most_compared = 4 };

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

/* Bits of 8 codes into bits `at` .. at+7 of a word of each plane. Constants where this is called: num_planes, is_shared
 * (one channel for all lanes). */
static inline __attribute__((always_inline)) void encode(const size_t num_planes, const bool is_shared, const float *x,
                                                         const qnn_steps *steps, size_t channel, size_t at,
                                                         uint64_t *word) {
  const __m256i rank = ranks(_mm256_loadu_si256((const __m256i *)x), load(steps->turn + channel, is_shared));
  const uint32_t *limit = steps->limit + channel;
  __m256i bits[QNN_MAX_PLANES];
#pragma GCC unroll 8
  for (size_t i = 0; i < num_planes; ++i) bits[i] = _mm256_setzero_si256();
  if (num_planes <= most_compared) {
#pragma GCC unroll 15
    for (size_t t = 1; t < (size_t)1 << num_planes; ++t, limit += steps->stride) {
      const __m256i is_above = is_not_below(rank, load(limit, is_shared));
#pragma GCC unroll 4
      for (size_t i = 0; i < num_planes; ++i)
        if (t % ((size_t)1 << i) == 0) bits[i] = _mm256_xor_si256(bits[i], is_above);
    }
  } else {
    __m256i index = is_shared ? _mm256_setzero_si256() : _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    for (size_t i = num_planes; i-- > 0;) {
      const __m256i step = _mm256_set1_epi32((int32_t)(steps->stride << i));
      const __m256i probe = _mm256_sub_epi32(_mm256_add_epi32(index, step), _mm256_set1_epi32((int32_t)steps->stride));
      bits[i] = is_not_below(rank, _mm256_i32gather_epi32((const int *)limit, probe, 4));
      index = _mm256_add_epi32(index, _mm256_and_si256(bits[i], step));
    }
  }
#pragma GCC unroll 8
  for (size_t i = 0; i < num_planes; ++i)
    word[i] |= (uint64_t)(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(bits[i])) << at;
}

static inline __attribute__((always_inline)) void run(const size_t num_planes, const bool is_shared, const float *x,
                                                      size_t n, const qnn_steps *steps, uint64_t *words,
                                                      size_t plane_words) {
  size_t start = 0;
  for (; start + QNN_WORD_BITS <= n; start += QNN_WORD_BITS, ++words) {
    uint64_t word[QNN_MAX_PLANES] = {0};
#pragma GCC unroll 8
    for (size_t i = 0; i < QNN_WORD_BITS; i += 8)
      encode(num_planes, is_shared, x + start + i, steps, is_shared ? 0 : start + i, i, word);
    for (size_t i = 0; i < num_planes; ++i) words[i * plane_words] = word[i];
  }
  if (start == n) return;
  const size_t channel = is_shared ? 0 : start;
  const qnn_steps rest = {steps->turn + channel, steps->limit + channel, steps->stride};
  plain_encode(x + start, n - start, num_planes, &rest, is_shared ? 1 : n, words, plane_words);
}

qnn_encode_ukernel qnn_encode_ukernel__avx2;
void qnn_encode_ukernel__avx2(const float *x, size_t n, size_t num_planes, const qnn_steps *steps, size_t period,
                              uint64_t *words, size_t plane_words) {
  assert(num_planes >= 1 && num_planes <= QNN_MAX_PLANES);
  assert(period == 1 || period == n || period % QNN_WORD_BITS == 0);
  const bool is_shared = period == 1;
  const size_t piece = is_shared ? n : period;
  for (size_t at = 0; at < n; at += piece, words += piece / QNN_WORD_BITS) {
    const size_t count = qnn_min(n - at, piece);
#define RUN(planes, is_shared) run(planes, is_shared, x + at, count, steps, words, plane_words)
    switch (is_shared ? num_planes : num_planes + QNN_MAX_PLANES) {
      case 1: RUN(1, true); break;
      case 2: RUN(2, true); break;
      case 3: RUN(3, true); break;
      case 4: RUN(4, true); break;
      case 9: RUN(1, false); break;
      case 10: RUN(2, false); break;
      case 11: RUN(3, false); break;
      case 12: RUN(4, false); break;
      default: RUN(num_planes, is_shared);
    }
  }
}
