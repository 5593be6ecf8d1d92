/* qnn_train.h: the public C API of qnn for training, in float32; conventions and statuses are those of qnn.h. */
#ifndef QNN_TRAIN_H
#define QNN_TRAIN_H

#include "qnn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cdef begin (as in qnn.h) */

/* ---- straight-through estimators, scales ----------------------------------------------------------------------- */

/* Signs as one of two numbers, with explicit spatial padding, for training in float.
 * x: [outer][height][width] -> y: [outer][height + 2 pad_h][width + 2 pad_w], x < 0 ? low : high; border = pad_value. */
qnn_status qnn_sign_pad(const float *x, size_t outer, size_t height, size_t width, size_t pad_h, size_t pad_w,
                        float low, float high, float pad_value, float *y);

/* Its gradient: dx = |x| <= grad_clip ? slope * dy inside the border : 0. dy: the shape of y, dx: the shape of x;
 * slope: (high - low) / 2. */
qnn_status qnn_sign_pad_grad(const float *x, const float *dy, size_t outer, size_t height, size_t width, size_t pad_h,
                             size_t pad_w, float grad_clip, float slope, float *dx);

/* Codes of isometric residual binarization: s = gamma / 2^(levels-1), u = clamp(floor(x / 2s) + 2^(levels-1), 0, 2^levels - 1),
 * codes = 2u - (2^levels - 1); NaN: 2^levels - 1. levels: 1..4, gamma > 0. */
qnn_status qnn_isometric(const float *x, size_t n, float gamma, unsigned levels, float *codes);

/* Their gradients, the equations 8 and 7 of the paper over s: r_1 = x, r_{l+1} = r_l - 2^-(l-1) gamma sign(r_l),
 * dx = dy sum 2^(levels-l) 1[|r_l| <= 1], dgamma = sum dy / s sum 2^-(l-1) clip(r_l, -1, 1). */
qnn_status qnn_isometric_grad(const float *x, const float *dy, size_t n, float gamma, unsigned levels, float *dx,
                              float *dgamma);

/* y = scale x; dx = scale dy, dscale = sum dy x, the same for any number of threads. */
qnn_status qnn_scale(const float *x, size_t n, float scale, float *y);
qnn_status qnn_scale_grad(const float *x, const float *dy, size_t n, float scale, float *dx, float *dscale);

/* ---- convolution of codes, in float32 (qnn/reference_train.py) ------------------------------------------------ */

/* The sums of products of Convolution and its gradients. Data and weights must be numbers of bfloat16, of 8 significant
 * bits, as codes of up to 8 bits and their halves are: on instruction sets with tiles of bfloat16 the rest of their
 * digits is cut off. Bias and gradients are any float32. Sums are float32: those of codes are exact up to 2^24.
 * x: [batch][channels][height][width]; weight: [num_filter][channels][kernel_h][kernel_w]; bias: [num_filter], NULL: none;
 * y: [batch][num_filter][out_height][out_width]. num_group is 1, padding counts as 0. */
qnn_status qnn_train_conv2d(const float *x, const float *weight, const float *bias, const qnn_conv2d_shape *shape,
                            float *y);

/* dy: the shape of y, dx: of x, dweight: of weight, dbias: of bias. */
qnn_status qnn_train_conv2d_grad_data(const float *dy, const float *weight, const qnn_conv2d_shape *shape, float *dx);
qnn_status qnn_train_conv2d_grad_weight(const float *x, const float *dy, const qnn_conv2d_shape *shape, float *dweight);
qnn_status qnn_train_conv2d_grad_bias(const float *dy, const qnn_conv2d_shape *shape, float *dbias);

int qnn_train_conv2d_is_fast(void);         /* the instruction set in use has tiles of bfloat16 */

/* ---- layers of look-up tables (qnn/reference_lut.py) -------------------------------------------------------- */

/* How an input enters its node. SMOOTH and HARD take a bit, x > 0.5: every node then has 2^n different outputs, and all
 * passes go through tables of 2^n entries. */
typedef enum {
  QNN_LUT_REAL = 0,       /* x clipped to 0..1 */
  QNN_LUT_SMOOTH = 1,     /* 0.25 or 0.75 */
  QNN_LUT_HARD = 2        /* 0 or 1 */
} qnn_lut_input;

