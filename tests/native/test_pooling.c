/* test_pooling.c: maxima of bits and of codes. */
#include <stdlib.h>
#include <string.h>

#include "check.h"

size_t test_pool(void) {
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

/* Maximum of codes: the first word of random planes against numbers. */
size_t test_pool_of_codes(void) {
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
