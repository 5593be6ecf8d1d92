/* plain.h: the kernels in plain C, for the instruction sets without vectors worth writing for. A file that wants the
 * xgemm defines QNN_POPCOUNT(word) first. All is static: code compiled with one file's flags must not serve another. */
#ifndef QNN_KERNELS_PLAIN_H
#define QNN_KERNELS_PLAIN_H

#include "../internal.h"

#ifdef QNN_POPCOUNT

/* Position of filter i of a panel of n: even ones first (bits.py, panel_order). */
static inline size_t plain_lane(size_t i, size_t n) { return i / 2 + (i % 2 ? (n + 1) / 2 : 0); }

/* One filter at a time, four pixels: each weight word is loaded once for all of them. has_masks: tgemm. */
static inline __attribute__((always_inline)) void plain_xgemm_pixels(
    const bool has_masks, const size_t num_pixels, const uint64_t *const *pixels, size_t num_filter,
    const uint64_t *panel, const qnn_walk *walk, int32_t *counts, size_t ld) {
  for (size_t f = 0; f < num_filter; ++f) {
    uint64_t sums[4] = {0, 0, 0, 0};
    for (const qnn_pair *pair = walk->pairs, *end = pair + walk->num_pairs; pair < end; ++pair) {
      const uint64_t *w = panel + plain_lane(f, num_filter) + (has_masks ? 0 : pair->panel);
      for (size_t j = 0; j < num_pixels; ++j) sums[j] <<= pair->doubles;
      for (size_t s = 0; s < walk->num_segments; ++s) {
        const uint64_t *p[4];
        for (size_t j = 0; j < num_pixels; ++j) p[j] = pixels[j] + pair->pixel + walk->segments[s];
        for (size_t k = 0; k < walk->segment_words; ++k, w += num_filter) {
          const uint64_t mask = has_masks ? w[pair->panel] : ~(uint64_t)0;
          for (size_t j = 0; j < num_pixels; ++j) sums[j] += QNN_POPCOUNT((p[j][k] ^ *w) & mask);
        }
      }
    }
    for (size_t j = 0; j < num_pixels; ++j) counts[j * ld + f] = (int32_t)sums[j];
  }
}

static inline __attribute__((always_inline)) void plain_xgemm(
    const bool has_masks, size_t num_pixels, const uint64_t *const *pixels, size_t num_filter, const uint64_t *panel,
    const qnn_walk *walk, int32_t *counts, size_t ld) {
  assert(num_pixels >= 1 && num_filter >= 1 && num_filter <= QNN_PANEL_FILTERS);
  for (; num_pixels >= 4; num_pixels -= 4, pixels += 4, counts += 4 * ld)
    plain_xgemm_pixels(has_masks, 4, pixels, num_filter, panel, walk, counts, ld);
  for (; num_pixels > 0; num_pixels -= 1, pixels += 1, counts += ld)
    plain_xgemm_pixels(has_masks, 1, pixels, num_filter, panel, walk, counts, ld);
}

#endif

static inline void plain_pack(const float *x, size_t n, uint64_t *words) {
  for (size_t start = 0; start < n; start += QNN_WORD_BITS) {
    const size_t count = qnn_min(n - start, QNN_WORD_BITS);
    uint64_t word = 0;
    for (size_t j = 0; j < count; ++j) word |= (uint64_t)!qnn_is_negative(x[start + j]) << j;
    *words++ = word;
  }
}

/* By binary search: num_planes comparisons. */
static inline void plain_encode(const float *x, size_t n, size_t num_planes, const qnn_steps *steps, size_t period,
                                uint64_t *words, size_t plane_words) {
  size_t c = 0;
  for (size_t start = 0; start < n; start += QNN_WORD_BITS, ++words) {
    const size_t count = qnn_min(n - start, QNN_WORD_BITS);
    uint64_t word[QNN_MAX_PLANES] = {0};
    for (size_t j = 0; j < count; ++j) {
      const uint32_t rank = qnn_rank(x[start + j], steps->turn[c]);
      size_t code = 0;
      for (size_t i = num_planes; i-- > 0;) {
        const size_t half = (size_t)1 << i, is_above = rank >= steps->limit[(code + half - 1) * steps->stride + c];
        code += is_above << i;
        word[i] |= (uint64_t)is_above << j;
      }
      if (++c == period) c = 0;
    }
    for (size_t i = 0; i < num_planes; ++i) words[i * plane_words] = word[i];
  }
}

