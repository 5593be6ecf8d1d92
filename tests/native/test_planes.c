/* test_planes.c: layers of codes of several bits, on planes, against integers. */
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* u of a code as its value. */
static int value_of(int u, size_t planes, int code) {
  const int top = (1 << planes) - 1;
  return code == QNN_BIPOLAR ? 2 * u - top : code == QNN_SIGNED ? u - (top + 1) / 2 : u;
}

/* Codes out of a layer whose accumulators are in y (NCHW): 2 planes, three thresholds. */
static size_t check_codes(const qnn_conv2d_shape *s, const uint64_t *image, const uint64_t *panels,
                          const int32_t *offset, const float *y) {
  const size_t oh = qnn_conv2d_out_height(s), ow = qnn_conv2d_out_width(s), words = words_for(s->num_filter);
  const size_t plane_words = (oh + 2) * ow * words;
  int32_t *threshold = malloc(3 * s->num_filter * sizeof *threshold);
  uint64_t *flip = malloc(words * 8), *out = malloc(s->batch * 2 * plane_words * 8);
  for (size_t f = 0; f < s->num_filter; ++f)
    for (size_t t = 0; t < 3; ++t)
      threshold[t * s->num_filter + f] = (t ? threshold[(t - 1) * s->num_filter + f] : -40) +
                                         (int32_t)(random_word() % 40);
  for (size_t i = 0; i < words; ++i) flip[i] = random_word();
  const qnn_bits_output output = {offset, threshold, flip, 2, QNN_SIGNED, 1, 0, 0};
  size_t bad = qnn_conv2d_bits(image, panels, s, &output, out) != QNN_OK;
  for (size_t i = 0; i < s->batch * s->num_filter * oh * ow; ++i) {
    const size_t n = i / (s->num_filter * oh * ow), f = i / (oh * ow) % s->num_filter, p = i % (oh * ow);
    const uint64_t *pixel = out + 2 * n * plane_words + (ow + p) * words;
    size_t u = 0;
    for (size_t t = 0; t < 3; ++t) u += ((int32_t)y[i] >= threshold[t * s->num_filter + f]) ^ bit_of(flip, f);
    bad += bit_of(pixel, f) + 2 * bit_of(pixel + plane_words, f) != u;
  }
  for (size_t f = 0; f < s->num_filter; ++f) bad += bit_of(out, f) || !bit_of(out + plane_words, f);  /* a 0 outside */
  free(threshold), free(flip), free(out);
  return bad;
}

