/* test_train_conv.c: convolution of codes in training, and its gradients, against plain loops of whole numbers. */
#include <stdlib.h>

#include "check.h"

static float whole(int most) { return (float)((int)(random_word() >> 40) % (most + 1) - most / 2); }

static float *numbers(size_t n, int most) {
  float *x = malloc(n * sizeof *x);
  for (size_t i = 0; i < n; ++i) x[i] = whole(most);
  return x;
}

static size_t different(const float *got, const double *wanted, size_t n) {
  size_t num_bad = 0;
  for (size_t i = 0; i < n; ++i) num_bad += (double)got[i] != wanted[i];
  return num_bad;
}

static size_t check_shape(const qnn_conv2d_shape *s) {
  const size_t oh = qnn_conv2d_out_height(s), ow = qnn_conv2d_out_width(s), taps = s->kernel_h * s->kernel_w;
  const size_t in = s->batch * s->channels * s->height * s->width, out = s->batch * s->num_filter * oh * ow;
  const size_t weights = s->num_filter * s->channels * taps;
  float *x = numbers(in, 6), *w = numbers(weights, 6), *bias = numbers(s->num_filter, 90), *dy = numbers(out, 18);
  float *y = malloc(out * sizeof *y), *dx = malloc(in * sizeof *dx), *dw = malloc(weights * sizeof *dw);
  float *db = malloc(s->num_filter * sizeof *db);
  double *all = calloc(out + in + weights + s->num_filter, sizeof *all);
  double *y0 = all, *dx0 = y0 + out, *dw0 = dx0 + in, *db0 = dw0 + weights;
  for (size_t i = 0; i < out; ++i) {
    const size_t n = i / (s->num_filter * oh * ow), f = i / (oh * ow) % s->num_filter;
    y0[i] = bias[f];
    db0[f] += dy[i];
    for (size_t k = 0; k < s->channels * taps; ++k) {
      const size_t row = i / ow % oh * s->stride_h + k / s->kernel_w % s->kernel_h * s->dilate_h;
      const size_t column = i % ow * s->stride_w + k % s->kernel_w * s->dilate_w;
      if (row < s->pad_h || row - s->pad_h >= s->height || column < s->pad_w || column - s->pad_w >= s->width) continue;
      const size_t plane = n * s->channels + k / taps, from = f * s->channels * taps + k;
      const size_t at = (plane * s->height + row - s->pad_h) * s->width + column - s->pad_w;
      y0[i] += (double)x[at] * w[from];
      dx0[at] += (double)dy[i] * w[from];
      dw0[from] += (double)dy[i] * x[at];
    }
  }
  size_t num_bad = qnn_train_conv2d(x, w, bias, s, y) || qnn_train_conv2d_grad_data(dy, w, s, dx) ||
                   qnn_train_conv2d_grad_weight(x, dy, s, dw) || qnn_train_conv2d_grad_bias(dy, s, db);
  num_bad += different(y, y0, out) + different(dx, dx0, in) + different(dw, dw0, weights) +
             different(db, db0, s->num_filter);
  free(x), free(w), free(bias), free(dy), free(y), free(dx), free(dw), free(db), free(all);
  return num_bad;
}

size_t test_train_conv(void) {
  static const size_t shapes[][14] = {  /* batch .. width, filters, group, kernel, stride, dilate, pad */
      {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0},   {2, 3, 5, 17, 15, 1, 3, 3, 1, 1, 1, 1, 1, 1},
      {17, 33, 4, 4, 17, 1, 3, 3, 1, 1, 1, 1, 1, 1}, {33, 32, 6, 5, 33, 1, 2, 3, 2, 1, 1, 1, 0, 2},
      {3, 31, 7, 9, 16, 1, 1, 1, 2, 2, 1, 1, 0, 0},  {2, 65, 13, 11, 40, 1, 3, 2, 3, 2, 2, 3, 2, 4},
      {2, 2, 3, 3, 4, 1, 3, 3, 3, 2, 1, 1, 7, 6},    {40, 40, 12, 20, 4, 1, 3, 3, 1, 1, 1, 1, 1, 1}};
  size_t num_bad = 0;
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; ++i) {
    const size_t *n = shapes[i];
    const qnn_conv2d_shape shape = {n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12], n[13],
                                    0, 0, 0, 0, 0, 0, 0, 0, 0};
    for (int threads = 1; threads <= 2; ++threads) {
      qnn_set_threads(threads);
      num_bad += check_shape(&shape);
    }
  }
  qnn_set_threads(1);
  return num_bad;
}
