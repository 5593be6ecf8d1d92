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

/* Planes of the data against planes of the weights, by falling 2^(i+j). */
static size_t list_pairs(const qnn_conv2d_shape *s, size_t plane_words, size_t panel_words, qnn_pair *pairs) {
  const size_t num_act = qnn_act_planes(s), num_weight = qnn_weight_planes(s), behind = s->weight_code == QNN_MASKED;
  size_t n = 0;
  for (size_t level = num_act + num_weight - 1; level-- > 0;) {
    bool doubles = n > 0;
    for (size_t j = 0; j < num_weight; ++j) {
      if (j > level || level - j >= num_act) continue;
      const qnn_pair pair = {(level - j) * plane_words, (j + behind) * panel_words, doubles};
      pairs[n++] = pair;
      doubles = false;
    }
  }
  return n;
}

/* sums[tap][filter] = (2^act_planes - 1) times the sum of the weights of a tap; without `is_whole` half of it. The
 * micro-kernel counts: an image of zeros differs from the + weights, one of ones from the - weights. */
static void sum_taps(const qnn_layer *layer, bool is_whole, const uint64_t *zeros, const uint64_t *ones,
                     int32_t *sums) {
  const qnn_isa *isa = qnn_isa_active();
  const qnn_conv2d_shape *s = layer->shape;
  qnn_xgemm_ukernel *const gemm = layer->is_masked ? isa->tgemm : isa->xgemm;
  const size_t words = qnn_group_words(s), taps = s->kernel_h * s->kernel_w, start = 0;
  const size_t filters_per_group = s->num_filter / s->num_group;
  qnn_pair pairs[QNN_MAX_PLANES * QNN_MAX_PLANES];
  const qnn_walk walk = {&start, 1, words, pairs, list_pairs(s, 0, s->num_filter * taps * words, pairs)};
  for (size_t group = 0; group < s->num_group; ++group)
    for (size_t f = 0, n; f < filters_per_group; f += n) {
      n = qnn_min(filters_per_group - f, QNN_PANEL_FILTERS);
      const size_t filter = group * filters_per_group + f;
      for (size_t tap = 0; tap < taps; ++tap) {
        int32_t above[QNN_PANEL_FILTERS], below[QNN_PANEL_FILTERS];
        const uint64_t *panels = layer->panels + filter * taps * words + tap * words * n;
        gemm(1, &zeros, n, panels, &walk, above, QNN_PANEL_FILTERS);
        gemm(1, &ones, n, panels, &walk, below, QNN_PANEL_FILTERS);
        for (size_t i = 0; i < n; ++i)
          sums[tap * s->num_filter + filter + i] = (above[i] - below[i]) / (is_whole ? 1 : 2);
      }
    }
}

/* Outside taps hold the lowest code, and take their tap_sums from accum:  accum + sums = offset - 2 (m - sums / 2). Where
 * a half is no integer, all counts become -accum. */
void qnn_exclude_padding(const qnn_layer *layer, size_t first, size_t num_pixels, size_t filter, size_t num_filter,
                         int32_t *counts, size_t ld) {
  const qnn_conv2d_shape *s = layer->shape;
  const size_t reach_h = (s->kernel_h - 1) * s->dilate_h, reach_w = (s->kernel_w - 1) * s->dilate_w;
  size_t column = first % layer->out_width, row = first / layer->out_width % layer->out_height;
  for (size_t p = 0; p < num_pixels; ++p, counts += ld) {
    const size_t y0 = row * s->stride_h, x0 = column * s->stride_w;
    if (++column == layer->out_width) {
      column = 0;
      row = row + 1 < layer->out_height ? row + 1 : 0;
    }
    if (layer->counts_are_dots)
      for (size_t f = 0; f < num_filter; ++f)
        counts[f] = 2 * counts[f] - (layer->offset ? layer->offset[filter + f] : layer->range);
    const bool is_inside = y0 >= s->pad_h && x0 >= s->pad_w && y0 + reach_h < s->pad_h + s->height &&
                           x0 + reach_w < s->pad_w + s->width;
    const int32_t *sums = layer->tap_sums + filter;
    for (size_t i = 0; i < s->kernel_h && !is_inside; ++i)
      for (size_t j = 0; j < s->kernel_w; ++j, sums += s->num_filter) {
        const size_t y = y0 + i * s->dilate_h, x = x0 + j * s->dilate_w;
        if (y - s->pad_h < s->height && x - s->pad_w < s->width) continue;  /* unsigned: below the pad wraps to large */
        for (size_t f = 0; f < num_filter; ++f) counts[f] -= sums[f];
      }
  }
}

