/* train_conv_weight.c: the loops around tiles of bfloat16 for the gradient of the weights. Tiles sum over 32 images at
 * one pixel, so that every tap takes the same codes as they lie:
 *
 *   dw[f][c][k] = sum of groups of 32 images, pixels q:
 *                 sum of images: dy[q][f][image] x[q stride + k dilate - pad][image][c]
 *
 *   band:          rows of the output of one group, or several groups where images are small; its codes stay in L2
 *     32 filters:  their gradients too
 *       task (OpenMP): 32 channels, one tap: sums of the band stay in registers
 *
 * Threads share the planes, too, when these are loaded. Every thread count gives the same bits. */
#include "train_conv.h"

enum {
  group_images = 2 * QNN_LANES,
  pair = 2 * QNN_LANES,         /* filters */
  band_bytes = 5 << 18,         /* codes and gradients of a band */
  sums_of_tile = QNN_LANES * QNN_LANES,
  grain_products = 1 << 22,
  gradient_pixel = (2 * QNN_TERMS * QNN_LANES + 1) * QNN_ROW_BYTES  /* bytes; an odd number of cache lines */
};

typedef struct {
  const qnn_bf16_tiles *tiles;
  const qnn_conv2d_shape *shape;
  const float *x, *dy;
  float *dweight;
  qnn_axis rows, columns;
  size_t filter_blocks, channel_blocks, code_pixel;
  size_t band_groups, band_rows;
  uint8_t *gradients, *codes;
  float *sums;                  /* [tap][filter block][channel block][16 filters][16 channels] */
} pass;

typedef struct {
  size_t image, groups;         /* the first image */
  qnn_span out, in;             /* rows of the output and of the input */
  size_t gradient_group, code_group;  /* bytes */
  bool is_first;
} band;

/* Rows of the input that rows of the output read, at least one. */
static qnn_span inputs_of(const qnn_axis *axis, qnn_span out) {
  const size_t low = out.first * axis->stride, high = (out.last - 1) * axis->stride + (axis->kernel - 1) * axis->dilate;
  const size_t last = high < axis->pad ? 1 : qnn_min(high - axis->pad + 1, axis->length);
  const qnn_span in = {qnn_min(low < axis->pad ? 0 : low - axis->pad, last - 1), last};
  return in;
}

static size_t code_bytes(const pass *p, size_t rows) {
  const size_t read = (rows - 1) * p->rows.stride + (p->rows.kernel - 1) * p->rows.dilate + 1;
  return qnn_min(read, p->rows.length) * p->columns.length * p->code_pixel;
}

static size_t gradient_bytes(const pass *p, size_t rows) { return rows * p->columns.out_length * gradient_pixel; }

static void load_codes(const pass *p, const band *band) {
  const size_t width = p->columns.length, plane = p->rows.length * width, channels = p->shape->channels;
#pragma omp for collapse(2)
  for (size_t group = 0; group < band->groups; ++group)
    for (size_t i = 0; i < p->channel_blocks * QNN_LANES; ++i) {  /* a pair of images of a block of channels */
      const size_t c = i / QNN_LANES * QNN_LANES, image = band->image + group * group_images + i % QNN_LANES * 2;
      const size_t images = image < p->shape->batch ? p->shape->batch - image : 0;
      const size_t count = qnn_min(channels - c, QNN_LANES);
      const float *from = p->x + (image * channels + c) * plane + band->in.first * width;
      p->tiles->interleave(from, from + channels * plane, plane, images > 0 ? count : 0, images > 1 ? count : 0,
                           (band->in.last - band->in.first) * width, 1,
                           p->codes + group * band->code_group + i / QNN_LANES * QNN_TILE_BYTES +
                               i % QNN_LANES * QNN_ROW_BYTES,
                           p->code_pixel, 0);
    }
}

/* Of the filters filter .. filter + 32. */
static void load_gradients(const pass *p, const band *band, size_t filter) {
  const size_t width = p->columns.out_length, plane = p->rows.out_length * width, num_filter = p->shape->num_filter;
  const size_t end = qnn_min(filter + pair, p->filter_blocks * QNN_LANES);
#pragma omp for collapse(2)
  for (size_t group = 0; group < band->groups; ++group)
    for (size_t f = filter; f < end; ++f) {
      const size_t image = band->image + group * group_images, i = f - filter;
      const size_t images = f < num_filter ? qnn_min(p->shape->batch - image, group_images) : 0;
      const float *from = p->dy + (image * num_filter + f) * plane + band->out.first * width;
      p->tiles->interleave(from, from + num_filter * plane, 2 * num_filter * plane, (images + 1) / 2, images / 2,
                           (band->out.last - band->out.first) * width, QNN_TERMS,
                           p->gradients + group * band->gradient_group + i / QNN_LANES * QNN_TERMS * QNN_TILE_BYTES +
                               i % QNN_LANES * QNN_ROW_BYTES,
                           gradient_pixel, QNN_TILE_BYTES);
    }
}

