/* train_conv_tiles.c: the loops around tiles of bfloat16 for the forward pass and the gradient of the data, which is
 * the same with other taps: of the data's pixel i, tap k sees the gradient at (i + pad - k dilate) / stride, where that
 * is whole.
 *
 *   task (OpenMP):   up to 32 images (gradient: 16)  x  stripe of rows of the output
 *     band of rows:  what it reads stays in L2, in a ring of rows
 *       filters:     two blocks of 16 (their factors stay there, too)
 *         16 pixels: their sums, until they are written out, plane by plane
 *
 * A pixel of the output reads those taps that exist: nothing is padded, and no zeros lie between strided pixels. Every
 * thread count gives the same bits. */
#include <omp.h>

#include "train_conv.h"

enum {
  band_bytes = 3 << 19,         /* codes that a band reads */
  far_bytes = 1 << 22,          /* an output that no cache keeps */
  most_bytes = 1 << 24,         /* codes of one row of the output, before a group takes fewer images */
  grain_products = 1 << 22
};

typedef struct {
  const qnn_bf16_tiles *tiles;
  const float *from, *bias;
  float *to;
  size_t batch, channels, num_filter;           /* that are read, and written */
  qnn_axis rows, columns;
  bool is_gradient;                             /* reads outputs, writes inputs */
  bool is_far;
  size_t terms, chunks;
  uint8_t *factors;                             /* [pair of blocks][tap][chunk][block] tiles */
} pass;

/* A task is a group of images and a stripe of rows of what is written; a thread goes through it in bands. */
typedef struct {
  size_t images, stripe, stripes, band, ring, num_tasks;
  size_t ring_bytes, thread_bytes;
  int num_threads;
} plan;

/* What a thread works on: row r of the source lies at r % ring. */
typedef struct {
  size_t image, images, ring;
  uint8_t *codes;
  float *sums;
  qnn_taps *columns;
  qnn_row *rows;
  qnn_tap_walk walk;
} group;

static size_t read_length(const pass *p, const qnn_axis *axis) {
  return p->is_gradient ? axis->out_length : axis->length;
}

static size_t write_length(const pass *p, const qnn_axis *axis) {
  return p->is_gradient ? axis->length : axis->out_length;
}

/* The taps of position `at` of what is written. */
static qnn_taps taps_at(const qnn_axis *axis, bool is_gradient, size_t at) {
  qnn_taps taps = {0, 0, 0, 0, 0};
  for (size_t k = 0; k < axis->kernel; ++k) {
    const size_t offset = k * axis->dilate;
    size_t source;
    if (is_gradient) {
      if (at + axis->pad < offset || (at + axis->pad - offset) % axis->stride) continue;
      source = (at + axis->pad - offset) / axis->stride;
      if (source >= axis->out_length) continue;
    } else {
      source = at * axis->stride + offset;
      if (source < axis->pad || source - axis->pad >= axis->length) continue;
      source -= axis->pad;
    }
    if (taps.count == 0) taps.tap = k, taps.source = source;
    if (taps.count == 1) taps.tap_step = k - taps.tap, taps.source_step = (ptrdiff_t)source - (ptrdiff_t)taps.source;
    ++taps.count;
  }
  return taps;
}

/* Rows that rows first .. last of the output read, and some that they skip: both ends rise with these. */
static qnn_span sources_of(const pass *p, size_t first, size_t last) {
  const qnn_axis *axis = &p->rows;
  const size_t reach = (axis->kernel - 1) * axis->dilate, length = read_length(p, axis);
  size_t low, high;  /* from the padding on */
  if (p->is_gradient) {
    low = qnn_ceil_div(first + axis->pad < reach ? 0 : first + axis->pad - reach, axis->stride);
    high = (last - 1 + axis->pad) / axis->stride + 1;
  } else {
    low = first * axis->stride < axis->pad ? 0 : first * axis->stride - axis->pad;
    high = (last - 1) * axis->stride + reach + 1;
    high = high < axis->pad ? 0 : high - axis->pad;
  }
  high = qnn_min(high, length);
  const qnn_span span = {qnn_min(low, high), high};
  return span;
}

/* An odd number of cache lines: neighbours do not share a set. */
static size_t pixel_bytes(const pass *p, size_t images) { return (p->chunks * p->terms * images | 1) * QNN_ROW_BYTES; }

static size_t row_bytes(const pass *p, size_t images) { return read_length(p, &p->columns) * pixel_bytes(p, images); }

/* Most rows that a band reads. */
static size_t rows_of_band(const pass *p, size_t band) {
  const qnn_axis *axis = &p->rows;
  const size_t reach = (axis->kernel - 1) * axis->dilate;
  const size_t rows = p->is_gradient ? (band - 1 + reach) / axis->stride + 1 : (band - 1) * axis->stride + reach + 1;
  return qnn_min(rows, read_length(p, axis));
}

