/* qnn.h: the public C API of qnn, for inference; qnn_train.h has training. C11, no Python, no MXNet.
 *
 * Binary arithmetic on packed bits. The definitions (bit order, words, panels, formulas) are those of qnn/bits.py and
 * qnn/reference.py; every instruction set gives the same bits.
 *
 *   bit 1 = +1, bit 0 = -1;  q(x) = -1 if x < 0 else +1 (0, -0.0, NaN give +1);  element j of a row is bit j%64 of word j/64
 *   dot = K - 2 * popcount(a xor w);  pad bits are 0 in both operands
 *   packed image:  [batch][height + 2 image_pad_h][width + 2 image_pad_w][num_group][ceil(channels/num_group/64)] words
 *   border:        +1 as 1 bits of the channels that exist, -1 and 0 as 0 bits (conv2d corrects for 0)
 *   filter row:    [kernel_h][kernel_w][ceil(channels/num_group/64)] words;  stored in panels of 16 filters (bits.py)
 *
 * Codes of several bits are planes of such bits (qnn/reference_planes.py): bit i of u lies in plane i.
 *   QNN_BIPOLAR    odd numbers -(2^k-1) .. 2^k-1   u = (a + 2^k - 1) / 2      border: as above, in every plane
 *   QNN_UNSIGNED   0 .. 2^k-1                      u = a                      border: 0
 *   QNN_SIGNED     -2^(k-1) .. 2^(k-1)-1           u = a + 2^(k-1)            border: 0, the highest plane 1
 *   image:         [batch][plane][height + 2 image_pad_h] ... as above, lowest bits first
 *   weights:       QNN_BIPOLAR: the panels of each plane, one plane behind the other;  QNN_MASKED, for weights from
 *                  -(2^k-1) to 2^k-1: the panels of the signs (1 = +), then those of each plane of |weight|
 *   accum = offset[f] - step * sum_ij 2^(i+j) m_ij = sum of code * weight,  step 2 for bipolar data, else 1
 *   m_ij  = popcount(a_i xor w_j), masked popcount((a_i xor sign) and w_j), for planes i of data and j of weights
 *
 * Functions return a qnn_status; they write nothing unless it is QNN_OK. Pointers may be unaligned to more than their
 * element; arrays that start on a cache line are fastest. Outputs never overlap inputs. All functions may be called from
 * several threads at once.
 */
#ifndef QNN_H
#define QNN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* cdef begin (native/build_native.py cuts the cffi declarations from here: no preprocessor lines up to "cdef end") */

typedef enum {
  QNN_OK = 0,
  QNN_BAD_ARGUMENT = 1,   /* a null pointer, a pad_value that is not -1, 0, +1, a count of threads below 1 ... */
  QNN_BAD_SHAPE = 2,      /* a zero dimension, groups that do not divide, a kernel larger than the padded image, planes
                             that do not exist, accumulators above 2^24 */
  QNN_UNKNOWN_ISA = 3,    /* qnn_isa_select: no such name */
  QNN_ISA_NOT_BUILT = 4,  /* qnn_isa_select: the compiler that built this library refused it */
  QNN_ISA_NOT_USABLE = 5, /* qnn_isa_select: this CPU or operating system lacks it */
  QNN_NO_MEMORY = 6       /* a zero-padded or very large kernel, or many thresholds, need a table, and malloc failed */
} qnn_status;

typedef enum { QNN_BIPOLAR = 0, QNN_UNSIGNED = 1, QNN_SIGNED = 2, QNN_MASKED = 3 } qnn_code;

/* ---- instruction sets: "scalar", "popcnt", "avx2", "avx512" (F, BW, VL, VPOPCNTDQ), "amx" (avx512, VBMI, AMX-INT8 and
 * -BF16),
 * "neon" ----------------------------------------------------------------------------------------------------------- */

size_t qnn_isa_count(void);                 /* rows of the table, slowest first */
const char *qnn_isa_name(size_t index);     /* NULL behind the last row */
int qnn_isa_is_built(size_t index);
int qnn_isa_is_usable(size_t index);        /* built, and this machine runs it */
const char *qnn_isa_chosen(void);           /* the one in use: the last usable row until qnn_isa_select */
qnn_status qnn_isa_select(const char *name);
void qnn_force_tiles(int is_on);            /* amx: tiles, avx2: tables, wherever they can run, not only where they are faster */

