/* pack_images.c: float images -> packed, padded images, by signs or by thresholds per channel. */
#include "images.h"

enum {
  grain_floats = 1 << 15,
  chunk_pixels = 256          /* of one channel at a time: 1 KiB in a row keeps the prefetcher going */
};

static qnn_border border_of(const qnn_conv2d_shape *s) {
  const qnn_border border = {s->height, s->width, qnn_image_pad_h(s), qnn_image_pad_w(s),
                             s->num_group * qnn_group_words(s), s->channels / s->num_group, qnn_act_planes(s),
                             s->pad_value, s->act_code};
  return border;
}

static size_t plane_words_of(const qnn_border *b) {
  return (b->height + 2 * b->pad_h) * (b->width + 2 * b->pad_w) * b->pixel_words;
}

/* Bits of `n` floats, which belong to `period` channels from `channel` on, over and over. */
static inline void pack_run(const qnn_isa *isa, const qnn_steps *t, size_t planes, size_t channel, size_t period,
                            const float *x, size_t n, uint64_t *words, size_t plane_words) {
  if (!t) {
    isa->pack(x, n, words);
  } else if (t->stride == 1) {
    isa->encode(x, n, planes, t, 1, words, plane_words);
  } else {
    const qnn_steps own = {t->turn + channel, t->limit + channel, t->stride};
    isa->encode(x, n, planes, &own, period, words, plane_words);
  }
}

void qnn_pack_image_nhwc(const float *x, const qnn_conv2d_shape *s, const qnn_steps *t, uint64_t *image) {
  const qnn_isa *isa = qnn_isa_active();
  const qnn_border border = border_of(s);
  const size_t group_channels = s->channels / s->num_group, words = qnn_group_words(s);
  const size_t pad_h = border.pad_h, pad_w = border.pad_w;
  const size_t padded_height = s->height + 2 * pad_h, padded_width = s->width + 2 * pad_w;
  const size_t rows = s->batch * padded_height, planes = border.planes, plane_words = plane_words_of(&border);
  const bool is_dense = group_channels % QNN_WORD_BITS == 0;  /* no pad bits between groups and pixels */
  const size_t run = is_dense ? s->width * s->channels : group_channels;
  const size_t num_runs = s->width * s->channels / run, run_words = qnn_words_for(run);
  const int num_threads = qnn_threads_for(s->batch * s->height * s->width * s->channels, grain_floats);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t row = 0; row < rows; ++row) {
    const size_t n = row / padded_height, padded_line = row % padded_height, line = padded_line - pad_h;
    if (pad_h || pad_w)
      for (size_t i = 0; i < planes; ++i)
        qnn_fill_border(&border, (n * planes + i) * padded_height + padded_line, image);
    if (line >= s->height) continue;
    const float *from = x + (n * s->height + line) * s->width * s->channels;
    uint64_t *to = image + n * planes * plane_words + (padded_line * padded_width + pad_w) * s->num_group * words;
    for (size_t i = 0; i < num_runs; ++i, from += run, to += run_words)
      pack_run(isa, t, planes, is_dense ? 0 : i % s->num_group * run, is_dense ? s->channels : run, from, run, to,
               plane_words);
  }
}

/* One round of transpose_bits: b[2i] takes the low halves of every 2*width bits of a[i] and a[i + 32], b[2i + 1] the
 * high halves. Interleaving the rows on the way gives every round the same shape, which compilers turn into vectors. */
static inline __attribute__((always_inline)) void exchange_halves(const uint64_t *restrict a, uint64_t *restrict b,
                                                                  const size_t width, const uint64_t low) {
  for (size_t i = 0; i < 32; ++i) {
    const uint64_t x = a[i], y = a[i + 32];
    b[2 * i] = (x & low) | (y & low) << width;
    b[2 * i + 1] = (x >> width & low) | (y & ~low);
  }
}

/* Transposes a 64x64 bit matrix in place: bit j of word i <-> bit i of word j. Six rounds, each of which moves one bit
 * of the row number into the column number. */
static void transpose_bits(uint64_t a[64]) {
  uint64_t b[64];
  exchange_halves(a, b, 32, 0x00000000FFFFFFFFu);
  exchange_halves(b, a, 16, 0x0000FFFF0000FFFFu);
  exchange_halves(a, b, 8, 0x00FF00FF00FF00FFu);
  exchange_halves(b, a, 4, 0x0F0F0F0F0F0F0F0Fu);
  exchange_halves(a, b, 2, 0x3333333333333333u);
  exchange_halves(b, a, 1, 0x5555555555555555u);
}

