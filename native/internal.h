/* internal.h: what drivers, dispatch and kernels of the library share. Not installed, not part of the API. */
#ifndef QNN_INTERNAL_H
#define QNN_INTERNAL_H

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "qnn_train.h"

enum {
  QNN_WORD_BITS = 64,
  QNN_PANEL_FILTERS = 16,
  QNN_MAX_MR = 8,             /* most pixels of one micro-kernel call */
  QNN_MAX_NR = 32,            /* most filters: two panels */
  QNN_MAX_PLANES = 8,         /* bits of a code */
  QNN_MAX_OUT_PLANES = 4,     /* bits of a code that a layer writes ... */
  QNN_MAX_STEPS = (1 << QNN_MAX_OUT_PLANES) - 1,  /* ... by this many thresholds */
  QNN_MAX_K = 1 << 24         /* float32 counts exactly up to here */
};

/* ---- micro-kernels: one pointer each per instruction set; no allocation, no threads ------------------------------ */

/* A plane of the data against a plane of the weights: words from a pixel, and from a panel, to their places in these
 * planes. Sums are doubled before the pairs that say so: pairs are ordered by falling coefficients, 2^(i+j). */
typedef struct {
  size_t pixel, panel;
  bool doubles;
} qnn_pair;

/* What the micro-kernels walk over. */
typedef struct {
  const size_t *segments;
  size_t num_segments, segment_words;
  const qnn_pair *pairs;      /* 1-bit data and weights: {0, 0, false} alone */
  size_t num_pairs;
} qnn_walk;

/* Counts differing bits of `num_pixels` <= mr pixels and `num_filter` <= nr filters:
 *
 *   counts[j * ld + f] = sum of pairs (i, j): 2^(i+j) times the sum of segments s, words k:
 *     xgemm:  popcount(pixels[j][pixel_i + segments[s] + k] ^ w[f][panel_j + s*segment_words + k])
 *     tgemm:  popcount((pixels[j][pixel_i + segments[s] + k] ^ w[f][s*segment_words + k])
 *                      & w[f][panel_j + s*segment_words + k])
 *
 * tgemm is for weights of a sign plane, behind which the planes of their magnitudes lie. Sums stay in registers from
 * the first pair to the last.
 * Lanes are filters: a register holds one word of several filters of a panel, and each pixel word is broadcast. A
 * filter row w[f] is num_segments * segment_words words; the words of a pixel lie in segments, at offsets common to all
 * pixels, so that convolution needs no im2col. `num_filter` is at most 16 (one panel, short or full) or exactly nr
 * (full panels, one behind the other). Counts behind the last filter of a panel may be overwritten: ld is a multiple
 * of 16. */
typedef void qnn_xgemm_ukernel(size_t num_pixels, const uint64_t *const *pixels, size_t num_filter,
                               const uint64_t *panels, const qnn_walk *walk, int32_t *counts, size_t ld);

/* Signs of `n` contiguous floats -> ceil(n/64) words, first float in bit 0, bits behind the last one 0. */
typedef void qnn_pack_ukernel(const float *x, size_t n, uint64_t *words);

/* Codes of `n` contiguous floats: u = number of t < 2^num_planes - 1 with qnn_rank(x, turn) >= limit[t * stride]; bit i
 * of u -> ceil(n/64) words of plane i, at words + i * plane_words, as qnn_pack_ukernel. limit rises with t. turn and
 * limit repeat after `period` floats: n, a multiple of 64, or 1 where all floats share them. */
typedef struct {
  const int32_t *turn;        /* 0, or -1 where codes fall */
  const uint32_t *limit;
  size_t stride;              /* from one limit of a channel to its next */
} qnn_steps;
typedef void qnn_encode_ukernel(const float *x, size_t n, size_t num_planes, const qnn_steps *steps, size_t period,
                                uint64_t *words, size_t plane_words);

/* How counts become the output: y = (((base[f] + step * count) - mean) * scale + bias) + residual.
 * step is a power of two and base + step * count the exact accumulator (one rounding where it is a half above 2^23), so
 * that fusing this first sum changes nothing; all that follows rounds one by one.
 * Neutral elements are mean 0, scale 1 and bias -0.0f (0.0f would turn -0.0 into 0.0). */
