/* pack.c: signs of floats -> words, rows and images; and back. */
#include "shape.h"

enum {
  grain_floats = 1 << 15,
  chunk_pixels = 256          /* of one channel at a time: 1 KiB in a row keeps the prefetcher going */
};

qnn_status qnn_pack_rows(const float *x, size_t rows, size_t cols, size_t stride, uint64_t *words) {
  if (!x || !words) return QNN_BAD_ARGUMENT;
  if (!rows || !cols || stride < cols || !qnn_fits(rows, stride, 1, 1, sizeof *x)) return QNN_BAD_SHAPE;
  const qnn_isa *isa = qnn_isa_active();
  const size_t row_words = qnn_words_for(cols);
  const int num_threads = qnn_threads_for(rows * cols, grain_floats);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t row = 0; row < rows; ++row) isa->pack(x + row * stride, cols, words + row * row_words);
  return QNN_OK;
}

qnn_status qnn_unpack_rows(const uint64_t *words, size_t rows, size_t cols, float *x) {
  if (!x || !words) return QNN_BAD_ARGUMENT;
  if (!rows || !cols || !qnn_fits(rows, cols, 1, 1, sizeof *x)) return QNN_BAD_SHAPE;
  const size_t row_words = qnn_words_for(cols);
  for (size_t row = 0; row < rows; ++row, words += row_words)
    for (size_t i = 0; i < cols; ++i)
      *x++ = words[i / QNN_WORD_BITS] >> (i % QNN_WORD_BITS) & 1 ? 1.0f : -1.0f;
  return QNN_OK;
}

/* Border pixels of padded row `row` (of all images): +1 as bits of the channels that exist, else 0. */
static void fill_border(const qnn_conv2d_shape *s, size_t row, uint64_t *image) {
  const size_t words = qnn_group_words(s), pixel_words = s->num_group * words, tail = s->channels / s->num_group % 64;
  const size_t height = s->height + 2 * s->pad_h, width = s->width + 2 * s->pad_w;
  const uint64_t full = s->pad_value > 0 ? ~(uint64_t)0 : 0, last = tail ? full & (((uint64_t)1 << tail) - 1) : full;
  const bool is_inside = row % height - s->pad_h < s->height;  /* above the image wraps to large */
  uint64_t *to = image + row * width * pixel_words;
  for (size_t x = 0; x < width; ++x) {
    if (is_inside && x == s->pad_w) x += s->width;
    if (x >= width) break;
    for (size_t k = 0; k < pixel_words; ++k) to[x * pixel_words + k] = k % words == words - 1 ? last : full;
  }
}

qnn_status qnn_pack_nhwc(const float *x, const qnn_conv2d_shape *s, uint64_t *image) {
  if (!x || !s || !image || !qnn_pad_value_is_valid(s->pad_value)) return QNN_BAD_ARGUMENT;
  if (!qnn_image_is_valid(s)) return QNN_BAD_SHAPE;
  const qnn_isa *isa = qnn_isa_active();
  const size_t group_channels = s->channels / s->num_group, words = qnn_group_words(s);
  const size_t padded_height = s->height + 2 * s->pad_h, padded_width = s->width + 2 * s->pad_w;
  const size_t rows = s->batch * padded_height, row_groups = s->width * s->num_group;
  const int num_threads = qnn_threads_for(s->batch * s->height * s->width * s->channels, grain_floats);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t row = 0; row < rows; ++row) {
    if (s->pad_h || s->pad_w) fill_border(s, row, image);
    const size_t line = row % padded_height - s->pad_h;
    if (line >= s->height) continue;
    const float *from = x + (row / padded_height * s->height + line) * s->width * s->channels;
    uint64_t *to = image + (row * padded_width + s->pad_w) * s->num_group * words;
    if (group_channels % QNN_WORD_BITS == 0) {  /* no pad bits: the whole row is one run */
      isa->pack(from, s->width * s->channels, to);
      continue;
    }
    for (size_t i = 0; i < row_groups; ++i) isa->pack(from + i * group_channels, group_channels, to + i * words);
  }
  return QNN_OK;
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

/* One word of up to 64 channels, at pixels first .. first+num_pixels of an image plane. */
static void pack_channels(const float *x, const qnn_conv2d_shape *s, const qnn_isa *isa, size_t num_channels,
                          size_t first, size_t num_pixels, uint64_t *image, size_t pixel_words) {
  assert(num_channels <= QNN_WORD_BITS && num_pixels <= chunk_pixels);
  uint64_t bits[chunk_pixels / QNN_WORD_BITS][QNN_WORD_BITS];  /* [64 pixels][channel] */
  const size_t plane = s->height * s->width, num_blocks = qnn_words_for(num_pixels);
  for (size_t c = 0; c < num_channels; ++c) {
    uint64_t words[chunk_pixels / QNN_WORD_BITS];
    isa->pack(x + c * plane + first, num_pixels, words);
    for (size_t b = 0; b < num_blocks; ++b) bits[b][c] = words[b];
  }
  const size_t padded_width = s->width + 2 * s->pad_w;
  size_t column = first % s->width;
  uint64_t *to = image + ((first / s->width + s->pad_h) * padded_width + s->pad_w + column) * pixel_words;
  for (size_t b = 0; b < num_blocks; ++b) {
    for (size_t c = num_channels; c < QNN_WORD_BITS; ++c) bits[b][c] = 0;  /* pad bits */
    transpose_bits(bits[b]);
    const size_t count = qnn_min(num_pixels - b * QNN_WORD_BITS, QNN_WORD_BITS);
    for (size_t i = 0; i < count; ++i) {
      *to = bits[b][i];
      to += pixel_words;
      if (++column < s->width) continue;
      column = 0;
      to += 2 * s->pad_w * pixel_words;
    }
  }
}

qnn_status qnn_pack_nchw(const float *x, const qnn_conv2d_shape *s, uint64_t *image) {
  if (!x || !s || !image || !qnn_pad_value_is_valid(s->pad_value)) return QNN_BAD_ARGUMENT;
  if (!qnn_image_is_valid(s)) return QNN_BAD_SHAPE;
  const qnn_isa *isa = qnn_isa_active();
  const size_t group_channels = s->channels / s->num_group, words = qnn_group_words(s);
  const size_t pixel_words = s->num_group * words;
  const size_t plane = s->height * s->width, chunks = plane / chunk_pixels + (plane % chunk_pixels != 0);
  const size_t rows = s->batch * (s->height + 2 * s->pad_h), image_words = qnn_conv2d_image_words(s) / s->batch;
  const size_t num_tasks = s->batch * pixel_words * chunks;
  const int num_threads = qnn_threads_for(s->batch * plane * s->channels, grain_floats);
#pragma omp parallel num_threads(num_threads) if (num_threads > 1)
  {
    if (s->pad_h || s->pad_w) {
#pragma omp for nowait
      for (size_t row = 0; row < rows; ++row) fill_border(s, row, image);
    }
#pragma omp for nowait
    for (size_t task = 0; task < num_tasks; ++task) {
      const size_t chunk = task % chunks, word = task / chunks % pixel_words, n = task / chunks / pixel_words;
      const size_t channel = word / words * group_channels + word % words * QNN_WORD_BITS;
      const size_t first = chunk * chunk_pixels;
      pack_channels(x + (n * s->channels + channel) * plane, s, isa,
                    qnn_min(group_channels - word % words * QNN_WORD_BITS, QNN_WORD_BITS), first,
                    qnn_min(plane - first, chunk_pixels), image + n * image_words + word, pixel_words);
    }
  }
  return QNN_OK;
}
