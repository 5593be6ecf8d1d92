/* pack.c: signs of floats -> words, and back; the entry points of packing images, with and without thresholds. */
#include <math.h>
#include <stdlib.h>

#include "images.h"

enum {
  grain_floats = 1 << 15,
  stack_limits = 2048         /* of thresholds of channels: 8 KiB */
};

qnn_status qnn_pack_rows(const float *x, size_t rows, size_t cols, size_t stride, uint64_t *words) {
  if (!x || !words) return QNN_BAD_ARGUMENT;
  if (!rows || !cols || stride < cols || !qnn_fits(rows, stride, 1, 1, sizeof *x)) return QNN_BAD_SHAPE;
  const qnn_isa *isa = qnn_isa_active();
  const size_t row_words = qnn_words_for(cols);
  const int num_threads = qnn_threads_for(rows * cols, grain_floats);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t row = 0; row < rows; ++row) isa->pack(x + row * stride, cols, words + row * row_words);
  return QNN_OK;
}

qnn_status qnn_unpack_rows(const uint64_t *words, size_t rows, size_t cols, float *x) {
  if (!x || !words) return QNN_BAD_ARGUMENT;
  if (!rows || !cols || !qnn_fits(rows, cols, 1, 1, sizeof *x)) return QNN_BAD_SHAPE;
  const size_t row_words = qnn_words_for(cols);
  for (size_t row = 0; row < rows; ++row, words += row_words)
    for (size_t i = 0; i < cols; ++i)
      *x++ = words[i / QNN_WORD_BITS] >> (i % QNN_WORD_BITS) & 1 ? 1.0f : -1.0f;
  return QNN_OK;
}

static void pack_image(const float *x, const qnn_conv2d_shape *s, const qnn_steps *steps, bool is_nhwc,
                       uint64_t *image) {
  if (is_nhwc || s->height * s->width == 1)  /* the same order; pixels of one channel would be runs of one float */
    qnn_pack_image_nhwc(x, s, steps, image);
  else
    qnn_pack_image_nchw(x, s, steps, image);
}

static bool is_whole(const qnn_conv2d_shape *s) {
  return qnn_image_is_valid(s) && qnn_image_planes(s) == qnn_act_planes(s);
}

static qnn_status pack_signs(const float *x, const qnn_conv2d_shape *s, bool is_nhwc, uint64_t *image) {
  if (!x || !s || !image || !qnn_image_padding_is_valid(s)) return QNN_BAD_ARGUMENT;
  if (!is_whole(s) || qnn_act_planes(s) != 1) return QNN_BAD_SHAPE;
  pack_image(x, s, NULL, is_nhwc, image);
  return QNN_OK;
}

qnn_status qnn_pack_nchw(const float *x, const qnn_conv2d_shape *shape, uint64_t *image) {
  return pack_signs(x, shape, false, image);
}

qnn_status qnn_pack_nhwc(const float *x, const qnn_conv2d_shape *shape, uint64_t *image) {
  return pack_signs(x, shape, true, image);
}

/* Ranks from which on a step is reached: those of x >= threshold, or of x < threshold in the opposite order if flipped;
 * all for a NaN threshold. */
static uint32_t find_limit(float threshold, bool is_flipped) {
  const uint32_t highest = qnn_rank(INFINITY, 0);
  const int32_t key = qnn_float_key(threshold), at = key == 0 ? -1 : key;  /* both zeros are on the same side */
  const uint32_t rank = (uint32_t)at - (uint32_t)qnn_float_key(-INFINITY);
  return rank > highest ? 0 : is_flipped ? highest - rank + 1 : rank;
}

static qnn_status pack_thresholds(const float *x, const qnn_conv2d_shape *s, const float *threshold,
                                  size_t num_threshold, const uint64_t *flip, bool is_nhwc, uint64_t *image) {
  if (!x || !s || !threshold || !image || !qnn_image_padding_is_valid(s)) return QNN_BAD_ARGUMENT;
  if (num_threshold != 1 && num_threshold != s->channels) return QNN_BAD_ARGUMENT;
  if (!is_whole(s) || num_threshold > INT32_MAX >> QNN_MAX_PLANES) return QNN_BAD_SHAPE;  /* indices have 32 bits */
  const size_t n = num_threshold, num_steps = ((size_t)1 << qnn_act_planes(s)) - 1;
  _Alignas(64) uint32_t on_stack[stack_limits];
  uint32_t *limit = on_stack;
  const size_t size = n * (num_steps + 1);
  if (size > stack_limits && !(limit = malloc(size * sizeof *limit))) return QNN_NO_MEMORY;
  int32_t *turn = (int32_t *)(limit + n * num_steps);
  for (size_t c = 0; c < n; ++c) turn[c] = flip && qnn_bits_at(flip, c, 1) ? -1 : 0;
  for (size_t t = 0; t < num_steps; ++t)
    for (size_t c = 0; c < n; ++c)  /* turned around, the last threshold is reached first */
      limit[t * n + c] = find_limit(threshold[(turn[c] ? num_steps - 1 - t : t) * n + c], turn[c]);
  const qnn_steps steps = {turn, limit, n};
  pack_image(x, s, &steps, is_nhwc, image);
  if (limit != on_stack) free(limit);
  return QNN_OK;
}

qnn_status qnn_pack_thresholds_nchw(const float *x, const qnn_conv2d_shape *shape, const float *threshold,
                                    size_t num_threshold, const uint64_t *flip, uint64_t *image) {
  return pack_thresholds(x, shape, threshold, num_threshold, flip, false, image);
}

qnn_status qnn_pack_thresholds_nhwc(const float *x, const qnn_conv2d_shape *shape, const float *threshold,
                                    size_t num_threshold, const uint64_t *flip, uint64_t *image) {
  return pack_thresholds(x, shape, threshold, num_threshold, flip, true, image);
}
