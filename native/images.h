/* images.h: the loops over float images that pack.c chooses from. Shapes are valid. */
#ifndef QNN_IMAGES_H
#define QNN_IMAGES_H

#include "shape.h"

/* steps NULL: signs, one plane. steps of stride 1: all channels share them, else the stride is that of channels. */
void qnn_pack_image_nchw(const float *x, const qnn_conv2d_shape *shape, const qnn_steps *steps, uint64_t *image);
void qnn_pack_image_nhwc(const float *x, const qnn_conv2d_shape *shape, const qnn_steps *steps, uint64_t *image);

#endif