typedef struct {
  float step, base[QNN_MAX_NR];
  float mean[QNN_MAX_NR], scale[QNN_MAX_NR], bias[QNN_MAX_NR];
} qnn_finish;

/* y[j * pixel_stride + f * filter_stride]; one of the strides is 1. residual: as y, or NULL. */
typedef void qnn_finish_ukernel(const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter,
                                const qnn_finish *finish, const float *residual, float *y, size_t pixel_stride,
                                size_t filter_stride);

/* How counts become bits: (count <= limit) xor flip, and 0 behind the filters that exist. */
typedef struct {
  int32_t limit[QNN_MAX_NR];
  uint32_t flip, valid;
} qnn_limits;

/* Bits of each pixel as one store at out + j * stride bytes: 16 bits where num_filter <= 16, else 32. */
typedef void qnn_threshold_ukernel(const int32_t *counts, size_t ld, size_t num_pixels, size_t num_filter,
                                   const qnn_limits *limits, unsigned char *out, size_t stride);

/* Look-up tables on slices: a slice is one signal of 64 * lanes samples, sample i in bit i%64 of word i/64. Slices of
 * consecutive signals follow each other, aligned to their size. */
typedef struct {
  size_t lanes;
  /* Rows of `num_words` words, `stride` words apart -> slices of 64 * num_words signals; rows behind num_samples are 0. */
  void (*transpose)(const uint64_t *rows, size_t stride, size_t num_words, size_t num_samples, uint64_t *slices);
  /* Bits of 64 samples: word 0 of slice i = samples with columns[features[i]][sample] >= levels[i]. */
  void (*compare)(const uint8_t *columns, size_t num_bits, const int32_t *features, const uint16_t *levels,
                  uint64_t *slices);
  /* All nodes, in order; slices of the inputs are there. */
  void (*evaluate)(const qnn_lut_network *network, uint64_t *slices);
  /* Ones among `n` < 2^31 signals, as binary numbers: slices of the digits, lowest first. Returns their number, at most
   * 32. */
  size_t (*count)(const uint64_t *slices, const int32_t *signals, size_t n, uint64_t *digits);
} qnn_lut_kernels;

/* A float layer's sums begin at `start` and end with `end` added, [num_filter] each; the neutral end is -0.0f. */
typedef struct {
  const float *start, *end;
  bool relu;
} qnn_stem_ends;

/* Tap t of pixel j of a row reads x[offsets[t] + j * step] and weight[t * num_filter + f]; num_filter is a multiple of
 * 16. */
typedef struct {
  const size_t *offsets;
  size_t count, step, num_filter;
  const float *weight;
} qnn_stem_taps;

typedef struct {
  /* A row: y[j * num_filter + f] = the chain of fused multiply-adds over t, in order. */
  void (*convolve)(size_t num_pixels, const float *x, const qnn_stem_taps *taps, const qnn_stem_ends *ends, float *y);
  /* y[j * count + i] = largest of x[j * stride + k * step + i], k < size; i < count, a multiple of 16. */
  void (*pool)(const float *x, size_t stride, size_t step, size_t size, size_t num_windows, size_t count, float *y);
} qnn_stem_kernels;

typedef struct qnn_tables qnn_tables;  /* tables.h */
typedef struct qnn_tiles qnn_tiles;  /* tiles.h */
typedef struct qnn_bf16_tiles qnn_bf16_tiles;  /* bf16_tiles.h */

typedef struct {
  const char *name;
  bool (*is_usable)(void);    /* NULL: not built */
  size_t mr, tmr, nr;         /* pixels of an xgemm and of a tgemm, filters */
  qnn_xgemm_ukernel *xgemm, *tgemm;
  qnn_pack_ukernel *pack;
  qnn_encode_ukernel *encode;
  qnn_finish_ukernel *finish;
  qnn_threshold_ukernel *threshold;
  const qnn_lut_kernels *lut;
  const qnn_stem_kernels *stem;
  const qnn_tables *tables;   /* NULL: none */
  const qnn_tiles *tiles;     /* NULL: none */
  const qnn_bf16_tiles *bf16; /* NULL: none */
} qnn_isa;

const qnn_isa *qnn_isa_active(void);