static plan plan_pass(const pass *p) {
  const size_t height = write_length(p, &p->rows), width = write_length(p, &p->columns);
  /* With more terms, a tile of factors meets enough codes of 16 images. */
  plan plan = {.images = qnn_min(p->batch, p->terms > 1 ? QNN_LANES : 2 * QNN_LANES), .band = 1};
  while (plan.images > 1 && rows_of_band(p, 1) * row_bytes(p, plan.images) > most_bytes) plan.images /= 2;
  while (plan.band < height && rows_of_band(p, plan.band + 1) * row_bytes(p, plan.images) <= band_bytes) ++plan.band;
  size_t work = p->batch * p->num_filter * height * width;
  if (!qnn_multiply(work, p->channels * p->rows.kernel * p->columns.kernel, &work)) work = SIZE_MAX;
  plan.num_threads = qnn_threads_for(work, grain_products);
  const size_t groups = qnn_ceil_div(p->batch, plan.images);
  plan.stripes = qnn_min(qnn_ceil_div((size_t)plan.num_threads, groups), height);
  plan.stripe = qnn_ceil_div(height, plan.stripes);
  plan.stripes = qnn_ceil_div(height, plan.stripe);
  plan.band = qnn_min(plan.band, plan.stripe);
  plan.ring = rows_of_band(p, plan.band);
  plan.num_tasks = groups * plan.stripes;
  plan.ring_bytes = plan.ring * row_bytes(p, plan.images);
  const size_t rest = 2 * plan.images * QNN_TILE_BYTES + width * sizeof(qnn_taps) + p->rows.kernel * sizeof(qnn_row);
  plan.thread_bytes = qnn_ceil_div(plan.ring_bytes + rest, QNN_ROW_BYTES) * QNN_ROW_BYTES;
  return plan;
}

/* Loads rows first .. last of the source to their places in the ring. */
static void load_rows(const pass *p, const group *g, size_t first, size_t last) {
  const size_t width = read_length(p, &p->columns), plane = read_length(p, &p->rows) * width;
  const size_t term_bytes = g->images * QNN_ROW_BYTES;
  for (size_t count; first < last; first += count) {
    count = qnn_min(last - first, g->ring - first % g->ring);
    uint8_t *to = g->codes + first % g->ring * row_bytes(p, g->images);
    for (size_t i = 0; i < g->images; ++i)
      for (size_t c = 0; c < p->channels; c += QNN_CHUNK) {
        const float *x = p->from + ((g->image + i) * p->channels + c) * plane + first * width;
        const size_t channels = qnn_min(p->channels - c, QNN_CHUNK);
        p->tiles->interleave(x, x + plane, 2 * plane, (channels + 1) / 2, channels / 2, count * width, p->terms,
                             to + c / QNN_CHUNK * p->terms * term_bytes + i * QNN_ROW_BYTES,
                             pixel_bytes(p, g->images), term_bytes);
      }
  }
}

/* The taps of row `at` of what is written. */
static void find_rows(const pass *p, group *g, size_t at) {
  const qnn_taps taps = taps_at(&p->rows, p->is_gradient, at);
  g->walk.num_rows = taps.count;
  for (size_t i = 0; i < taps.count; ++i) {
    const size_t source = taps.source + i * (size_t)taps.source_step;
    const qnn_row row = {g->codes + source % g->ring * row_bytes(p, g->images),
                         (taps.tap + i * taps.tap_step) * p->columns.kernel};
    g->rows[i] = row;
  }
}

/* Rows first .. last, whose sources are loaded. */
static void multiply_band(const pass *p, group *g, size_t first, size_t last) {
  const size_t width = write_length(p, &p->columns), plane = write_length(p, &p->rows) * width;
  const size_t pair = 2 * QNN_LANES, taps = p->rows.kernel * p->columns.kernel;
  for (size_t f = 0; f < p->num_filter; f += pair) {
    const uint8_t *factors = p->factors + f / pair * taps * p->chunks * 2 * QNN_TILE_BYTES;
    const size_t blocks = qnn_ceil_div(qnn_min(p->num_filter - f, pair), QNN_LANES);
    for (size_t q = first * width, count; q < last * width; q += count) {
      count = qnn_min(last * width - q, QNN_LANES);
      for (size_t i = 0; i < count; ++i) {
        const size_t row = (q + i) / width, column = (q + i) % width;
        if (i == 0 || column == 0) find_rows(p, g, row);
        p->tiles->multiply(&g->walk, blocks, g->columns + column, factors, g->sums + i * QNN_LANES);
      }
      for (size_t b = 0; b < blocks; ++b)
        for (size_t i = 0; i < g->images; ++i) {
          const size_t filter = f + b * QNN_LANES;
          p->tiles->write(g->sums + (b * g->images + i) * QNN_LANES * QNN_LANES, count,
                          qnn_min(p->num_filter - filter, QNN_LANES), p->bias ? p->bias + filter : NULL, p->is_far,
                          p->to + ((g->image + i) * p->num_filter + filter) * plane + q, plane);
        }
    }
  }
}

