/* layer.c: the loops around the micro-kernels, shared by xgemm.c and conv2d.c.
 *
 *   task (OpenMP):  block of pixels (L2)  x  group  x  range of filters
 *     filters:      one or two panels (their words stay in L1)
 *       tile:       up to 64 pixels, whose counts stay in L1 until they are written out
 *         micro-kernel: mr pixels, all planes
 *
 * The loops over filters and tiles are those of tables.h where these are faster.
 *
 * Counts do not depend on how pixels and filters are cut, so every thread count gives the same bits. */
#include "tables.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "16 bits of a word are stored at their place in bytes");

enum {
  block_pixels = 512,             /* their pointers: 4 KiB of stack */
  block_bytes = 384 * 1024,       /* words that a block touches, within L2 */
  tile_pixels = 64,
  grain_words = 1 << 17           /* about 20 us of AVX-512 work; waking a thread costs a few */
};

/* Takes `most` of `left`, or half of it where a full piece would leave a crumb: a lone pixel runs at a fraction of the
 * speed. */
static size_t next_piece(size_t left, size_t most) {
  if (left <= most) return left;
  return left < 2 * most ? (left + 1) / 2 : most;
}

static void find_pixels(const qnn_layer *layer, size_t first, size_t num_pixels, size_t group,
                        const uint64_t **pixels) {
  size_t column = first % layer->out_width;
  size_t row = first / layer->out_width % layer->out_height;
  size_t image = first / layer->out_width / layer->out_height;
  for (size_t j = 0; j < num_pixels; ++j) {
    pixels[j] = layer->image + image * layer->image_words + row * layer->row_words + column * layer->pixel_words +
                group * layer->group_words;
    if (++column < layer->out_width) continue;
    column = 0;
    if (++row < layer->out_height) continue;
    row = 0;
    ++image;
  }
}

/* Filters filter_begin .. filter_end of a group, at pixels first .. first+num_pixels. */
static void run_block(const qnn_layer *layer, const qnn_isa *isa, size_t first, size_t num_pixels, size_t group,
                      size_t filter_begin, size_t filter_end) {
  qnn_xgemm_ukernel *const gemm = layer->is_masked ? isa->tgemm : isa->xgemm;
  const size_t mr = layer->is_masked ? isa->tmr : isa->mr;
  assert(num_pixels <= block_pixels && mr <= QNN_MAX_MR && isa->nr <= QNN_MAX_NR);
  const uint64_t *pixels[block_pixels];
  _Alignas(64) int32_t counts[tile_pixels * QNN_MAX_NR];
  qnn_epilogue epilogue;
  const size_t k_words = layer->walk.num_segments * layer->walk.segment_words;
  const size_t group_start = group * (layer->num_filter / layer->num_group);
  find_pixels(layer, first, num_pixels, group, pixels);
  if (qnn_run_tables(layer, isa, first, num_pixels, pixels, filter_begin, filter_end)) return;
  qnn_start_epilogue(layer, &epilogue);

  for (size_t f = filter_begin, n; f < filter_end; f += n) {
    n = filter_end - f >= isa->nr ? isa->nr : qnn_min(filter_end - f, QNN_PANEL_FILTERS);
    const size_t filter = group_start + f, ld = n > QNN_PANEL_FILTERS ? QNN_MAX_NR : QNN_PANEL_FILTERS;
    const uint64_t *panels = layer->panels + filter * k_words;
    qnn_select_epilogue(layer, filter, n, &epilogue);
    for (size_t at = 0, tile; at < num_pixels; at += tile) {
      tile = next_piece(num_pixels - at, tile_pixels);
      for (size_t j = 0, piece; j < tile; j += piece) {
        piece = next_piece(tile - j, mr);
        gemm(piece, pixels + at + j, n, panels, &layer->walk, counts + j * ld, ld);
      }
      qnn_write_counts(layer, isa, first + at, tile, filter, n, counts, ld, &epilogue);
    }
  }
}

/* How a layer is cut into tasks. */
typedef struct {
  size_t block;               /* pixels */
  size_t groups;              /* tasks of a block: one for each group, or one for all */
  size_t range, ranges;       /* filters of a task, ranges of a group */
} cut;

/* Task number (block of pixels, group, range of filters), the last one fastest. */
static void run_task(const qnn_layer *layer, const qnn_isa *isa, const cut *cut, size_t task) {
  const size_t num_pixels = layer->batch * layer->out_height * layer->out_width;
  const size_t filters_per_group = layer->num_filter / layer->num_group;
  const size_t first = task / cut->ranges / cut->groups * cut->block, begin = task % cut->ranges * cut->range;
  if (begin >= filters_per_group) return;
  const size_t groups = layer->num_group / cut->groups, group = task / cut->ranges % cut->groups * groups;
  for (size_t i = 0; i < groups; ++i)
    run_block(layer, isa, first, qnn_min(cut->block, num_pixels - first), group + i, begin,
              qnn_min(begin + cut->range, filters_per_group));
}

void qnn_run_layer(const qnn_layer *layer) {
  if (qnn_run_tiles(layer)) return;
  const qnn_isa *isa = qnn_isa_active();
  const size_t num_pixels = layer->batch * layer->out_height * layer->out_width;
  const size_t k_words = layer->walk.num_segments * layer->walk.segment_words * layer->walk.num_pairs;
  const size_t filters_per_group = layer->num_filter / layer->num_group;
  const bool by_tables = qnn_tables_gain(layer, isa, num_pixels);
  const size_t nr = by_tables ? QNN_TABLE_FILTERS : isa->nr, filter_blocks = qnn_ceil_div(filters_per_group, nr);

  /* work saturates: a product that overflows is large enough for all threads */
  size_t work = 0;
  if (!qnn_multiply(num_pixels, filters_per_group * layer->num_group, &work) || !qnn_multiply(work, k_words, &work))
    work = SIZE_MAX;
  const int num_threads = qnn_threads_for(work, grain_words);

  size_t touched = layer->row_words / layer->out_width;
  if (touched < layer->pixel_words) touched = layer->pixel_words;
  size_t block = block_bytes / sizeof(uint64_t) / touched / layer->num_planes;
  if (by_tables) block /= QNN_SPREAD_PIXEL;
  block = block < tile_pixels ? tile_pixels : qnn_min(block, block_pixels);
  size_t blocks = qnn_ceil_div(num_pixels, block), ranges = 1;
  const size_t groups = qnn_bits_are_merged(layer) ? 1 : layer->num_group;
  if (num_threads > 1) {  /* equal tasks, a few for each thread: by pixels, by filters where these are few */
    const size_t wanted = 2 * (size_t)num_threads;
    if (num_pixels >= wanted * tile_pixels)
      blocks = qnn_ceil_div(blocks, wanted) * wanted;
    else
      ranges = groups < layer->num_group ? 1 : qnn_min(filter_blocks, qnn_ceil_div(wanted, blocks * groups));
  }
  block = qnn_ceil_div(num_pixels, blocks);
  blocks = qnn_ceil_div(num_pixels, block);
  const cut cut = {block, groups, qnn_ceil_div(filter_blocks, ranges) * nr, ranges};
  const size_t num_tasks = blocks * groups * ranges;

  /* One thread does without a region: libgomp would set up a team first, 0.2 us, a tenth of a small layer. */
  if (num_threads == 1) {
    for (size_t task = 0; task < num_tasks; ++task) run_task(layer, isa, &cut, task);
    return;
  }
#pragma omp parallel for num_threads(num_threads) schedule(dynamic)
  for (size_t task = 0; task < num_tasks; ++task) run_task(layer, isa, &cut, task);
}
