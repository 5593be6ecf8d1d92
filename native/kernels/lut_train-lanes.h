/* lut_train-lanes.h: the kernels of table layers on 16 frames at once, in GCC's vectors: one source for all instruction
 * sets, every operation rounded by itself, so that all of them give the same bits. A file that has a faster lookup defines
 * QNN_LUT_LOOKUP first. */
#ifndef QNN_KERNELS_LUT_TRAIN_LANES_H
#define QNN_KERNELS_LUT_TRAIN_LANES_H

#include "../lut_train.h"

/* Vectors pass between inlined functions only: no ABI is at stake. */
#pragma GCC diagnostic ignored "-Wpsabi"

typedef float v16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t v16i __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint8_t v64 __attribute__((vector_size(64), aligned(1), may_alias));

#define LANES_INLINE static inline __attribute__((always_inline))

#ifndef QNN_LUT_LOOKUP
typedef struct {
  const float *entries;
} lanes_table;

LANES_INLINE lanes_table lanes_load_table(const float *table, size_t n) {
  (void)n;
  return (lanes_table){table};
}

LANES_INLINE v16 lanes_lookup(const lanes_table *table, const uint8_t *index, uint8_t with, uint8_t without) {
  v16 y;
  for (size_t f = 0; f < QNN_LUT_LANES; ++f) y[f] = table->entries[(index[f] | with) & (uint8_t)~without];
  return y;
}
#endif

LANES_INLINE v16 lanes_splat(float x) { return (v16){} + x; }

LANES_INLINE void lanes_add(float *row, v16 x) { *(v16 *)row += x; }

/* dy1 of dy: see qnn_lut_norm. */
LANES_INLINE v16 lanes_output_grad(v16 y1, v16 dy, const qnn_lut_norm *norm) {
  const v16 y2 = ((y1 - norm->mean) * norm->rstd) * norm->gamma + norm->beta;
  const v16i passes = ((y2 > 0.0f) & (y2 < 1.0f)) | -(v16i)((v16i){} + (norm->is_masked ? 0 : 1));
  return (v16)((v16i)dy & passes) * norm->scale + ((y1 - norm->mean) * norm->slope + norm->offset);
}

/* Horner's scheme on bytes, over the whole block: rows are never shorter. */
LANES_INLINE void lanes_index(const uint8_t *const *rows, size_t n, uint8_t *index) {
  for (size_t f = 0; f < QNN_LUT_BLOCK; f += sizeof(v64)) {
    v64 sum = *(const v64 *)(rows[n - 1] + f);
    for (size_t k = n - 1; k-- > 0;) sum += sum + *(const v64 *)(rows[k] + f);
    *(v64 *)(index + f) = sum;
  }
}

LANES_INLINE void lanes_lookups(const float *table, size_t n, const uint8_t *index, size_t count, float *y) {
  const lanes_table entries = lanes_load_table(table, n);
  for (size_t f = 0; f < count; f += QNN_LUT_LANES) *(v16 *)(y + f) = lanes_lookup(&entries, index + f, 0, 0);
}

LANES_INLINE void lanes_input_grad(const float *table, size_t n, const uint8_t *index, const qnn_lut_norm *norm, float step,
                                   const float *dy, size_t count, float *const *dx) {
  const lanes_table entries = lanes_load_table(table, n);
  for (size_t f = 0; f < count; f += QNN_LUT_LANES) {
    const v16 y1 = lanes_lookup(&entries, index + f, 0, 0);
    const v16 dy1 = lanes_output_grad(y1, *(const v16 *)(dy + f), norm) * step;
    for (size_t k = 0; k < n; ++k) {
      const uint8_t bit = (uint8_t)(1 << k);
      lanes_add(dx[k] + f, dy1 * (lanes_lookup(&entries, index + f, bit, 0) - lanes_lookup(&entries, index + f, 0, bit)));
    }
  }
}

/* One level of lerps after the other, bit 0 first; steps[j][i] = b - a of lerp i of level j, if wanted. */
LANES_INLINE v16 lanes_tree_of(const float *table, size_t n, const v16 *x, v16 (*steps)[QNN_LUT_ENTRIES / 2]) {
  v16 level[QNN_LUT_ENTRIES / 2];
  size_t half = (size_t)1 << (n - 1);
#pragma GCC unroll 32
  for (size_t i = 0; i < half; ++i) {
    const float step = table[2 * i + 1] - table[2 * i];
    level[i] = table[2 * i] + x[0] * step;
  }
#pragma GCC unroll 6
  for (size_t j = 1; j < n; ++j) {
    half >>= 1;
#pragma GCC unroll 16
    for (size_t i = 0; i < half; ++i) {
      const v16 step = level[2 * i + 1] - level[2 * i];
      if (steps) steps[j][i] = step;
      level[i] = level[2 * i] + x[j] * step;
    }
  }
  return level[0];
}

LANES_INLINE void lanes_tree(const float *table, size_t n, const float *const *rows, size_t count, float *y) {
  for (size_t f = 0; f < count; f += QNN_LUT_LANES) {
    v16 x[QNN_LUT_MAX_N];
    for (size_t k = 0; k < n; ++k) x[k] = *(const v16 *)(rows[k] + f);
    *(v16 *)(y + f) = lanes_tree_of(table, n, x, NULL);
  }
}

