/* train_conv_tiles.c: the loops around tiles of bfloat16 for the forward pass and the gradient of the data, which is
 * the same with other taps: of the data's pixel i, tap k sees the gradient at (i + pad - k dilate) / stride, where that
 * is whole.
 *
 *   task (OpenMP):  up to 32 images  x  band of rows of the output (what it reads stays in L2)
 *     filters:      two blocks of 16 (their factors too)
 *       16 pixels:  their sums stay in L1 until they are written out, plane by plane
 *
 * A pixel of the output reads those taps that exist: nothing is padded, and no zeros lie between strided pixels. Every
 * thread count gives the same bits. */
#include <omp.h>

#include "train_conv.h"

enum {
  group_images = 2 * QNN_LANES,
  band_bytes = 1 << 20,         /* codes of a band */
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
  size_t terms, chunks;
  uint8_t *factors;                             /* [pair of blocks][tap][chunk][block] tiles */
} pass;

typedef struct {
  size_t images, band, bands, num_tasks;
  size_t source_bytes, thread_bytes;
  int num_threads;
} plan;

static size_t read_length(const pass *p, const qnn_axis *axis) { return p->is_gradient ? axis->out_length : axis->length; }

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

/* Rows that rows first .. last of the output read. */
static qnn_span sources_of(const pass *p, size_t first, size_t last) {
  qnn_span span = {SIZE_MAX, 0};
  for (size_t row = first; row < last; ++row) {
    const qnn_taps taps = taps_at(&p->rows, p->is_gradient, row);
    if (!taps.count) continue;
    const size_t end = taps.source + (taps.count - 1) * (size_t)taps.source_step;
    const size_t low = qnn_min(taps.source, end), high = taps.source + end - low;
    span.first = qnn_min(span.first, low);
    if (span.last < high + 1) span.last = high + 1;
  }
  if (span.first > span.last) span.first = span.last;
  return span;
}

/* An odd number of cache lines: neighbours do not share a set. */
static size_t pixel_bytes(const pass *p, size_t images) { return (p->chunks * p->terms * images | 1) * QNN_ROW_BYTES; }

static size_t bytes_of_band(const pass *p, size_t images, size_t first, size_t last) {
  const qnn_span span = sources_of(p, first, last);
  return (span.last - span.first) * read_length(p, &p->columns) * pixel_bytes(p, images);
}

static plan plan_pass(const pass *p) {
  const size_t height = write_length(p, &p->rows), width = write_length(p, &p->columns), middle = height / 2;
  plan plan = {.images = qnn_min(p->batch, group_images), .band = 1};
  while (plan.images > 1 && bytes_of_band(p, plan.images, middle, middle + 1) > most_bytes) plan.images /= 2;
  while (plan.band < height && bytes_of_band(p, plan.images, 0, plan.band + 1) <= band_bytes) ++plan.band;
  size_t work = p->batch * p->num_filter * height * width;
  if (!qnn_multiply(work, p->channels * p->rows.kernel * p->columns.kernel, &work)) work = SIZE_MAX;
  plan.num_threads = qnn_threads_for(work, grain_products);
  const size_t groups = qnn_ceil_div(p->batch, plan.images), least = qnn_ceil_div((size_t)plan.num_threads, groups);
  plan.bands = qnn_ceil_div(height, plan.band);
  if (plan.bands < least) plan.bands = qnn_min(least, height);
  plan.band = qnn_ceil_div(height, plan.bands);
  plan.bands = qnn_ceil_div(height, plan.band);
  plan.num_tasks = groups * plan.bands;
  for (size_t row = 0; row < height; row += plan.band) {
    const size_t bytes = bytes_of_band(p, plan.images, row, qnn_min(row + plan.band, height));
    if (plan.source_bytes < bytes) plan.source_bytes = bytes;
  }
  const size_t rest = 2 * plan.images * QNN_TILE_BYTES + width * sizeof(qnn_taps);
  plan.thread_bytes = qnn_ceil_div(plan.source_bytes + rest, QNN_ROW_BYTES) * QNN_ROW_BYTES;
  return plan;
}

