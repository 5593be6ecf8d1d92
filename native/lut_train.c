/* lut_train.c: forward and backward of table layers: the passes over the frames, shared out among threads by blocks.
 *
 * With bits as inputs, a node has 2^n outputs: T[i] = y1 at corner i. Forward is then y(T[index]); the statistics come from
 * the counts of the indices, exactly, whatever the number of threads. Backward needs the counts and the sums of dy per
 * index (pass one) for BatchNorm's gradient and for dW, which is the corners' gradient carried back to the entries; pass
 * two gives dx. Real inputs go through the tree of lerps instead. */
#include <math.h>
#include <stdlib.h>

#include "lut_train.h"

enum { block_grain = 1 << 14 };  /* node-frames that are worth a thread */

typedef struct {
  const float *x, *weight, *dy;
  const qnn_lut_layer *layer;
  const qnn_lut_isa *isa;
  size_t frames, blocks, entries;
  int num_threads;
  bool is_real;
  uint32_t *wiring;           /* [num_nodes][n] */
  float *tables;              /* [num_nodes][entries]: y1 at the corners, or the entries for real inputs */
  qnn_lut_norm *norms;        /* [num_nodes] */
} pass;

/* ---- set-up ------------------------------------------------------------------------------------------------------------ */

static qnn_status check(const qnn_lut_layer *layer, const float *connections) {
  if (layer->input < QNN_LUT_REAL || layer->input > QNN_LUT_HARD) return QNN_BAD_ARGUMENT;
  if (layer->n < 2 || layer->n > QNN_LUT_MAX_N || !layer->num_nodes || !layer->in_nodes) return QNN_BAD_SHAPE;
  size_t frames;
  if (!qnn_multiply(layer->outer, layer->inner, &frames) || !frames || frames > QNN_MAX_K) return QNN_BAD_SHAPE;
  if (!qnn_fits(frames, qnn_min(layer->in_nodes, QNN_MAX_K), 1, 1, 16) || layer->in_nodes > QNN_MAX_K ||
      layer->num_nodes > QNN_MAX_K)
    return QNN_BAD_SHAPE;
  for (size_t i = 0; i < layer->num_nodes * layer->n; ++i)
    if (!(connections[i] >= 0.0f && connections[i] < (float)layer->in_nodes && connections[i] == floorf(connections[i])))
      return QNN_BAD_ARGUMENT;
  return QNN_OK;
}

static void finish(pass *p) {
  free(p->wiring);
  free(p->tables);
  free(p->norms);
}

static qnn_status start(pass *p, const float *x, const float *connections, const float *weight, const qnn_lut_layer *layer) {
  const qnn_status status = check(layer, connections);
  if (status != QNN_OK) return status;
  const size_t nodes = layer->num_nodes;
  *p = (pass){.x = x, .weight = weight, .layer = layer, .isa = qnn_lut_isa_active(),
              .frames = layer->outer * layer->inner, .entries = (size_t)1 << layer->n,
              .is_real = layer->input == QNN_LUT_REAL};
  p->blocks = (p->frames + QNN_LUT_BLOCK - 1) / QNN_LUT_BLOCK;
  p->num_threads = qnn_threads_for(nodes * p->frames, block_grain);
  if ((size_t)p->num_threads > p->blocks) p->num_threads = (int)p->blocks;
  p->wiring = malloc(nodes * layer->n * sizeof *p->wiring);
  p->tables = malloc(nodes * p->entries * sizeof *p->tables);
  p->norms = malloc(nodes * sizeof *p->norms);
  if (!p->wiring || !p->tables || !p->norms) return finish(p), QNN_NO_MEMORY;
  for (size_t i = 0; i < nodes * layer->n; ++i) p->wiring[i] = (uint32_t)connections[i];
  float low, high;
  qnn_lut_levels(layer, &low, &high);
  for (size_t node = 0; node < nodes; ++node) {
    float *table = p->tables + node * p->entries;
    qnn_lut_used_table(weight + node * p->entries, layer, table);
    if (!p->is_real) qnn_lut_corners(table, layer->n, low, high);
  }
  return QNN_OK;
}

static void set_norms(pass *p, const float *stats) {
  for (size_t node = 0; node < p->layer->num_nodes; ++node) p->norms[node] = qnn_lut_norm_of(p->layer, stats, node);
}

/* ---- one block ----------------------------------------------------------------------------------------------------------- */

