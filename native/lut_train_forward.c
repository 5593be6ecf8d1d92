/* lut_train_forward.c: outputs and statistics of a table layer.
 *
 * With bits as inputs, a node has 2^n outputs: T[i] = y1 at corner i, and y = y(T[index]). The statistics come from the
 * counts of the indices, exactly, whatever the number of threads. Real inputs go through the tree of lerps. */
#include <math.h>
#include <stdlib.h>

#include "lut_train.h"

static void count_indices(const qnn_lut_pass *p, qnn_lut_share *s, const qnn_lut_frames *frames, float *unused) {
  (void)unused;
  for (size_t node = 0; node < p->layer->num_nodes; ++node) {
    uint8_t index[QNN_LUT_BLOCK], counts[2][QNN_LUT_ENTRIES] = {{0}};
    qnn_lut_index_of(p, s, node, index);
    for (size_t f = 0; f < frames->count; ++f) ++counts[f % 2][index[f]];
    for (size_t i = 0; i < p->entries; ++i) s->sums[node * p->entries + i] += counts[0][i] + counts[1][i];
  }
}

static void add_squares(const qnn_lut_pass *p, qnn_lut_share *s, const qnn_lut_frames *frames, float *unused) {
  (void)unused;
  for (size_t node = 0; node < p->layer->num_nodes; ++node) {
    float y1[QNN_LUT_BLOCK];
    double sum = 0.0, squares = 0.0;
    qnn_lut_y1_of(p, s, node, frames->count, y1);
    for (size_t f = 0; f < frames->count; ++f) sum += y1[f], squares += (double)y1[f] * y1[f];
    s->sums[2 * node] += sum;
    s->sums[2 * node + 1] += squares;
  }
}

/* Statistics of the frames: from counts of indices, or from sums of y1 and its square (in double: y1 is in 0..1). */
static qnn_status batch_stats(const qnn_lut_pass *p, float *stats) {
  const size_t width = p->is_real ? 2 : p->entries, nodes = p->layer->num_nodes;
  qnn_lut_share *shares = qnn_lut_new_shares(p, width, false);
  if (!shares) return QNN_NO_MEMORY;
  qnn_lut_for_blocks(p, shares, p->is_real ? add_squares : count_indices, NULL);
  double *sums = qnn_lut_end_shares(p, shares, width);
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

static void write_outputs(const qnn_lut_pass *p, qnn_lut_share *s, const qnn_lut_frames *frames, float *y) {
  const size_t strip = qnn_lut_strip_of(p->layer), group = p->layer->group > 1 ? p->layer->group : 1;
  const qnn_lut_frames outputs = {p->layer->num_nodes / group, frames->inner, frames->first, frames->count, NULL, NULL};
  for (size_t first = 0; first < p->layer->num_nodes; first += strip) {
    const size_t count = qnn_min(strip, p->layer->num_nodes - first);
    for (size_t i = 0; i < count; ++i) {
      const size_t node = first + i;
      float *row = s->strip + i * QNN_LUT_BLOCK;
      if (p->is_real) {
        qnn_lut_y1_of(p, s, node, frames->count, row);
        for (size_t f = 0; f < frames->count; ++f) row[f] = qnn_lut_output(row[f], p->layer, &p->norms[node]);
      } else {
        uint8_t index[QNN_LUT_BLOCK];
        qnn_lut_index_of(p, s, node, index);
        p->isa->lookup(p->tables + node * p->entries, p->layer->n, index, qnn_lut_whole_lanes(frames->count), row);
      }
    }
    for (size_t g = 0; group > 1 && g < count / group; ++g)
      qnn_mean_of_group(s->strip + g * group * QNN_LUT_BLOCK, QNN_LUT_BLOCK, group, p->layer->is_majority, false,
                        s->strip + g * QNN_LUT_BLOCK);
    qnn_lut_store(s->strip, &outputs, first / group, count / group, y);
  }
}

qnn_status qnn_lut_train_forward(const float *x, const float *connections, const float *weight,
                                 const qnn_lut_layer *layer, int is_training, float *stats, float *y) {
  if (!x || !connections || !weight || !layer || !y || (layer->batch_norm && !stats)) return QNN_BAD_ARGUMENT;
  qnn_lut_pass p;
  qnn_status status = qnn_lut_start(&p, x, connections, weight, layer);
  if (status != QNN_OK) return status;
  if (layer->batch_norm && is_training) status = batch_stats(&p, stats);
  qnn_lut_share *shares = status == QNN_OK ? qnn_lut_new_shares(&p, 0, false) : NULL;
  if (!shares) return qnn_lut_finish(&p), QNN_NO_MEMORY;
  qnn_lut_set_norms(&p, stats);
  for (size_t i = 0; !p.is_real && i < layer->num_nodes * p.entries; ++i)
    p.tables[i] = qnn_lut_output(p.tables[i], layer, &p.norms[i / p.entries]);
  qnn_lut_for_blocks(&p, shares, write_outputs, y);
  qnn_lut_end_shares(&p, shares, 0);
  qnn_lut_finish(&p);
  return QNN_OK;
}