/* ---- threads: one parallel region per call; 1 in a forked child, where OpenMP would hang ---------------------------- */

int qnn_threads(void);                      /* qnn_set_threads, else QNN_NUM_THREADS, OMP_NUM_THREADS, affinity mask */
qnn_status qnn_set_threads(int num_threads);  /* 1..1024 */

/* ---- packing ---------------------------------------------------------------------------------------------------------- */

/* x: [rows][cols] floats, rows `stride` floats apart -> words: [rows][ceil(cols/64)]. */
qnn_status qnn_pack_rows(const float *x, size_t rows, size_t cols, size_t stride, uint64_t *words);

/* Inverse of qnn_pack_rows: -1.0f and +1.0f, rows contiguous. */
qnn_status qnn_unpack_rows(const uint64_t *words, size_t rows, size_t cols, float *x);

/* rows: [num_filter][k_words] -> panels: num_filter * k_words words; each group's filters form panels of their own. */
qnn_status qnn_pack_panels(const uint64_t *rows, size_t num_filter, size_t k_words, size_t num_group, uint64_t *panels);

/* Shape of a 2-D binary convolution; also of an image that is packed for it. Packing and qnn_conv2d_image_words read only
 * batch, channels, height, width, num_group, the pads and pad_value.
 * An image may hold more padding than the convolution wants, so that several layers share it: of an image_pad above pad
 * only the inner part is read. */
typedef struct {
  size_t batch, channels, height, width;    /* input; channels over all groups */
  size_t num_filter, num_group;
  size_t kernel_h, kernel_w, stride_h, stride_w, dilate_h, dilate_w, pad_h, pad_w;
  int pad_value;                            /* -1, 0 or +1: what the padding counts as; 0 where codes are not bipolar */
  size_t image_pad_h, image_pad_w;          /* padding that the image holds, not below pad_h, pad_w; 0: just these */
  size_t act_planes, weight_planes;         /* bits of data and of weights (masked: of |weight|), 1..8; 0: 1 */
  int act_code, weight_code;                /* data: bipolar, unsigned or signed; weights: bipolar or masked */
  size_t first_plane, image_planes;         /* planes first_plane .. +act_planes of the image_planes that the image
                                               holds; image_planes 0: act_planes. Packing writes act_planes. */
} qnn_conv2d_shape;

/* Positions of a kernel along one axis; 0 if it does not fit, or where kernel, stride or dilate are 0. */
size_t qnn_positions(size_t length, size_t pad, size_t kernel, size_t stride, size_t dilate);
size_t qnn_conv2d_out_height(const qnn_conv2d_shape *shape);    /* 0 for a bad shape */
size_t qnn_conv2d_out_width(const qnn_conv2d_shape *shape);
size_t qnn_conv2d_image_words(const qnn_conv2d_shape *shape);   /* size of the packed, padded image */
size_t qnn_conv2d_filter_words(const qnn_conv2d_shape *shape);  /* words of one filter row in one plane */

/* Signs of a float image, packed and padded for `shape`. Padding is +1 or -1 (0 packs as -1; qnn_conv2d corrects). */
qnn_status qnn_pack_nchw(const float *x, const qnn_conv2d_shape *shape, uint64_t *image);
qnn_status qnn_pack_nhwc(const float *x, const qnn_conv2d_shape *shape, uint64_t *image);

/* Codes by comparisons, a BatchNorm folded into them: u = number of t with !(flip ? x >= threshold[t] : x <
 * threshold[t]), so that NaN on either side counts. threshold: [2^act_planes - 1][num_threshold], ascending, NaN first (if
 * flip: last); num_threshold: channels, or 1 for thresholds that all channels share; flip: bits [num_threshold], packed
 * as a row; NULL: none. */
qnn_status qnn_pack_thresholds_nchw(const float *x, const qnn_conv2d_shape *shape, const float *threshold,
                                    size_t num_threshold, const uint64_t *flip, uint64_t *image);
qnn_status qnn_pack_thresholds_nhwc(const float *x, const qnn_conv2d_shape *shape, const float *threshold,
                                    size_t num_threshold, const uint64_t *flip, uint64_t *image);

/* ---- layers: y = ((accum - mean) * scale + bias) + residual, every operation rounded by itself, in this order ---------- */

