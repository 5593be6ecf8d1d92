/* mean_of_groups.c: n neighbouring channels become their mean or their majority: AverageLut, and its gradient. */
#include "internal.h"

enum { grain = 1 << 16 };

static bool is_valid(size_t outer, size_t channels, size_t inner, size_t n) {
  return outer && channels && inner && n && qnn_fits(outer, channels, inner, n, sizeof(float));
}

static void add(const float *x, size_t inner, size_t n, bool binarize_input, float *y) {
  for (size_t i = 0; i < inner; ++i) y[i] = binarize_input ? (x[i] > 0.5f ? 1.0f : 0.0f) : x[i];
  for (size_t k = 1; k < n; ++k) {
    const float *row = x + k * inner;
    if (binarize_input)
      for (size_t i = 0; i < inner; ++i) y[i] += row[i] > 0.5f ? 1.0f : 0.0f;
    else
      for (size_t i = 0; i < inner; ++i) y[i] += row[i];
  }
}

void qnn_mean_of_group(const float *x, size_t inner, size_t n, bool is_majority, bool binarize_input, float *y) {
  const float size = (float)n, half = size / 2;
  add(x, inner, n, is_majority && binarize_input, y);
  if (is_majority)
    for (size_t i = 0; i < inner; ++i) y[i] = y[i] > half ? 1.0f : 0.0f;
  else
    for (size_t i = 0; i < inner; ++i) y[i] /= size;
}

qnn_status qnn_mean_of_groups(const float *x, size_t outer, size_t channels, size_t inner, size_t n, int is_majority,
                              int binarize_input, float *y) {
  if (!x || !y) return QNN_BAD_ARGUMENT;
  if (!is_valid(outer, channels, inner, n)) return QNN_BAD_SHAPE;
  const size_t groups = outer * channels;
#pragma omp parallel for schedule(static) num_threads(qnn_threads_for(groups * inner * n, grain))
  for (size_t group = 0; group < groups; ++group)
    qnn_mean_of_group(x + group * n * inner, inner, n, is_majority, binarize_input, y + group * inner);
  return QNN_OK;
}

qnn_status qnn_mean_of_groups_grad(const float *dy, size_t outer, size_t channels, size_t inner, size_t n, float *dx) {
  if (!dy || !dx) return QNN_BAD_ARGUMENT;
  if (!is_valid(outer, channels, inner, n)) return QNN_BAD_SHAPE;
  const float size = (float)n;
  const size_t groups = outer * channels;
#pragma omp parallel for schedule(static) num_threads(qnn_threads_for(groups * inner * n, grain))
  for (size_t group = 0; group < groups; ++group) {
    const float *grad = dy + group * inner;
    float *rows = dx + group * n * inner;
    for (size_t i = 0; i < inner; ++i) rows[i] = grad[i] / size;
    for (size_t k = 1; k < n; ++k) memcpy(rows + k * inner, rows, inner * sizeof *rows);
  }
  return QNN_OK;
}
