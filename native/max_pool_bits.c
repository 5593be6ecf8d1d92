/* max_pool_bits.c: max of signs = OR of bits; max of codes by comparing planes from the highest down. Positions outside
 * the image count as code 0, which never wins. */
#include "shape.h"

/* Windows along one axis, 0 for a bad one. pad < kernel: every window but the last of a full pooling holds a pixel. */
static size_t positions(size_t length, size_t kernel, size_t stride, size_t pad, bool is_full) {
  if (!length || !kernel || !stride || pad >= kernel || length > SIZE_MAX / 8 || kernel > SIZE_MAX / 8) return 0;
  if (length + 2 * pad < kernel) return 0;
  const size_t steps = length + 2 * pad - kernel;
  return steps / stride + (is_full && steps % stride != 0) + 1;
}

/* Part of the window at `start` (in padded coordinates) that lies inside the image: begin .. end, or end <= begin. */
static void clip(size_t start, size_t kernel, size_t pad, size_t length, size_t *begin, size_t *end) {
  *begin = start > pad ? start - pad : 0;
  *end = start + kernel > pad ? qnn_min(start + kernel - pad, length) : 0;
}

static size_t out_height(const qnn_pool_shape *s) {
  return positions(s->height, s->kernel_h, s->stride_h, s->pad_h, s->is_full);
}

static size_t out_width(const qnn_pool_shape *s) {
  return positions(s->width, s->kernel_w, s->stride_w, s->pad_w, s->is_full);
}

static size_t planes_of(const qnn_pool_shape *s) { return s->planes ? s->planes : 1; }

static bool is_valid(const qnn_pool_shape *s) {
  if (planes_of(s) > QNN_MAX_PLANES) return false;
  const size_t height = out_height(s), width = out_width(s), words = qnn_words_for(s->channels), most = SIZE_MAX / 8;
  if (!s->batch || !words || !height || !width) return false;
  if (s->image_pad_h > most || s->image_pad_w > most || s->out_pad_h > most || s->out_pad_w > most) return false;
  return qnn_fits(s->batch, s->height + 2 * s->image_pad_h, s->width + 2 * s->image_pad_w, words,
                  QNN_MAX_PLANES * sizeof(uint64_t)) &&
         qnn_fits(s->batch, height + 2 * s->out_pad_h, width + 2 * s->out_pad_w, words,
                  QNN_MAX_PLANES * sizeof(uint64_t));
}

size_t qnn_pool_out_height(const qnn_pool_shape *s) { return s && is_valid(s) ? out_height(s) : 0; }

size_t qnn_pool_out_width(const qnn_pool_shape *s) { return s && is_valid(s) ? out_width(s) : 0; }

/* The larger one of 64 pairs of codes, into `to`. */
static inline __attribute__((always_inline)) void take_larger(const uint64_t *from, size_t from_words, uint64_t *to,
                                                              size_t to_words, const size_t planes) {
  uint64_t is_equal = ~(uint64_t)0, is_larger = 0;
  for (size_t i = planes; i-- > 0;) {
    const uint64_t differs = from[i * from_words] ^ to[i * to_words];
    is_larger |= is_equal & differs & from[i * from_words];
    is_equal &= ~differs;
  }
  for (size_t i = 0; i < planes; ++i)
    to[i * to_words] = (from[i * from_words] & is_larger) | (to[i * to_words] & ~is_larger);
}

/* One row of windows: input rows y_begin .. y_end of the image at `from`, `row_words` apart. */
static inline __attribute__((always_inline)) void pool_row(const qnn_pool_shape *s, const size_t words,
                                                           const uint64_t *from, size_t row_words, size_t y_begin,
                                                           size_t y_end, const uint64_t *flip, size_t width,
                                                           uint64_t *to, const size_t planes, size_t from_plane_words,
                                                           size_t to_plane_words) {
  const size_t tail = s->channels % QNN_WORD_BITS;
  const uint64_t valid = tail ? ((uint64_t)1 << tail) - 1 : ~(uint64_t)0;
  for (size_t x = 0; x < width; ++x, to += words) {
    size_t x_begin, x_end;
    clip(x * s->stride_w, s->kernel_w, s->pad_w, s->width, &x_begin, &x_end);
    for (size_t plane = 0; plane < planes; ++plane)
      for (size_t k = 0; k < words; ++k) to[plane * to_plane_words + k] = 0;
    for (size_t i = y_begin; i < y_end; ++i)
      for (size_t j = x_begin; j < x_end; ++j)
        for (size_t k = 0; k < words; ++k) {
          const uint64_t *at = from + i * row_words + j * words + k;
          if (planes == 1)
            to[k] |= *at;
          else
            take_larger(at, from_plane_words, to + k, to_plane_words, planes);
        }
    if (!flip) continue;
    for (size_t plane = 0; plane < planes; ++plane) {
      uint64_t *codes = to + plane * to_plane_words;
      for (size_t k = 0; k < words; ++k) codes[k] ^= flip[k];
      codes[words - 1] &= valid;
    }
  }
}

qnn_status qnn_max_pool_bits(const uint64_t *in, const qnn_pool_shape *s, const uint64_t *flip, uint64_t *out) {
  if (!in || !s || !out || !qnn_padding_is_valid(s->out_pad_h, s->out_pad_w, s->out_pad_value, s->code))
    return QNN_BAD_ARGUMENT;
  if (!is_valid(s)) return QNN_BAD_SHAPE;
  const size_t words = qnn_words_for(s->channels), row_words = (s->width + 2 * s->image_pad_w) * words;
  const size_t planes = planes_of(s), in_words = (s->height + 2 * s->image_pad_h) * row_words;
  const uint64_t *inner = in + s->image_pad_h * row_words + s->image_pad_w * words;
  const qnn_border border = {out_height(s), out_width(s), s->out_pad_h, s->out_pad_w,
                             words, s->channels, planes, s->out_pad_value, s->code};
  const size_t height = border.height + 2 * s->out_pad_h, width = border.width + 2 * s->out_pad_w;
  const size_t num_rows = s->batch * height, out_words = height * width * words;
  const int num_threads = qnn_threads_for(s->batch * s->height * s->width * words * planes, 1 << 16);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t row = 0; row < num_rows; ++row) {
    const size_t n = row / height, line = row % height - s->out_pad_h;  /* wraps to large above the image */
    if (s->out_pad_h || s->out_pad_w)
      for (size_t i = 0; i < planes; ++i) qnn_fill_border(&border, (n * planes + i) * height + row % height, out);
    if (line >= border.height) continue;
    size_t y_begin, y_end;
    clip(line * s->stride_h, s->kernel_h, s->pad_h, s->height, &y_begin, &y_end);
    const uint64_t *from = inner + n * planes * in_words;
    uint64_t *to = out + n * planes * out_words + (row % height * width + s->out_pad_w) * words;
    /* Constants, where loops over words, or over planes, vanish. */
    if (planes == 1 && words == 1)
      pool_row(s, 1, from, row_words, y_begin, y_end, flip, border.width, to, 1, in_words, out_words);
    else if (planes == 1)
      pool_row(s, words, from, row_words, y_begin, y_end, flip, border.width, to, 1, in_words, out_words);
    else
      pool_row(s, words, from, row_words, y_begin, y_end, flip, border.width, to, planes, in_words, out_words);
  }
  return QNN_OK;
}
