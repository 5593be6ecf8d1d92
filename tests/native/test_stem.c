/* test_stem.c: float first layers against the chain of fused multiply-adds, output by output. */
#include <stdlib.h>
#include <string.h>

#include "check.h"

typedef struct {
  const qnn_conv2d_shape *shape;
  const qnn_stem *stem;
  const float *x, *weight;
} layer;

/* One number of the convolution at (row, column) of image n. */
static float convolved(const layer *l, size_t n, size_t row, size_t column, size_t f) {
  const qnn_conv2d_shape *s = l->shape;
  const qnn_stem *stem = l->stem;
  float sum = stem->bias_first && stem->bias ? stem->bias[f] : 0;
  for (size_t t = 0; t < s->kernel_h * s->kernel_w * s->channels; ++t) {
    const size_t c = t % s->channels, y = row * s->stride_h + t / s->channels / s->kernel_w - s->pad_h;
    const size_t x = column * s->stride_w + t / s->channels % s->kernel_w - s->pad_w;
    float value = 0;
    if (y < s->height && x < s->width) {
      value = l->x[((n * s->channels + c) * s->height + y) * s->width + x];
      if (stem->mean) value = (value - stem->mean[c]) * stem->slope[c] + stem->shift[c];
    }
    sum = fmaf(value, l->weight[t * s->num_filter + f], sum);
  }
  if (stem->bias && !stem->bias_first) sum += stem->bias[f];
  return stem->relu && !(sum > 0) ? 0 : sum;
}

static float wanted(const layer *l, size_t n, size_t row, size_t column, size_t f) {
  const qnn_stem *stem = l->stem;
  if (!stem->pool_h) return convolved(l, n, row, column, f);
  float best = -INFINITY;
  for (size_t i = 0; i < stem->pool_h * stem->pool_w; ++i) {
    const size_t y = row * stem->pool_stride_h + i / stem->pool_w - stem->pool_pad_h;
    const size_t x = column * stem->pool_stride_w + i % stem->pool_w - stem->pool_pad_w;
    if (y >= qnn_conv2d_out_height(l->shape) || x >= qnn_conv2d_out_width(l->shape)) continue;
    const float value = convolved(l, n, y, x, f);
    if (value > best) best = value;
  }
  return best;
}

static float *small_floats(size_t n) {
  float *x = malloc(n * sizeof *x);
  for (size_t i = 0; i < n; ++i) x[i] = (float)((double)(random_word() >> 40) / (1 << 23) - 1);
  return x;
}

size_t test_stem(void) {
  size_t bad = 0;
  for (size_t c = 0; c < 36; ++c) {
    const qnn_conv2d_shape s = {.batch = 1 + c % 3, .channels = 1 + c % 4, .height = 9 + c % 5, .width = 8 + c % 7,
                                .num_filter = 16 * (1 + c % 6), .num_group = 1, .kernel_h = 1 + c % 4, .kernel_w = 1 + c % 5,
                                .stride_h = 1 + c % 3, .stride_w = 1 + c / 2 % 3, .dilate_h = 1, .dilate_w = 1,
                                .pad_h = c % 4, .pad_w = c / 3 % 3};
    float *x = small_floats(s.batch * s.channels * s.height * s.width), *norm = small_floats(3 * s.channels);
    float *weight = small_floats(s.kernel_h * s.kernel_w * s.channels * s.num_filter), *bias = small_floats(s.num_filter);
    qnn_stem stem = {.bias = c % 3 ? bias : NULL, .bias_first = (int)(c / 2 % 2), .relu = (int)(c / 3 % 2)};
    if (c % 5 > 2) stem.mean = norm, stem.slope = norm + s.channels, stem.shift = norm + 2 * s.channels;
    if (c % 4) {
      stem.pool_h = 1 + c % 3, stem.pool_w = 1 + c / 2 % 4;
      stem.pool_stride_h = 1 + c % 3, stem.pool_stride_w = 1 + c / 3 % 2;
      stem.pool_pad_h = c % stem.pool_h, stem.pool_pad_w = c % stem.pool_w;
    }
    const size_t height = qnn_stem_out_height(&s, &stem), width = qnn_stem_out_width(&s, &stem);
    const layer l = {&s, &stem, x, weight};
    qnn_set_threads(1 + (int)(c % 4));
    if (height && width) {
      float *y = malloc(s.batch * height * width * s.num_filter * sizeof *y);
      bad += qnn_stem_convolution(x, weight, &s, &stem, y) != QNN_OK;
      for (size_t i = 0; i < s.batch * height * width * s.num_filter; ++i) {
        const size_t f = i % s.num_filter, column = i / s.num_filter % width, row = i / s.num_filter / width % height;
        bad += !(y[i] == wanted(&l, i / s.num_filter / width / height, row, column, f));
      }
      free(y);
    } else {
      bad += qnn_stem_convolution(x, weight, &s, &stem, x) != QNN_BAD_SHAPE;
    }
    free(x), free(norm), free(weight), free(bias);
  }
  qnn_set_threads(1);
  const qnn_conv2d_shape good = {.batch = 1, .channels = 1, .height = 4, .width = 4, .num_filter = 16, .num_group = 1,
                                 .kernel_h = 3, .kernel_w = 3, .stride_h = 1, .stride_w = 1, .dilate_h = 1, .dilate_w = 1};
  qnn_conv2d_shape odd = good, dilated = good;
  odd.num_filter = 20, dilated.dilate_h = 2;
  const qnn_stem plain = {0}, half_pool = {.pool_h = 2}, wide_pad = {.pool_h = 2, .pool_w = 2, .pool_stride_h = 1,
                                                                    .pool_stride_w = 1, .pool_pad_h = 2};
  float x[16] = {0}, weight[144] = {0}, y[64];
  bad += qnn_stem_out_height(&good, &plain) != 2 || qnn_stem_convolution(x, weight, &good, &plain, y) != QNN_OK;
  bad += qnn_stem_out_height(&odd, &plain) != 0 || qnn_stem_out_width(&dilated, &plain) != 0;
  bad += qnn_stem_out_height(&good, &half_pool) != 0 || qnn_stem_out_height(&good, &wide_pad) != 0;
  bad += qnn_stem_out_height(NULL, &plain) != 0 || qnn_stem_convolution(NULL, weight, &good, &plain, y) != QNN_BAD_ARGUMENT;
  const qnn_stem half_norm = {.mean = x};
  bad += qnn_stem_convolution(x, weight, &good, &half_norm, y) != QNN_BAD_ARGUMENT;
  return bad;
}
