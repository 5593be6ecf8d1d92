/* roofline-plain.h: the loops in plain C, one word at a time, for a file that defines QNN_POPCOUNT(word) first. */
#ifndef QNN_KERNELS_ROOFLINE_PLAIN_H
#define QNN_KERNELS_ROOFLINE_PLAIN_H

#include "../roofline.h"

static inline uint64_t plain_popcount_loop(size_t iterations) {
  uint64_t x = 0x9E3779B97F4A7C15u, sums[4] = {0, 0, 0, 0};
  const uint64_t w[4] = {0xC2B2AE3D27D4EB4Fu, 0x165667B19E3779F9u, 0x27D4EB2F165667C5u, 0x85EBCA77C2B2AE63u};
  for (size_t round = iterations * (QNN_POPCOUNT_WORDS / 4); round > 0; --round) {
    QNN_OPAQUE(x, "r");
    sums[0] += QNN_POPCOUNT(x ^ w[0]);
    sums[1] += QNN_POPCOUNT(x ^ w[1]);
    sums[2] += QNN_POPCOUNT(x ^ w[2]);
    sums[3] += QNN_POPCOUNT(x ^ w[3]);
  }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

static inline uint64_t plain_stream(const uint64_t *x, size_t num_words) {
  uint64_t input = 0x5555555555555555u, sums[4] = {0, 0, 0, 0};
  QNN_OPAQUE(input, "r");
  for (size_t k = 0; k < num_words; k += 4) {
    sums[0] += QNN_POPCOUNT(x[k] ^ input);
    sums[1] += QNN_POPCOUNT(x[k + 1] ^ input);
    sums[2] += QNN_POPCOUNT(x[k + 2] ^ input);
    sums[3] += QNN_POPCOUNT(x[k + 3] ^ input);
  }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

#define QNN_PLAIN_ROOFLINE(isa)                                                                              \
  qnn_popcount_ukernel qnn_popcount_ukernel__##isa;                                                          \
  uint64_t qnn_popcount_ukernel__##isa(size_t iterations) { return plain_popcount_loop(iterations); }        \
  qnn_stream_ukernel qnn_stream_ukernel__##isa;                                                              \
  uint64_t qnn_stream_ukernel__##isa(const uint64_t *x, size_t num_words) { return plain_stream(x, num_words); }

#endif
