/* sign_pad.c: signs as one of two floats, with explicit padding, and the clipped straight-through gradient. */
#include "internal.h"

enum { grain_floats = 1 << 15 };

static bool is_valid(size_t outer, size_t height, size_t width, size_t pad_h, size_t pad_w) {
  if (!outer || !height || !width || height > SIZE_MAX / 8 || width > SIZE_MAX / 8) return false;
  if (pad_h > SIZE_MAX / 8 || pad_w > SIZE_MAX / 8) return false;
  return qnn_fits(outer, height + 2 * pad_h, width + 2 * pad_w, 1, sizeof(float));
}

static void fill(float *y, size_t n, float value) {
  for (size_t i = 0; i < n; ++i) y[i] = value;
}

qnn_status qnn_sign_pad(const float *x, size_t outer, size_t height, size_t width, size_t pad_h, size_t pad_w,
                        float low, float high, float pad_value, float *y) {
  if (!x || !y) return QNN_BAD_ARGUMENT;
  if (!is_valid(outer, height, width, pad_h, pad_w)) return QNN_BAD_SHAPE;
  const size_t padded_height = height + 2 * pad_h, padded_width = width + 2 * pad_w, rows = outer * padded_height;
  const int num_threads = qnn_threads_for(rows * padded_width, grain_floats);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t row = 0; row < rows; ++row) {
    const size_t line = row % padded_height - pad_h;  /* wraps to large above the image */
    float *restrict to = y + row * padded_width;
    if (line >= height) {
      fill(to, padded_width, pad_value);
      continue;
    }
    const float *restrict from = x + (row / padded_height * height + line) * width;
    fill(to, pad_w, pad_value);
    for (size_t i = 0; i < width; ++i) to[pad_w + i] = qnn_is_negative(from[i]) ? low : high;
    fill(to + pad_w + width, pad_w, pad_value);
  }
  return QNN_OK;
}

/* to = |x| <= clip ? slope * head : 0. On the bit patterns, because compilers do not vectorise a float compare that might
 * trap: without their signs, floats are ordered as their bits are, and NaN lies above infinity (its gradient is 0). The
 * product comes last, or it would stand in a branch. */
static void pass_inside(const float *restrict x, const float *restrict head, size_t n, uint32_t clip_bits, float slope,
                        float *restrict to) {
  for (size_t i = 0; i < n; ++i) {
    uint32_t magnitude, gradient;
    float passed;
    memcpy(&magnitude, x + i, sizeof magnitude);
    memcpy(&gradient, head + i, sizeof gradient);
    gradient = (magnitude & 0x7FFFFFFFu) <= clip_bits ? gradient : 0u;
    memcpy(&passed, &gradient, sizeof passed);
    to[i] = slope * passed;
  }
}

qnn_status qnn_sign_pad_grad(const float *x, const float *dy, size_t outer, size_t height, size_t width, size_t pad_h,
                             size_t pad_w, float grad_clip, float slope, float *dx) {
  if (!x || !dy || !dx || !(grad_clip >= 0)) return QNN_BAD_ARGUMENT;
  if (!is_valid(outer, height, width, pad_h, pad_w)) return QNN_BAD_SHAPE;
  const size_t padded_height = height + 2 * pad_h, padded_width = width + 2 * pad_w, rows = outer * height;
  uint32_t clip_bits;
  memcpy(&clip_bits, &grad_clip, sizeof clip_bits);
  const int num_threads = qnn_threads_for(rows * width, grain_floats);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t row = 0; row < rows; ++row) {
    const float *restrict from = x + row * width;
    const float *restrict head = dy + ((row / height) * padded_height + row % height + pad_h) * padded_width + pad_w;
    float *restrict to = dx + row * width;
    pass_inside(from, head, width, clip_bits, slope, to);
  }
  return QNN_OK;
}
