/* shape.c: which shapes of images and convolutions make sense, and the sizes that follow from them. */
#include "shape.h"

bool qnn_image_is_valid(const qnn_conv2d_shape *s) {
  if (!s->batch || !s->channels || !s->height || !s->width || !s->num_group) return false;
  const size_t planes = qnn_image_planes(s);
  if (planes > QNN_MAX_PLANES || s->first_plane > planes || qnn_act_planes(s) > planes - s->first_plane) return false;
  if (s->channels % s->num_group != 0) return false;
  const size_t pad_h = qnn_image_pad_h(s), pad_w = qnn_image_pad_w(s);
  if (pad_h < s->pad_h || pad_h > (SIZE_MAX / 4 - s->height) / 2 || s->height > SIZE_MAX / 4) return false;
  if (pad_w < s->pad_w || pad_w > (SIZE_MAX / 4 - s->width) / 2 || s->width > SIZE_MAX / 4) return false;
  size_t pixel_words = 0;
  return qnn_multiply(s->num_group, qnn_words_for(s->channels / s->num_group), &pixel_words) &&
         qnn_multiply(pixel_words, planes, &pixel_words) &&
         qnn_fits(s->batch, s->height + 2 * pad_h, s->width + 2 * pad_w, pixel_words, sizeof(uint64_t)) &&
         qnn_fits(s->batch, s->channels, s->height, s->width, sizeof(float));
}

size_t qnn_positions(size_t length, size_t pad, size_t kernel, size_t stride, size_t dilate) {
  size_t reach = 0;
  if (!kernel || !stride || !dilate || !qnn_multiply(kernel - 1, dilate, &reach)) return 0;
  return reach >= length + 2 * pad ? 0 : (length + 2 * pad - reach - 1) / stride + 1;
}

size_t qnn_lut_out_height(const qnn_lut_layer *l) { return qnn_positions(l->height, 0, l->kernel_h, l->stride_h, 1); }

size_t qnn_lut_out_width(const qnn_lut_layer *l) { return qnn_positions(l->width, 0, l->kernel_w, l->stride_w, 1); }

static size_t out_height(const qnn_conv2d_shape *s) {
  return qnn_positions(s->height, s->pad_h, s->kernel_h, s->stride_h, s->dilate_h);
}

static size_t out_width(const qnn_conv2d_shape *s) {
  return qnn_positions(s->width, s->pad_w, s->kernel_w, s->stride_w, s->dilate_w);
}

size_t qnn_largest(const qnn_conv2d_shape *s) {
  return (((size_t)1 << qnn_act_planes(s)) - 1) * (((size_t)1 << qnn_weight_planes(s)) - 1);
}

/* Fan-in of a filter, 0 if accumulators may pass QNN_MAX_K. */
static size_t fan_in(const qnn_conv2d_shape *s) {
  size_t k = 0;
  const bool fits = qnn_multiply(s->kernel_h, s->kernel_w, &k) && qnn_multiply(k, s->channels / s->num_group, &k);
  return fits && k <= QNN_MAX_K && k * qnn_largest(s) <= QNN_MAX_K ? k : 0;
}

bool qnn_conv2d_is_valid(const qnn_conv2d_shape *s) {
  if (!qnn_image_is_valid(s) || !s->num_filter || s->num_filter % s->num_group != 0) return false;
  if (qnn_weight_planes(s) > QNN_MAX_PLANES) return false;
  const size_t height = out_height(s), width = out_width(s);
  return height && width && fan_in(s) && qnn_fits(s->batch, s->num_filter, height, width, sizeof(float)) &&
         qnn_fits(s->num_filter, s->kernel_h * s->kernel_w, qnn_group_words(s), QNN_MAX_PLANES + 1, sizeof(uint64_t));
}

size_t qnn_conv2d_k(const qnn_conv2d_shape *s) { return fan_in(s); }

size_t qnn_conv2d_out_height(const qnn_conv2d_shape *s) { return s && qnn_conv2d_is_valid(s) ? out_height(s) : 0; }

size_t qnn_conv2d_out_width(const qnn_conv2d_shape *s) { return s && qnn_conv2d_is_valid(s) ? out_width(s) : 0; }

size_t qnn_conv2d_image_words(const qnn_conv2d_shape *s) {
  if (!s || !qnn_image_is_valid(s)) return 0;
  return s->batch * qnn_image_planes(s) * (s->height + 2 * qnn_image_pad_h(s)) *
         (s->width + 2 * qnn_image_pad_w(s)) * s->num_group * qnn_group_words(s);
}

size_t qnn_conv2d_filter_words(const qnn_conv2d_shape *s) {
  return s && qnn_conv2d_is_valid(s) ? s->kernel_h * s->kernel_w * qnn_group_words(s) : 0;
}
