/* layer_tiles.c: the loops around matrix tiles of bytes.
 *
 *   task (OpenMP):  block of pieces (their codes stay in L2)  x  range of filters
 *     filters:      two panels (their factors too)
 *       tile:       4 pieces; counts stay in L1 until they are written out
 *
 * A piece is up to 16 pixels at equal distances: part of a row of the output. Where rows are short, pieces run on from
 * row to row across the padding, as if the output were as wide as the padded image, and what lies between rows is
 * dropped. The last piece of a run ends with it, and repeats pixels of the one before. */
#include <stdatomic.h>

#include "tiles.h"

enum {
  block_bytes = 384 * 1024,       /* codes of a block */
  least_block = 16,               /* pieces, so that spreading the weights pays */
  most_block = 128,
  most_k_words = 1024,            /* 1 MiB of factors a panel */
  tile_pixels = QNN_TILE_PIECES * QNN_TILE_ROWS,
  grain_words = 1 << 18
};

/* How pixels are cut. An image is `runs` runs of `length` pixels, `width` of them from one output row to the next. */
typedef struct {
  size_t runs, length, width, rows, pieces_of_run, pieces;
} cut;

static cut cut_runs(const qnn_layer *layer, size_t runs, size_t length, size_t width) {
  const size_t pieces = qnn_ceil_div(length, QNN_TILE_ROWS);
  const cut cut = {runs, length, width, qnn_ceil_div(length, pieces), pieces, runs * pieces * layer->batch};
  return cut;
}

/* A piece takes the same time whatever its rows: loading the tiles of factors does. */
static cut cut_pixels(const qnn_layer *layer) {
  const cut by_rows = cut_runs(layer, layer->out_height, layer->out_width, layer->out_width);
  const size_t width = layer->row_words / layer->pixel_words;
  if (layer->out_height == 1 || layer->row_words % layer->pixel_words || width < layer->out_width) return by_rows;
  const cut across = cut_runs(layer, 1, (layer->out_height - 1) * width + layer->out_width, width);
  return 8 * across.pieces < 7 * by_rows.pieces ? across : by_rows;
}

/* Where a piece lies. */
typedef struct {
  size_t image, word;             /* its first pixel's, in a plane */
  size_t pixel, own;              /* index of its first pixel, and of the first that the piece before does not have */
} place;

static void find_places(const qnn_layer *layer, const cut *cut, size_t first, size_t num_pieces, place *places) {
  const size_t of_image = cut->runs * cut->pieces_of_run;
  size_t image = first / of_image, run = first % of_image / cut->pieces_of_run, piece = first % cut->pieces_of_run;
  for (size_t i = 0; i < num_pieces; ++i) {
    const size_t own = piece * cut->rows, start = qnn_min(own, cut->length - cut->rows);
    const size_t before = (image * cut->runs + run) * cut->length;
    const place place = {image, run * layer->row_words + start * layer->pixel_words, before + start, before + own};
    places[i] = place;
    if (++piece < cut->pieces_of_run) continue;
    piece = 0;
    if (++run < cut->runs) continue;
    run = 0;
    ++image;
  }
}

/* Words that a piece reads, from its first pixel's on. */
static size_t words_of_piece(const qnn_layer *layer, const cut *cut) {
  const qnn_walk *walk = &layer->walk;
  return (cut->rows - 1) * layer->pixel_words + walk->segments[walk->num_segments - 1] + walk->segment_words;
}

/* Spreads what the pieces read; codes_of[i]: codes of the first pixel of a piece. Returns the number of words; with
 * `codes` NULL nothing more. */
static size_t spread_codes(const qnn_layer *layer, const qnn_tiles *tiles, const cut *cut, const place *places,
                           size_t num_pieces, uint8_t *codes, const uint8_t **codes_of) {
  const size_t extent = words_of_piece(layer, cut);
  size_t words = 0;
  for (size_t i = 0, next; i < num_pieces; i = next) {
    const place *from = places + i;
    for (next = i + 1; next < num_pieces && places[next].image == from->image;) ++next;
    const size_t num_words = places[next - 1].word + extent - from->word;
    if (codes) {
      tiles->spread(layer->image + from->image * layer->image_words + from->word, num_words, layer->num_planes,
                    layer->plane_words, codes + words * QNN_WORD_BITS);
      for (size_t j = i; j < next; ++j) codes_of[j] = codes + (words + places[j].word - from->word) * QNN_WORD_BITS;
    }
    words += num_words;
  }
  return words;
}