/* A thread's memory: the inputs of a block, its share of a pass's sums, the gradient of the inputs. */
typedef struct {
  uint8_t *bits;              /* [in_nodes][block], or */
  float *reals;               /* [in_nodes][block] */
  double *sums;               /* [num_nodes][width] */
  float *dx;                  /* [in_nodes][block] */
  float strip[QNN_LUT_STRIP * QNN_LUT_BLOCK];
} share;

static share *new_shares(const pass *p, size_t width, bool has_dx) {
  share *shares = calloc((size_t)p->num_threads, sizeof *shares);
  bool is_whole = shares != NULL;
  const size_t inputs = p->layer->in_nodes * QNN_LUT_BLOCK;
  for (int t = 0; is_whole && t < p->num_threads; ++t) {
    share *s = &shares[t];
    if (p->is_real) s->reals = malloc(inputs * sizeof *s->reals);
    else s->bits = malloc(inputs);
    if (width) s->sums = calloc(p->layer->num_nodes * width, sizeof *s->sums);
    if (has_dx) s->dx = malloc(inputs * sizeof *s->dx);
    is_whole = (s->reals || s->bits) && (s->sums || !width) && (s->dx || !has_dx);
  }
  if (is_whole) return shares;
  for (int t = 0; shares && t < p->num_threads; ++t)
    free(shares[t].reals), free(shares[t].bits), free(shares[t].sums), free(shares[t].dx);
  free(shares);
  return NULL;
}

/* Adds all sums up in the first share, in the order of the threads, and frees the rest of the memory. */
static double *end_shares(const pass *p, share *shares, size_t width) {
  double *sums = shares[0].sums;
  for (int t = 0; t < p->num_threads; ++t) {
    for (size_t i = 0; t && i < p->layer->num_nodes * width; ++i) sums[i] += shares[t].sums[i];
    free(shares[t].reals), free(shares[t].bits), free(shares[t].dx);
    if (t) free(shares[t].sums);
  }
  free(shares);
  return sums;
}

static qnn_lut_frames frames_of(const pass *p, size_t nodes, size_t block) {
  const size_t first = block * QNN_LUT_BLOCK;
  return (qnn_lut_frames){nodes, p->layer->inner, first, qnn_min(QNN_LUT_BLOCK, p->frames - first)};
}

static size_t whole_lanes(size_t count) { return (count + QNN_LUT_LANES - 1) / QNN_LUT_LANES * QNN_LUT_LANES; }

static void load_inputs(const pass *p, share *s, size_t block) {
  const qnn_lut_frames frames = frames_of(p, p->layer->in_nodes, block);
  if (p->is_real) qnn_lut_load_clipped(p->x, &frames, s->reals);
  else qnn_lut_load_bits(p->x, &frames, s->bits);
}

static void index_of(const pass *p, const share *s, size_t node, uint8_t *index) {
  const uint8_t *rows[QNN_LUT_MAX_N];
  for (size_t k = 0; k < p->layer->n; ++k) rows[k] = s->bits + p->wiring[node * p->layer->n + k] * (size_t)QNN_LUT_BLOCK;
  p->isa->index(rows, p->layer->n, index);
}

static void y1_of(const pass *p, const share *s, size_t node, size_t count, float *y1) {
  const float *rows[QNN_LUT_MAX_N];
  for (size_t k = 0; k < p->layer->n; ++k) rows[k] = s->reals + p->wiring[node * p->layer->n + k] * (size_t)QNN_LUT_BLOCK;
  p->isa->tree(p->tables + node * p->entries, p->layer->n, rows, whole_lanes(count), y1);
}

typedef void block_task(const pass *p, share *s, const qnn_lut_frames *frames, float *out);

/* Runs `task` on all blocks, each thread on a range of its own. */
static void for_blocks(const pass *p, share *shares, block_task *task, float *out) {
#pragma omp parallel for schedule(static) num_threads(p->num_threads)
  for (int t = 0; t < p->num_threads; ++t) {
    const size_t begin = p->blocks * (size_t)t / (size_t)p->num_threads;
    const size_t end = p->blocks * (size_t)(t + 1) / (size_t)p->num_threads;
    for (size_t block = begin; block < end; ++block) {
      const qnn_lut_frames frames = frames_of(p, p->layer->num_nodes, block);
      load_inputs(p, &shares[t], block);
      task(p, &shares[t], &frames, out);
    }
  }
}

/* ---- forward -------------------------------------------------------------------------------------------------------------- */