/* `residual` is a constant NULL or not where this is inlined. */
static inline __attribute__((always_inline)) void plain_finish_all(
    const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter, const qnn_finish *finish,
    const float *residual, float *y, size_t pixel_stride, size_t filter_stride) {
  const float step = finish->step;
#define QNN_PLAIN_VALUE                                                                                               \
  (finish->base[f] + step * (float)counts[j * ld + f] - finish->mean[f]) * finish->scale[f] + finish->bias[f]
  if (filter_stride == 1) {
    for (size_t j = 0; j < num_pixels; ++j)
      for (size_t f = 0; f < num_filter; ++f) {
        const float value = QNN_PLAIN_VALUE;
        y[j * pixel_stride + f] = residual ? value + residual[j * pixel_stride + f] : value;
      }
    return;
  }
  for (size_t f = 0; f < num_filter; ++f)
    for (size_t j = 0; j < num_pixels; ++j) {
      const float value = QNN_PLAIN_VALUE;
      y[f * filter_stride + j] = residual ? value + residual[f * filter_stride + j] : value;
    }
#undef QNN_PLAIN_VALUE
}

static inline void plain_finish(const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter,
                                const qnn_finish *finish, const float *residual, float *y, size_t pixel_stride,
                                size_t filter_stride) {
  assert(pixel_stride == 1 || filter_stride == 1);
  if (residual)
    plain_finish_all(counts, ld, num_pixels, num_filter, finish, residual, y, pixel_stride, filter_stride);
  else
    plain_finish_all(counts, ld, num_pixels, num_filter, finish, NULL, y, pixel_stride, filter_stride);
}

static inline void plain_threshold(const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter,
                                   const qnn_limits *limits, unsigned char *out, size_t stride) {
  assert(num_filter >= 1 && num_filter <= QNN_MAX_NR);
  for (size_t j = 0; j < num_pixels; ++j, counts += ld, out += stride) {
    uint32_t bits = 0;
    for (size_t f = 0; f < num_filter; ++f) bits |= (uint32_t)(counts[f] <= limits->limit[f]) << f;
    bits = (bits ^ limits->flip) & limits->valid;
    memcpy(out, &bits, num_filter > QNN_PANEL_FILTERS ? 4 : 2);
  }
}

/* The kernels of an instruction set, by the names that dispatch.c expects. */
#define QNN_PLAIN_XGEMM(isa) QNN_PLAIN_GEMM(qnn_xgemm_ukernel__##isa, false)
#define QNN_PLAIN_TGEMM(isa) QNN_PLAIN_GEMM(qnn_tgemm_ukernel__##isa, true)
#define QNN_PLAIN_GEMM(name, has_masks)                                                                               \
  qnn_xgemm_ukernel name;                                                                                             \
  void name(size_t num_pixels, const uint64_t *const *pixels, size_t num_filter, const uint64_t *panels,              \
            const qnn_walk *walk, int32_t *counts, size_t ld) {                                                       \
    plain_xgemm(has_masks, num_pixels, pixels, num_filter, panels, walk, counts, ld);                                 \
  }
#define QNN_PLAIN_PACK(isa)                                                                                           \
  qnn_pack_ukernel qnn_pack_ukernel__##isa;                                                                           \
  void qnn_pack_ukernel__##isa(const float *x, size_t n, uint64_t *words) { plain_pack(x, n, words); }
#define QNN_PLAIN_ENCODE(isa)                                                                                         \
  qnn_encode_ukernel qnn_encode_ukernel__##isa;                                                                       \
  void qnn_encode_ukernel__##isa(const float *x, size_t n, size_t num_planes, const qnn_steps *steps, size_t period,  \
                                 uint64_t *words, size_t plane_words) {                                               \
    plain_encode(x, n, num_planes, steps, period, words, plane_words);                                                \
  }
#define QNN_PLAIN_FINISH(isa)                                                                                         \
  qnn_finish_ukernel qnn_finish_ukernel__##isa;                                                                       \
  void qnn_finish_ukernel__##isa(const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter,              \
                                 const qnn_finish *finish, const float *residual, float *y, size_t pixel_stride,      \
                                 size_t filter_stride) {                                                              \
    plain_finish(counts, ld, num_pixels, num_filter, finish, residual, y, pixel_stride, filter_stride);               \
  }
#define QNN_PLAIN_THRESHOLD(isa)                                                                                      \
  qnn_threshold_ukernel qnn_threshold_ukernel__##isa;                                                                 \
  void qnn_threshold_ukernel__##isa(const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter,           \
                                    const qnn_limits *limits, unsigned char *out, size_t stride) {                    \
    plain_threshold(counts, ld, num_pixels, num_filter, limits, out, stride);                                         \
  }

#endif