static void load_codes(const pass *p, size_t image, size_t images, qnn_span rows, uint8_t *codes) {
  const size_t width = read_length(p, &p->columns), plane = read_length(p, &p->rows) * width;
  const size_t num_pixels = (rows.last - rows.first) * width, term_bytes = images * QNN_ROW_BYTES;
  for (size_t i = 0; i < images; ++i)
    for (size_t c = 0; c < p->channels; c += QNN_CHUNK) {
      const float *x = p->from + ((image + i) * p->channels + c) * plane + rows.first * width;
      const size_t count = qnn_min(p->channels - c, QNN_CHUNK);
      p->tiles->interleave(x, x + plane, 2 * plane, (count + 1) / 2, count / 2, num_pixels, p->terms,
                           codes + c / QNN_CHUNK * p->terms * term_bytes + i * QNN_ROW_BYTES, pixel_bytes(p, images),
                           term_bytes);
    }
}

static void run_task(const pass *p, const plan *plan, size_t task, uint8_t *memory) {
  const size_t height = write_length(p, &p->rows), width = write_length(p, &p->columns), plane = height * width;
  const size_t image = task / plan->bands * plan->images, images = qnn_min(plan->images, p->batch - image);
  const size_t first = task % plan->bands * plan->band, last = qnn_min(first + plan->band, height);
  const qnn_span sources = sources_of(p, first, last);
  const size_t pixel = pixel_bytes(p, images), pair = 2 * QNN_LANES, taps = p->rows.kernel * p->columns.kernel;
  const qnn_tap_walk walk = {images, p->chunks, p->terms, read_length(p, &p->columns) * pixel, pixel,
                             p->columns.kernel};
  float *const sums = (float *)(memory + plan->source_bytes);
  qnn_taps *const columns = (qnn_taps *)(sums + 2 * plan->images * QNN_LANES * QNN_LANES);
  for (size_t i = 0; i < width; ++i) columns[i] = taps_at(&p->columns, p->is_gradient, i);
  load_codes(p, image, images, sources, memory);
  p->tiles->start(images);
  for (size_t f = 0; f < p->num_filter; f += pair) {
    const uint8_t *factors = p->factors + f / pair * taps * p->chunks * 2 * QNN_TILE_BYTES;
    const size_t blocks = qnn_ceil_div(qnn_min(p->num_filter - f, pair), QNN_LANES);
    for (size_t q = first * width, count; q < last * width; q += count) {
      count = qnn_min(last * width - q, QNN_LANES);
      for (size_t i = 0; i < count; ++i) {
        qnn_taps rows = taps_at(&p->rows, p->is_gradient, (q + i) / width);
        rows.source -= rows.count ? sources.first : 0;
        p->tiles->multiply(&walk, blocks, memory, &rows, columns + (q + i) % width, factors, sums + i * QNN_LANES);
      }
      for (size_t b = 0; b < blocks; ++b)
        for (size_t i = 0; i < images; ++i) {
          const size_t filter = f + b * QNN_LANES;
          p->tiles->write(sums + (b * images + i) * QNN_LANES * QNN_LANES, count,
                          qnn_min(p->num_filter - filter, QNN_LANES), p->bias ? p->bias + filter : NULL,
                          p->to + ((image + i) * p->num_filter + filter) * plane + q, plane);
        }
    }
  }
  p->tiles->stop();
}

/* The tiles of blocks of filters from `filter` on; steps in floats. */
static void pack_pair(const pass *p, const float *weight, size_t channel_step, size_t filter_step, size_t filter) {
  const size_t pair = 2 * QNN_LANES, taps = p->rows.kernel * p->columns.kernel;
  const size_t end = qnn_min(filter + pair, p->num_filter);
  uint8_t *to = p->factors + filter / pair * taps * p->chunks * 2 * QNN_TILE_BYTES;
  for (size_t tap = 0; tap < taps; ++tap)
    for (size_t c = 0; c < p->channels; c += QNN_CHUNK)
      for (size_t f = filter; f < end; f += QNN_LANES, to += QNN_TILE_BYTES)
        p->tiles->pack(weight + c * channel_step + f * filter_step + tap, qnn_min(p->channels - c, QNN_CHUNK),
                       channel_step, qnn_min(end - f, QNN_LANES), filter_step, to);
}

static qnn_status run(pass *p, const float *weight, size_t channel_step, size_t filter_step) {
  const plan plan = plan_pass(p);
  const size_t pair = 2 * QNN_LANES, blocks = qnn_ceil_div(p->num_filter, QNN_LANES);
  const size_t factor_bytes = blocks * p->rows.kernel * p->columns.kernel * p->chunks * QNN_TILE_BYTES;
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