static void count_indices(const pass *p, share *s, const qnn_lut_frames *frames, float *unused) {
  (void)unused;
  for (size_t node = 0; node < p->layer->num_nodes; ++node) {
    uint8_t index[QNN_LUT_BLOCK], counts[2][QNN_LUT_ENTRIES] = {{0}};
    index_of(p, s, node, index);
    for (size_t f = 0; f < frames->count; ++f) ++counts[f % 2][index[f]];
    for (size_t i = 0; i < p->entries; ++i) s->sums[node * p->entries + i] += counts[0][i] + counts[1][i];
  }
}

static void add_squares(const pass *p, share *s, const qnn_lut_frames *frames, float *unused) {
  (void)unused;
  for (size_t node = 0; node < p->layer->num_nodes; ++node) {
    float y1[QNN_LUT_BLOCK];
    double sum = 0.0, squares = 0.0;
    y1_of(p, s, node, frames->count, y1);
    for (size_t f = 0; f < frames->count; ++f) sum += y1[f], squares += (double)y1[f] * y1[f];
    s->sums[2 * node] += sum;
    s->sums[2 * node + 1] += squares;
  }
}

/* Statistics of the frames: from counts of indices, or from sums of y1 and its square (in double: y1 is in 0..1). */
static qnn_status batch_stats(const pass *p, float *stats) {
  const size_t width = p->is_real ? 2 : p->entries, nodes = p->layer->num_nodes;
  share *shares = new_shares(p, width, false);
  if (!shares) return QNN_NO_MEMORY;
  for_blocks(p, shares, p->is_real ? add_squares : count_indices, NULL);
  double *sums = end_shares(p, shares, width);
  const double frames = (double)p->frames;
  for (size_t node = 0; node < nodes; ++node) {
    const double *own = sums + node * width;
    const float *table = p->tables + node * p->entries;
    double mean = 0.0, var = 0.0;
    if (p->is_real) {
      mean = own[0] / frames;
      var = own[1] / frames - mean * mean;
    } else {
      for (size_t i = 0; i < p->entries; ++i) mean += own[i] * table[i];
      mean /= frames;
      for (size_t i = 0; i < p->entries; ++i) var += own[i] * (table[i] - mean) * (table[i] - mean);
      var /= frames;
    }
    stats[node] = (float)mean;
    stats[nodes + node] = fmaxf((float)var, 1e-5f);
  }
  free(sums);
  return QNN_OK;
}

static void write_outputs(const pass *p, share *s, const qnn_lut_frames *frames, float *y) {
  for (size_t first = 0; first < p->layer->num_nodes; first += QNN_LUT_STRIP) {
    const size_t count = qnn_min(QNN_LUT_STRIP, p->layer->num_nodes - first);
    for (size_t i = 0; i < count; ++i) {
      const size_t node = first + i;
      float *row = s->strip + i * QNN_LUT_BLOCK;
      if (p->is_real) {
        y1_of(p, s, node, frames->count, row);
        for (size_t f = 0; f < frames->count; ++f) row[f] = qnn_lut_output(row[f], p->layer, &p->norms[node]);
      } else {
        uint8_t index[QNN_LUT_BLOCK];
        index_of(p, s, node, index);
        p->isa->lookup(p->tables + node * p->entries, p->layer->n, index, whole_lanes(frames->count), row);
      }
    }
    qnn_lut_store(s->strip, frames, first, count, y);
  }
}

qnn_status qnn_lut_train_forward(const float *x, const float *connections, const float *weight,
                                 const qnn_lut_layer *layer, int is_training, float *stats, float *y) {
  if (!x || !connections || !weight || !layer || !y || (layer->batch_norm && !stats)) return QNN_BAD_ARGUMENT;
  pass p;
  qnn_status status = start(&p, x, connections, weight, layer);
  if (status != QNN_OK) return status;
  if (layer->batch_norm && is_training) status = batch_stats(&p, stats);
  share *shares = status == QNN_OK ? new_shares(&p, 0, false) : NULL;
  if (!shares) return finish(&p), QNN_NO_MEMORY;
  set_norms(&p, stats);
  for (size_t i = 0; !p.is_real && i < layer->num_nodes * p.entries; ++i)
    p.tables[i] = qnn_lut_output(p.tables[i], layer, &p.norms[i / p.entries]);
  for_blocks(&p, shares, write_outputs, y);
  end_shares(&p, shares, 0);
  finish(&p);
  return QNN_OK;
}

/* ---- backward ------------------------------------------------------------------------------------------------------------- */