typedef struct {
  int no_offset;          /* 1-bit bipolar data and weights: 0: accum = (K + dot) / 2;  1: accum = dot. Others: dot */
  const float *scale;     /* [num_filter], or [1] with num_scale 1; NULL: 1 */
  size_t num_scale;       /* 1 or num_filter; ignored when scale is NULL */
  const float *bias;      /* [num_filter]; NULL: none */
  const float *mean;      /* [num_filter]; NULL: none */
  const float *residual;  /* shape and layout of y, which it must not overlap; NULL: none */
  const int32_t *offset;  /* [num_filter], NULL where data and weights are bipolar. With top = 2^act_planes - 1,
                             S = sum|w| for masked weights, else K (2^weight_planes - 1), data is
                             bipolar: top S;  unsigned: (top S + top sum w) / 2;  signed: (top S - sum w) / 2 */
} qnn_output;

/* XNOR GEMM, also the fully connected layer.
 * a: [rows][ceil(k/64)] words; panels of `num_filter` filters; y: [rows][num_filter] floats. k <= 2^24. */
qnn_status qnn_xgemm(const uint64_t *a, const uint64_t *panels, size_t rows, size_t num_filter, size_t k,
                     const qnn_output *output, float *y);

/* Binary 2-D convolution of a packed, padded image (qnn_pack_nchw), without im2col.
 * y: [batch][num_filter][out_height][out_width] floats, or [batch][out_height][out_width][num_filter] if is_nhwc. */
qnn_status qnn_conv2d(const uint64_t *image, const uint64_t *panels, const qnn_conv2d_shape *shape,
                      const qnn_output *output, int is_nhwc, float *y);

/* How accumulators become codes: u = number of t with (accum >= threshold[t]) xor flip. One plane: the bit
 * (dot >= threshold) xor flip. */
typedef struct {
  const int32_t *offset;      /* as in qnn_output */
  const int32_t *threshold;   /* [2^planes - 1][num_filter], ascending; INT32_MIN is always, INT32_MAX never */
  const uint64_t *flip;       /* bits [num_filter], packed as a row; NULL: none */
  size_t planes;              /* 1..4; 0: 1 */
  int code;                   /* of the border */
  size_t pad_h, pad_w;        /* border of the packed image, for the next layer */
  int pad_value;              /* -1, 0 or +1; 0 where the code is not bipolar */
} qnn_bits_output;

/* The same convolution with codes out, a packed image for the next layer.
 * out: [batch][planes][out_height + 2 pad_h][out_width + 2 pad_w][ceil(num_filter/64)] words. */
qnn_status qnn_conv2d_bits(const uint64_t *image, const uint64_t *panels, const qnn_conv2d_shape *shape,
                           const qnn_bits_output *output, uint64_t *out);

/* Shape of a max-pooling of packed codes. */
typedef struct {
  size_t batch, channels, height, width;    /* input without its padding; its pixels have ceil(channels/64) words */
  size_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;  /* pad < kernel; the padding does not take part */
  int is_full;                              /* (in + 2 pad - kernel) / stride + 1 windows, rounded 0: down, 1: up */
  size_t image_pad_h, image_pad_w;          /* padding that the input holds: skipped */
  size_t out_pad_h, out_pad_w;              /* padding that the output gets */
  int out_pad_value;                        /* -1, 0 or +1; 0 where the code is not bipolar */
  size_t planes;                            /* 1..8; 0: 1 */
  int code;                                 /* of the border: codes are ordered as u is */
} qnn_pool_shape;

size_t qnn_pool_out_height(const qnn_pool_shape *shape);  /* without padding; 0 for a bad shape */
size_t qnn_pool_out_width(const qnn_pool_shape *shape);

/* Max-pooling of packed codes: the maximum of u over the part of the window inside the image (0 where that is empty, at
 * the end of a full pooling), OR for one plane; then every plane xor flip. Before a BatchNorm with negative gamma the
 * maximum becomes the minimum of codes: max of the flipped codes, flipped back.
 * flip: bits [channels], packed as a row; NULL: none.
 * in: [batch][planes][height + 2 image_pad_h][width + 2 image_pad_w][words];
 * out: [batch][planes][out_height + 2 out_pad_h][...][words]. */
qnn_status qnn_max_pool_bits(const uint64_t *in, const qnn_pool_shape *shape, const uint64_t *flip, uint64_t *out);

/* ---- float first layers: convolution [+ ReLU] [+ max-pooling], NCHW in, NHWC out (qnn/reference_stem.py) ----------------- */

