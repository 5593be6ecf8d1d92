/* test_lut_windows.c: a table layer that reads windows and gives groups, against the layer on windows that are written
 * out, and the means of its nodes. Numbers are dyadic, as in test_lut_train.c, so that sums are exact in any order. */
#include <stdlib.h>
#include <string.h>

#include "check.h"

typedef struct {
  qnn_lut_layer plain, fused;
  size_t frames, pixels, groups;
} layers;

static float dyadic(int low, int high, float unit) {
  return (float)(low + (int)(random_word() >> 32) % (high - low + 1)) * unit;
}

static float *dyadics(size_t n, int low, int high, float unit) {
  float *x = malloc(n * sizeof *x);
  for (size_t i = 0; i < n; ++i) x[i] = dyadic(low, high, unit);
  return x;
}

/* Where input `node` of window `frame` lies in the image, and in the lowered one. */
static size_t pixel_of(const qnn_lut_layer *l, size_t frame, size_t node) {
  const size_t out_width = (l->width - l->kernel_w) / l->stride_w + 1, taps = l->kernel_h * l->kernel_w;
  const size_t row = frame % l->inner / out_width * l->stride_h + node % taps / l->kernel_w;
  const size_t column = frame % l->inner % out_width * l->stride_w + node % l->kernel_w;
  return ((frame / l->inner * l->channels + node / taps) * l->height + row) * l->width + column;
}

static size_t place(const qnn_lut_layer *l, size_t width, size_t frame, size_t node) {
  return (frame / l->inner * width + node) * l->inner + frame % l->inner;
}

static size_t check(const layers *c) {
  const qnn_lut_layer *l = &c->fused;
  const size_t inputs = l->in_nodes, nodes = l->num_nodes, entries = (size_t)1 << l->n, lowered = c->frames * inputs;
  float *x = dyadics(c->pixels, -1, 5, 0.25f), *weight = dyadics(nodes * entries, 0, 8, 0.125f);
  float *heads = dyadics(c->frames * c->groups, -8, 8, 0.125f), *connections = malloc(nodes * l->n * sizeof(float));
  float *columns = malloc(lowered * sizeof(float)), *dcolumns = malloc(lowered * sizeof(float));
  float *y = malloc(c->frames * nodes * sizeof(float)), *dy = malloc(c->frames * nodes * sizeof(float));
  float *dx = malloc(c->pixels * sizeof(float)), *means = malloc(c->frames * c->groups * sizeof(float));
  float *dweight[2] = {malloc(nodes * entries * sizeof(float)), malloc(nodes * entries * sizeof(float))};
  double *sums = calloc(c->pixels, sizeof *sums);
  for (size_t i = 0; i < nodes * l->n; ++i) connections[i] = (float)(random_word() % inputs);
  for (size_t f = 0; f < c->frames; ++f) {
    for (size_t i = 0; i < inputs; ++i) columns[place(l, inputs, f, i)] = x[pixel_of(l, f, i)];
    for (size_t i = 0; i < nodes; ++i)
      dy[place(l, nodes, f, i)] = heads[place(l, c->groups, f, i / l->group)] / (float)l->group;
  }
  size_t bad = qnn_lut_train_forward(columns, connections, weight, &c->plain, 0, NULL, y) != QNN_OK;
  bad += qnn_lut_train_forward(x, connections, weight, l, 0, NULL, means) != QNN_OK;
  bad += qnn_lut_train_backward(columns, connections, weight, &c->plain, 0, NULL, dy, dcolumns, dweight[0]) != QNN_OK;
  bad += qnn_lut_train_backward(x, connections, weight, l, 0, NULL, heads, dx, dweight[1]) != QNN_OK;
  for (size_t f = 0; f < c->frames; ++f) {
    for (size_t g = 0; g < c->groups; ++g) {
      float sum = 0;
      for (size_t i = 0; i < l->group; ++i) sum += y[place(l, nodes, f, g * l->group + i)];
      const float wanted = l->is_majority ? (float)(2 * sum > (float)l->group) : sum / (float)l->group;
      bad += means[place(l, c->groups, f, g)] != wanted;
    }
    for (size_t i = 0; i < inputs; ++i) sums[pixel_of(l, f, i)] += dcolumns[place(l, inputs, f, i)];
  }
  for (size_t i = 0; i < c->pixels; ++i) bad += dx[i] != (float)sums[i];
  bad += memcmp(dweight[0], dweight[1], nodes * entries * sizeof(float)) != 0;
  free(x), free(weight), free(heads), free(connections), free(columns), free(dcolumns), free(y), free(dy), free(dx);
  free(means), free(dweight[0]), free(dweight[1]), free(sums);
  return bad;
}

size_t test_lut_windows(void) {
  static const size_t kernels[][4] = {{3, 3, 1, 1}, {1, 1, 1, 1}, {2, 3, 2, 1}, {3, 2, 1, 3}, {5, 7, 1, 1}};
  static const size_t groups[] = {1, 2, 4, 8};  /* sizes whose quotients are exact */
  size_t bad = 0;
  for (size_t t = 0; t < 40; ++t) {
    const size_t *k = kernels[t % 5], outer = 1 + t % 7 * 2, channels = 1 + t % 3, height = 5 + t % 6, width = 7 + t % 11;
    const size_t out = ((height - k[0]) / k[2] + 1) * ((width - k[1]) / k[3] + 1);
    layers c = {.plain = {.outer = outer, .inner = out, .in_nodes = channels * k[0] * k[1], .num_nodes = 8 * (1 + t % 9),
                          .n = 2 + t % 5, .input = (int)(t % 3), .clip_weight = 1, .binarize = (int)(t / 2 % 2)},
                .frames = outer * out, .pixels = outer * channels * height * width};
    c.fused = c.plain;
    c.fused.group = groups[t / 5 % 4], c.fused.is_majority = c.plain.binarize;
    c.fused.channels = channels, c.fused.height = height, c.fused.width = width;
    c.fused.kernel_h = k[0], c.fused.kernel_w = k[1], c.fused.stride_h = k[2], c.fused.stride_w = k[3];
    c.groups = c.plain.num_nodes / c.fused.group;
    bad += check(&c);
    float number = 0;
    qnn_lut_layer wrong = c.fused;
    wrong.in_nodes += 1;
    bad += qnn_lut_train_forward(&number, &number, &number, &wrong, 0, NULL, &number) != QNN_BAD_SHAPE;
    wrong = c.fused, wrong.group = 3;
    bad += c.plain.num_nodes % 3 && qnn_lut_train_forward(&number, &number, &number, &wrong, 0, NULL, &number) != QNN_BAD_SHAPE;
    wrong = c.fused, wrong.kernel_h = height + 1;
    bad += qnn_lut_train_forward(&number, &number, &number, &wrong, 0, NULL, &number) != QNN_BAD_SHAPE;
  }
  return bad;
}
