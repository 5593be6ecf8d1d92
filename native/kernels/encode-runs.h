/* encode-runs.h: the encode kernel of an instruction set whose run() encodes one piece of channels, or all numbers of one:
 *
 *   run(compared, num_planes, is_shared, x, n, steps, words, plane_words)     compared, is_shared: constants
 *
 * Up to 4 planes compare with every threshold (compared = num_planes), more search (compared = 0). */
#ifndef QNN_ENCODE_RUNS_H
#define QNN_ENCODE_RUNS_H

#include "../internal.h"

#define QNN_RUN_CASE(planes, is_shared) \
  case planes: run(planes, planes, is_shared, x + at, count, steps, words, plane_words); break;

#define QNN_RUN_ALL(is_shared)                                                        \
  switch (num_planes) {                                                               \
    QNN_RUN_CASE(1, is_shared)                                                        \
    QNN_RUN_CASE(2, is_shared)                                                        \
    QNN_RUN_CASE(3, is_shared)                                                        \
    QNN_RUN_CASE(4, is_shared)                                                        \
    default: run(0, num_planes, is_shared, x + at, count, steps, words, plane_words); \
  }

#define QNN_ENCODE_RUNS(isa)                                                                                          \
  qnn_encode_ukernel qnn_encode_ukernel__##isa;                                                                       \
  void qnn_encode_ukernel__##isa(const float *x, size_t n, size_t num_planes, const qnn_steps *steps, size_t period,  \
                                 uint64_t *words, size_t plane_words) {                                               \
    assert(num_planes >= 1 && num_planes <= QNN_MAX_PLANES);                                                          \
    assert(period == 1 || period == n || period % QNN_WORD_BITS == 0);                                                \
    const bool is_shared = period == 1;                                                                               \
    const size_t piece = is_shared ? n : period;                                                                      \
    for (size_t at = 0; at < n; at += piece, words += piece / QNN_WORD_BITS) {                                        \
      const size_t count = qnn_min(n - at, piece);                                                                    \
      if (is_shared) QNN_RUN_ALL(true)                                                                                \
      else QNN_RUN_ALL(false)                                                                                         \
    }                                                                                                                 \
  }

#endif
