/* lut_train_frames.c: frames in and out of blocks: [outer][nodes][inner] <-> one row per node, frames along it. */
#include "lut_train.h"

typedef float v4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t v4i __attribute__((vector_size(16)));

/* to[c * to_stride + r] = from[r * from_stride + c] for a tile of 4 x 4. */
static inline void transpose_tile(const float *from, size_t from_stride, float *to, size_t to_stride) {
  const v4 a = *(const v4 *)from, b = *(const v4 *)(from + from_stride);
  const v4 c = *(const v4 *)(from + 2 * from_stride), d = *(const v4 *)(from + 3 * from_stride);
  const v4 ab_low = __builtin_shuffle(a, b, (v4i){0, 4, 1, 5}), ab_high = __builtin_shuffle(a, b, (v4i){2, 6, 3, 7});
  const v4 cd_low = __builtin_shuffle(c, d, (v4i){0, 4, 1, 5}), cd_high = __builtin_shuffle(c, d, (v4i){2, 6, 3, 7});
  *(v4 *)to = __builtin_shuffle(ab_low, cd_low, (v4i){0, 1, 4, 5});
  *(v4 *)(to + to_stride) = __builtin_shuffle(ab_low, cd_low, (v4i){2, 3, 6, 7});
  *(v4 *)(to + 2 * to_stride) = __builtin_shuffle(ab_high, cd_high, (v4i){0, 1, 4, 5});
  *(v4 *)(to + 3 * to_stride) = __builtin_shuffle(ab_high, cd_high, (v4i){2, 3, 6, 7});
}

/* The inner loop goes along the tensor's memory, whose rows often lie a multiple of a page apart. */
static void transpose(const float *restrict from, size_t from_stride, size_t rows, size_t columns, float *restrict to,
                      size_t to_stride) {
  const size_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
  if (from_stride >= to_stride) {
    for (size_t r = 0; r < whole_rows; r += 4)
      for (size_t c = 0; c < whole_columns; c += 4)
        transpose_tile(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
  } else {
    for (size_t c = 0; c < whole_columns; c += 4)
      for (size_t r = 0; r < whole_rows; r += 4)
        transpose_tile(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
  }
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = r < whole_rows ? whole_columns : 0; c < columns; ++c)
      to[c * to_stride + r] = from[r * from_stride + c];
}

/* For every run of frames that lie side by side: `at` in the block, `offset` of node 0 in the tensor, `length`. */
#define FOR_RUNS(frames)                                                                                               \
  for (size_t at = 0, length, offset;                                                                                  \
       at < (frames)->count &&                                                                                         \
       (length = qnn_min((frames)->count - at, (frames)->inner - ((frames)->first + at) % (frames)->inner),            \
        offset = ((frames)->first + at) / (frames)->inner * (frames)->nodes * (frames)->inner +                        \
                 ((frames)->first + at) % (frames)->inner, true);                                                      \
       at += length)

/* For every run of frames whose windows lie side by side in a row of an image: `at` in the block, `offset` of the window's
 * first pixel from the first of the input's plane in image 0, `length`. */
#define FOR_WINDOW_RUNS(frames, l, out_width)                                                                          \
  for (size_t at = 0, length, offset;                                                                                  \
       at < (frames)->count &&                                                                                         \
       (length = qnn_min((frames)->count - at, (out_width) - ((frames)->first + at) % (frames)->inner % (out_width)),  \
        offset = ((frames)->first + at) / (frames)->inner * (l)->channels * (l)->height * (l)->width +                 \
                 ((frames)->first + at) % (frames)->inner / (out_width) * (l)->stride_h * (l)->width +                 \
                 ((frames)->first + at) % (frames)->inner % (out_width) * (l)->stride_w, true);                        \
       at += length)

static void load_windows(const float *x, const qnn_lut_frames *frames, size_t node, size_t num_nodes, float *rows) {
  const qnn_lut_layer *l = frames->windows;
  const size_t out_width = qnn_lut_out_width(l), step = l->stride_w;
  FOR_WINDOW_RUNS(frames, l, out_width)
    for (size_t i = 0; i < num_nodes; ++i) {
      const float *from = x + offset + frames->pixels[node + i];
      float *restrict to = rows + i * QNN_LUT_BLOCK + at;
      if (step == 1)
        for (size_t f = 0; f < length; ++f) to[f] = from[f];
      else
        for (size_t f = 0; f < length; ++f) to[f] = from[f * step];
    }
}

void qnn_lut_add_windows(const float *rows, const qnn_lut_frames *frames, size_t node, size_t num_nodes, float *x) {
  const qnn_lut_layer *l = frames->windows;
  const size_t out_width = qnn_lut_out_width(l), step = l->stride_w;
  FOR_WINDOW_RUNS(frames, l, out_width)
    for (size_t i = 0; i < num_nodes; ++i) {
      const float *restrict from = rows + i * QNN_LUT_BLOCK + at;
      float *to = x + offset + frames->pixels[node + i];
      if (step == 1)
        for (size_t f = 0; f < length; ++f) to[f] += from[f];
      else
        for (size_t f = 0; f < length; ++f) to[f * step] += from[f];
    }
}

void qnn_lut_load(const float *x, const qnn_lut_frames *frames, size_t node, size_t num_nodes, float *rows) {
  assert(num_nodes <= QNN_LUT_STRIP && frames->count <= QNN_LUT_BLOCK);
  if (frames->windows) {
    load_windows(x, frames, node, num_nodes, rows);
  } else if (frames->inner == 1) {
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

static void load_window_bits(const float *x, const qnn_lut_frames *frames, uint8_t *rows) {
  const qnn_lut_layer *l = frames->windows;
  const size_t out_width = qnn_lut_out_width(l), step = l->stride_w;
  FOR_WINDOW_RUNS(frames, l, out_width)
    for (size_t i = 0; i < frames->nodes; ++i) {
      const float *from = x + offset + frames->pixels[i];
      uint8_t *restrict to = rows + i * QNN_LUT_BLOCK + at;
      if (step == 1)
        for (size_t f = 0; f < length; ++f) to[f] = from[f] > 0.5f;
      else
        for (size_t f = 0; f < length; ++f) to[f] = from[f * step] > 0.5f;
    }
  for (size_t i = 0; i < frames->nodes; ++i) memset(rows + i * QNN_LUT_BLOCK + frames->count, 0, QNN_LUT_BLOCK - frames->count);
}

void qnn_lut_load_bits(const float *x, const qnn_lut_frames *frames, uint8_t *rows) {
  if (frames->windows) {
    load_window_bits(x, frames, rows);
    return;
  }
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
