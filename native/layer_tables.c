/* layer_tables.c: operands of a block of pixels as the tables want them (tables.h). */
#include "tables.h"

enum { least_pixels = 6 };      /* for fewer, or less than two panels, spreading takes longer than counting bits does */

static size_t words_of_filter(const qnn_layer *layer) { return layer->walk.num_segments * layer->walk.segment_words; }

bool qnn_tables_gain(const qnn_layer *layer, const qnn_isa *isa, size_t num_pixels) {
  const bool is_possible = isa->tables && layer->num_group == 1 && !layer->is_masked && layer->range <= UINT16_MAX;
  return is_possible && ((num_pixels >= least_pixels && layer->num_filter >= QNN_MAX_NR) || qnn_tiles_are_forced());
}

bool qnn_spread_pixels(const qnn_layer *layer, const qnn_isa *isa, size_t num_pixels, const uint64_t **pixels,
                       qnn_spread *spread) {
  const qnn_walk *walk = &layer->walk;
  const uint64_t *first = pixels[0];
  const size_t extent = walk->segments[walk->num_segments - 1] + walk->segment_words;
  const size_t range = (size_t)(pixels[num_pixels - 1] - first) + extent, k_words = words_of_filter(layer);
  const size_t panel_words = layer->weight_planes * k_words * QNN_MAX_NR / QNN_PANEL_FILTERS * QNN_SPREAD_PANEL;
  const size_t words = panel_words + layer->num_planes * range * QNN_SPREAD_PIXEL;
  uint64_t *memory = qnn_scratch(words * sizeof *memory);
  if (!memory) return false;
  uint64_t *const to = memory + panel_words;
  for (size_t i = 0; i < layer->num_planes; ++i)
    isa->tables->spread_pixels(first + i * layer->plane_words, range, to + i * range * QNN_SPREAD_PIXEL);
  for (size_t j = 0; j < num_pixels; ++j) pixels[j] = to + (size_t)(pixels[j] - first) * QNN_SPREAD_PIXEL;
  for (size_t i = 0; i < walk->num_pairs; ++i) {
    const qnn_pair *pair = walk->pairs + i;
    const size_t plane = pair->pixel ? pair->pixel / layer->plane_words : 0;
    const size_t weight_plane = pair->panel ? pair->panel / layer->panel_words : 0;
    const qnn_pair found = {plane * range, weight_plane * k_words, pair->doubles};
    spread->pairs[i] = found;
  }
  spread->panels = memory;
  spread->walk = *walk;
  spread->walk.pairs = spread->pairs;
  return true;
}

const uint64_t *qnn_spread_panels(const qnn_layer *layer, const qnn_isa *isa, size_t filter, size_t num_filter,
                                  const qnn_spread *spread) {
  const size_t k_words = words_of_filter(layer), num_panels = qnn_ceil_div(num_filter, QNN_PANEL_FILTERS);
  for (size_t i = 0; i < layer->weight_planes; ++i)
    isa->tables->spread_panels(layer->panels + i * layer->panel_words + filter * k_words, num_filter, k_words,
                               spread->panels + i * k_words * num_panels * QNN_SPREAD_PANEL);
  return spread->panels;
}
