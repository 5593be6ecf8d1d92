/* test_kernels.c: every built instruction set against plain loops written from the formulas, on awkward sizes.
 * Prints one line "PASS group" or "FAIL group ..." each; exit status 1 after a FAIL. Needs nothing but the library. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SSE2__
#include <xmmintrin.h>
#endif

#include "qnn.h"

static uint64_t state = 88172645463325252u;
static uint64_t random_word(void) {  /* xorshift64 */
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}
static float random_float(void) {
  static const float edges[] = {0.0f, -0.0f, 1e-42f, -1e-42f, INFINITY, -INFINITY};
  const uint64_t r = random_word();
  if (r % 16 == 0) return edges[r / 16 % 6];
  return r % 16 == 1 ? (r & 1024 ? NAN : -NAN) : (float)(int64_t)random_word() * 0x1p-63f;
}
static float *random_floats(size_t n) {
  float *x = malloc(n * sizeof *x);
  for (size_t i = 0; i < n; ++i) x[i] = random_float();
  return x;
}
static int sign_of(float x) { return x < 0 ? -1 : 1; }
static size_t words_for(size_t n) { return (n + 63) / 64; }

static int num_failed;
static void report(const char *group, const char *isa, size_t num_bad) {
  printf("%s %s %s", num_bad ? "FAIL" : "PASS", isa, group);
  printf(num_bad ? ": %zu values differ\n" : "\n", num_bad);
  num_failed += num_bad != 0;
}