/* ---- threads ----------------------------------------------------------------------------------------------------- */

/* Memory of the calling thread, aligned to 64 bytes, until its next call; NULL if there is none. */
void *qnn_scratch(size_t bytes);

/* Threads for `work` units when a thread is worth `grain` of them at least; 1..qnn_threads(). */
int qnn_threads_for(size_t work, size_t grain);

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static inline size_t qnn_min(size_t a, size_t b) { return a < b ? a : b; }

static inline size_t qnn_ceil_div(size_t a, size_t b) { return a / b + (a % b != 0); }

static inline size_t qnn_words_for(size_t bits) { return qnn_ceil_div(bits, QNN_WORD_BITS); }

/* a * b into *product; false if it does not fit. */
static inline bool qnn_multiply(size_t a, size_t b, size_t *product) { return !__builtin_mul_overflow(a, b, product); }

/* Elements of a tensor of floats: not none, and sums and products of a few such sizes fit. */
static inline bool qnn_is_count(size_t n) { return n && n <= SIZE_MAX / 8; }

/* Bytes of a*b*c*d elements fit in half the address space. */
static inline bool qnn_fits(size_t a, size_t b, size_t c, size_t d, size_t element_bytes) {
  size_t n = 0;
  return qnn_multiply(a, b, &n) && qnn_multiply(n, c, &n) && qnn_multiply(n, d, &n) &&
         qnn_multiply(n, element_bytes, &n) && n <= SIZE_MAX / 2;
}

/* True if x < 0. On the bit pattern, as integers, because -0.0 and negative NaN are not below 0, and because a process
 * that flushes denormals to zero (DAZ) must get the same bits: negative numbers are INT32_MIN+1 .. bits of -inf. */
static inline bool qnn_is_negative(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (int32_t)(bits - 1u) < (int32_t)0xFF800000u;
}

/* Floats in their order as integers: -0.0 gives -1, 0.0 gives 0, and NaN lies outside of the keys of -inf .. inf.
 * Comparisons become intervals of keys, which NaN never enters, and denormals count where the process flushes them. */
static inline int32_t qnn_float_key(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (int32_t)(bits >> 31 ? bits ^ 0x7FFFFFFFu : bits);
}

/* Keys of -inf .. inf from 0 on, in their order (turn 0) or in the opposite one (turn -1); NaN lies above all. */
static inline uint32_t qnn_rank(float x, int32_t turn) {
  const uint32_t lowest = 0x807FFFFFu;  /* the key of -inf; and the complement of that of inf */
  return ((uint32_t)qnn_float_key(x) ^ (uint32_t)turn) - lowest;
}

/* ---- sums -------------------------------------------------------------------------------------------------------- */

/* One group of qnn_mean_of_groups: n rows of `inner` numbers become one, which may lie on the first row or before it. */
void qnn_mean_of_group(const float *x, size_t inner, size_t n, bool is_majority, bool binarize_input, float *y);

/* dx of a chunk of elements, and its share of the gradient of `number`, which all elements share. */
typedef double qnn_chunk_grad(const float *x, const float *dy, size_t count, float number, float *dx);

/* Runs it on x[n], chunk by chunk: the sum does not depend on the number of threads. */
qnn_status qnn_sum_chunk_grads(qnn_chunk_grad *chunk_grad, const float *x, const float *dy, size_t n, float number,
                               float *dx, double *sum);

/* ---- borders of packed images ------------------------------------------------------------------------------------ */

/* Images of pixels with `pixel_words` words: num_group times the words of `channels` channels. */
typedef struct {
  size_t height, width, pad_h, pad_w;     /* size of the inner part, and of the border around it */
  size_t pixel_words, channels, planes;
  int pad_value, code;
} qnn_border;

/* Fills the border pixels of padded row `row` of all planes of all images. */
void qnn_fill_border(const qnn_border *border, size_t row, uint64_t *image);

/* ---- the layer that xgemm and conv2d share ----------------------------------------------------------------------- */

