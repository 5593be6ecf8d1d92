/* shape.h: checks of the shapes that callers give, and sizes of packed images. */
#ifndef QNN_SHAPE_H
#define QNN_SHAPE_H

#include "internal.h"

bool qnn_image_is_valid(const qnn_conv2d_shape *shape);   /* batch .. width, num_group, pad_*: all that packing reads */
bool qnn_conv2d_is_valid(const qnn_conv2d_shape *shape);  /* the same, filters and kernel too */
size_t qnn_conv2d_k(const qnn_conv2d_shape *shape);       /* fan-in of a filter of a valid shape */
size_t qnn_largest(const qnn_conv2d_shape *shape);        /* (2^act_planes - 1) (2^weight_planes - 1) */

/* Words of one group of one pixel. */
static inline size_t qnn_group_words(const qnn_conv2d_shape *s) { return qnn_words_for(s->channels / s->num_group); }

static inline size_t qnn_act_planes(const qnn_conv2d_shape *s) { return s->act_planes ? s->act_planes : 1; }
static inline size_t qnn_weight_planes(const qnn_conv2d_shape *s) { return s->weight_planes ? s->weight_planes : 1; }
static inline size_t qnn_image_planes(const qnn_conv2d_shape *s) {
  return s->image_planes ? s->image_planes : qnn_act_planes(s);
}

/* Padding that the packed image holds. */
static inline size_t qnn_image_pad_h(const qnn_conv2d_shape *s) { return s->image_pad_h ? s->image_pad_h : s->pad_h; }
static inline size_t qnn_image_pad_w(const qnn_conv2d_shape *s) { return s->image_pad_w ? s->image_pad_w : s->pad_w; }

/* Codes that are not bipolar are padded with 0; without padding its value does not matter to them. */
static inline bool qnn_padding_is_valid(size_t pad_h, size_t pad_w, int pad_value, int code) {
  if (code == QNN_BIPOLAR) return pad_value >= -1 && pad_value <= 1;
  return (code == QNN_UNSIGNED || code == QNN_SIGNED) && (pad_value == 0 || (pad_h == 0 && pad_w == 0));
}

static inline bool qnn_image_padding_is_valid(const qnn_conv2d_shape *s) {
  return qnn_padding_is_valid(qnn_image_pad_h(s), qnn_image_pad_w(s), s->pad_value, s->act_code);
}

#endif
