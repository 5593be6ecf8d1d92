/* lut_train.h: what the drivers and kernels of table layers share (lut_train.c, lut_train_frames.c, lut_train_node.c).
 *
 * Frames go through in blocks, which fit a core's cache; in a block, data are node-major: one row of QNN_LUT_BLOCK values
 * per node, so that frames are the lanes. Rows are padded to whole lanes; what the padding holds is never read back. */
#ifndef QNN_LUT_TRAIN_H
#define QNN_LUT_TRAIN_H

#include "internal.h"

enum {
  QNN_LUT_MAX_N = 6,
  QNN_LUT_ENTRIES = 1 << QNN_LUT_MAX_N,
  QNN_LUT_BLOCK = 256,        /* frames of a block */
  QNN_LUT_LANES = 16,
  QNN_LUT_STRIP = 64          /* nodes that change layout together */
};

/* dy1 = (0 < y2 < 1 or !is_masked ? dy : 0) * scale + ((y1 - mean) * slope + offset): BatchNorm's gradient, 1 dy without. */
typedef struct {
  float mean, rstd, gamma, beta;
  float scale, slope, offset;
  int is_masked;
} qnn_lut_norm;

/* ---- kernels: `count` is a multiple of QNN_LUT_LANES, at most QNN_LUT_BLOCK ----------------------------------------- */

/* index[f] = sum_k rows[k][f] << k of all QNN_LUT_BLOCK frames, rows of bytes 0 and 1. */
typedef void qnn_lut_index_ukernel(const uint8_t *const *rows, size_t n, uint8_t *index);

/* y[f] = table[index[f]], of 2^n entries. */
typedef void qnn_lut_lookup_ukernel(const float *table, size_t n, const uint8_t *index, size_t count, float *y);

/* dx[k][f] += dy1[f] * slope_k(f), slope_k = (table[index | 1<<k] - table[index & ~(1<<k)]) * step: the multilinear form
 * has one slope between two corners. dx rows may be equal. */
typedef void qnn_lut_input_grad_ukernel(const float *table, size_t n, const uint8_t *index, const qnn_lut_norm *norm,
                                        float step, const float *dy, size_t count, float *const *dx);

/* y1[f] of real inputs rows[k][f] in 0..1: a tree of lerps. */
typedef void qnn_lut_tree_ukernel(const float *table, size_t n, const float *const *rows, size_t count, float *y);

/* The tree backwards: dtable[i] += sum_f dy1[f] prod(...); dx[k][f] += dy1[f] dy1/dx_k. dx: NULL if nobody wants it.
 * Any `count`: frames behind it, up to whole lanes, are read and add nothing. */
typedef void qnn_lut_tree_grad_ukernel(const float *table, size_t n, const float *const *rows, const qnn_lut_norm *norm,
                                       const float *dy, size_t count, float *dtable, float *const *dx);

typedef struct {
  const char *name;
  qnn_lut_index_ukernel *index;
  qnn_lut_lookup_ukernel *lookup;
  qnn_lut_input_grad_ukernel *input_grad;
  qnn_lut_tree_ukernel *tree;
  qnn_lut_tree_grad_ukernel *tree_grad;
} qnn_lut_isa;

const qnn_lut_isa *qnn_lut_isa_active(void);

/* y2 of y1, in reference_lut.normalize's order. */
static inline float qnn_lut_normalize(float y1, const qnn_lut_norm *norm) {
  return ((y1 - norm->mean) * norm->rstd) * norm->gamma + norm->beta;
}

static inline float qnn_lut_clip(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }

/* ---- one node's table (lut_train_node.c) ---------------------------------------------------------------------------- */

/* The entries that forward sees, [2^n]. */
void qnn_lut_used_table(const float *weight, const qnn_lut_layer *layer, float *table);

/* In place: entries -> y1 at all corners, where a bit is `low` or `high`. Order and operations of the tree of lerps. */
void qnn_lut_corners(float *table, size_t n, float low, float high);

/* In place: gradient of y1 at all corners -> gradient of the entries. */
void qnn_lut_corners_grad(double *grad, size_t n, float low, float high);

/* The levels of a bit: 0.25, 0.75 or 0, 1. */
void qnn_lut_levels(const qnn_lut_layer *layer, float *low, float *high);

/* Neutral without batch_norm: y2 = y1 exactly. */
qnn_lut_norm qnn_lut_norm_of(const qnn_lut_layer *layer, const float *stats, size_t node);

/* y of y1: binarized or clipped. */
float qnn_lut_output(float y1, const qnn_lut_layer *layer, const qnn_lut_norm *norm);

/* ---- frames in and out of blocks (lut_train_frames.c) --------------------------------------------------------------- */

/* [outer][nodes][inner] floats, of which frames first .. first+count go through a block. windows: NULL, or the layer whose
 * images these floats are, read as windows; pixels: where in an image the inputs of its first window lie. */
