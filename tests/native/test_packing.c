/* test_packing.c: floats as bits. */
#include <stdlib.h>
#include <string.h>

#ifdef __SSE2__
#include <xmmintrin.h>
#endif

#include "check.h"

size_t test_pack(void) {
  size_t bad = 0;
  for (size_t cols = 1; cols < 200; cols += cols < 8 ? 1 : 7) {
    const size_t rows = 3, stride = cols + 5, words = words_for(cols);
    float *x = random_floats(rows * stride), *back = malloc(rows * cols * sizeof *back);
    uint64_t *packed = malloc(rows * words * sizeof *packed);
    memset(packed, 0xA5, rows * words * sizeof *packed);
    bad += qnn_pack_rows(x, rows, cols, stride, packed) != QNN_OK;
    bad += qnn_unpack_rows(packed, rows, cols, back) != QNN_OK;
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < cols; ++c) bad += back[r * cols + c] != (float)sign_of(x[r * stride + c]);
      if (cols % 64) bad += packed[(r + 1) * words - 1] >> cols % 64 != 0;
    }
    free(x), free(back), free(packed);
  }
  return bad;
}

/* Denormals keep their sign where the process flushes them to zero (some libraries switch that on). */
size_t test_flush_to_zero(void) {
  const qnn_conv2d_shape pixel = {.batch = 1, .channels = 70, .height = 1, .width = 1, .num_group = 1};
  float x[70], y[70], zeros[70] = {0};
  uint64_t words[2] = {~(uint64_t)0, ~(uint64_t)0}, above[2] = {~(uint64_t)0, ~(uint64_t)0};
  for (size_t i = 0; i < 70; ++i) x[i] = -1e-42f;
#ifdef __SSE2__
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);  /* FTZ, DAZ */
#endif
  size_t bad = qnn_pack_rows(x, 1, 70, 70, words) || qnn_sign_pad(x, 1, 7, 10, 0, 0, -1.0f, 1.0f, 1.0f, y) ||
               qnn_pack_thresholds_nhwc(x, &pixel, zeros, 70, NULL, above);
#ifdef __SSE2__
  _mm_setcsr(before);
#endif
  for (size_t i = 0; i < 70; ++i) bad += y[i] != -1.0f;
  return bad + (words[0] != 0) + (words[1] != 0) + (above[0] != 0) + (above[1] != 0);
}

/* One comparison per channel, both layouts; NaN, infinities and zeros on both sides. */
size_t test_thresholds(void) {
  static const size_t channels[] = {1, 5, 63, 64, 65, 130, 192, 1100};
  size_t bad = 0;
  for (size_t c = 0; c < sizeof channels / sizeof *channels; ++c) {
    const size_t n = channels[c], plane = c % 2 ? 35 : 1, words = words_for(n);
    const qnn_conv2d_shape s = {.batch = 2, .channels = n, .height = c % 2 ? 5 : 1, .width = c % 2 ? 7 : 1,
                                .num_group = 1, .pad_h = 1, .pad_w = 2, .pad_value = 1};
    const size_t image_words = qnn_conv2d_image_words(&s);
    float *x = random_floats(2 * n * plane), *nhwc = malloc(2 * n * plane * sizeof *nhwc), *t = random_floats(n);
    uint64_t *flip = malloc(words * 8), *a = malloc(image_words * 8), *b = malloc(image_words * 8);
    for (size_t i = 0; i < words; ++i) flip[i] = random_word();
    for (size_t i = 0; i < 2 * n * plane; ++i)
      nhwc[(i / n / plane * plane + i % plane) * n + i / plane % n] = x[i];
    bad += qnn_pack_thresholds_nchw(x, &s, t, n, flip, a) || qnn_pack_thresholds_nhwc(nhwc, &s, t, n, flip, b);
    bad += memcmp(a, b, image_words * 8) != 0;
    for (size_t i = 0; i < 2 * n * plane; ++i) {
      const size_t image = i / n / plane, ch = i / plane % n, row = i % plane / s.width, col = i % s.width;
      const uint64_t *pixel = a + ((image * (s.height + 2) + row + 1) * (s.width + 4) + col + 2) * words;
      const int is_zero = bit_of(flip, ch) ? x[i] >= t[ch] : x[i] < t[ch];
      bad += bit_of(pixel, ch) == (size_t)is_zero;
    }
    bad += check_border(a, 2, s.height, s.width, 1, 2, n, 1);
    free(x), free(nhwc), free(t), free(flip), free(a), free(b);
  }
  return bad;
}
