/* test_layers.c: layers of bits: dot products of rows, convolutions, bits out. */
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* dot products of rows of floats, in the simplest way */
size_t test_xgemm(void) {
  static const size_t ks[] = {1, 63, 64, 65, 127, 129, 577, 2053, 40000}, fs[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 48};
  static const size_t ns[] = {1, 2, 3, 5, 13, 67};
  size_t bad = 0;
  for (size_t c = 0; c < sizeof ks / sizeof *ks * 10 * 6; ++c) {
    const size_t k = ks[c / 60], num_filter = fs[c / 6 % 10], n = ns[c % 6], words = words_for(k);
    if ((k > 500 && n > 13) || (k > 3000 && (n > 3 || num_filter % 16 > 1))) continue;  /* the plain loop takes long */
    float *x = random_floats(n * k), *w = random_floats(num_filter * k), *y = malloc(n * num_filter * sizeof *y);
    float *bias = malloc(num_filter * sizeof *bias);
    uint64_t *a = malloc(n * words * 8), *rows = malloc(num_filter * words * 8);
    uint64_t *panels = malloc(num_filter * words * 8);
    for (size_t f = 0; f < num_filter; ++f) bias[f] = (float)f * 0.1f;
    const float scale = 0.3f;
    const qnn_output output = {c % 2, c % 3 ? &scale : NULL, 1, c % 5 ? bias : NULL, NULL, NULL, NULL};
    bad += qnn_pack_rows(x, n, k, k, a) || qnn_pack_rows(w, num_filter, k, k, rows) ||
           qnn_pack_panels(rows, num_filter, words, 1, panels) ||
           qnn_xgemm(a, panels, n, num_filter, k, &output, y);
    for (size_t j = 0; j < n; ++j)
      for (size_t f = 0; f < num_filter; ++f) {
        int dot = 0;
        for (size_t i = 0; i < k; ++i) dot += sign_of(x[j * k + i]) * sign_of(w[f * k + i]);
        volatile float want = c % 2 ? (float)dot : (float)((int)k + dot) * 0.5f;  /* volatile: round every step */
        if (c % 3) want = want * scale;
        if (c % 5) want = want + bias[f];
        bad += y[j * num_filter + f] != want;
      }
    free(x), free(w), free(y), free(bias), free(a), free(rows), free(panels);
  }
  return bad;
}

/* Bits out of the convolution whose dot products are in y (no_offset, NCHW), with random thresholds and directions. */
static size_t check_bits(const qnn_conv2d_shape *s, const uint64_t *image, const uint64_t *panels, const float *y) {
  const size_t oh = qnn_conv2d_out_height(s), ow = qnn_conv2d_out_width(s), words = words_for(s->num_filter);
  const size_t pad_h = random_word() % 3, pad_w = random_word() % 3, width = ow + 2 * pad_w;
  const size_t image_words = (oh + 2 * pad_h) * width * words;
  const int pad_value = (int)(random_word() % 3) - 1;
  int32_t *threshold = malloc(s->num_filter * sizeof *threshold);
  uint64_t *flip = malloc(words * 8), *out = malloc(s->batch * image_words * 8);
  for (size_t f = 0; f < s->num_filter; ++f)
    threshold[f] = random_word() % 8 ? (int32_t)(random_word() % 41) - 20 : random_word() % 2 ? INT32_MIN : INT32_MAX;
  for (size_t i = 0; i < words; ++i) flip[i] = random_word();  /* bits behind the last filter must not matter */
  memset(out, 0xA5, s->batch * image_words * 8);
  const qnn_bits_output output = {.threshold = threshold, .flip = flip, .pad_h = pad_h, .pad_w = pad_w,
                                  .pad_value = pad_value};
  size_t bad = qnn_conv2d_bits(image, panels, s, &output, out) != QNN_OK;
  for (size_t i = 0; i < s->batch * s->num_filter * oh * ow; ++i) {
    const size_t n = i / (s->num_filter * oh * ow), f = i / (oh * ow) % s->num_filter, row = i / ow % oh, col = i % ow;
    const uint64_t *pixel = out + n * image_words + ((row + pad_h) * width + col + pad_w) * words;
    bad += bit_of(pixel, f) != (((int32_t)y[i] >= threshold[f]) ^ bit_of(flip, f));
  }
  bad += check_border(out, s->batch, oh, ow, pad_h, pad_w, s->num_filter, pad_value);
  free(threshold), free(flip), free(out);
  return bad;
}