/* Fills in what follows from the shape, and runs the layer. */
static qnn_status run(const uint64_t *image, const qnn_conv2d_shape *shape, qnn_layer *layer) {
  const size_t words = qnn_group_words(shape), pixel_words = shape->num_group * words;
  const size_t pad_h = qnn_image_pad_h(shape), pad_w = qnn_image_pad_w(shape);
  const size_t row_words = (shape->width + 2 * pad_w) * pixel_words;
  const size_t plane_words = (shape->height + 2 * pad_h) * row_words;
  const size_t taps = shape->kernel_h * shape->kernel_w;
  const bool is_row = rows_are_contiguous(shape);
  const size_t num_segments = is_row ? shape->kernel_h : taps;
  const bool has_zeros = shape->act_code == QNN_BIPOLAR && shape->pad_value == 0 && (shape->pad_h || shape->pad_w);
  const size_t ones_tail = shape->channels / shape->num_group % QNN_WORD_BITS;
  qnn_pair pairs[QNN_MAX_PLANES * QNN_MAX_PLANES];

  size_t on_stack[stack_segments], *segments = on_stack;
  int32_t *tap_sums = NULL;
  uint64_t *zeros = NULL;
  qnn_status status = QNN_NO_MEMORY;
  if (num_segments > stack_segments && !(segments = malloc(num_segments * sizeof *segments))) goto done;
  /* Sums of bipolar weights are odd where channels are, those of masked weights anywhere. */
  layer->counts_are_dots = has_zeros && (layer->is_masked || shape->channels / shape->num_group % 2 != 0);
  if (has_zeros) {
    if (!(tap_sums = malloc(taps * shape->num_filter * sizeof *tap_sums))) goto done;
    if (!(zeros = calloc(2 * words, sizeof *zeros))) goto done;
    memset(zeros + words, 0xFF, words * sizeof *zeros);
    if (ones_tail) zeros[2 * words - 1] = ((uint64_t)1 << ones_tail) - 1;
    sum_taps(layer, layer->counts_are_dots, zeros, zeros + words, tap_sums);
  }
  fill_segments(shape, row_words, pixel_words, segments);
  layer->image = image + shape->first_plane * plane_words + (pad_h - shape->pad_h) * row_words +
                 (pad_w - shape->pad_w) * pixel_words;
  layer->image_words = qnn_image_planes(shape) * plane_words;
  layer->plane_words = plane_words;
  layer->panel_words = shape->num_filter * taps * words;
  layer->row_words = shape->stride_h * row_words;
  layer->pixel_words = shape->stride_w * pixel_words;
  layer->group_words = words;
  layer->walk.segments = segments;
  layer->walk.num_segments = num_segments;
  layer->walk.segment_words = is_row ? shape->kernel_w * words : words;
  layer->walk.pairs = pairs;
  layer->walk.num_pairs = list_pairs(shape, plane_words, layer->panel_words, pairs);
  layer->tap_sums = tap_sums;
  qnn_run_layer(layer);
  status = QNN_OK;
done:
  free(zeros);
  free(tap_sums);
  if (segments != on_stack) free(segments);
  return status;
}