/* Pixels first .. last of the cut, whose counts these are. */
static void write_pixels(const qnn_layer *layer, const qnn_isa *isa, const cut *cut, size_t first, size_t last,
                         size_t filter, size_t num_filter, int32_t *counts, size_t ld, const qnn_epilogue *epilogue) {
  if (cut->width == layer->out_width) {
    qnn_write_counts(layer, isa, first, last - first, filter, num_filter, counts, ld, epilogue);
    return;
  }
  while (first < last) {
    const size_t image = first / cut->length, row = first % cut->length / cut->width;
    const size_t column = first % cut->length % cut->width, left = cut->length - first % cut->length;
    const size_t next = qnn_min(cut->width - column, qnn_min(left, last - first));
    if (column < layer->out_width)
      qnn_write_counts(layer, isa, (image * layer->out_height + row) * layer->out_width + column,
                       qnn_min(layer->out_width - column, next), filter, num_filter, counts, ld, epilogue);
    first += next, counts += next * ld;
  }
}

/* Nanoseconds for each word of a panel: popcounts of a pixel, tiles of a piece, the same where rows are written in
 * parts, spreading the factors. Set by hand beside 76 measured shapes of 64 to 512 channels (Xeon, family 6, model 167),
 * so that none that loses is taken. Behind tiles the clock is lower, by a sixth there for most of a millisecond, so that
 * the gain must be worth it. */
static const double popcount_ns = 1.2, piece_ns = 9.6, torn_ns = 12.6, factor_ns = 35, least_gain_ns = 1e4;
static const double least_ratio = 1.25;

static atomic_bool is_forced;

void qnn_force_tiles(int is_on) { atomic_store(&is_forced, is_on); }

bool qnn_tiles_are_forced(void) { return atomic_load(&is_forced); }

/* Pixels of a plain XNOR GEMM share no codes: spreading them takes what multiplying gains. */
static bool is_candidate(const qnn_layer *layer, size_t k_words) {
  const bool is_plain = layer->walk.num_segments == 1 && layer->walk.num_pairs == 1;
  return (!is_plain || qnn_tiles_are_forced()) && layer->num_group == 1 &&
         layer->weight_planes <= QNN_TILE_PLANES && k_words <= most_k_words;
}

static bool is_worth_it(const qnn_layer *layer, const cut *cut, size_t k_words) {
  if (qnn_tiles_are_forced()) return true;
  const size_t num_pixels = layer->batch * layer->out_height * layer->out_width;
  const double popcounts = popcount_ns * (double)num_pixels * (double)layer->walk.num_pairs;
  const double tiles = factor_ns + (cut->width > layer->out_width ? torn_ns : piece_ns) * (double)cut->pieces;
  const double panel_words = (double)k_words * (double)qnn_ceil_div(layer->num_filter, QNN_PANEL_FILTERS);
  return popcounts >= least_ratio * tiles && (popcounts - tiles) * panel_words >= least_gain_ns;
}

/* Filters begin .. end at pieces first .. last; false if there is no memory for it. */
static bool run_block(const qnn_layer *layer, const qnn_isa *isa, const cut *cut, size_t first, size_t last,
                      size_t begin, size_t end) {
  const size_t k_words = layer->walk.num_segments * layer->walk.segment_words, num_pieces = last - first;
  const qnn_tile_walk walk = {layer->walk.segments, layer->walk.num_segments, layer->walk.segment_words,
                              layer->pixel_words, layer->num_planes, layer->weight_planes, layer->panel_words,
                              layer->is_masked};
  _Alignas(64) int32_t counts[tile_pixels * QNN_MAX_NR];
  const uint8_t *codes[most_block];
  place places[most_block];
  qnn_epilogue epilogue;
  assert(num_pieces <= most_block);
  find_places(layer, cut, first, num_pieces, places);
  const size_t factor_bytes = 2 * (k_words * QNN_TILE_ROWS + 1) * QNN_WORD_BITS;
  const size_t words = spread_codes(layer, isa->tiles, cut, places, num_pieces, NULL, NULL);
  int8_t *factors = qnn_scratch(factor_bytes + words * QNN_WORD_BITS);
  if (!factors) return false;
  spread_codes(layer, isa->tiles, cut, places, num_pieces, (uint8_t *)factors + factor_bytes, codes);
  qnn_start_epilogue(layer, &epilogue);
  isa->tiles->start(cut->rows);
  for (size_t f = begin, n; f < end; f += n) {
    n = end - f >= QNN_MAX_NR ? QNN_MAX_NR : qnn_min(end - f, QNN_PANEL_FILTERS);
    const size_t ld = n > QNN_PANEL_FILTERS ? QNN_MAX_NR : QNN_PANEL_FILTERS;
    qnn_select_epilogue(layer, f, n, &epilogue);
    for (size_t i = 0, tile; i < num_pieces; i += tile) {
      tile = qnn_min(num_pieces - i, QNN_TILE_PIECES);
      const place *from = places + i, *to = from + tile - 1;
      int32_t *at[QNN_TILE_PIECES];
      for (size_t j = 0; j < tile; ++j) at[j] = counts + (from[j].pixel - from->pixel) * ld;
      if (i > 0 && n > QNN_PANEL_FILTERS)
        for (size_t j = 0; j < tile; j += 2)
          isa->tiles->multiply_pair(&walk, qnn_min(tile - j, 2), codes + i + j, factors, at + j, ld);
      else
        for (size_t p = 0; p < n; p += QNN_PANEL_FILTERS) {
          isa->tiles->multiply(&walk, tile, codes + i, layer->panels + (f + p) * k_words,
                               qnn_min(n - p, QNN_PANEL_FILTERS), i == 0, i + tile == num_pieces,
                               p / QNN_PANEL_FILTERS, factors, at, ld);
          for (size_t j = 0; j < tile; ++j) at[j] += QNN_PANEL_FILTERS;
        }
      write_pixels(layer, isa, cut, from->own, to->pixel + cut->rows, f, n, counts + (from->own - from->pixel) * ld, ld,
                   &epilogue);
    }
  }
  isa->tiles->stop();
  return true;
}

