/* border.c: the padding around packed images, which packing, bits out of layers and pooling write alike. */
#include "internal.h"

void qnn_fill_border(const qnn_border *b, size_t row, uint64_t *image) {
  const size_t words = qnn_words_for(b->channels), tail = b->channels % QNN_WORD_BITS;
  const size_t height = b->height + 2 * b->pad_h, width = b->width + 2 * b->pad_w;
  const size_t plane = row / height % b->planes;
  const bool is_one = b->code == QNN_BIPOLAR ? b->pad_value > 0 : b->code == QNN_SIGNED && plane + 1 == b->planes;
  const uint64_t full = is_one ? ~(uint64_t)0 : 0, last = tail ? full & (((uint64_t)1 << tail) - 1) : full;
  const bool is_inside = row % height - b->pad_h < b->height;  /* above the image wraps to large */
  uint64_t *to = image + row * width * b->pixel_words;
  for (size_t x = 0; x < width; ++x) {
    if (is_inside && x == b->pad_w) x += b->width;
    if (x >= width) break;
    for (size_t k = 0; k < b->pixel_words; ++k) to[x * b->pixel_words + k] = k % words == words - 1 ? last : full;
  }
}