/* Two blocks of filters, whose gradients are loaded, and of channels, one tap. */
static void multiply(const pass *p, const band *band, size_t filter, size_t channel, size_t row, size_t column) {
  const qnn_span all = qnn_outputs_of(&p->rows, row), h = qnn_outputs_of(&p->columns, column);
  const size_t first = all.first < band->out.first ? band->out.first : all.first;
  const size_t last = qnn_min(all.last, band->out.last);
  const size_t gradient_row = p->columns.out_length * gradient_pixel, code_row = p->columns.length * p->code_pixel;
  qnn_pixel_walk walk = {.gradient_group = band->gradient_group, .gradient_row = gradient_row,
                         .gradient_pixel = gradient_pixel, .code_group = band->code_group,
                         .code_row = p->rows.stride * code_row, .code_pixel = p->columns.stride * p->code_pixel};
  if (first < last && h.first < h.last) {
    walk.groups = band->groups;
    walk.rows = last - first;
    walk.columns = h.last - h.first;
    walk.gradients = p->gradients + (first - band->out.first) * gradient_row + h.first * gradient_pixel;
    walk.codes = p->codes + (qnn_input_of(&p->rows, first, row) - band->in.first) * code_row +
                 qnn_input_of(&p->columns, h.first, column) * p->code_pixel + channel * QNN_TILE_BYTES;
  }
  const size_t tap = row * p->columns.kernel + column, step = p->channel_blocks * sums_of_tile;
  p->tiles->accumulate(&walk, qnn_min(p->filter_blocks - filter, 2), qnn_min(p->channel_blocks - channel, 2),
                       band->is_first, p->sums + (tap * p->filter_blocks + filter) * step + channel * sums_of_tile,
                       step);
}

static void multiply_band(const pass *p, const band *band, size_t filter) {
  const size_t kernel_h = p->rows.kernel, kernel_w = p->columns.kernel;
#pragma omp for collapse(3)
  for (size_t c = 0; c < p->channel_blocks; c += 2)
    for (size_t i = 0; i < kernel_h; ++i)
      for (size_t j = 0; j < kernel_w; ++j) multiply(p, band, filter, c, i, j);
}

static void write_sums(const pass *p) {
  const size_t channels = p->shape->channels, taps = p->rows.kernel * p->columns.kernel;
  const size_t step = p->filter_blocks * p->channel_blocks * sums_of_tile;
#pragma omp for
  for (size_t f = 0; f < p->shape->num_filter; ++f) {
    const float *from = p->sums + f / QNN_LANES * p->channel_blocks * sums_of_tile + f % QNN_LANES * QNN_LANES;
    for (size_t c = 0; c < channels; c += QNN_LANES, from += sums_of_tile)
      p->tiles->scatter(from, step, taps, qnn_min(channels - c, QNN_LANES), p->dweight + (f * channels + c) * taps);
  }
}

/* By all threads of a region, or by the one there is. */
static void run(const pass *p) {
  const size_t height = p->rows.out_length, batch = p->shape->batch;
  p->tiles->start(group_images);
  for (size_t image = 0; image < batch; image += p->band_groups * group_images)
    for (size_t row = 0; row < height; row += p->band_rows) {
      band band = {image, qnn_min(qnn_ceil_div(batch - image, group_images), p->band_groups),
                   {row, qnn_min(row + p->band_rows, height)}, {0, 0}, gradient_bytes(p, p->band_rows),
                   code_bytes(p, p->band_rows), image == 0 && row == 0};
      band.in = inputs_of(&p->rows, band.out);
      load_codes(p, &band);
      for (size_t f = 0; f < p->filter_blocks; f += 2) {
        load_gradients(p, &band, f * QNN_LANES);
        multiply_band(p, &band, f);
      }
    }
  p->tiles->stop();
  write_sums(p);
}

qnn_status qnn_train_tiles_grad_weight(const qnn_conv2d_shape *s, const float *x, const float *dy, float *dweight) {
  pass p = {.tiles = qnn_isa_active()->bf16, .shape = s, .x = x, .dy = dy, .dweight = dweight, .rows = qnn_rows_of(s),
            .columns = qnn_columns_of(s), .filter_blocks = qnn_ceil_div(s->num_filter, QNN_LANES),
            .channel_blocks = qnn_ceil_div(s->channels, QNN_LANES), .band_groups = 1, .band_rows = 1};
  p.code_pixel = p.channel_blocks * QNN_TILE_BYTES + QNN_ROW_BYTES;  /* an odd number of cache lines */
  const size_t height = p.rows.out_length, groups = qnn_ceil_div(s->batch, group_images);
  while (p.band_rows < height && gradient_bytes(&p, p.band_rows + 1) + code_bytes(&p, p.band_rows + 1) <= band_bytes)
    ++p.band_rows;
  p.band_rows = qnn_ceil_div(height, qnn_ceil_div(height, p.band_rows));
  const size_t of_group = gradient_bytes(&p, p.band_rows) + code_bytes(&p, p.band_rows);
  if (p.band_rows == height && of_group <= band_bytes) p.band_groups = qnn_min(band_bytes / of_group, groups);
  const size_t taps = s->kernel_h * s->kernel_w, most_codes = p.band_groups * code_bytes(&p, p.band_rows);
  const size_t most_gradients = p.band_groups * gradient_bytes(&p, p.band_rows);
  const size_t sum_bytes = taps * p.filter_blocks * p.channel_blocks * QNN_TILE_BYTES;
  uint8_t *memory = qnn_scratch(most_gradients + most_codes + sum_bytes);
  if (!memory) return QNN_NO_MEMORY;
  p.gradients = memory;
  p.codes = memory + most_gradients;
  p.sums = (float *)(memory + most_gradients + most_codes);
  size_t work = s->batch * s->num_filter * height * p.columns.out_length;
  if (!qnn_multiply(work, s->channels * taps, &work)) work = SIZE_MAX;
  const int num_threads = qnn_threads_for(work, grain_products);
#pragma omp parallel num_threads(num_threads) if (num_threads > 1)
  run(&p);
  return QNN_OK;
}
