/* pack.c: signs of floats -> words, and back; the entry points of packing images, with and without thresholds. */
#include <math.h>
#include <stdlib.h>

#include "images.h"

enum {
  grain_floats = 1 << 15,
  stack_channels = 1024       /* their intervals: 8 KiB */
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

static void pack_image(const float *x, const qnn_conv2d_shape *s, const qnn_intervals *intervals, bool is_nhwc,
                       uint64_t *image) {
  if (is_nhwc || s->height * s->width == 1)  /* the same order; pixels of one channel would be runs of one float */
    qnn_pack_image_nhwc(x, s, intervals, image);
  else
    qnn_pack_image_nchw(x, s, intervals, image);
}

static qnn_status pack_signs(const float *x, const qnn_conv2d_shape *s, bool is_nhwc, uint64_t *image) {
  if (!x || !s || !image || !qnn_pad_value_is_valid(s->pad_value)) return QNN_BAD_ARGUMENT;
  if (!qnn_image_is_valid(s)) return QNN_BAD_SHAPE;
  pack_image(x, s, NULL, is_nhwc, image);
  return QNN_OK;
}

qnn_status qnn_pack_nchw(const float *x, const qnn_conv2d_shape *shape, uint64_t *image) {
  return pack_signs(x, shape, false, image);
}

qnn_status qnn_pack_nhwc(const float *x, const qnn_conv2d_shape *shape, uint64_t *image) {
  return pack_signs(x, shape, true, image);
}

/* Where the bit is 0: -inf <= x < threshold, or threshold <= x <= inf if flipped; nowhere for a NaN threshold. */
static void find_interval(float threshold, bool is_flipped, int32_t *low, uint32_t *span) {
  const int32_t lowest = qnn_float_key(-INFINITY), highest = qnn_float_key(INFINITY);
  const int32_t key = qnn_float_key(threshold), at = key == 0 ? -1 : key;  /* both zeros are on the same side */
  *low = is_flipped ? at : lowest;
  *span = (uint32_t)(is_flipped ? highest : at) - (uint32_t)*low + is_flipped;
  if (at < lowest || at > highest) *span = 0;
}

static qnn_status pack_thresholds(const float *x, const qnn_conv2d_shape *s, const float *threshold,
                                  const uint64_t *flip, bool is_nhwc, uint64_t *image) {
  if (!x || !s || !threshold || !image || !qnn_pad_value_is_valid(s->pad_value)) return QNN_BAD_ARGUMENT;
  if (!qnn_image_is_valid(s)) return QNN_BAD_SHAPE;
  _Alignas(64) int32_t low_on_stack[stack_channels];
  _Alignas(64) uint32_t span_on_stack[stack_channels];
  int32_t *low = low_on_stack;
  uint32_t *span = span_on_stack;
  if (s->channels > stack_channels) {
    if (!(low = malloc(s->channels * (sizeof *low + sizeof *span)))) return QNN_NO_MEMORY;
    span = (uint32_t *)(low + s->channels);
  }
  for (size_t c = 0; c < s->channels; ++c)
    find_interval(threshold[c], flip && qnn_bits_at(flip, c, 1), &low[c], &span[c]);
  const qnn_intervals intervals = {low, span};
  pack_image(x, s, &intervals, is_nhwc, image);
  if (low != low_on_stack) free(low);
  return QNN_OK;
}

qnn_status qnn_pack_thresholds_nchw(const float *x, const qnn_conv2d_shape *shape, const float *threshold,
                                    const uint64_t *flip, uint64_t *image) {
  return pack_thresholds(x, shape, threshold, flip, false, image);
}

qnn_status qnn_pack_thresholds_nhwc(const float *x, const qnn_conv2d_shape *shape, const float *threshold,
                                    const uint64_t *flip, uint64_t *image) {
  return pack_thresholds(x, shape, threshold, flip, true, image);
}