/* The sums are chains of fused multiply-adds over rows, columns and channels of the kernel, in this order, as oneDNN
 * computes a convolution of few channels. */
typedef struct {
  const float *mean, *slope, *shift;        /* [channels]: data are ((x - mean) * slope) + shift; all NULL: x */
  const float *bias;                        /* [num_filter]; NULL: none */
  int bias_first;                           /* 1: sums begin with bias, 0: it is added at last */
  int relu;
  size_t pool_h, pool_w;                    /* window of the max-pooling; 0: none */
  size_t pool_stride_h, pool_stride_w, pool_pad_h, pool_pad_w;  /* pad < window; the padding does not take part */
} qnn_stem;

size_t qnn_stem_out_height(const qnn_conv2d_shape *shape, const qnn_stem *stem);  /* 0 for a bad shape */
size_t qnn_stem_out_width(const qnn_conv2d_shape *shape, const qnn_stem *stem);

/* x: [batch][channels][height][width], padded by 0 (behind mean, slope and shift); weight: [kernel_h][kernel_w][channels]
 * [num_filter], num_filter a multiple of 16, num_group and dilate 1; y: [batch][out_height][out_width][num_filter]. */
qnn_status qnn_stem_convolution(const float *x, const float *weight, const qnn_conv2d_shape *shape, const qnn_stem *stem,
                                float *y);

/* ---- networks of look-up tables, evaluated bit-sliced: 64 samples of a signal in a word --------------------------------- */

/* Signals: 0 .. num_inputs-1 are the bits of a sample, num_inputs + k is node k.
 * Node: y = bit sum_j x_j << j of its table, x_j the signal connections[k][j], j < arities[k].
 * Head: score s = number of ones among the signals outputs[starts[s]] .. outputs[starts[s+1] - 1], summed over frames. */
typedef struct {
  size_t num_inputs, num_nodes, num_outputs, num_scores;
  size_t num_frames;            /* evaluations of one sample, on bits of their own */
  const uint8_t *arities;       /* [num_nodes], 0..6 */
  const int32_t *connections;   /* [num_nodes][6] earlier signals; ignored behind the arity */
  const uint64_t *tables;       /* [num_nodes] */
  const int32_t *outputs;       /* [num_outputs] signals, those of one score behind each other */
  const int32_t *starts;        /* [num_scores + 1], from 0 to num_outputs, rising */
} qnn_lut_network;

/* Samples: one of bits, bytes and floats. Bit i of frame f is x[features[i]] >= levels[f][i] for bytes, and
 * x[features[i]] > thresholds[f][i] for floats (NaN gives 0). */
typedef struct {
  const uint64_t *bits;         /* [samples][num_frames][ceil(num_inputs/64)] */
  const uint8_t *bytes;         /* [samples][num_features] */
  const float *floats;          /* [samples][num_features] */
  size_t num_features;
  const int32_t *features;      /* [num_inputs], 0 .. num_features-1 */
  const uint16_t *levels;       /* [num_frames][num_inputs], 0 (always) .. 256 (never) */
  const float *thresholds;      /* [num_frames][num_inputs] */
} qnn_lut_samples;

/* QNN_OK if all indices are in range and every node reads earlier signals only; qnn_lut_run relies on it. input may be
 * NULL. */
qnn_status qnn_lut_check(const qnn_lut_network *network, const qnn_lut_samples *input);

/* scores: [samples][num_scores]; classes: [samples], the first largest score. One of them may be NULL. */
qnn_status qnn_lut_run(const qnn_lut_network *network, const qnn_lut_samples *input, size_t samples, int32_t *scores,
                       int32_t *classes);

/* ---- benchmarks: what measurements are compared with ------------------------------------------------------------------ */

/* xor + popcount + add between registers, in the instruction set in use, one thread. Returns the words counted. */
size_t qnn_popcount_loop(size_t iterations);

/* Popcount of words in memory, each read once, one thread. x: num_words words, a multiple of 64. */
qnn_status qnn_popcount_stream(const uint64_t *x, size_t num_words);

/* c = a * b by three plain loops, one thread. a: [m][k], b: [k][n], c: [m][n] floats. */
qnn_status qnn_naive_sgemm(const float *a, const float *b, size_t m, size_t n, size_t k, float *c);

/* cdef end */

#ifdef __cplusplus
}
#endif
#endif
