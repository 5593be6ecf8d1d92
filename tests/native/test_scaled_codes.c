/* test_scaled_codes.c: isometric codes by their thresholds, their gradients, products with a scale. Heads are small
 * integers and gamma is a power of two, so that sums are exact. */
#include <stdlib.h>

#include "check.h"

static float *heads(size_t n) {
  float *dy = malloc(n * sizeof *dy);
  for (size_t i = 0; i < n; ++i) dy[i] = (float)(random_word() % 7) - 3.0f;
  return dy;
}

/* NaN is above every threshold. */
static float code_of(float x, float gamma, unsigned levels) {
  const int half = 1 << (levels - 1);
  const float scale = gamma / (float)half;
  int u = 0;
  for (int level = 1 - half; level < half; ++level) u += !(x / (2 * scale) < (float)level);
  return (float)(2 * u - (2 * half - 1));
}

static size_t check_isometric(size_t n, unsigned levels, float gamma) {
  float *x = random_floats(n), *dy = heads(n), *codes = malloc(n * sizeof *codes), *dx = malloc(n * sizeof *dx), dgamma = -1;
  for (size_t i = 0; i < n; i += 3) x[i] = (float)(random_word() % 33) / 8.0f - 2.0f;  /* on thresholds, too */
  size_t bad = qnn_isometric(x, n, gamma, levels, codes) != QNN_OK;
  for (size_t i = 0; i < n; ++i) {
    bad += codes[i] != code_of(x[i], gamma, levels);
    if (isnan(x[i])) x[i] = 0.25f;
    else x[i] = roundf(fminf(fmaxf(x[i], -4), 4) * 64) / 64;
  }
  bad += qnn_isometric_grad(x, dy, n, gamma, levels, dx, &dgamma) != QNN_OK;
  double wanted = 0;
  for (size_t i = 0; i < n; ++i) {
    float rest = x[i], slope = 0, sum = 0;
    for (unsigned level = 0; level < levels; ++level) {
      const float share = 1.0f / (float)(1 << level);
      if (fabsf(rest) <= 1) slope += (float)(1 << (levels - 1)) * share;
      sum += share * fminf(fmaxf(rest, -1), 1);
      rest -= rest < 0 ? -gamma * share : gamma * share;
    }
    bad += dx[i] != slope * dy[i];
    wanted += sum * dy[i];
  }
  bad += dgamma != (float)(wanted * (1 << (levels - 1)) / gamma);
  free(x), free(dy), free(codes), free(dx);
  return bad;
}

static size_t check_scale(size_t n, float scale) {
  float *x = random_floats(n), *dy = heads(n), *y = malloc(n * sizeof *y), *dx = malloc(n * sizeof *dx), dscale = -1;
  for (size_t i = 0; i < n; ++i) x[i] = (float)(random_word() % 33) / 8.0f - 2.0f;
  double wanted = 0;
  size_t bad = qnn_scale(x, n, scale, y) != QNN_OK;
  bad += qnn_scale_grad(x, dy, n, scale, dx, &dscale) != QNN_OK;
  for (size_t i = 0; i < n; ++i) {
    bad += (y[i] != scale * x[i]) + (dx[i] != scale * dy[i]);
    wanted += x[i] * dy[i];
  }
  bad += dscale != (float)wanted;
  free(x), free(dy), free(y), free(dx);
  return bad;
}

size_t test_scaled_codes(void) {
  static const size_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 4095, 4096, 4097, 70001};
  size_t bad = 0;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
    for (unsigned levels = 1; levels <= 4; ++levels)
      bad += check_isometric(sizes[i], levels, 0.5f) + check_isometric(sizes[i], levels, 2.0f);
    bad += check_scale(sizes[i], 0.7f);
  }
  return bad;
}