/* Per node and index: how often, and the sum of dy. */
static void add_histograms(const pass *p, share *s, const qnn_lut_frames *frames, float *unused) {
  (void)unused;
  for (size_t first = 0; first < p->layer->num_nodes; first += QNN_LUT_STRIP) {
    const size_t count = qnn_min(QNN_LUT_STRIP, p->layer->num_nodes - first);
    qnn_lut_load(p->dy, frames, first, count, s->strip);
    for (size_t i = 0; i < count; ++i) {
      uint8_t index[QNN_LUT_BLOCK];
      float bins[2][QNN_LUT_ENTRIES][2] = {{{0}}};  /* two, as neighbours often have one index */
      const float *dy = s->strip + i * QNN_LUT_BLOCK;
      index_of(p, s, first + i, index);
      for (size_t f = 0; f < frames->count; ++f) bins[f % 2][index[f]][0] += 1.0f, bins[f % 2][index[f]][1] += dy[f];
      double *sums = s->sums + (first + i) * 2 * p->entries;
      for (size_t e = 0; e < p->entries; ++e) {
        sums[2 * e] += bins[0][e][0] + bins[1][e][0];
        sums[2 * e + 1] += bins[0][e][1] + bins[1][e][1];
      }
    }
  }
}

/* dxn = gamma dy where y2 is inside (0, 1); sums of dxn and of dxn (y1 - mean). */
static void add_grads(const pass *p, share *s, const qnn_lut_frames *frames, float *unused) {
  (void)unused;
  for (size_t first = 0; first < p->layer->num_nodes; first += QNN_LUT_STRIP) {
    const size_t count = qnn_min(QNN_LUT_STRIP, p->layer->num_nodes - first);
    qnn_lut_load(p->dy, frames, first, count, s->strip);
    for (size_t i = 0; i < count; ++i) {
      const qnn_lut_norm *norm = &p->norms[first + i];
      const float *dy = s->strip + i * QNN_LUT_BLOCK;
      float y1[QNN_LUT_BLOCK];
      y1_of(p, s, first + i, frames->count, y1);
      double *sums = s->sums + 2 * (first + i);
      for (size_t f = 0; f < frames->count; ++f) {
        const float y2 = qnn_lut_normalize(y1[f], norm);
        const double dxn = y2 > 0.0f && y2 < 1.0f ? (double)norm->gamma * dy[f] : 0.0;
        sums[0] += dxn;
        sums[1] += dxn * ((double)y1[f] - norm->mean);
      }
    }
  }
}

/* The share of the statistics in dy1: offset + (y1 - mean) slope = dmean + y1 dvar / frames. */
static void set_stats_grad(qnn_lut_norm *norm, double sum, double sum_centered, double frames) {
  const double rstd = norm->rstd;
  norm->offset = (float)(-sum * rstd / frames);
  norm->slope = (float)(-sum_centered * rstd * rstd * rstd / frames);
}

/* dW of one node from its histogram; sets the norm for pass two. */
static void table_grad(pass *p, size_t node, const double *sums, bool has_stats_grad, float *dweight) {
  const qnn_lut_layer *layer = p->layer;
  const float *table = p->tables + node * p->entries;
  qnn_lut_norm *norm = &p->norms[node];
  double grad[QNN_LUT_ENTRIES], total = 0.0, centered = 0.0;
  for (size_t i = 0; i < p->entries; ++i) {
    const float y2 = qnn_lut_normalize(table[i], norm);
    grad[i] = !norm->is_masked || (y2 > 0.0f && y2 < 1.0f) ? sums[2 * i + 1] : 0.0;
    total += norm->gamma * grad[i];
    centered += norm->gamma * grad[i] * ((double)table[i] - norm->mean);
  }
  if (has_stats_grad) set_stats_grad(norm, total, centered, (double)p->frames);
  for (size_t i = 0; i < p->entries; ++i)
    grad[i] = grad[i] * norm->scale + sums[2 * i] * (norm->offset + ((double)table[i] - norm->mean) * norm->slope);
  float low, high;
  qnn_lut_levels(layer, &low, &high);
  qnn_lut_corners_grad(grad, layer->n, low, high);
  for (size_t i = 0; i < p->entries; ++i) dweight[node * p->entries + i] = (float)grad[i];
}

