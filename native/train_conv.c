/* train_conv.c: convolution of codes in training, forward and backward: checks, and the choice of tiles or plain loops.
 *
 *   y[n][f][q] = sum of c, k: x[n][c][q stride + k dilate - pad] w[f][c][k] + bias[f] */
#include "train_conv.h"

#include "shape.h"

int qnn_train_conv2d_is_fast(void) { return qnn_isa_active()->bf16 != NULL; }

static qnn_status check(const qnn_conv2d_shape *shape, const void *a, const void *b, const void *c) {
  if (!shape || !a || !b || !c) return QNN_BAD_ARGUMENT;
  return qnn_conv2d_is_valid(shape) && shape->num_group == 1 ? QNN_OK : QNN_BAD_SHAPE;
}

qnn_status qnn_train_conv2d(const float *x, const float *weight, const float *bias, const qnn_conv2d_shape *shape,
                            float *y) {
  const qnn_status status = check(shape, x, weight, y);
  if (status != QNN_OK) return status;
  return (qnn_train_conv2d_is_fast() ? qnn_train_tiles_forward : qnn_train_plain_forward)(shape, x, weight, bias, y);
}

qnn_status qnn_train_conv2d_grad_data(const float *dy, const float *weight, const qnn_conv2d_shape *shape, float *dx) {
  const qnn_status status = check(shape, dy, weight, dx);
  if (status != QNN_OK) return status;
  return (qnn_train_conv2d_is_fast() ? qnn_train_tiles_grad_data : qnn_train_plain_grad_data)(shape, dy, weight, dx);
}

qnn_status qnn_train_conv2d_grad_weight(const float *x, const float *dy, const qnn_conv2d_shape *shape,
                                        float *dweight) {
  const qnn_status status = check(shape, x, dy, dweight);
  if (status != QNN_OK) return status;
  return (qnn_train_conv2d_is_fast() ? qnn_train_tiles_grad_weight : qnn_train_plain_grad_weight)(shape, x, dy,
                                                                                                  dweight);
}

qnn_status qnn_train_conv2d_grad_bias(const float *dy, const qnn_conv2d_shape *shape, float *dbias) {
  const qnn_status status = check(shape, dy, dbias, dbias);
  if (status != QNN_OK) return status;
  const size_t plane = qnn_conv2d_out_height(shape) * qnn_conv2d_out_width(shape), num_filter = shape->num_filter;
  const int num_threads = qnn_threads_for(shape->batch * num_filter * plane, 1 << 18);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t f = 0; f < num_filter; ++f) {
    double sum = 0.0;
    for (size_t n = 0; n < shape->batch; ++n) {
      const float *from = dy + (n * num_filter + f) * plane;
      double of_image = 0.0;
#pragma omp simd reduction(+ : of_image)
      for (size_t q = 0; q < plane; ++q) of_image += (double)from[q];
      sum += of_image;
    }
    dbias[f] = (float)sum;
  }
  return QNN_OK;
}
