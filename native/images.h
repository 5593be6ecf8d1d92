/* images.h: the loops over float images that pack.c chooses from. Shapes are valid. */
#ifndef QNN_IMAGES_H
#define QNN_IMAGES_H

#include "shape.h"

/* Where the bit of a channel is 0: low <= qnn_float_key(x) < low + span. [channels] each. */
typedef struct {
  const int32_t *low;
  const uint32_t *span;
} qnn_intervals;

/* intervals NULL: signs. */
void qnn_pack_image_nchw(const float *x, const qnn_conv2d_shape *shape, const qnn_intervals *intervals,
                         uint64_t *image);
void qnn_pack_image_nhwc(const float *x, const qnn_conv2d_shape *shape, const qnn_intervals *intervals,
                         uint64_t *image);

#endif
