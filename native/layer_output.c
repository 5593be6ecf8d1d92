/* layer_output.c: counts of a layer to its output, floats or bits. */
#include "internal.h"

bool qnn_output_is_valid(const qnn_output *output, size_t num_filter) {
  return output && (!output->scale || output->num_scale == 1 || output->num_scale == num_filter);
}

/* The part that all filters share. */
static void start_finish(const qnn_layer *layer, qnn_finish *finish) {
  const qnn_output *output = layer->output;
  float base = (float)layer->range;  /* counts are differences m: (K + dot) / 2 = K - m */
  finish->step = layer->is_half ? -1.0f : -(float)layer->step;
  if (layer->counts_are_dots) {      /* -accum, to be exact: K/2 - (-dot)/2 */
    base = layer->is_half ? 0.5f * (float)layer->k : 0.0f;
    finish->step = layer->is_half ? -0.5f : -1.0f;
  }
  for (size_t f = 0; f < QNN_MAX_NR; ++f) {
    finish->base[f] = base;
    finish->mean[f] = 0.0f;
    finish->scale[f] = output->scale && output->num_scale == 1 ? output->scale[0] : 1.0f;
    finish->bias[f] = -0.0f;
  }
}

/* The part of filters `filter` .. `filter + num_filter`. */
static void select_finish(const qnn_layer *layer, size_t filter, size_t num_filter, qnn_finish *finish) {
  const qnn_output *output = layer->output;
  if (layer->offset && !layer->counts_are_dots)
    for (size_t f = 0; f < num_filter; ++f) finish->base[f] = (float)layer->offset[filter + f];
  if (output->scale && output->num_scale > 1)
    memcpy(finish->scale, output->scale + filter, num_filter * sizeof *finish->scale);
  if (output->mean) memcpy(finish->mean, output->mean + filter, num_filter * sizeof *finish->mean);
  if (output->bias) memcpy(finish->bias, output->bias + filter, num_filter * sizeof *finish->bias);
}

/* Writes the counts of pixels first .. first+num_pixels; in NCHW a run of pixels ends with its image. */
static void write_floats(const qnn_layer *layer, const qnn_isa *isa, size_t first, size_t num_pixels, size_t filter,
                         size_t num_filter, const int32_t *counts, size_t ld, const qnn_finish *finish) {
  const float *residual = layer->output->residual;
  if (layer->is_nhwc) {
    const size_t at = first * layer->num_filter + filter;
    isa->finish(counts, ld, num_pixels, num_filter, finish, residual ? residual + at : NULL, layer->y + at,
                layer->num_filter, 1);
    return;
  }
  const size_t plane = layer->out_height * layer->out_width;
  while (num_pixels) {
    const size_t image = first / plane, column = first % plane, run = qnn_min(num_pixels, plane - column);
    const size_t at = (image * layer->num_filter + filter) * plane + column;
    isa->finish(counts, ld, run, num_filter, finish, residual ? residual + at : NULL, layer->y + at, 1, plane);
    first += run, num_pixels -= run, counts += run * ld;
  }
}

void qnn_start_epilogue(const qnn_layer *layer, qnn_epilogue *epilogue) {
  if (!layer->bits) start_finish(layer, &epilogue->finish);
}

void qnn_select_epilogue(const qnn_layer *layer, size_t filter, size_t num_filter, qnn_epilogue *epilogue) {
  if (layer->bits)
    qnn_select_limits(layer, filter, num_filter, epilogue->limits);
  else
    select_finish(layer, filter, num_filter, &epilogue->finish);
}

void qnn_write_counts(const qnn_layer *layer, const qnn_isa *isa, size_t first, size_t num_pixels, size_t filter,
                      size_t num_filter, int32_t *counts, size_t ld, const qnn_epilogue *epilogue) {
  if (layer->tap_sums) qnn_exclude_padding(layer, first, num_pixels, filter, num_filter, counts, ld);
  if (layer->bits)
    qnn_write_bits(layer, isa, first, num_pixels, filter, num_filter, counts, ld, epilogue->limits);
  else
    write_floats(layer, isa, first, num_pixels, filter, num_filter, counts, ld, &epilogue->finish);
}