static void write_input_grads(const pass *p, share *s, const qnn_lut_frames *frames, float *dx) {
  const size_t n = p->layer->n, in_nodes = p->layer->in_nodes;
  float low, high;
  qnn_lut_levels(p->layer, &low, &high);
  if (dx) memset(s->dx, 0, in_nodes * QNN_LUT_BLOCK * sizeof *s->dx);
  for (size_t first = 0; first < p->layer->num_nodes; first += QNN_LUT_STRIP) {
    const size_t count = qnn_min(QNN_LUT_STRIP, p->layer->num_nodes - first);
    qnn_lut_load(p->dy, frames, first, count, s->strip);
    for (size_t i = 0; i < count; ++i) {
      const size_t node = first + i;
      const float *table = p->tables + node * p->entries, *dy = s->strip + i * QNN_LUT_BLOCK, *rows[QNN_LUT_MAX_N];
      float *grads[QNN_LUT_MAX_N];
      for (size_t k = 0; k < n; ++k) {
        const size_t at = p->wiring[node * n + k] * (size_t)QNN_LUT_BLOCK;
        rows[k] = p->is_real ? s->reals + at : NULL;
        grads[k] = dx ? s->dx + at : NULL;
      }
      if (p->is_real) {
        float sums[QNN_LUT_ENTRIES] = {0};
        p->isa->tree_grad(table, n, rows, &p->norms[node], dy, frames->count, sums, dx ? grads : NULL);
        for (size_t e = 0; e < p->entries; ++e) s->sums[node * p->entries + e] += sums[e];
      } else {
        uint8_t index[QNN_LUT_BLOCK];
        index_of(p, s, node, index);
        p->isa->input_grad(table, n, index, &p->norms[node], 1.0f / (high - low), dy, whole_lanes(frames->count), grads);
      }
    }
  }
  if (!dx) return;
  const qnn_lut_frames inputs = {in_nodes, frames->inner, frames->first, frames->count};
  for (size_t node = 0; node < in_nodes; node += QNN_LUT_STRIP)
    qnn_lut_store(s->dx + node * QNN_LUT_BLOCK, &inputs, node, qnn_min(QNN_LUT_STRIP, in_nodes - node), dx);
}

static qnn_status binary_backward(pass *p, bool has_stats_grad, float *dx, float *dweight) {
  share *shares = new_shares(p, 2 * p->entries, false);
  if (!shares) return QNN_NO_MEMORY;
  for_blocks(p, shares, add_histograms, NULL);
  double *sums = end_shares(p, shares, 2 * p->entries);
  for (size_t node = 0; node < p->layer->num_nodes; ++node)
    table_grad(p, node, sums + node * 2 * p->entries, has_stats_grad, dweight);
  free(sums);
  if (!dx) return QNN_OK;
  shares = new_shares(p, 0, true);
  if (!shares) return QNN_NO_MEMORY;
  for_blocks(p, shares, write_input_grads, dx);
  end_shares(p, shares, 0);
  return QNN_OK;
}

static qnn_status real_backward(pass *p, bool has_stats_grad, float *dx, float *dweight) {
  share *shares;
  if (has_stats_grad) {
    shares = new_shares(p, 2, false);
    if (!shares) return QNN_NO_MEMORY;
    for_blocks(p, shares, add_grads, NULL);
    double *sums = end_shares(p, shares, 2);
    for (size_t node = 0; node < p->layer->num_nodes; ++node)
      set_stats_grad(&p->norms[node], sums[2 * node], sums[2 * node + 1], (double)p->frames);
    free(sums);
  }
  shares = new_shares(p, p->entries, dx != NULL);
  if (!shares) return QNN_NO_MEMORY;
  for_blocks(p, shares, write_input_grads, dx);
  double *sums = end_shares(p, shares, p->entries);
  for (size_t i = 0; i < p->layer->num_nodes * p->entries; ++i) dweight[i] = (float)sums[i];
  free(sums);
  return QNN_OK;
}

qnn_status qnn_lut_train_backward(const float *x, const float *connections, const float *weight,
                                  const qnn_lut_layer *layer, int is_training, const float *stats, const float *dy,
                                  float *dx, float *dweight) {
  if (!x || !connections || !weight || !layer || !dy || !dweight || (layer->batch_norm && !stats)) return QNN_BAD_ARGUMENT;
  pass p;
  qnn_status status = start(&p, x, connections, weight, layer);
  if (status != QNN_OK) return status;
  p.dy = dy;
  set_norms(&p, stats);
  const bool has_stats_grad = layer->batch_norm && is_training;
  status = (p.is_real ? real_backward : binary_backward)(&p, has_stats_grad, dx, dweight);
  finish(&p);
  return status;
}