static size_t test_pack(void) {
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
static size_t test_flush_to_zero(void) {
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

/* dot products of rows of floats, in the simplest way */
static size_t test_xgemm(void) {
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

static size_t bit_of(const uint64_t *row, size_t i) { return row[i / 64] >> i % 64 & 1; }

/* Border pixels, and pad bits of all pixels, of a packed image without groups. */
static size_t check_border(const uint64_t *image, size_t batch, size_t height, size_t width, size_t pad_h, size_t pad_w,
                           size_t channels, int pad_value) {
  const size_t words = words_for(channels), padded_w = width + 2 * pad_w, padded_h = height + 2 * pad_h;
  size_t bad = 0;
  for (size_t p = 0; p < batch * padded_h * padded_w; ++p) {
    const size_t row = p / padded_w % padded_h, col = p % padded_w;
    const int is_inside = row - pad_h < height && col - pad_w < width;  /* unsigned: below the pad wraps to large */
    for (size_t c = 0; c < words * 64; ++c)
      if (c >= channels || !is_inside) bad += bit_of(image + p * words, c) != (c < channels && pad_value > 0);
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

static size_t test_conv2d(void) {
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

/* One comparison per channel, both layouts; NaN, infinities and zeros on both sides. */
static size_t test_thresholds(void) {
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

static size_t test_pool(void) {
  size_t bad = 0;
  for (size_t c = 0; c < 48; ++c) {
    const qnn_pool_shape s = {1 + c % 2, c % 3 ? 64 * (c % 3) : 70, 9, 7, 1 + c % 3, 1 + c % 4, 1 + c % 2, 1 + c % 5,
                              c % 3 / 2, c % 4 / 2, (int)(c % 2), c % 5 / 2, c % 3, c / 2 % 2, c / 4 % 3,
                              (int)(c % 3) - 1, 0, 0};
    const size_t words = words_for(s.channels), oh = qnn_pool_out_height(&s), ow = qnn_pool_out_width(&s);
    const size_t in_h = s.height + 2 * s.image_pad_h, in_w = s.width + 2 * s.image_pad_w;
    const size_t out_h = oh + 2 * s.out_pad_h, out_w = ow + 2 * s.out_pad_w;
    uint64_t *in = malloc(s.batch * in_h * in_w * words * 8), *out = malloc(s.batch * out_h * out_w * words * 8);
    uint64_t flip[2] = {random_word(), random_word()};
    for (size_t i = 0; i < s.batch * in_h * in_w * words; ++i)
      in[i] = random_word() & random_word() & (i % words == words - 1 && s.channels % 64 ? 63 : ~(uint64_t)0);
    bad += !oh || !ow || qnn_max_pool_bits(in, &s, c % 4 ? flip : NULL, out) != QNN_OK;
    for (size_t i = 0; i < s.batch * oh * ow * s.channels; ++i) {
      const size_t ch = i % s.channels, col = i / s.channels % ow, row = i / s.channels / ow % oh;
      const size_t n = i / s.channels / ow / oh;
      size_t want = 0;
      for (size_t t = 0; t < s.kernel_h * s.kernel_w; ++t) {
        const size_t y = row * s.stride_h + t / s.kernel_w - s.pad_h, x = col * s.stride_w + t % s.kernel_w - s.pad_w;
        if (y < s.height && x < s.width)
          want |= bit_of(in + ((n * in_h + y + s.image_pad_h) * in_w + x + s.image_pad_w) * words, ch);
      }
      if (c % 4) want ^= bit_of(flip, ch);
      bad += bit_of(out + ((n * out_h + row + s.out_pad_h) * out_w + col + s.out_pad_w) * words, ch) != want;
    }
    bad += check_border(out, s.batch, oh, ow, s.out_pad_h, s.out_pad_w, s.channels, s.out_pad_value);
    free(in), free(out);
  }
  return bad;
}

static size_t test_groups(void) {
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

static size_t test_planes(void) {
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

/* Maximum of codes: the first word of random planes against numbers. */
static size_t test_pool_of_codes(void) {
  size_t bad = 0;
  for (size_t planes = 2; planes <= 8; ++planes) {
    const qnn_pool_shape s = {.batch = 2, .channels = 64, .height = 5, .width = 4, .kernel_h = 2, .kernel_w = 3,
                              .stride_h = 1, .stride_w = 1, .pad_w = 1, .planes = planes, .code = QNN_UNSIGNED};
    uint64_t in[2][8][5][4], out[2 * 8 * 4 * 4], flip = random_word();
    for (size_t i = 0; i < 2 * planes * 20; ++i) (&in[0][0][0][0])[i] = random_word();
    bad += qnn_max_pool_bits(&in[0][0][0][0], &s, &flip, out) != QNN_OK;
    for (size_t i = 0; i < 2 * 4 * 4 * 64; ++i) {
      const size_t ch = i % 64, col = i / 64 % 4, row = i / 256 % 4, n = i / 1024;
      size_t most = 0, got = 0;
      for (size_t y = row; y < row + 2; ++y)
        for (size_t x = col ? col - 1 : 0; x < col + 2 && x < 4; ++x) {
          size_t u = 0;
          for (size_t p = 0; p < planes; ++p)
            u |= ((&in[0][0][0][0])[((n * planes + p) * 5 + y) * 4 + x] >> ch & 1) << p;
          if (u > most) most = u;
        }
      for (size_t p = 0; p < planes; ++p) got |= (out[((n * planes + p) * 4 + row) * 4 + col] >> ch & 1) << p;
      bad += got != (flip >> ch & 1 ? ((size_t)1 << planes) - 1 - most : most);
    }
  }
  return bad;
}

/* A network of every arity, frames and both heads, from bits and from bytes, node by node. */
static size_t test_lut(void) {
  enum { inputs = 70, nodes = 60, features = 33, frames = 2, scores = 3, samples = 577 };
  uint8_t arities[nodes], *x = malloc(samples * features);
  int32_t connections[nodes * 6], outputs[nodes], starts[scores + 1] = {0, 1, 1, nodes}, sources[inputs];
  uint64_t tables[nodes], *bits = calloc(samples * frames * 2, 8);
  uint16_t levels[frames * inputs];
  int32_t *found = malloc(samples * scores * 4), *classes = malloc(samples * 4), *again = malloc(samples * scores * 4);
  size_t bad = 0;
  for (size_t k = 0; k < nodes; ++k) {
    arities[k] = (uint8_t)(k % 7), tables[k] = random_word(), outputs[k] = (int32_t)(random_word() % (inputs + nodes));
    for (size_t j = 0; j < 6; ++j) connections[6 * k + j] = (int32_t)(random_word() % (inputs + k));
  }
  for (size_t i = 0; i < inputs; ++i) sources[i] = (int32_t)(random_word() % features);
  for (size_t i = 0; i < frames * inputs; ++i) levels[i] = (uint16_t)(random_word() % 257);
  for (size_t i = 0; i < samples * features; ++i) x[i] = (uint8_t)random_word();
  for (size_t i = 0; i < samples * frames * inputs; ++i) {
    const size_t row = i / inputs, bit = i % inputs;
    const uint64_t one = x[row / frames * features + (size_t)sources[bit]] >= levels[row % frames * inputs + bit];
    bits[row * 2 + bit / 64] |= one << bit % 64;
  }
  const qnn_lut_network net = {inputs, nodes, nodes, scores, frames, arities, connections, tables, outputs, starts};
  const qnn_lut_samples packed = {.bits = bits};
  const qnn_lut_samples bytes = {.bytes = x, .num_features = features, .features = sources, .levels = levels};
  bad += qnn_lut_check(&net, &packed) || qnn_lut_check(&net, &bytes);
  bad += qnn_lut_run(&net, &packed, samples, found, classes) || qnn_lut_run(&net, &bytes, samples, again, NULL);
  bad += memcmp(found, again, samples * scores * 4) != 0;
  for (size_t n = 0; n < samples; ++n) {
    int32_t want[scores] = {0}, best = 0;
    for (size_t f = 0; f < frames; ++f) {
      int signals[inputs + nodes];
      for (size_t i = 0; i < inputs; ++i) signals[i] = (int)bit_of(bits + (n * frames + f) * 2, i);
      for (size_t k = 0; k < nodes; ++k) {
        size_t index = 0;
        for (size_t j = 0; j < arities[k]; ++j) index |= (size_t)signals[connections[6 * k + j]] << j;
        signals[inputs + k] = (int)(tables[k] >> index & 1);
      }
      for (int s = 0; s < scores; ++s)
        for (int32_t o = starts[s]; o < starts[s + 1]; ++o) want[s] += signals[outputs[o]];
    }
    for (int s = 0; s < scores; ++s) {
      bad += found[n * scores + (size_t)s] != want[s];
      if (want[s] > want[best]) best = s;
    }
    bad += classes[n] != best;
  }
  free(x), free(bits), free(found), free(classes), free(again);
  return bad;
}

int main(void) {
  qnn_set_threads(1);
  for (size_t i = 0; i < qnn_isa_count(); ++i) {
    const char *isa = qnn_isa_name(i);
    if (!qnn_isa_is_usable(i)) continue;
    if (qnn_isa_select(isa) != QNN_OK || strcmp(qnn_isa_chosen(), isa) != 0) report("select", isa, 1);
    state = 88172645463325252u;
    report("pack", isa, test_pack());
    report("flush to zero", isa, test_flush_to_zero());
    report("xgemm", isa, test_xgemm());
    report("conv2d", isa, test_conv2d());
    report("groups", isa, test_groups());
    report("thresholds", isa, test_thresholds());
    report("pool", isa, test_pool());
    report("lut", isa, test_lut());
    report("planes", isa, test_planes());
    report("pool of codes", isa, test_pool_of_codes());
  }
  return num_failed ? 1 : 0;
}