typedef struct {
  size_t nodes, inner, first, count;
  const qnn_lut_layer *windows;
  const size_t *pixels;
} qnn_lut_frames;

/* Rows node .. node+num_nodes of a block, num_nodes <= QNN_LUT_STRIP; lanes behind `count` become 0. */
void qnn_lut_load(const float *x, const qnn_lut_frames *frames, size_t node, size_t num_nodes, float *rows);
void qnn_lut_store(const float *rows, const qnn_lut_frames *frames, size_t node, size_t num_nodes, float *x);

/* Adds rows to the pixels that they are of. */
void qnn_lut_add_windows(const float *rows, const qnn_lut_frames *frames, size_t node, size_t num_nodes, float *x);

/* All rows of a block: as bits x > 0.5, or clipped to 0..1. */
void qnn_lut_load_bits(const float *x, const qnn_lut_frames *frames, uint8_t *rows);
void qnn_lut_load_clipped(const float *x, const qnn_lut_frames *frames, float *rows);

/* ---- passes over the frames (lut_train.c) ---------------------------------------------------------------------------- */

typedef struct {
  const float *x, *weight, *dy;
  const qnn_lut_layer *layer;
  const qnn_lut_isa *isa;
  size_t frames, entries;
  int num_threads;
  bool is_real;
  uint32_t *wiring;           /* [num_nodes][n] */
  size_t *pixels;             /* [in_nodes], of windows */
  float *tables;              /* [num_nodes][entries]: y1 at the corners, or the entries for real inputs */
  qnn_lut_norm *norms;        /* [num_nodes] */
} qnn_lut_pass;

/* A thread's memory: the inputs of a block, its share of a pass's sums, the gradient of the inputs. */
typedef struct {
  uint8_t *bits;              /* [in_nodes][block], or */
  float *reals;               /* [in_nodes][block] */
  double *sums;               /* [num_nodes][width] */
  float *dx;                  /* [in_nodes][block] */
  float strip[QNN_LUT_STRIP * QNN_LUT_BLOCK];
} qnn_lut_share;

typedef void qnn_lut_block_task(const qnn_lut_pass *p, qnn_lut_share *s, const qnn_lut_frames *frames, float *out);

/* Checks the layer, copies the wiring, makes the tables. QNN_OK, or nothing is left to finish. */
qnn_status qnn_lut_start(qnn_lut_pass *p, const float *x, const float *connections, const float *weight,
                         const qnn_lut_layer *layer);
void qnn_lut_finish(qnn_lut_pass *p);
void qnn_lut_set_norms(qnn_lut_pass *p, const float *stats);

/* Memory of all threads, with sums of `width` numbers a node, all 0; NULL without memory. */
qnn_lut_share *qnn_lut_new_shares(const qnn_lut_pass *p, size_t width, bool has_dx);
/* Adds all sums up, in the order of the threads, into memory of the caller's, and frees the rest. */
double *qnn_lut_end_shares(const qnn_lut_pass *p, qnn_lut_share *shares, size_t width);
qnn_lut_frames qnn_lut_inputs_of(const qnn_lut_pass *p, const qnn_lut_frames *frames);
/* Nodes that go through a strip together: whole groups. */
static inline size_t qnn_lut_strip_of(const qnn_lut_layer *layer) {
  return layer->group > 1 ? QNN_LUT_STRIP / layer->group * layer->group : QNN_LUT_STRIP;
}
/* Gradients of nodes first .. first+count, or of their groups, into the strip; that of node first+i is in row i / group. */
void qnn_lut_load_grads(const qnn_lut_pass *p, qnn_lut_share *s, const qnn_lut_frames *frames, size_t first, size_t count);
static inline const float *qnn_lut_grad_row(const qnn_lut_pass *p, const qnn_lut_share *s, size_t i) {
  return s->strip + (p->layer->group > 1 ? i / p->layer->group : i) * QNN_LUT_BLOCK;
}

/* Runs `task` on all blocks, their inputs loaded, each thread on a range of its own: of images, where windows overlap. */
void qnn_lut_for_blocks(const qnn_lut_pass *p, qnn_lut_share *shares, qnn_lut_block_task *task, float *out);

/* Of one node in the block that is loaded: indices of bits, y1 of real inputs. */
void qnn_lut_index_of(const qnn_lut_pass *p, const qnn_lut_share *s, size_t node, uint8_t *index);
void qnn_lut_y1_of(const qnn_lut_pass *p, const qnn_lut_share *s, size_t node, size_t count, float *y1);

static inline size_t qnn_lut_whole_lanes(size_t count) { return (count + QNN_LUT_LANES - 1) / QNN_LUT_LANES * QNN_LUT_LANES; }

#endif