/* Codes against integers. Floats equal to u are packed by the thresholds 1, 2, 3, ... that all channels share. */
static size_t check_planes(const qnn_conv2d_shape *s) {
  const size_t cg = s->channels / s->num_group, fg = s->num_filter / s->num_group, taps = s->kernel_h * s->kernel_w;
  const size_t oh = qnn_conv2d_out_height(s), ow = qnn_conv2d_out_width(s), plane = s->height * s->width;
  const size_t outputs = s->batch * s->num_filter * oh * ow, filter_words = qnn_conv2d_filter_words(s);
  const size_t weights = s->num_filter * taps * cg, panel_words = s->num_filter * filter_words;
  const size_t is_masked = s->weight_code == QNN_MASKED, num_planes = s->weight_planes + is_masked;
  const int top = (1 << s->act_planes) - 1, largest = (1 << s->weight_planes) - 1;
  float *x = malloc(s->batch * s->channels * plane * sizeof *x);
  float *nhwc = malloc(s->batch * s->channels * plane * sizeof *nhwc);
  float *bit = malloc(weights * sizeof *bit), *y = malloc(outputs * sizeof *y), threshold[255];
  int *w = malloc(weights * sizeof *w);
  int32_t *offset = calloc(s->num_filter, sizeof *offset);
  const size_t image_words = qnn_conv2d_image_words(s);
  uint64_t *image = malloc(image_words * 8), *image2 = malloc(image_words * 8), *rows = malloc(panel_words * 8);
  uint64_t *panels = malloc(num_planes * panel_words * 8);
  size_t bad = 0;
  for (int t = 0; t < top; ++t) threshold[t] = (float)(t + 1);
  for (size_t i = 0; i < s->batch * s->channels * plane; ++i) x[i] = (float)(random_word() >> 32 & (uint64_t)top);
  for (size_t i = 0; i < s->batch * s->channels * plane; ++i)
    nhwc[(i / s->channels / plane * plane + i % plane) * s->channels + i / plane % s->channels] = x[i];
  for (size_t i = 0; i < weights; ++i) {
    const int u = (int)(random_word() >> 32 & (uint64_t)largest);
    w[i] = is_masked ? (random_word() >> 32 & 1 ? u : -u) : 2 * u - largest;
    const int magnitude = is_masked ? abs(w[i]) : largest;
    const int shift = s->act_code == QNN_BIPOLAR ? top * magnitude : s->act_code == QNN_UNSIGNED ? top * w[i] : -w[i];
    offset[i / taps / cg] += top * magnitude + shift;  /* twice the offset */
  }
  for (size_t f = 0; f < s->num_filter; ++f) offset[f] /= 2;
  for (size_t j = 0; j < num_planes; ++j) {
    for (size_t i = 0; i < weights; ++i) {
      const int u = is_masked ? abs(w[i]) : (w[i] + largest) / 2;
      const int is_one = is_masked && j == 0 ? w[i] >= 0 : u >> (j - is_masked) & 1;
      bit[i] = is_one ? 1.0f : -1.0f;
    }
    bad += qnn_pack_rows(bit, s->num_filter * taps, cg, cg, rows) ||
           qnn_pack_panels(rows, s->num_filter, filter_words, s->num_group, panels + j * panel_words);
  }
  const qnn_output output = {.offset = offset, .no_offset = 1};
  bad += qnn_pack_thresholds_nchw(x, s, threshold, 1, NULL, image) ||
         qnn_pack_thresholds_nhwc(nhwc, s, threshold, 1, NULL, image2) ||
         qnn_conv2d(image, panels, s, &output, 0, y);
  bad += memcmp(image, image2, image_words * 8) != 0;
  for (size_t i = 0; i < outputs; ++i) {
    const size_t n = i / (s->num_filter * oh * ow), f = i / (oh * ow) % s->num_filter, row = i / ow % oh, col = i % ow;
    int accum = 0;
    for (size_t t = 0; t < taps; ++t)
      for (size_t c = 0; c < cg; ++c) {
        const size_t in_y = row * s->stride_h + t / s->kernel_w * s->dilate_h - s->pad_h;
        const size_t in_x = col * s->stride_w + t % s->kernel_w * s->dilate_w - s->pad_w;
        if (in_y >= s->height || in_x >= s->width) continue;
        const float u = x[((n * s->channels + f / fg * cg + c) * s->height + in_y) * s->width + in_x];
        accum += value_of((int)u, s->act_planes, s->act_code) * w[(f * taps + t) * cg + c];
      }
    bad += y[i] != (float)accum;
  }
  bad += check_codes(s, image, panels, offset, y);
  free(x), free(nhwc), free(bit), free(y), free(w), free(offset), free(image), free(image2), free(rows), free(panels);
  return bad;
}

size_t test_planes(void) {
  static const size_t channels[] = {1, 3, 64, 66, 130}, filters[] = {1, 7, 16, 33, 48};
  size_t bad = 0;
  for (size_t c = 0; c < 75; ++c) {
    const qnn_conv2d_shape s = {
        .batch = 1 + c % 2, .channels = channels[c % 5], .height = 5, .width = 4, .num_filter = filters[c / 5 % 5],
        .num_group = 1, .kernel_h = 1 + c % 3, .kernel_w = 2, .stride_h = 1 + c % 7 / 6, .stride_w = 1, .dilate_h = 1,
        .dilate_w = 1 + c % 4 / 3, .pad_h = 1, .pad_w = c % 3, .act_planes = 1 + c % 4 + 4 * (c % 11 == 0),
        .weight_planes = 1 + c / 3 % 3, .act_code = (int)(c % 3), .weight_code = c / 2 % 2 ? QNN_MASKED : QNN_BIPOLAR};
    bad += check_planes(&s);
  }
  const qnn_conv2d_shape pair = {2, 134, 6, 5, 2 * 15, 2, 2, 3, 1, 2, 1, 1, 1, 0, 0, 0, 0, 2, 2, QNN_SIGNED, QNN_MASKED,
                                 0, 0};
  return bad + check_planes(&pair);
}
