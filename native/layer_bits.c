/* layer_bits.c: counts of a layer to the bits of the next packed image.
 *
 * Thresholds move to the counts' own domain, so that no float and no dot product is formed:
 *   accum >= t  <=>  offset - step m >= t  <=>  m <= floor((offset - t) / step);  counts that are -accum: -accum <= -t
 * A code of several bits is the number of thresholds reached. These are the first ones, so that bit i of the code is the
 * parity of those reached among the thresholds 2^i, 2 2^i, 3 2^i, ...; a flip of each of them, an odd number, flips it.
 * Panels start at multiples of 16 filters, so that tasks store whole, distinct 16-bit parts of words. Only the groups
 * of a grouped layer may start in between: then one task runs all groups of its pixels and merges their bits. */
#include "internal.h"

enum { tile_pixels = 64 };

bool qnn_bits_are_merged(const qnn_layer *layer) {
  return layer->bits && layer->num_group > 1 && layer->num_filter / layer->num_group % QNN_PANEL_FILTERS != 0;
}

void qnn_select_limits(const qnn_layer *layer, size_t filter, size_t num_filter, qnn_limits *limits) {
  const int32_t *threshold = layer->threshold + filter;
  const size_t num_steps = ((size_t)1 << layer->bits_planes) - 1;
  for (size_t step = 0; step < num_steps; ++step, threshold += layer->num_filter, ++limits) {
    for (size_t i = 0; i < num_filter; ++i) {
      const int64_t t = threshold[i], offset = layer->offset ? layer->offset[filter + i] : layer->range;
      const int64_t most = layer->counts_are_dots ? -t : (offset - t) >> (layer->step - 1);  /* the shift rounds down */
      limits->limit[i] = (int32_t)(most > INT32_MAX ? INT32_MAX : most < INT32_MIN ? INT32_MIN : most);
    }
    for (size_t i = num_filter; i < QNN_MAX_NR; ++i) limits->limit[i] = INT32_MIN;
    limits->flip = layer->flip ? qnn_bits_at(layer->flip, filter, num_filter) : 0;
    limits->valid = num_filter < 32 ? (1u << num_filter) - 1 : ~0u;
  }
}

static void clear(uint64_t *to, size_t num_pixels, size_t pixel_words, size_t first_byte) {
  const size_t bytes = pixel_words * sizeof *to;
  if (first_byte == bytes) return;
  unsigned char *at = (unsigned char *)to + first_byte;
  for (size_t j = 0; j < num_pixels; ++j, at += bytes) memset(at, 0, bytes - first_byte);
}

/* ORs bits of `num_filter` filters into words, from bit `filter` of every pixel on. */
static void merge(const uint32_t *bits, uint64_t *to, size_t num_pixels, size_t pixel_words, size_t filter,
                  size_t num_filter) {
  const size_t shift = filter % QNN_WORD_BITS;
  to += filter / QNN_WORD_BITS;
  for (size_t j = 0; j < num_pixels; ++j, to += pixel_words) {
    to[0] |= (uint64_t)bits[j] << shift;
    if (shift + num_filter > QNN_WORD_BITS) to[1] |= (uint64_t)bits[j] >> (QNN_WORD_BITS - shift);
  }
}

/* Bits of each plane of the codes of up to tile_pixels pixels. */
static void encode(const qnn_layer *layer, const qnn_isa *isa, size_t num_pixels, size_t num_filter,
                   const int32_t *counts, size_t ld, const qnn_limits *limits, uint32_t bits[][tile_pixels]) {
  uint32_t reached[tile_pixels] = {0};  /* a 16-bit store leaves the upper half */
  memset(bits, 0, layer->bits_planes * sizeof *bits);
  for (size_t step = 1; step < (size_t)1 << layer->bits_planes; ++step, ++limits) {
    isa->threshold(counts, ld, num_pixels, num_filter, limits, (unsigned char *)reached, sizeof *reached);
    for (size_t i = 0; i < layer->bits_planes && step % ((size_t)1 << i) == 0; ++i)
      for (size_t j = 0; j < num_pixels; ++j) bits[i][j] ^= reached[j];
  }
}

/* The same as kernels store them: 16 bits of each pixel, or 32. */
static void store(const uint32_t *bits, unsigned char *to, size_t num_pixels, size_t stride, size_t stored) {
  for (size_t j = 0; j < num_pixels; ++j, to += stride) memcpy(to, bits + j, stored);
}

/* A run of pixels ends where a border begins. */
static size_t run_of(const qnn_layer *layer) {
  if (layer->bits_row_words > layer->out_width * layer->bits_pixel_words) return layer->out_width;
  const size_t plane = layer->out_width * layer->out_height;
  return layer->bits_image_words > plane * layer->bits_pixel_words ? plane : layer->batch * plane;
}

void qnn_write_bits(const qnn_layer *layer, const qnn_isa *isa, size_t first, size_t num_pixels, size_t filter,
                    size_t num_filter, const int32_t *counts, size_t ld, const qnn_limits *limits) {
  const size_t pixel_words = layer->bits_pixel_words, longest = run_of(layer);
  const size_t stored = num_filter > QNN_PANEL_FILTERS ? 4 : 2;
  const bool is_merged = qnn_bits_are_merged(layer), is_last = filter + num_filter == layer->num_filter;
  assert(num_pixels <= tile_pixels);
  while (num_pixels) {
    const size_t column = first % layer->out_width, row = first / layer->out_width % layer->out_height;
    const size_t image = first / layer->out_width / layer->out_height;
    const size_t run = qnn_min(num_pixels, longest - first % longest);
    uint64_t *to = layer->bits + image * layer->bits_image_words + row * layer->bits_row_words + column * pixel_words;
    uint32_t bits[QNN_MAX_OUT_PLANES][tile_pixels];
    const bool is_direct = !is_merged && layer->bits_planes == 1;
    if (!is_direct) encode(layer, isa, run, num_filter, counts, ld, limits, bits);
    for (size_t i = 0; i < layer->bits_planes; ++i, to += layer->bits_plane_words) {
      unsigned char *at = (unsigned char *)to + filter / 8;
      if (is_merged) {
        if (filter == 0) clear(to, run, pixel_words, 0);
        merge(bits[i], to, run, pixel_words, filter, num_filter);
      } else {
        if (is_direct)
          isa->threshold(counts, ld, run, num_filter, limits, at, pixel_words * sizeof *to);
        else
          store(bits[i], at, run, pixel_words * sizeof *to, stored);
        if (is_last) clear(to, run, pixel_words, filter / 8 + stored);  /* words behind the last panel */
      }
    }
    first += run, num_pixels -= run, counts += run * ld;
  }
}