static size_t check_conv(const qnn_conv2d_shape *s, int no_offset) {
  const size_t cg = s->channels / s->num_group, fg = s->num_filter / s->num_group, taps = s->kernel_h * s->kernel_w;
  const size_t words = words_for(cg), oh = qnn_conv2d_out_height(s), ow = qnn_conv2d_out_width(s);
  const size_t outputs = s->batch * s->num_filter * oh * ow, filter_words = qnn_conv2d_filter_words(s);
  float *x = random_floats(s->batch * s->channels * s->height * s->width);
  float *w = random_floats(s->num_filter * taps * cg);
  float *nhwc = malloc(s->batch * s->channels * s->height * s->width * sizeof *nhwc);
  float *y = malloc(outputs * sizeof *y), *z = malloc(outputs * sizeof *z);
  const size_t image_words = qnn_conv2d_image_words(s);
  uint64_t *image = malloc(image_words * 8), *image2 = malloc(image_words * 8);
  uint64_t *rows = malloc(s->num_filter * filter_words * 8), *panels = malloc(s->num_filter * filter_words * 8);
  const qnn_output output = {.no_offset = no_offset};
  size_t bad = filter_words != taps * words;
  for (size_t n = 0; n < s->batch; ++n)
    for (size_t c = 0; c < s->channels; ++c)
      for (size_t p = 0; p < s->height * s->width; ++p)
        nhwc[(n * s->height * s->width + p) * s->channels + c] = x[(n * s->channels + c) * s->height * s->width + p];
  bad += qnn_pack_rows(w, s->num_filter * taps, cg, cg, rows) ||
         qnn_pack_panels(rows, s->num_filter, filter_words, s->num_group, panels) || qnn_pack_nchw(x, s, image) ||
         qnn_pack_nhwc(nhwc, s, image2) || qnn_conv2d(image, panels, s, &output, 0, y) ||
         qnn_conv2d(image, panels, s, &output, 1, z);
  bad += memcmp(image, image2, image_words * 8) != 0;
  if (no_offset) bad += check_bits(s, image, panels, y);
  for (size_t i = 0; i < outputs; ++i) {
    const size_t n = i / (s->num_filter * oh * ow), f = i / (oh * ow) % s->num_filter, row = i / ow % oh, col = i % ow;
    int dot = 0;
    for (size_t t = 0; t < taps; ++t)
      for (size_t c = 0; c < cg; ++c) {
        const size_t in_y = row * s->stride_h + t / s->kernel_w * s->dilate_h - s->pad_h;
        const size_t in_x = col * s->stride_w + t % s->kernel_w * s->dilate_w - s->pad_w;
        const size_t channel = f / fg * cg + c;
        const int value = in_y < s->height && in_x < s->width
                              ? sign_of(x[((n * s->channels + channel) * s->height + in_y) * s->width + in_x])
                              : s->pad_value;
        dot += value * sign_of(w[(f * taps + t) * cg + c]);
      }
    const float want = no_offset ? (float)dot : ((float)(taps * cg) + (float)dot) * 0.5f;
    bad += y[i] != want;
    bad += z[(n * oh * ow + row * ow + col) * s->num_filter + f] != want;
  }
  free(x), free(w), free(nhwc), free(y), free(z), free(image), free(image2), free(rows), free(panels);
  return bad;
}

size_t test_conv2d(void) {
  static const size_t channels[] = {1, 3, 64, 65, 130}, filters[] = {1, 7, 16, 33, 48};
  size_t bad = 0;
  for (size_t c = 0; c < 75; ++c) {
    const qnn_conv2d_shape s = {1 + c % 2, channels[c % 5], 9, 7, filters[c / 5 % 5], 1, 3, c % 4 ? 3 : 1,
                                1 + c % 3 / 2, 1 + c % 7 / 6, 1, 1 + c % 5 / 4, c % 3, c % 4 ? c % 2 * 2 : 1,
                                (int)(c % 3) - 1, c % 4 > 1 ? 3 : 0, c % 8 > 3 ? 2 : 0, 1, 1, 0, 0, 0, 0};
    bad += check_conv(&s, c % 2);
  }
  return bad;
}

size_t test_groups(void) {
  size_t bad = 0;
  for (size_t c = 0; c < 12; ++c) {
    const qnn_conv2d_shape depthwise = {2, 6, 8, 9, 6 * (1 + c % 2), 6, 3, 3, 1, 1, 1, 1, 1, 1, (int)(c % 3) - 1,
                                        0, 0, 0, 0, 0, 0, 0, 0};
    const qnn_conv2d_shape pair = {1, 134, 6, 5, 2 * (15 + c % 4), 2, 2, 3, 1, 2, 1, 1, 1, 0, (int)(c % 3) - 1,
                                   0, 0, 0, 0, 0, 0, 0, 0};
    bad += check_conv(&depthwise, c % 2) + check_conv(&pair, c % 2);
  }
  return bad;
}