LANES_INLINE void lanes_tree_grad(const float *table, size_t n, const float *const *rows, const qnn_lut_norm *norm,
                                  const float *dy, size_t count, float *dtable, float *const *dx) {
  const size_t entries = (size_t)1 << n;
  v16 sums[QNN_LUT_ENTRIES], grad[QNN_LUT_ENTRIES], steps[QNN_LUT_MAX_N][QNN_LUT_ENTRIES / 2];
  for (size_t i = 0; i < entries; ++i) sums[i] = lanes_splat(0.0f);
  for (size_t i = 0; i < entries / 2; ++i) steps[0][i] = lanes_splat(table[2 * i + 1] - table[2 * i]);
  for (size_t f = 0; f < count; f += QNN_LUT_LANES) {
    v16 x[QNN_LUT_MAX_N];
    for (size_t k = 0; k < n; ++k) x[k] = *(const v16 *)(rows[k] + f);
    const v16 y1 = lanes_tree_of(table, n, x, steps);
    grad[0] = lanes_output_grad(y1, *(const v16 *)(dy + f), norm);
    for (size_t lane = qnn_min(count - f, QNN_LUT_LANES); lane < QNN_LUT_LANES; ++lane) grad[0][lane] = 0.0f;
    /* Downwards: the gradient of a lerp's ends. From the right, so that level j+1 may overwrite level j. */
    for (size_t j = n; j-- > 0;) {
      v16 slope = lanes_splat(0.0f);
      for (size_t i = (size_t)1 << (n - 1 - j); i-- > 0;) {
        const v16 g = grad[i], high = g * x[j];
        slope += g * steps[j][i];
        grad[2 * i] = g - high;
        grad[2 * i + 1] = high;
      }
      if (dx) lanes_add(dx[j] + f, slope);
    }
    for (size_t i = 0; i < entries; ++i) sums[i] += grad[i];
  }
  for (size_t i = 0; i < entries; ++i) {
    float sum = 0.0f;
    for (size_t f = 0; f < QNN_LUT_LANES; ++f) sum += sums[i][f];
    dtable[i] += sum;
  }
}

/* `n` is a constant inside, so that all loops over levels unroll. */
#define LANES_BY_N(n, call)     \
  switch (n) {                  \
    case 2: { enum { N = 2 }; call; } break; \
    case 3: { enum { N = 3 }; call; } break; \
    case 4: { enum { N = 4 }; call; } break; \
    case 5: { enum { N = 5 }; call; } break; \
    default: { enum { N = 6 }; call; }       \
  }

#define QNN_LUT_KERNELS(isa)                                                                                             \
  qnn_lut_index_ukernel qnn_lut_index_ukernel__##isa;                                                                    \
  void qnn_lut_index_ukernel__##isa(const uint8_t *const *rows, size_t n, uint8_t *index) {                              \
    LANES_BY_N(n, lanes_index(rows, N, index))                                                                           \
  }                                                                                                                      \
  qnn_lut_lookup_ukernel qnn_lut_lookup_ukernel__##isa;                                                                  \
  void qnn_lut_lookup_ukernel__##isa(const float *table, size_t n, const uint8_t *index, size_t count, float *y) {       \
    assert(count % QNN_LUT_LANES == 0);                                                                                  \
    lanes_lookups(table, n, index, count, y);                                                                            \
  }                                                                                                                      \
  qnn_lut_input_grad_ukernel qnn_lut_input_grad_ukernel__##isa;                                                          \
  void qnn_lut_input_grad_ukernel__##isa(const float *table, size_t n, const uint8_t *index, const qnn_lut_norm *norm,   \
                                         float step, const float *dy, size_t count, float *const *dx) {                 \
    assert(count % QNN_LUT_LANES == 0);                                                                                  \
    LANES_BY_N(n, lanes_input_grad(table, N, index, norm, step, dy, count, dx))                                          \
  }                                                                                                                      \
  qnn_lut_tree_ukernel qnn_lut_tree_ukernel__##isa;                                                                      \
  void qnn_lut_tree_ukernel__##isa(const float *table, size_t n, const float *const *rows, size_t count, float *y) {     \
    assert(count % QNN_LUT_LANES == 0);                                                                                  \
    LANES_BY_N(n, lanes_tree(table, N, rows, count, y))                                                                  \
  }                                                                                                                      \
  qnn_lut_tree_grad_ukernel qnn_lut_tree_grad_ukernel__##isa;                                                            \
  void qnn_lut_tree_grad_ukernel__##isa(const float *table, size_t n, const float *const *rows, const qnn_lut_norm *norm, \
                                        const float *dy, size_t count, float *dtable, float *const *dx) {                \
    assert(count <= QNN_LUT_BLOCK);                                                                                      \
    LANES_BY_N(n, lanes_tree_grad(table, N, rows, norm, dy, count, dtable, dx))                                          \
  }

#endif