typedef struct {
  const uint64_t *image, *panels;
  size_t num_planes, weight_planes;                     /* of the data, of the weights (without their signs) */
  size_t plane_words, panel_words;                      /* from one plane to the next: of the data, of the weights */
  size_t batch, out_height, out_width;                  /* output pixels; the xgemm has one row of them */
  size_t image_words, row_words, pixel_words;           /* from one output pixel to the next image, row, column */
  size_t num_filter, num_group;                         /* filters over all groups */
  size_t group_words;                                   /* from one group to the next inside a pixel */
  qnn_walk walk;
  size_t k;                                             /* fan-in: number of products of one output */

  /* accum = offset[f] - step * count; (K + dot) / 2 = K - count where `is_half` */
  const int32_t *offset;                                /* [num_filter]; NULL: range for all */
  int32_t range;                                        /* k times the largest code times the largest weight */
  int step;                                             /* 2 for bipolar codes, 1 for unsigned and signed ones */
  bool is_half;
  bool is_masked;                                       /* tgemm, not xgemm */

  /* floats out, where bits is NULL */
  const qnn_output *output;
  bool is_nhwc;
  float *y;

  /* bits out: pixel (image, plane, row, column) at bits + the sum of the bits_*_words times these */
  uint64_t *bits;
  size_t bits_image_words, bits_plane_words, bits_row_words, bits_pixel_words, bits_planes;
  const int32_t *threshold;                             /* [2^bits_planes - 1][num_filter] */
  const uint64_t *flip;

  /* bipolar codes with pad_value 0 only, else tap_sums is NULL: what an outside tap, which holds the lowest code, takes
   * from the accumulator, [tap][filter]; half of it where counts are differences. */
  const int32_t *tap_sums;
  bool counts_are_dots;       /* counts become -accum: an odd number that a tap takes is no whole difference */
  const qnn_conv2d_shape *shape;
} qnn_layer;

/* Bits start .. start+count of a packed row, count <= 32. */
static inline uint32_t qnn_bits_at(const uint64_t *row, size_t start, size_t count) {
  assert(count >= 1 && count <= 32);
  const size_t word = start / QNN_WORD_BITS, shift = start % QNN_WORD_BITS;
  uint64_t bits = row[word] >> shift;
  if (shift + count > QNN_WORD_BITS) bits |= row[word + 1] << (QNN_WORD_BITS - shift);
  return (uint32_t)(bits & (((uint64_t)1 << count) - 1));
}

void qnn_run_layer(const qnn_layer *layer);

/* The same by tiles of bytes (layer_tiles.c); false if that is not possible, or not faster. */
bool qnn_run_tiles(const qnn_layer *layer);

bool qnn_tiles_are_forced(void);            /* qnn_force_tiles */

/* Counts to the output (layer_output.c): what all filters share, what a panel or two need, and pixels
 * first .. first+num_pixels <= 64 of these. */
typedef struct {
  qnn_finish finish;
  qnn_limits limits[QNN_MAX_STEPS];
} qnn_epilogue;

bool qnn_output_is_valid(const qnn_output *output, size_t num_filter);
void qnn_start_epilogue(const qnn_layer *layer, qnn_epilogue *epilogue);
void qnn_select_epilogue(const qnn_layer *layer, size_t filter, size_t num_filter, qnn_epilogue *epilogue);
void qnn_write_counts(const qnn_layer *layer, const qnn_isa *isa, size_t first, size_t num_pixels, size_t filter,
                      size_t num_filter, int32_t *counts, size_t ld, const qnn_epilogue *epilogue);

/* Bits out (layer_bits.c): whether one task must run all groups of a pixel; limits of a panel or two, 2^bits_planes - 1
 * of them; the epilogue. */
bool qnn_bits_are_merged(const qnn_layer *layer);
void qnn_select_limits(const qnn_layer *layer, size_t filter, size_t num_filter, qnn_limits *limits);
void qnn_write_bits(const qnn_layer *layer, const qnn_isa *isa, size_t first, size_t num_pixels, size_t filter,
                    size_t num_filter, const int32_t *counts, size_t ld, const qnn_limits *limits);

/* Corrects the counts of pixels first .. first+num_pixels of a zero-padded layer (filters from `filter`). */
void qnn_exclude_padding(const qnn_layer *layer, size_t first, size_t num_pixels, size_t filter, size_t num_filter,
                         int32_t *counts, size_t ld);

#endif