typedef struct {
  size_t outer, inner;        /* x: [outer][in_nodes][inner], y: [outer][num_nodes][inner]; frames = outer * inner <= 2^24 */
  size_t in_nodes, num_nodes;
  size_t n;                   /* inputs of a node, 2..6 */
  int input;                  /* qnn_lut_input */
  int lut_binarize;           /* W > 0.5 in forward and dx */
  int clip_weight;            /* W clipped to 0..1 in forward and dx */
  int batch_norm;             /* y2 = ((y1 - mean) rstd) gamma + beta, rstd = 1 / sqrt(max(var, 1e-5)) */
  int binarize;               /* y = y2 > 0.5, else y2 clipped to 0..1 */
  float gamma, beta;
  size_t group;               /* 0 and 1: y are the nodes; else y: [outer][num_nodes / group][inner], means of neighbours */
  int is_majority;            /* or bits, more than group/2 of the nodes (which are bits) */
  /* kernel_h 0: none; else x: [outer][channels][height][width], whose windows are the frames: inner = out_height * out_width,
   * input (c kernel_h + i) kernel_w + j of a frame is pixel (i, j) of channel c of its window */
  size_t channels, height, width, kernel_h, kernel_w, stride_h, stride_w;
} qnn_lut_layer;

size_t qnn_lut_out_height(const qnn_lut_layer *layer);         /* windows above each other; 0: none fits */
size_t qnn_lut_out_width(const qnn_lut_layer *layer);

/* connections: [num_nodes][n] whole numbers below in_nodes, as floats; weight: [num_nodes][2^n], entry i where input j is
 * bit j of i; stats: [2][num_nodes], mean and variance: written if is_training, else read; ignored without batch_norm. */
qnn_status qnn_lut_train_forward(const float *x, const float *connections, const float *weight,
                                 const qnn_lut_layer *layer, int is_training, float *stats, float *y);

/* stats: as forward left them. With is_training the statistics carry a gradient, else they are constants.
 * dx: the shape of x, or NULL if nobody wants it; dweight: the shape of weight. Both are overwritten. */
qnn_status qnn_lut_train_backward(const float *x, const float *connections, const float *weight,
                                  const qnn_lut_layer *layer, int is_training, const float *stats, const float *dy,
                                  float *dx, float *dweight);

/* Truth tables, [num_nodes]: bit i is y > 0.5 where input j is bit j of i; QNN_LUT_REAL is read at 0 and 1. Decided by the
 * arithmetic of qnn_lut_train_forward. Of the layer only num_nodes, n and the options are read. */
qnn_status qnn_lut_train_tables(const float *weight, const qnn_lut_layer *layer, const float *stats, uint64_t *tables);

/* Thermometer code: y[o * frames + f][c * depth + d][i] = x[o][c][i] > thresholds[f][c or 0][d].
 * x: [outer][channels][inner]; thresholds: [frames][threshold_channels][depth], threshold_channels 1 or channels. */
qnn_status qnn_thermometer(const float *x, size_t outer, size_t channels, size_t inner, const float *thresholds,
                           size_t frames, size_t threshold_channels, size_t depth, float *y);

/* Its straight-through gradient: dx = sum over f, d of dy / (high - low) where low <= x <= high, else 0. */
qnn_status qnn_thermometer_grad(const float *x, const float *dy, size_t outer, size_t channels, size_t inner, size_t frames,
                                size_t depth, float low, float high, float *dx);
/* Mean of n neighbours: y[o][c][i] = sum_k x[o][c * n + k][i] / n, y: [outer][channels][inner]; added in the order of k.
 * With is_majority a bit instead, sum > n/2, of x itself (bits 0 and 1) or, with binarize_input, of x > 0.5. */
qnn_status qnn_mean_of_groups(const float *x, size_t outer, size_t channels, size_t inner, size_t n, int is_majority,
                              int binarize_input, float *y);

/* Its gradient, which is also what the majority hands on: dx = dy / n. */
qnn_status qnn_mean_of_groups_grad(const float *dy, size_t outer, size_t channels, size_t inner, size_t n, float *dx);

/* cdef end */

#ifdef __cplusplus
}
#endif

#endif
