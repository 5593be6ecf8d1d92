/* lut_train_node.c: one node's table: what forward sees of it, its values at the corners, its truth table. */
#include <math.h>

#include "lut_train.h"

static const float var_floor = 1e-5f;

void qnn_lut_used_table(const float *weight, const qnn_lut_layer *layer, float *table) {
  const size_t entries = (size_t)1 << layer->n;
  for (size_t i = 0; i < entries; ++i)
    table[i] = layer->lut_binarize ? (weight[i] > 0.5f ? 1.0f : 0.0f)
               : layer->clip_weight ? fminf(fmaxf(weight[i], 0.0f), 1.0f) : weight[i];
}

void qnn_lut_levels(const qnn_lut_layer *layer, float *low, float *high) {
  const bool is_smooth = layer->input == QNN_LUT_SMOOTH;
  *low = is_smooth ? 0.25f : 0.0f;
  *high = is_smooth ? 0.75f : 1.0f;
}

void qnn_lut_corners(float *table, size_t n, float low, float high) {
  for (size_t bit = 1; bit < (size_t)1 << n; bit <<= 1)
    for (size_t i = 0; i < (size_t)1 << n; ++i) {
      if (i & bit) continue;
      const float a = table[i], step = table[i | bit] - a;
      table[i] = a + low * step;
      table[i | bit] = a + high * step;
    }
}

void qnn_lut_corners_grad(double *grad, size_t n, float low, float high) {
  for (size_t bit = 1; bit < (size_t)1 << n; bit <<= 1)
    for (size_t i = 0; i < (size_t)1 << n; ++i) {
      if (i & bit) continue;
      const double at_low = grad[i], at_high = grad[i | bit];
      grad[i] = at_low * (1.0 - low) + at_high * (1.0 - high);
      grad[i | bit] = at_low * low + at_high * high;
    }
}

qnn_lut_norm qnn_lut_norm_of(const qnn_lut_layer *layer, const float *stats, size_t node) {
  if (!layer->batch_norm) return (qnn_lut_norm){.rstd = 1.0f, .gamma = 1.0f, .scale = 1.0f};
  const float rstd = 1.0f / sqrtf(fmaxf(stats[layer->num_nodes + node], var_floor));
  return (qnn_lut_norm){.mean = stats[node], .rstd = rstd, .gamma = layer->gamma, .beta = layer->beta,
                        .scale = layer->gamma * rstd, .is_masked = 1};
}

float qnn_lut_output(float y1, const qnn_lut_layer *layer, const qnn_lut_norm *norm) {
  const float y = layer->batch_norm ? qnn_lut_normalize(y1, norm) : y1;
  return layer->binarize ? (y > 0.5f ? 1.0f : 0.0f) : qnn_lut_clip(y);
}

qnn_status qnn_lut_train_tables(const float *weight, const qnn_lut_layer *layer, const float *stats, uint64_t *tables) {
  if (!weight || !layer || !tables || (layer->batch_norm && !stats)) return QNN_BAD_ARGUMENT;
  if (layer->n < 2 || layer->n > QNN_LUT_MAX_N || layer->num_nodes == 0) return QNN_BAD_SHAPE;
  const size_t entries = (size_t)1 << layer->n;
  qnn_lut_layer read = *layer;
  read.binarize = 1;
  float low, high;
  qnn_lut_levels(layer, &low, &high);
  for (size_t node = 0; node < layer->num_nodes; ++node) {
    float table[QNN_LUT_ENTRIES];
    qnn_lut_used_table(weight + node * entries, layer, table);
    qnn_lut_corners(table, layer->n, low, high);
    const qnn_lut_norm norm = qnn_lut_norm_of(layer, stats, node);
    uint64_t bits = 0;
    for (size_t i = 0; i < entries; ++i) bits |= (uint64_t)(qnn_lut_output(table[i], &read, &norm) > 0.5f) << i;
    tables[node] = bits;
  }
  return QNN_OK;
}
