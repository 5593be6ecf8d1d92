/* train_conv_weight.c: the loops around tiles of bfloat16 for the gradient of the weights. Tiles sum over 32 images at
 * one pixel, so that every tap takes the same codes as they lie:
 *
 *   dw[f][c][k] = sum of groups of 32 images, bands of rows of the output (what they read stays in L2):
 *                 sum of the band's pixels q: gradients[q][f][images] codes[q stride + k dilate - pad][images][c]
 *
 * Threads share the planes when these are loaded, and the blocks of 32 x 32 filters and channels, tap by tap, when they
 * are multiplied: every thread count gives the same bits. */
#include "train_conv.h"

enum {
  group_images = 2 * QNN_LANES,
  band_bytes = 5 << 18,         /* gradients and codes of a band */
  sums_of_tile = QNN_LANES * QNN_LANES,
  grain_products = 1 << 22
};

typedef struct {
  const qnn_bf16_tiles *tiles;
  const qnn_conv2d_shape *shape;
  const float *x, *dy;
  float *dweight;
  qnn_axis rows, columns;
  size_t filter_blocks, channel_blocks, gradient_pixel, code_pixel;  /* the pixels in bytes */
  uint8_t *gradients, *codes;
  float *sums;                  /* [tap][filter block][channel block][16 filters][16 channels] */
} pass;

/* Images image .. +images, rows of the output and of the input. */
typedef struct {
  size_t image, images;
  qnn_span out, in;
} band;

/* Rows of the input that rows of the output read, at least one. */
static qnn_span inputs_of(const qnn_axis *axis, qnn_span out) {
  const size_t low = out.first * axis->stride, high = (out.last - 1) * axis->stride + (axis->kernel - 1) * axis->dilate;
  const size_t last = high < axis->pad ? 1 : qnn_min(high - axis->pad + 1, axis->length);
  const qnn_span in = {qnn_min(low < axis->pad ? 0 : low - axis->pad, last - 1), last};
  return in;
}

static size_t code_bytes(const pass *p, qnn_span out) {
  const qnn_span in = inputs_of(&p->rows, out);
  return (in.last - in.first) * p->columns.length * p->code_pixel;
}

static size_t gradient_bytes(const pass *p, size_t rows) { return rows * p->columns.out_length * p->gradient_pixel; }

static void load_gradients(const pass *p, const band *band) {
  const size_t width = p->columns.out_length, plane = p->rows.out_length * width, num_filter = p->shape->num_filter;
#pragma omp for
  for (size_t f = 0; f < p->filter_blocks * QNN_LANES; ++f) {
    const float *from = p->dy + (band->image * num_filter + f) * plane + band->out.first * width;
    const size_t images = f < num_filter ? band->images : 0;
    p->tiles->interleave(from, from + num_filter * plane, 2 * num_filter * plane, (images + 1) / 2, images / 2,
                         (band->out.last - band->out.first) * width, QNN_TERMS,
                         p->gradients + f / QNN_LANES * QNN_TERMS * QNN_TILE_BYTES + f % QNN_LANES * QNN_ROW_BYTES,
                         p->gradient_pixel, QNN_TILE_BYTES);
  }
}

static void load_codes(const pass *p, const band *band) {
  const size_t width = p->columns.length, plane = p->rows.length * width, channels = p->shape->channels;
#pragma omp for
  for (size_t i = 0; i < p->channel_blocks * QNN_LANES; ++i) {  /* a pair of images of a block of channels */
    const size_t c = i / QNN_LANES * QNN_LANES, n = i % QNN_LANES * 2, count = qnn_min(channels - c, QNN_LANES);
    const float *from = p->x + ((band->image + n) * channels + c) * plane + band->in.first * width;
    p->tiles->interleave(from, from + channels * plane, plane, n < band->images ? count : 0,
                         n + 1 < band->images ? count : 0, (band->in.last - band->in.first) * width, 1,
                         p->codes + i / QNN_LANES * QNN_TILE_BYTES + i % QNN_LANES * QNN_ROW_BYTES, p->code_pixel, 0);
  }
}

/* Two blocks of filters and of channels. */
static void multiply(const pass *p, const band *band, size_t filter, size_t channel, size_t row, size_t column) {
  qnn_span v = qnn_outputs_of(&p->rows, row);
  const qnn_span h = qnn_outputs_of(&p->columns, column);
  v.last = qnn_min(v.last, band->out.last);
  if (v.first < band->out.first) v.first = band->out.first;
  if (v.first >= v.last || h.first == h.last) return;
  const size_t gradient_row = p->columns.out_length * p->gradient_pixel, code_row = p->columns.length * p->code_pixel;
  const size_t in_row = qnn_input_of(&p->rows, v.first, row) - band->in.first;
  const qnn_pixel_walk walk = {
      v.last - v.first, h.last - h.first,
      p->gradients + (v.first - band->out.first) * gradient_row + h.first * p->gradient_pixel +
          filter * QNN_TERMS * QNN_TILE_BYTES,
      p->codes + in_row * code_row + qnn_input_of(&p->columns, h.first, column) * p->code_pixel +
          channel * QNN_TILE_BYTES,
      gradient_row, p->gradient_pixel, p->rows.stride * code_row, p->columns.stride * p->code_pixel};
  const size_t tap = row * p->columns.kernel + column, step = p->channel_blocks * sums_of_tile;
  p->tiles->accumulate(&walk, qnn_min(p->filter_blocks - filter, 2), qnn_min(p->channel_blocks - channel, 2),
                       p->sums + (tap * p->filter_blocks + filter) * step + channel * sums_of_tile, step);
}