/* How a layer is cut into tasks: pieces of a block, filters of a range. */
typedef struct {
  cut cut;
  size_t block, range, ranges, num_tasks;
  int num_threads;
} plan;

/* The filters of a block are the last to change. */
static bool run_task(const qnn_layer *layer, const qnn_isa *isa, const plan *plan, size_t task) {
  const size_t first = task / plan->ranges * plan->block, begin = task % plan->ranges * plan->range;
  return begin >= layer->num_filter || run_block(layer, isa, &plan->cut, first,
                                                 qnn_min(first + plan->block, plan->cut.pieces), begin,
                                                 qnn_min(begin + plan->range, layer->num_filter));
}

static plan plan_layer(const qnn_layer *layer, size_t k_words) {
  plan plan = {.cut = cut_pixels(layer), .ranges = 1};
  const size_t pieces = plan.cut.pieces, filter_blocks = qnn_ceil_div(layer->num_filter, QNN_MAX_NR);
  size_t work = 0;  /* saturates */
  if (!qnn_multiply(pieces * plan.cut.rows, layer->num_filter, &work) || !qnn_multiply(work, k_words, &work))
    work = SIZE_MAX;
  plan.num_threads = qnn_threads_for(work, grain_words);
  const size_t num_threads = (size_t)plan.num_threads;
  size_t block = block_bytes / (plan.cut.rows * layer->pixel_words * QNN_WORD_BITS);
  block = block < least_block ? least_block : qnn_min(block, most_block);
  size_t blocks = qnn_ceil_div(pieces, block);
  if (num_threads > 1) {  /* equal tasks: by pieces, by filters where these are few */
    if (pieces >= num_threads * least_block)
      blocks = qnn_ceil_div(blocks, num_threads) * num_threads;
    else
      plan.ranges = qnn_min(filter_blocks, qnn_ceil_div(num_threads, blocks));
  }
  plan.block = qnn_ceil_div(qnn_ceil_div(pieces, blocks), QNN_TILE_PIECES) * QNN_TILE_PIECES;
  plan.range = qnn_ceil_div(filter_blocks, plan.ranges) * QNN_MAX_NR;
  plan.num_tasks = qnn_ceil_div(pieces, plan.block) * plan.ranges;
  return plan;
}

bool qnn_run_tiles(const qnn_layer *layer) {
  const qnn_isa *isa = qnn_isa_active();
  const size_t k_words = layer->walk.num_segments * layer->walk.segment_words;
  if (!isa->tiles || !is_candidate(layer, k_words)) return false;
  const plan plan = plan_layer(layer, k_words);
  if (!is_worth_it(layer, &plan.cut, k_words)) return false;
  bool is_done = true;
  if (plan.num_threads == 1) {  /* without a region, as in layer.c */
    for (size_t task = 0; task < plan.num_tasks; ++task) is_done = run_task(layer, isa, &plan, task) && is_done;
    return is_done;
  }
#pragma omp parallel for num_threads(plan.num_threads) schedule(dynamic) reduction(&& : is_done)
  for (size_t task = 0; task < plan.num_tasks; ++task) is_done = run_task(layer, isa, &plan, task) && is_done;
  return is_done;
}
