/* scale.c: products with a number that all elements share, for training, and the sums that gradients of such numbers
 * are. */
#include "internal.h"

enum { chunk = 1 << 12, grain_chunks = 8, lanes = 4 };

/* Chunks add up in double, in their order. */
qnn_status qnn_sum_chunk_grads(qnn_chunk_grad *chunk_grad, const float *x, const float *dy, size_t n, float number,
                               float *dx, double *sum) {
  if (!qnn_is_count(n)) return QNN_BAD_SHAPE;
  const size_t num_chunks = qnn_ceil_div(n, chunk);
  double *sums = qnn_scratch(num_chunks * sizeof *sums);
  if (!sums) return QNN_NO_MEMORY;
  const int num_threads = qnn_threads_for(num_chunks, grain_chunks);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t c = 0; c < num_chunks; ++c) {
    const size_t begin = c * chunk;
    sums[c] = chunk_grad(x + begin, dy + begin, qnn_min(chunk, n - begin), number, dx + begin);
  }
  *sum = 0;
  for (size_t c = 0; c < num_chunks; ++c) *sum += sums[c];
  return QNN_OK;
}

qnn_status qnn_scale(const float *x, size_t n, float scale, float *y) {
  if (!x || !y) return QNN_BAD_ARGUMENT;
  if (!qnn_is_count(n)) return QNN_BAD_SHAPE;
  const int num_threads = qnn_threads_for(n, grain_chunks * chunk);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t i = 0; i < n; ++i) y[i] = scale * x[i];
  return QNN_OK;
}

static double scale_grad(const float *restrict x, const float *restrict dy, size_t count, float scale,
                         float *restrict dx) {
  float part[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (size_t lane = 0; lane < lanes; ++lane) {
      part[lane] += dy[i + lane] * x[i + lane];
      dx[i + lane] = scale * dy[i + lane];
    }
  double sum = 0;
  for (; i < count; ++i) {
    sum += (double)dy[i] * x[i];
    dx[i] = scale * dy[i];
  }
  for (size_t lane = 0; lane < lanes; ++lane) sum += part[lane];
  return sum;
}

qnn_status qnn_scale_grad(const float *x, const float *dy, size_t n, float scale, float *dx, float *dscale) {
  if (!x || !dy || !dx || !dscale) return QNN_BAD_ARGUMENT;
  double sum;
  const qnn_status status = qnn_sum_chunk_grads(scale_grad, x, dy, n, scale, dx, &sum);
  if (status == QNN_OK) *dscale = (float)sum;
  return status;
}