static void multiply_band(const pass *p, const band *band) {
  const size_t kernel_h = p->rows.kernel, kernel_w = p->columns.kernel;
  p->tiles->start(group_images);
#pragma omp for collapse(4)
  for (size_t f = 0; f < p->filter_blocks; f += 2)
    for (size_t c = 0; c < p->channel_blocks; c += 2)
      for (size_t i = 0; i < kernel_h; ++i)
        for (size_t j = 0; j < kernel_w; ++j) multiply(p, band, f, c, i, j);
  p->tiles->stop();
}

static void write_sums(const pass *p) {
  const size_t channels = p->shape->channels, taps = p->rows.kernel * p->columns.kernel;
  const size_t step = p->filter_blocks * p->channel_blocks * sums_of_tile;
#pragma omp for
  for (size_t f = 0; f < p->shape->num_filter; ++f) {
    const float *of_filter = p->sums + f / QNN_LANES * p->channel_blocks * sums_of_tile + f % QNN_LANES * QNN_LANES;
    float *to = p->dweight + f * channels * taps;
    for (size_t c = 0; c < channels; ++c)
      for (size_t tap = 0; tap < taps; ++tap)
        *to++ = of_filter[tap * step + c / QNN_LANES * sums_of_tile + c % QNN_LANES];
  }
}

/* By all threads of a region, or by the one there is. */
static void run(const pass *p, size_t band_rows) {
  const size_t height = p->rows.out_length, batch = p->shape->batch;
  for (size_t image = 0; image < batch; image += group_images)
    for (size_t row = 0; row < height; row += band_rows) {
      band band = {image, qnn_min(batch - image, group_images), {row, qnn_min(row + band_rows, height)}, {0, 0}};
      band.in = inputs_of(&p->rows, band.out);
      load_gradients(p, &band);
      load_codes(p, &band);
      multiply_band(p, &band);
    }
  write_sums(p);
}

qnn_status qnn_train_tiles_grad_weight(const qnn_conv2d_shape *s, const float *x, const float *dy, float *dweight) {
  pass p = {.tiles = qnn_isa_active()->bf16, .shape = s, .x = x, .dy = dy, .dweight = dweight, .rows = qnn_rows_of(s),
            .columns = qnn_columns_of(s), .filter_blocks = qnn_ceil_div(s->num_filter, QNN_LANES),
            .channel_blocks = qnn_ceil_div(s->channels, QNN_LANES)};
  p.gradient_pixel = p.filter_blocks * QNN_TERMS * QNN_TILE_BYTES + QNN_ROW_BYTES;  /* odd numbers of cache lines */
  p.code_pixel = p.channel_blocks * QNN_TILE_BYTES + QNN_ROW_BYTES;
  const size_t height = p.rows.out_length;
  size_t rows = 1, most_codes = 0;
  for (; rows < height; ++rows) {
    const qnn_span out = {0, rows + 1};
    if (gradient_bytes(&p, rows + 1) + code_bytes(&p, out) > band_bytes) break;
  }
  rows = qnn_ceil_div(height, qnn_ceil_div(height, rows));
  for (size_t row = 0; row < height; row += rows) {
    const qnn_span out = {row, qnn_min(row + rows, height)};
    if (most_codes < code_bytes(&p, out)) most_codes = code_bytes(&p, out);
  }
  const size_t taps = s->kernel_h * s->kernel_w;
  const size_t num_sums = taps * p.filter_blocks * p.channel_blocks * sums_of_tile;
  const size_t most_gradients = gradient_bytes(&p, rows);
  uint8_t *memory = qnn_scratch(most_gradients + most_codes + num_sums * sizeof *p.sums);
  if (!memory) return QNN_NO_MEMORY;
  p.gradients = memory;
  p.codes = memory + most_gradients;
  p.sums = (float *)(memory + most_gradients + most_codes);
  memset(p.sums, 0, num_sums * sizeof *p.sums);
  size_t work = s->batch * s->num_filter * height * p.columns.out_length;
  if (!qnn_multiply(work, s->channels * taps, &work)) work = SIZE_MAX;
  const int num_threads = qnn_threads_for(work, grain_products);
#pragma omp parallel num_threads(num_threads) if (num_threads > 1)
  run(&p, rows);
  return QNN_OK;
}
