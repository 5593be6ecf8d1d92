/* conv2d.c: binary convolution without im2col. A kernel row of a pixel is contiguous in the packed image, so that the
 * micro-kernel walks over kernel rows ("segments") from one pointer per pixel. */
#include <stdlib.h>

#include "shape.h"

enum { stack_segments = 64 };  /* kernels up to 8x8; larger ones take memory */

/* A segment is a kernel row of kw * words, or one tap where dilation or groups tear the row apart. */
static bool rows_are_contiguous(const qnn_conv2d_shape *s) {
  return s->kernel_w == 1 || (s->dilate_w == 1 && s->num_group == 1);
}

static void fill_segments(const qnn_conv2d_shape *s, size_t row_words, size_t pixel_words, size_t *segments) {
  const size_t taps = rows_are_contiguous(s) ? 1 : s->kernel_w;
  for (size_t i = 0; i < s->kernel_h; ++i)
    for (size_t j = 0; j < taps; ++j) *segments++ = i * s->dilate_h * row_words + j * s->dilate_w * pixel_words;
}

/* ones[tap][filter] = number of +1 weights. The micro-kernel counts them: they differ from an image of zeros. */
static void count_tap_ones(const uint64_t *panels, const qnn_conv2d_shape *s, const uint64_t *zeros, int32_t *ones) {
  const qnn_isa *isa = qnn_isa_active();
  const size_t words = qnn_group_words(s), taps = s->kernel_h * s->kernel_w, start = 0;
  const size_t filters_per_group = s->num_filter / s->num_group;
  for (size_t group = 0; group < s->num_group; ++group)
    for (size_t f = 0, n; f < filters_per_group; f += n) {
      n = qnn_min(filters_per_group - f, QNN_PANEL_FILTERS);
      const size_t filter = group * filters_per_group + f;
      for (size_t tap = 0; tap < taps; ++tap) {
        int32_t counts[QNN_PANEL_FILTERS];
        isa->xgemm(1, &zeros, n, panels + filter * taps * words + tap * words * n, 1, &start, words, counts,
                   QNN_PANEL_FILTERS);
        memcpy(ones + tap * s->num_filter + filter, counts, n * sizeof *counts);
      }
    }
}

/* Outside taps hold zeros, and differ from a weight where that is 1:  dot = K_in - 2 (m - ones of the outside taps).
 * Differences m' that give this dot as K - 2 m' are m - ones + (K - K_in) / 2: pixels without outside taps stay as they
 * are. Where that half is no integer, all counts become -dot. */
void qnn_exclude_padding(const qnn_layer *layer, size_t first, size_t num_pixels, size_t filter, size_t num_filter,
                         int32_t *counts, size_t ld) {
  const qnn_conv2d_shape *s = layer->shape;
  const int32_t tap_k = (int32_t)(s->channels / s->num_group), k = (int32_t)layer->k;
  const size_t reach_h = (s->kernel_h - 1) * s->dilate_h, reach_w = (s->kernel_w - 1) * s->dilate_w;
  size_t column = first % layer->out_width, row = first / layer->out_width % layer->out_height;
  for (size_t p = 0; p < num_pixels; ++p, counts += ld) {
    const size_t y0 = row * s->stride_h, x0 = column * s->stride_w;
    if (++column == layer->out_width) {
      column = 0;
      row = row + 1 < layer->out_height ? row + 1 : 0;
    }
    int32_t num_outside = 0;
    const bool is_inside = y0 >= s->pad_h && x0 >= s->pad_w && y0 + reach_h < s->pad_h + s->height &&
                           x0 + reach_w < s->pad_w + s->width;
    const int32_t *ones = layer->tap_ones + filter;
    for (size_t i = 0; i < s->kernel_h && !is_inside; ++i)
      for (size_t j = 0; j < s->kernel_w; ++j, ones += s->num_filter) {
        const size_t y = y0 + i * s->dilate_h, x = x0 + j * s->dilate_w;
        if (y - s->pad_h < s->height && x - s->pad_w < s->width) continue;  /* unsigned: below the pad wraps to large */
        ++num_outside;
        for (size_t f = 0; f < num_filter; ++f) counts[f] -= ones[f];
      }
    const int32_t k_outside = tap_k * num_outside;
    if (layer->counts_are_dots)
      for (size_t f = 0; f < num_filter; ++f) counts[f] = 2 * counts[f] - (k - k_outside);
    else if (num_outside)
      for (size_t f = 0; f < num_filter; ++f) counts[f] += k_outside / 2;
  }
}

