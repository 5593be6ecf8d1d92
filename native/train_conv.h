/* train_conv.h: the passes of a convolution in training, by tiles of bfloat16 or by plain loops. */
#ifndef QNN_TRAIN_CONV_H
#define QNN_TRAIN_CONV_H

#include "bf16_tiles.h"

/* How positions of the output and of the input belong to each other, along one axis. */
typedef struct {
  size_t length, out_length, kernel, stride, dilate, pad;
} qnn_axis;

static inline qnn_axis qnn_rows_of(const qnn_conv2d_shape *s) {
  const qnn_axis axis = {s->height, qnn_conv2d_out_height(s), s->kernel_h, s->stride_h, s->dilate_h, s->pad_h};
  return axis;
}

static inline qnn_axis qnn_columns_of(const qnn_conv2d_shape *s) {
  const qnn_axis axis = {s->width, qnn_conv2d_out_width(s), s->kernel_w, s->stride_w, s->dilate_w, s->pad_w};
  return axis;
}

/* Outputs first .. last, whose tap `tap` lies in the input. */
typedef struct {
  size_t first, last;
} qnn_span;

static inline qnn_span qnn_outputs_of(const qnn_axis *axis, size_t tap) {
  const size_t offset = tap * axis->dilate, end = axis->length + axis->pad;
  const size_t first = offset < axis->pad ? qnn_ceil_div(axis->pad - offset, axis->stride) : 0;
  const size_t last = offset < end ? qnn_min(axis->out_length, (end - offset - 1) / axis->stride + 1) : 0;
  const qnn_span span = {first, last < first ? first : last};
  return span;
}

/* Where output `at` of tap `tap` lies in the input. */
static inline size_t qnn_input_of(const qnn_axis *axis, size_t at, size_t tap) {
  return at * axis->stride + tap * axis->dilate - axis->pad;
}

/* Plain loops (train_conv_plain.c). */
qnn_status qnn_train_plain_forward(const qnn_conv2d_shape *shape, const float *x, const float *weight,
                                   const float *bias, float *y);
qnn_status qnn_train_plain_grad_data(const qnn_conv2d_shape *shape, const float *dy, const float *weight, float *dx);
qnn_status qnn_train_plain_grad_weight(const qnn_conv2d_shape *shape, const float *x, const float *dy, float *dweight);

/* Tiles (train_conv_tiles.c, train_conv_weight.c). */
qnn_status qnn_train_tiles_forward(const qnn_conv2d_shape *shape, const float *x, const float *weight,
                                   const float *bias, float *y);
qnn_status qnn_train_tiles_grad_data(const qnn_conv2d_shape *shape, const float *dy, const float *weight, float *dx);
qnn_status qnn_train_tiles_grad_weight(const qnn_conv2d_shape *shape, const float *x, const float *dy, float *dweight);

#endif