static void run_task(const pass *p, const plan *plan, size_t task, uint8_t *memory) {
  const size_t width = write_length(p, &p->columns), first = task % plan->stripes * plan->stripe;
  const size_t last = qnn_min(first + plan->stripe, write_length(p, &p->rows));
  group g = {.image = task / plan->stripes * plan->images, .ring = plan->ring, .codes = memory};
  g.images = qnn_min(plan->images, p->batch - g.image);
  g.sums = (float *)(memory + plan->ring_bytes);
  g.columns = (qnn_taps *)(g.sums + 2 * plan->images * QNN_LANES * QNN_LANES);
  g.rows = (qnn_row *)(g.columns + width);
  const qnn_tap_walk walk = {g.images, p->chunks, p->terms, pixel_bytes(p, g.images), 0, g.rows};
  g.walk = walk;
  for (size_t i = 0; i < width; ++i) g.columns[i] = taps_at(&p->columns, p->is_gradient, i);
  p->tiles->start(g.images);
  for (size_t row = first, loaded = 0; row < last; row += plan->band) {
    const size_t end = qnn_min(row + plan->band, last);
    const qnn_span sources = sources_of(p, row, end);
    load_rows(p, &g, loaded < sources.first ? sources.first : loaded, sources.last);
    loaded = sources.last;
    multiply_band(p, &g, row, end);
  }
  p->tiles->stop();
}

/* The tiles of blocks of filters from `filter` on; steps in floats. */
static void pack_pair(const pass *p, const float *weight, size_t channel_step, size_t filter_step, size_t filter) {
  const size_t pair = 2 * QNN_LANES, taps = p->rows.kernel * p->columns.kernel;
  const size_t end = qnn_min(filter + pair, p->num_filter);
  uint8_t *to = p->factors + filter / pair * taps * p->chunks * 2 * QNN_TILE_BYTES;
  const size_t blocks = qnn_ceil_div(end - filter, QNN_LANES);
  for (size_t c = 0; c < p->chunks; ++c)
    for (size_t b = 0; b < blocks; ++b)
      for (size_t tap = 0; tap < taps; ++tap) {
        const size_t f = filter + b * QNN_LANES;
        p->tiles->pack(weight + c * QNN_CHUNK * channel_step + f * filter_step + tap,
                       qnn_min(p->channels - c * QNN_CHUNK, QNN_CHUNK), channel_step, qnn_min(end - f, QNN_LANES),
                       filter_step, to + ((tap * p->chunks + c) * blocks + b) * QNN_TILE_BYTES);
      }
}

static qnn_status run(pass *p, const float *weight, size_t channel_step, size_t filter_step) {
  const plan plan = plan_pass(p);
  const size_t pair = 2 * QNN_LANES, blocks = qnn_ceil_div(p->num_filter, QNN_LANES);
  const size_t factor_bytes = blocks * p->rows.kernel * p->columns.kernel * p->chunks * QNN_TILE_BYTES;
  const size_t planes = p->batch * p->num_filter;
  p->is_far = planes * write_length(p, &p->rows) * write_length(p, &p->columns) * sizeof *p->to >= far_bytes;
  uint8_t *memory = qnn_scratch(factor_bytes + (size_t)plan.num_threads * plan.thread_bytes);
  if (!memory) return QNN_NO_MEMORY;
  p->factors = memory;
  memory += factor_bytes;
#pragma omp parallel num_threads(plan.num_threads) if (plan.num_threads > 1)
  {
    uint8_t *own = memory + (size_t)omp_get_thread_num() * plan.thread_bytes;
#pragma omp for
    for (size_t f = 0; f < p->num_filter; f += pair) pack_pair(p, weight, channel_step, filter_step, f);
#pragma omp for schedule(dynamic)
    for (size_t task = 0; task < plan.num_tasks; ++task) run_task(p, &plan, task, own);
  }
  return QNN_OK;
}

qnn_status qnn_train_tiles_forward(const qnn_conv2d_shape *s, const float *x, const float *weight, const float *bias,
                                   float *y) {
  const size_t taps = s->kernel_h * s->kernel_w;
  pass p = {.tiles = qnn_isa_active()->bf16, .from = x, .bias = bias, .to = y, .batch = s->batch,
            .channels = s->channels, .num_filter = s->num_filter, .rows = qnn_rows_of(s),
            .columns = qnn_columns_of(s), .terms = 1, .chunks = qnn_ceil_div(s->channels, QNN_CHUNK)};
  return run(&p, weight, taps, s->channels * taps);
}

qnn_status qnn_train_tiles_grad_data(const qnn_conv2d_shape *s, const float *dy, const float *weight, float *dx) {
  const size_t taps = s->kernel_h * s->kernel_w;
  pass p = {.tiles = qnn_isa_active()->bf16, .from = dy, .to = dx, .batch = s->batch, .channels = s->num_filter,
            .num_filter = s->channels, .rows = qnn_rows_of(s), .columns = qnn_columns_of(s), .is_gradient = true,
            .terms = QNN_TERMS, .chunks = qnn_ceil_div(s->num_filter, QNN_CHUNK)};
  return run(&p, weight, s->channels * taps, taps);
}
