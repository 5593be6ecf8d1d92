/* thermometer.c: real numbers as bits, and the straight-through gradient: y[o F + f][c D + d][i] = x[o][c][i] > t[f][c][d]. */
#include "internal.h"

enum { grain = 1 << 16 };

static bool is_valid(size_t outer, size_t channels, size_t inner, size_t frames, size_t depth) {
  return outer && channels && inner && frames && depth && qnn_fits(outer, channels, inner, frames, depth * sizeof(float));
}

qnn_status qnn_thermometer(const float *x, size_t outer, size_t channels, size_t inner, const float *thresholds,
                           size_t frames, size_t threshold_channels, size_t depth, float *y) {
  if (!x || !thresholds || !y || (threshold_channels != 1 && threshold_channels != channels)) return QNN_BAD_ARGUMENT;
  if (!is_valid(outer, channels, inner, frames, depth)) return QNN_BAD_SHAPE;
  const size_t rows = outer * frames;
#pragma omp parallel for schedule(static) num_threads(qnn_threads_for(rows * channels * depth * inner, grain))
  for (size_t row = 0; row < rows; ++row) {
    const float *source = x + row / frames * channels * inner;
    const float *limits = thresholds + row % frames * threshold_channels * depth;
    float *target = y + row * channels * depth * inner;
    if (threshold_channels == 1 && depth == 1) {
      for (size_t i = 0; i < channels * inner; ++i) target[i] = source[i] > limits[0] ? 1.0f : 0.0f;
      continue;
    }
    for (size_t c = 0; c < channels; ++c)
      for (size_t d = 0; d < depth; ++d) {
        const float limit = limits[(threshold_channels == 1 ? 0 : c) * depth + d];
        for (size_t i = 0; i < inner; ++i) target[(c * depth + d) * inner + i] = source[c * inner + i] > limit ? 1.0f : 0.0f;
      }
  }
  return QNN_OK;
}

qnn_status qnn_thermometer_grad(const float *x, const float *dy, size_t outer, size_t channels, size_t inner, size_t frames,
                                size_t depth, float low, float high, float *dx) {
  if (!x || !dy || !dx || !(low < high)) return QNN_BAD_ARGUMENT;
  if (!is_valid(outer, channels, inner, frames, depth)) return QNN_BAD_SHAPE;
  const float scale = 1.0f / (high - low);
  const size_t rows = outer * channels;
#pragma omp parallel for schedule(static) num_threads(qnn_threads_for(rows * inner * frames * depth, grain))
  for (size_t row = 0; row < rows; ++row) {
    const size_t o = row / channels, c = row % channels;
    const float *source = x + row * inner;
    float *target = dx + row * inner;
    memset(target, 0, inner * sizeof *target);
    for (size_t f = 0; f < frames; ++f)
      for (size_t d = 0; d < depth; ++d) {
        const float *grad = dy + (((o * frames + f) * channels + c) * depth + d) * inner;
        for (size_t i = 0; i < inner; ++i) target[i] += grad[i];
      }
    for (size_t i = 0; i < inner; ++i) target[i] = source[i] >= low && source[i] <= high ? target[i] * scale : 0.0f;
  }
  return QNN_OK;
}
