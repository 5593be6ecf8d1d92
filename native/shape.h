/* shape.h: checks of the shapes that callers give, and sizes of packed images. */
#ifndef QNN_SHAPE_H
#define QNN_SHAPE_H

#include "internal.h"

bool qnn_image_is_valid(const qnn_conv2d_shape *shape);   /* batch .. width, num_group, pad_*: all that packing reads */
bool qnn_conv2d_is_valid(const qnn_conv2d_shape *shape);  /* the same, filters and kernel too */
size_t qnn_conv2d_k(const qnn_conv2d_shape *shape);       /* fan-in of a filter of a valid shape */

/* Words of one group of one pixel. */
static inline size_t qnn_group_words(const qnn_conv2d_shape *s) { return qnn_words_for(s->channels / s->num_group); }

/* Padding that the packed image holds. */
static inline size_t qnn_image_pad_h(const qnn_conv2d_shape *s) { return s->image_pad_h ? s->image_pad_h : s->pad_h; }
static inline size_t qnn_image_pad_w(const qnn_conv2d_shape *s) { return s->image_pad_w ? s->image_pad_w : s->pad_w; }

static inline bool qnn_pad_value_is_valid(int pad_value) { return pad_value >= -1 && pad_value <= 1; }

#endif