/* Fills in what follows from the shape, and runs the layer. */
static qnn_status run(const uint64_t *image, const qnn_conv2d_shape *shape, qnn_layer *layer) {
  const size_t words = qnn_group_words(shape), pixel_words = shape->num_group * words;
  const size_t pad_h = qnn_image_pad_h(shape), pad_w = qnn_image_pad_w(shape);
  const size_t row_words = (shape->width + 2 * pad_w) * pixel_words;
  const size_t taps = shape->kernel_h * shape->kernel_w;
  const bool is_row = rows_are_contiguous(shape);
  const size_t num_segments = is_row ? shape->kernel_h : taps;
  const bool has_zeros = shape->pad_value == 0 && (shape->pad_h || shape->pad_w);

  size_t on_stack[stack_segments], *segments = on_stack;
  int32_t *tap_ones = NULL;
  uint64_t *zeros = NULL;
  qnn_status status = QNN_NO_MEMORY;
  if (num_segments > stack_segments && !(segments = malloc(num_segments * sizeof *segments))) goto done;
  if (has_zeros) {
    if (!(tap_ones = malloc(taps * shape->num_filter * sizeof *tap_ones))) goto done;
    if (!(zeros = calloc(words, sizeof *zeros))) goto done;
    count_tap_ones(layer->panels, shape, zeros, tap_ones);
  }
  fill_segments(shape, row_words, pixel_words, segments);
  layer->image = image + (pad_h - shape->pad_h) * row_words + (pad_w - shape->pad_w) * pixel_words;
  layer->image_words = (shape->height + 2 * pad_h) * row_words;
  layer->row_words = shape->stride_h * row_words;
  layer->pixel_words = shape->stride_w * pixel_words;
  layer->group_words = words;
  layer->segments = segments;
  layer->num_segments = num_segments;
  layer->segment_words = is_row ? shape->kernel_w * words : words;
  layer->tap_ones = tap_ones;
  layer->counts_are_dots = has_zeros && shape->channels / shape->num_group % 2 != 0;
  qnn_run_layer(layer);
  status = QNN_OK;
done:
  free(zeros);
  free(tap_ones);
  if (segments != on_stack) free(segments);
  return status;
}

static qnn_layer layer_of(const uint64_t *panels, const qnn_conv2d_shape *shape) {
  const qnn_layer layer = {
      .panels = panels, .shape = shape, .batch = shape->batch, .out_height = qnn_conv2d_out_height(shape),
      .out_width = qnn_conv2d_out_width(shape), .num_filter = shape->num_filter, .num_group = shape->num_group,
      .k = qnn_conv2d_k(shape)};
  return layer;
}

qnn_status qnn_conv2d(const uint64_t *image, const uint64_t *panels, const qnn_conv2d_shape *shape,
                      const qnn_output *output, int is_nhwc, float *y) {
  if (!image || !panels || !shape || !y || !qnn_pad_value_is_valid(shape->pad_value) ||
      !qnn_output_is_valid(output, shape->num_filter))
    return QNN_BAD_ARGUMENT;
  if (!qnn_conv2d_is_valid(shape)) return QNN_BAD_SHAPE;
  qnn_layer layer = layer_of(panels, shape);
  layer.output = output;
  layer.is_nhwc = is_nhwc || layer.out_height * layer.out_width == 1;  /* the same order, and longer runs */
  layer.y = y;
  return run(image, shape, &layer);
}

qnn_status qnn_conv2d_bits(const uint64_t *image, const uint64_t *panels, const qnn_conv2d_shape *shape,
                           const int32_t *threshold, const uint64_t *flip, size_t out_pad_h, size_t out_pad_w,
                           int out_pad_value, uint64_t *out) {
  if (!image || !panels || !shape || !threshold || !out || !qnn_pad_value_is_valid(shape->pad_value) ||
      !qnn_pad_value_is_valid(out_pad_value))
    return QNN_BAD_ARGUMENT;
  if (!qnn_conv2d_is_valid(shape) || out_pad_h > SIZE_MAX / 8 || out_pad_w > SIZE_MAX / 8) return QNN_BAD_SHAPE;
  qnn_layer layer = layer_of(panels, shape);
  const size_t pixel_words = qnn_words_for(shape->num_filter);
  const qnn_border border = {layer.out_height, layer.out_width, out_pad_h, out_pad_w,
                             pixel_words, shape->num_filter, out_pad_value};
  const size_t height = layer.out_height + 2 * out_pad_h, width = layer.out_width + 2 * out_pad_w;
  if (!qnn_fits(shape->batch, height, width, pixel_words, sizeof *out)) return QNN_BAD_SHAPE;
  layer.bits_pixel_words = pixel_words;
  layer.bits_row_words = width * pixel_words;
  layer.bits_image_words = height * layer.bits_row_words;
  layer.bits = out + out_pad_h * layer.bits_row_words + out_pad_w * pixel_words;
  layer.threshold = threshold;
  layer.flip = flip;
  const qnn_status status = run(image, shape, &layer);
  /* Behind the layer, because nothing is written unless all is well; too little to share among threads. */
  if (status == QNN_OK && (out_pad_h || out_pad_w))
    for (size_t row = 0; row < shape->batch * height; ++row) qnn_fill_border(&border, row, out);
  return status;
}