/* Bits of up to 64 channels, at pixels first .. first+num_pixels of an image plane, to a word of each pixel. */
static void store_channels(uint64_t bits[][QNN_WORD_BITS], const qnn_conv2d_shape *s, size_t num_channels, size_t first,
                           size_t num_pixels, uint64_t *image, size_t pixel_words) {
  const size_t pad_h = qnn_image_pad_h(s), pad_w = qnn_image_pad_w(s), num_blocks = qnn_words_for(num_pixels);
  size_t column = first % s->width;
  uint64_t *to = image + ((first / s->width + pad_h) * (s->width + 2 * pad_w) + pad_w + column) * pixel_words;
  for (size_t b = 0; b < num_blocks; ++b) {
    for (size_t c = num_channels; c < QNN_WORD_BITS; ++c) bits[b][c] = 0;  /* pad bits */
    transpose_bits(bits[b]);
    const size_t count = qnn_min(num_pixels - b * QNN_WORD_BITS, QNN_WORD_BITS);
    for (size_t i = 0; i < count; ++i) {
      *to = bits[b][i];
      to += pixel_words;
      if (++column < s->width) continue;
      column = 0;
      to += 2 * pad_w * pixel_words;
    }
  }
}

/* One word of up to 64 channels in every plane, at pixels first .. first+num_pixels. */
static void pack_channels(const float *x, const qnn_conv2d_shape *s, const qnn_isa *isa, const qnn_steps *t,
                          size_t channel, size_t num_channels, size_t first, size_t num_pixels, uint64_t *image,
                          size_t pixel_words, size_t plane_words) {
  enum { chunk_words = chunk_pixels / QNN_WORD_BITS };
  assert(num_channels <= QNN_WORD_BITS && num_pixels <= chunk_pixels);
  uint64_t bits[QNN_MAX_PLANES][chunk_words][QNN_WORD_BITS];  /* [plane][64 pixels][channel] */
  const size_t plane = s->height * s->width, num_blocks = qnn_words_for(num_pixels), planes = qnn_act_planes(s);
  for (size_t c = 0; c < num_channels; ++c) {
    uint64_t words[QNN_MAX_PLANES * chunk_words];
    pack_run(isa, t, planes, channel + c, 1, x + c * plane + first, num_pixels, words, chunk_words);
    for (size_t i = 0; i < planes; ++i)
      for (size_t b = 0; b < num_blocks; ++b) bits[i][b][c] = words[i * chunk_words + b];
  }
  for (size_t i = 0; i < planes; ++i)
    store_channels(bits[i], s, num_channels, first, num_pixels, image + i * plane_words, pixel_words);
}

void qnn_pack_image_nchw(const float *x, const qnn_conv2d_shape *s, const qnn_steps *t, uint64_t *image) {
  const qnn_isa *isa = qnn_isa_active();
  const qnn_border border = border_of(s);
  const size_t group_channels = s->channels / s->num_group, words = qnn_group_words(s);
  const size_t pixel_words = s->num_group * words;
  const size_t plane = s->height * s->width, chunks = plane / chunk_pixels + (plane % chunk_pixels != 0);
  const size_t rows = s->batch * border.planes * (s->height + 2 * border.pad_h);
  const size_t plane_words = plane_words_of(&border), image_words = border.planes * plane_words;
  const size_t num_tasks = s->batch * pixel_words * chunks;
  const int num_threads = qnn_threads_for(s->batch * plane * s->channels, grain_floats);
#pragma omp parallel num_threads(num_threads) if (num_threads > 1)
  {
    if (border.pad_h || border.pad_w) {
#pragma omp for nowait
      for (size_t row = 0; row < rows; ++row) qnn_fill_border(&border, row, image);
    }
#pragma omp for nowait
    for (size_t task = 0; task < num_tasks; ++task) {
      const size_t chunk = task % chunks, word = task / chunks % pixel_words, n = task / chunks / pixel_words;
      const size_t channel = word / words * group_channels + word % words * QNN_WORD_BITS;
      const size_t first = chunk * chunk_pixels;
      pack_channels(x + (n * s->channels + channel) * plane, s, isa, t, channel,
                    qnn_min(group_channels - word % words * QNN_WORD_BITS, QNN_WORD_BITS), first,
                    qnn_min(plane - first, chunk_pixels), image + n * image_words + word, pixel_words, plane_words);
    }
  }
}
