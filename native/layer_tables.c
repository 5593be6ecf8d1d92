/* layer_tables.c: the loops around tables of counts (tables.h).
 *
 *   block of pixels (layer.c): their words become offsets of tables, once for all taps and filters
 *     filters:                 four panels, whose half bytes become indices
 *       tile:                  16 pairs of pixels
 *         words:               7 of each filter at a time, which stay in L1 for the tile
 *
 * A pair is a pixel of the output and the next one; where rows end, the last one goes alone, and what is counted for the
 * one beside it is overwritten by what follows. */
#include "tables.h"

enum { least_pixels = 8 };      /* for fewer, or less than two panels, spreading costs more than it saves */

bool qnn_tables_gain(const qnn_layer *layer, const qnn_isa *isa, size_t num_pixels) {
  const bool is_possible = isa->tables && layer->num_group == 1 && !layer->is_masked && layer->range <= UINT16_MAX;
  return is_possible && ((num_pixels >= least_pixels && layer->num_filter >= QNN_MAX_NR) || qnn_tiles_are_forced());
}

/* From a pixel to the one beside it. */
static size_t distance_of(const qnn_layer *layer) {
  return layer->out_width > 1 ? layer->pixel_words : layer->out_height > 1 ? layer->row_words : layer->image_words;
}

/* What a block needs in memory. */
typedef struct {
  size_t k_words, range;          /* of a filter; of the pixels, in a plane */
  size_t *offsets;                /* [k_words], in spread words */
  uint64_t *panels, *pixels;      /* [plane] ... */
} spread;

static bool spread_pixels(const qnn_layer *layer, const qnn_isa *isa, size_t num_pixels,
                          const uint64_t *const *pixels, spread *s) {
  const qnn_walk *walk = &layer->walk;
  const uint64_t *first = pixels[0];
  s->k_words = walk->num_segments * walk->segment_words;
  s->range = (size_t)(pixels[num_pixels - 1] - first) + walk->segments[walk->num_segments - 1] + walk->segment_words;
  const size_t panel_words = layer->weight_planes * s->k_words * QNN_TABLE_PANELS * QNN_SPREAD_PANEL;
  const size_t pixel_words = layer->num_planes * s->range * QNN_SPREAD_PIXEL;
  s->panels = qnn_scratch((panel_words + pixel_words) * sizeof *s->panels + s->k_words * sizeof *s->offsets);
  if (!s->panels) return false;
  s->pixels = s->panels + panel_words;
  s->offsets = (size_t *)(s->pixels + pixel_words);
  for (size_t k = 0; k < s->k_words; ++k)
    s->offsets[k] = (walk->segments[k / walk->segment_words] + k % walk->segment_words) * QNN_SPREAD_PIXEL;
  for (size_t i = 0; i < layer->num_planes; ++i)
    isa->tables->spread_pixels(first + i * layer->plane_words, s->range, distance_of(layer),
                               s->pixels + i * s->range * QNN_SPREAD_PIXEL);
  return true;
}

static void spread_panels(const qnn_layer *layer, const qnn_isa *isa, size_t filter, size_t num_filter,
                          const spread *s) {
  const size_t num_panels = qnn_ceil_div(num_filter, QNN_PANEL_FILTERS);
  for (size_t i = 0; i < layer->weight_planes; ++i)
    isa->tables->spread_panels(layer->panels + i * layer->panel_words + filter * s->k_words, num_filter, s->k_words,
                               s->panels + i * s->k_words * num_panels * QNN_SPREAD_PANEL);
}

/* Counts of a tile, over all planes and words. pairs: where they lie in the first plane. */
static void count_tile(const qnn_layer *layer, const qnn_isa *isa, const spread *s, size_t num_pairs,
                       const uint64_t *const *pairs, size_t num_panels, int32_t *const *counts, size_t ld) {
  _Alignas(64) uint64_t sums[QNN_TABLE_PAIRS * QNN_TABLE_PANELS * QNN_TABLE_SUMS];
  qnn_table_step step = QNN_TABLE_START;
  for (const qnn_pair *planes = layer->walk.pairs, *end = planes + layer->walk.num_pairs; planes < end; ++planes) {
    const size_t plane = planes->pixel ? planes->pixel / layer->plane_words : 0;
    const size_t weight_plane = planes->panel ? planes->panel / layer->panel_words : 0;
    const uint64_t *of_plane[QNN_TABLE_PAIRS];
    for (size_t i = 0; i < num_pairs; ++i) of_plane[i] = pairs[i] + plane * s->range * QNN_SPREAD_PIXEL;
    if (planes->doubles) step = QNN_TABLE_DOUBLE;
    for (size_t k = 0, n; k < s->k_words; k += n, step = QNN_TABLE_ADD) {
      n = qnn_min(s->k_words - k, QNN_TABLE_WORDS);
      const bool is_last = planes + 1 == end && k + n == s->k_words;
      isa->tables->count(num_pairs, of_plane, s->offsets + k, n, num_panels,
                         s->panels + (weight_plane * s->k_words + k) * num_panels * QNN_SPREAD_PANEL, step, sums,
                         is_last ? counts : NULL, ld);
    }
  }
}

bool qnn_run_tables(const qnn_layer *layer, const qnn_isa *isa, size_t first, size_t num_pixels,
                    const uint64_t *const *pixels, size_t begin, size_t end) {
  spread s;
  if (!qnn_tables_gain(layer, isa, num_pixels) || !spread_pixels(layer, isa, num_pixels, pixels, &s)) return false;
  const size_t distance = distance_of(layer), ld = QNN_TABLE_FILTERS;
  _Alignas(64) int32_t counts[(2 * QNN_TABLE_PAIRS + 1) * QNN_TABLE_FILTERS];
  qnn_epilogue epilogues[QNN_TABLE_FILTERS / QNN_MAX_NR];
  for (size_t i = 0; i < QNN_TABLE_FILTERS / QNN_MAX_NR; ++i) qnn_start_epilogue(layer, &epilogues[i]);

  for (size_t f = begin, n; f < end; f += n) {
    n = qnn_min(end - f, QNN_TABLE_FILTERS);
    const size_t num_panels = qnn_ceil_div(n, QNN_PANEL_FILTERS);
    spread_panels(layer, isa, f, n, &s);
    for (size_t g = 0; g < n; g += QNN_MAX_NR)
      qnn_select_epilogue(layer, f + g, qnn_min(n - g, QNN_MAX_NR), &epilogues[g / QNN_MAX_NR]);
    for (size_t at = 0, j; at < num_pixels; at = j) {
      const uint64_t *pairs[QNN_TABLE_PAIRS];
      int32_t *to[QNN_TABLE_PAIRS];
      size_t num_pairs = 0;
      for (j = at; j < num_pixels && num_pairs < QNN_TABLE_PAIRS; ++num_pairs) {
        pairs[num_pairs] = s.pixels + (size_t)(pixels[j] - pixels[0]) * QNN_SPREAD_PIXEL;
        to[num_pairs] = counts + (j - at) * ld;
        j += j + 1 < num_pixels && (size_t)(pixels[j + 1] - pixels[j]) == distance ? 2 : 1;
      }
      count_tile(layer, isa, &s, num_pairs, pairs, num_panels, to, ld);
      for (size_t g = 0; g < n; g += QNN_MAX_NR)
        qnn_write_counts(layer, isa, first + at, j - at, f + g, qnn_min(n - g, QNN_MAX_NR), counts + g, ld,
                         &epilogues[g / QNN_MAX_NR]);
    }
  }
  return true;
}
