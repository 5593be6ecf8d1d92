/* test_lut_signals.c: real numbers as bits, means and majorities of neighbours, their gradients. Sums are exact here: dy
 * and numbers to be added are quarters. */
#include <stdlib.h>

#include "check.h"

/* channels with thresholds of their own, or one set for all of them. */
static size_t check_thermometer(size_t outer, size_t channels, size_t inner, size_t frames, size_t depth, size_t sets) {
  const size_t numbers = outer * channels * inner, bits = numbers * frames * depth;
  const float low = -0.5f, high = 1.5f;
  float *x = random_floats(numbers), *limits = random_floats(frames * sets * depth), *dy = malloc(bits * sizeof *dy);
  float *y = malloc(bits * sizeof *y), *dx = malloc(numbers * sizeof *dx);
  for (size_t i = 0; i < bits; ++i) dy[i] = (float)(random_word() % 17) / 4.0f - 2.0f;
  for (size_t i = 0; i < numbers; i += 5) x[i] = i % 2 ? low : limits[i % (frames * sets * depth)];
  size_t bad = qnn_thermometer(x, outer, channels, inner, limits, frames, sets, depth, y) != QNN_OK;
  bad += qnn_thermometer_grad(x, dy, outer, channels, inner, frames, depth, low, high, dx) != QNN_OK;
  for (size_t o = 0; o < outer; ++o)
    for (size_t c = 0; c < channels; ++c)
      for (size_t i = 0; i < inner; ++i) {
        const float number = x[(o * channels + c) * inner + i];
        float sum = 0.0f;
        for (size_t f = 0; f < frames; ++f)
          for (size_t d = 0; d < depth; ++d) {
            const size_t at = (((o * frames + f) * channels + c) * depth + d) * inner + i;
            bad += y[at] != (float)(number > limits[(f * sets + (sets == 1 ? 0 : c)) * depth + d]);
            sum += dy[at];
          }
        bad += dx[(o * channels + c) * inner + i] != (number >= low && number <= high ? sum / (high - low) : 0.0f);
      }
  free(x), free(limits), free(dy), free(y), free(dx);
  return bad;
}

size_t test_thermometer(void) {
  static const size_t inners[] = {1, 7, 15, 16, 17, 64, 67};
  size_t bad = 0;
  for (size_t c = 0; c < 56; ++c) {
    const size_t channels = 1 + c % 5;
    bad += check_thermometer(1 + c % 3, channels, inners[c % 7], 1 + c % 4, 1 + c / 8 % 3, c % 2 ? 1 : channels);
  }
  return bad;
}

size_t test_mean_of_groups(void) {
  static const size_t inners[] = {1, 7, 15, 16, 17, 64, 67};
  size_t bad = 0;
  for (size_t t = 0; t < 84; ++t) {
    const size_t outer = 1 + t % 3, channels = 1 + t % 5, inner = inners[t % 7], n = 2 + t % 5;
    const size_t outputs = outer * channels * inner;
    const int is_majority = (int)(t % 2), binarize = (int)(t / 2 % 2);
    float *x = malloc(outputs * n * sizeof *x), *dx = malloc(outputs * n * sizeof *dx), *y = malloc(outputs * sizeof *y);
    for (size_t i = 0; i < outputs * n; ++i)
      x[i] = is_majority && !binarize ? (float)(random_word() % 2) : (float)(random_word() % 9) / 4.0f - 0.5f;
    bad += qnn_mean_of_groups(x, outer, channels, inner, n, is_majority, binarize, y) != QNN_OK;
    bad += qnn_mean_of_groups_grad(y, outer, channels, inner, n, dx) != QNN_OK;
    for (size_t i = 0; i < outputs; ++i) {
      float sum = 0.0f;
      for (size_t k = 0; k < n; ++k) {
        const size_t at = (i / inner * n + k) * inner + i % inner;
        sum += is_majority && binarize ? (float)(x[at] > 0.5f) : x[at];
        bad += dx[at] != y[i] / (float)n;
      }
      bad += y[i] != (is_majority ? (float)(2.0f * sum > (float)n) : sum / (float)n);
    }
    free(x), free(dx), free(y);
  }
  return bad;
}
