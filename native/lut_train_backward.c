/* lut_train_backward.c: gradients of a table layer.
 *
 * With bits as inputs, pass one counts indices and sums dy per index: BatchNorm's gradient and dW follow from those, the
 * corners' gradient carried back to the entries; pass two gives dx. Real inputs go through the tree of lerps backwards. */
#include <stdlib.h>

#include "lut_train.h"

/* Per node and index: how often, and the sum of dy. */
static void add_histograms(const qnn_lut_pass *p, qnn_lut_share *s, const qnn_lut_frames *frames, float *unused) {
  (void)unused;
  const size_t strip = qnn_lut_strip_of(p->layer);
  for (size_t first = 0; first < p->layer->num_nodes; first += strip) {
    const size_t count = qnn_min(strip, p->layer->num_nodes - first);
    qnn_lut_load_grads(p, s, frames, first, count);
    for (size_t i = 0; i < count; ++i) {
      uint8_t index[QNN_LUT_BLOCK];
      float bins[2][QNN_LUT_ENTRIES][2] = {{{0}}};  /* two, as neighbours often have one index */
      const float *dy = qnn_lut_grad_row(p, s, i);
      qnn_lut_index_of(p, s, first + i, index);
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
static void add_grads(const qnn_lut_pass *p, qnn_lut_share *s, const qnn_lut_frames *frames, float *unused) {
  (void)unused;
  const size_t strip = qnn_lut_strip_of(p->layer);
  for (size_t first = 0; first < p->layer->num_nodes; first += strip) {
    const size_t count = qnn_min(strip, p->layer->num_nodes - first);
    qnn_lut_load_grads(p, s, frames, first, count);
    for (size_t i = 0; i < count; ++i) {
      const qnn_lut_norm *norm = &p->norms[first + i];
      const float *dy = qnn_lut_grad_row(p, s, i);
      float y1[QNN_LUT_BLOCK];
      qnn_lut_y1_of(p, s, first + i, frames->count, y1);
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
static void table_grad(qnn_lut_pass *p, size_t node, const double *sums, bool has_stats_grad, float *dweight) {
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

static void write_input_grads(const qnn_lut_pass *p, qnn_lut_share *s, const qnn_lut_frames *frames, float *dx) {
  const size_t n = p->layer->n, in_nodes = p->layer->in_nodes, strip = qnn_lut_strip_of(p->layer);
  float low, high;
  qnn_lut_levels(p->layer, &low, &high);
  if (dx) memset(s->dx, 0, in_nodes * QNN_LUT_BLOCK * sizeof *s->dx);
  for (size_t first = 0; first < p->layer->num_nodes; first += strip) {
    const size_t count = qnn_min(strip, p->layer->num_nodes - first);
    qnn_lut_load_grads(p, s, frames, first, count);
    for (size_t i = 0; i < count; ++i) {
      const size_t node = first + i;
      const float *table = p->tables + node * p->entries, *dy = qnn_lut_grad_row(p, s, i), *rows[QNN_LUT_MAX_N];
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
        qnn_lut_index_of(p, s, node, index);
        p->isa->input_grad(table, n, index, &p->norms[node], 1.0f / (high - low), dy, qnn_lut_whole_lanes(frames->count), grads);
      }
    }
  }
  if (!dx) return;
  const qnn_lut_frames inputs = qnn_lut_inputs_of(p, frames);
  for (size_t node = 0; node < in_nodes; node += QNN_LUT_STRIP)
    (inputs.windows ? qnn_lut_add_windows : qnn_lut_store)(s->dx + node * QNN_LUT_BLOCK, &inputs, node,
                                                           qnn_min(QNN_LUT_STRIP, in_nodes - node), dx);
}

static qnn_status binary_backward(qnn_lut_pass *p, bool has_stats_grad, float *dx, float *dweight) {
  qnn_lut_share *shares = qnn_lut_new_shares(p, 2 * p->entries, false);
  if (!shares) return QNN_NO_MEMORY;
  qnn_lut_for_blocks(p, shares, add_histograms, NULL);
  double *sums = qnn_lut_end_shares(p, shares, 2 * p->entries);
  for (size_t node = 0; node < p->layer->num_nodes; ++node)
    table_grad(p, node, sums + node * 2 * p->entries, has_stats_grad, dweight);
  free(sums);
  if (!dx) return QNN_OK;
  shares = qnn_lut_new_shares(p, 0, true);
  if (!shares) return QNN_NO_MEMORY;
  qnn_lut_for_blocks(p, shares, write_input_grads, dx);
  qnn_lut_end_shares(p, shares, 0);
  return QNN_OK;
}

static qnn_status real_backward(qnn_lut_pass *p, bool has_stats_grad, float *dx, float *dweight) {
  qnn_lut_share *shares;
  if (has_stats_grad) {
    shares = qnn_lut_new_shares(p, 2, false);
    if (!shares) return QNN_NO_MEMORY;
    qnn_lut_for_blocks(p, shares, add_grads, NULL);
    double *sums = qnn_lut_end_shares(p, shares, 2);
    for (size_t node = 0; node < p->layer->num_nodes; ++node)
      set_stats_grad(&p->norms[node], sums[2 * node], sums[2 * node + 1], (double)p->frames);
    free(sums);
  }
  shares = qnn_lut_new_shares(p, p->entries, dx != NULL);
  if (!shares) return QNN_NO_MEMORY;
  qnn_lut_for_blocks(p, shares, write_input_grads, dx);
  double *sums = qnn_lut_end_shares(p, shares, p->entries);
  for (size_t i = 0; i < p->layer->num_nodes * p->entries; ++i) dweight[i] = (float)sums[i];
  free(sums);
  return QNN_OK;
}

qnn_status qnn_lut_train_backward(const float *x, const float *connections, const float *weight,
                                  const qnn_lut_layer *layer, int is_training, const float *stats, const float *dy,
                                  float *dx, float *dweight) {
  if (!x || !connections || !weight || !layer || !dy || !dweight || (layer->batch_norm && !stats)) return QNN_BAD_ARGUMENT;
  qnn_lut_pass p;
  qnn_status status = qnn_lut_start(&p, x, connections, weight, layer);
  if (status != QNN_OK) return status;
  p.dy = dy;
  if (dx && layer->kernel_h) memset(dx, 0, layer->outer * layer->channels * layer->height * layer->width * sizeof *dx);
  qnn_lut_set_norms(&p, stats);
  const bool has_stats_grad = layer->batch_norm && is_training;
  status = (p.is_real ? real_backward : binary_backward)(&p, has_stats_grad, dx, dweight);
  qnn_lut_finish(&p);
  return status;
}