static qnn_layer layer_of(const uint64_t *panels, const int32_t *offset, const qnn_conv2d_shape *shape) {
  const size_t k = qnn_conv2d_k(shape);
  const qnn_layer layer = {
      .panels = panels, .shape = shape, .num_planes = qnn_act_planes(shape),
      .weight_planes = qnn_weight_planes(shape), .batch = shape->batch,
      .out_height = qnn_conv2d_out_height(shape), .out_width = qnn_conv2d_out_width(shape),
      .num_filter = shape->num_filter, .num_group = shape->num_group, .k = k, .offset = offset,
      .range = (int32_t)(k * qnn_largest(shape)), .step = shape->act_code == QNN_BIPOLAR ? 2 : 1,
      .is_masked = shape->weight_code == QNN_MASKED};
  return layer;
}

/* The codes have a meaning, and accumulators an offset. */
static bool codes_are_valid(const qnn_conv2d_shape *s, const int32_t *offset) {
  const bool is_bipolar = s->act_code == QNN_BIPOLAR && s->weight_code == QNN_BIPOLAR;
  return qnn_image_padding_is_valid(s) && (s->weight_code == QNN_BIPOLAR || s->weight_code == QNN_MASKED) &&
         (is_bipolar || offset);
}

qnn_status qnn_conv2d(const uint64_t *image, const uint64_t *panels, const qnn_conv2d_shape *shape,
                      const qnn_output *output, int is_nhwc, float *y) {
  if (!image || !panels || !shape || !y || !qnn_output_is_valid(output, shape->num_filter) ||
      !codes_are_valid(shape, output->offset))
    return QNN_BAD_ARGUMENT;
  if (!qnn_conv2d_is_valid(shape)) return QNN_BAD_SHAPE;
  qnn_layer layer = layer_of(panels, output->offset, shape);
  layer.output = output;
  layer.is_half = !output->no_offset && qnn_largest(shape) == 1 && layer.step == 2 && !layer.is_masked;
  layer.is_nhwc = is_nhwc || layer.out_height * layer.out_width == 1;  /* the same order, and longer runs */
  layer.y = y;
  return run(image, shape, &layer);
}

qnn_status qnn_conv2d_bits(const uint64_t *image, const uint64_t *panels, const qnn_conv2d_shape *shape,
                           const qnn_bits_output *output, uint64_t *out) {
  if (!image || !panels || !shape || !output || !output->threshold || !out || !codes_are_valid(shape, output->offset))
    return QNN_BAD_ARGUMENT;
  const size_t pad_h = output->pad_h, pad_w = output->pad_w, planes = output->planes ? output->planes : 1;
  if (!qnn_padding_is_valid(pad_h, pad_w, output->pad_value, output->code)) return QNN_BAD_ARGUMENT;
  if (!qnn_conv2d_is_valid(shape) || pad_h > SIZE_MAX / 8 || pad_w > SIZE_MAX / 8 || planes > QNN_MAX_OUT_PLANES)
    return QNN_BAD_SHAPE;
  qnn_layer layer = layer_of(panels, output->offset, shape);
  const size_t pixel_words = qnn_words_for(shape->num_filter);
  const qnn_border border = {layer.out_height, layer.out_width, pad_h, pad_w, pixel_words,
                             shape->num_filter, planes, output->pad_value, output->code};
  const size_t height = layer.out_height + 2 * pad_h, width = layer.out_width + 2 * pad_w;
  if (!qnn_fits(shape->batch, height, width, pixel_words, planes * sizeof *out)) return QNN_BAD_SHAPE;
  layer.bits_pixel_words = pixel_words;
  layer.bits_row_words = width * pixel_words;
  layer.bits_plane_words = height * layer.bits_row_words;
  layer.bits_image_words = planes * layer.bits_plane_words;
  layer.bits_planes = planes;
  layer.bits = out + pad_h * layer.bits_row_words + pad_w * pixel_words;
  layer.threshold = output->threshold;
  layer.flip = output->flip;
  const qnn_status status = run(image, shape, &layer);
  /* Behind the layer, because nothing is written unless all is well; too little to share among threads. */
  if (status == QNN_OK && (pad_h || pad_w))
    for (size_t row = 0; row < shape->batch * planes * height; ++row) qnn_fill_border(&border, row, out);
  return status;
}
