/* lut_train_frames.c: frames in and out of blocks: [outer][nodes][inner] <-> one row per node, frames along it. */
#include "lut_train.h"

typedef float v4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t v4i __attribute__((vector_size(16)));

/* to[c * to_stride + r] = from[r * from_stride + c], tiles of 4 x 4 in registers. */
static void transpose(const float *restrict from, size_t from_stride, size_t rows, size_t columns, float *restrict to,
                      size_t to_stride) {
  const size_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
  for (size_t r = 0; r < whole_rows; r += 4)
    for (size_t c = 0; c < whole_columns; c += 4) {
      const float *source = from + r * from_stride + c;
      const v4 a = *(const v4 *)source, b = *(const v4 *)(source + from_stride);
      const v4 d = *(const v4 *)(source + 2 * from_stride), e = *(const v4 *)(source + 3 * from_stride);
      const v4 ab_low = __builtin_shuffle(a, b, (v4i){0, 4, 1, 5}), ab_high = __builtin_shuffle(a, b, (v4i){2, 6, 3, 7});
      const v4 de_low = __builtin_shuffle(d, e, (v4i){0, 4, 1, 5}), de_high = __builtin_shuffle(d, e, (v4i){2, 6, 3, 7});
      float *target = to + c * to_stride + r;
      *(v4 *)target = __builtin_shuffle(ab_low, de_low, (v4i){0, 1, 4, 5});
      *(v4 *)(target + to_stride) = __builtin_shuffle(ab_low, de_low, (v4i){2, 3, 6, 7});
      *(v4 *)(target + 2 * to_stride) = __builtin_shuffle(ab_high, de_high, (v4i){0, 1, 4, 5});
      *(v4 *)(target + 3 * to_stride) = __builtin_shuffle(ab_high, de_high, (v4i){2, 3, 6, 7});
    }
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = r < whole_rows ? whole_columns : 0; c < columns; ++c)
      to[c * to_stride + r] = from[r * from_stride + c];
}

/* Calls of `copy` for every run of frames that lie side by side: offset in the tensor of its first node's, in the block. */
#define FOR_RUNS(frames)                                                                                               \
  for (size_t at = 0, length, offset;                                                                                  \
       at < (frames)->count &&                                                                                         \
       (length = qnn_min((frames)->count - at, (frames)->inner - ((frames)->first + at) % (frames)->inner),            \
        offset = ((frames)->first + at) / (frames)->inner * (frames)->nodes * (frames)->inner +                        \
                 ((frames)->first + at) % (frames)->inner, true);                                                      \
       at += length)

void qnn_lut_load(const float *x, const qnn_lut_frames *frames, size_t node, size_t num_nodes, float *rows) {
  assert(num_nodes <= QNN_LUT_STRIP && frames->count <= QNN_LUT_BLOCK);
  if (frames->inner == 1) {
    transpose(x + frames->first * frames->nodes + node, frames->nodes, frames->count, num_nodes, rows, QNN_LUT_BLOCK);
  } else {
    FOR_RUNS(frames)
      for (size_t i = 0; i < num_nodes; ++i)
        memcpy(rows + i * QNN_LUT_BLOCK + at, x + offset + (node + i) * frames->inner, length * sizeof *x);
  }
  for (size_t i = 0; i < num_nodes; ++i)
    memset(rows + i * QNN_LUT_BLOCK + frames->count, 0, (QNN_LUT_BLOCK - frames->count) * sizeof *rows);
}

void qnn_lut_store(const float *rows, const qnn_lut_frames *frames, size_t node, size_t num_nodes, float *x) {
  assert(num_nodes <= QNN_LUT_STRIP && frames->count <= QNN_LUT_BLOCK);
  if (frames->inner == 1) {
    transpose(rows, QNN_LUT_BLOCK, num_nodes, frames->count, x + frames->first * frames->nodes + node, frames->nodes);
    return;
  }
  FOR_RUNS(frames)
    for (size_t i = 0; i < num_nodes; ++i)
      memcpy(x + offset + (node + i) * frames->inner, rows + i * QNN_LUT_BLOCK + at, length * sizeof *x);
}

void qnn_lut_load_bits(const float *x, const qnn_lut_frames *frames, uint8_t *rows) {
  float strip[QNN_LUT_STRIP * QNN_LUT_BLOCK];
  for (size_t node = 0; node < frames->nodes; node += QNN_LUT_STRIP) {
    const size_t num_nodes = qnn_min(QNN_LUT_STRIP, frames->nodes - node);
    qnn_lut_load(x, frames, node, num_nodes, strip);
    for (size_t i = 0; i < num_nodes * QNN_LUT_BLOCK; ++i) rows[node * QNN_LUT_BLOCK + i] = strip[i] > 0.5f;
  }
}

void qnn_lut_load_clipped(const float *x, const qnn_lut_frames *frames, float *rows) {
  for (size_t node = 0; node < frames->nodes; node += QNN_LUT_STRIP) {
    const size_t num_nodes = qnn_min(QNN_LUT_STRIP, frames->nodes - node);
    float *strip = rows + node * QNN_LUT_BLOCK;
    qnn_lut_load(x, frames, node, num_nodes, strip);
    for (size_t i = 0; i < num_nodes * QNN_LUT_BLOCK; ++i) strip[i] = qnn_lut_clip(strip[i]);
  }
}
