/* lut_train.c: passes over the frames of a table layer: memory, blocks shared out among threads, sums.
 *
 * Threads take ranges of blocks that depend on nothing but their number, and their sums are added in order: a training run
 * repeats itself for the same number of threads. */
#include <math.h>
#include <stdlib.h>

#include "lut_train.h"

enum { block_grain = 1 << 14 };  /* node-frames that are worth a thread */

static bool are_windows_valid(const qnn_lut_layer *l) {
  if (!l->kernel_h) return true;
  const size_t out_height = qnn_lut_out_height(l), out_width = qnn_lut_out_width(l);
  size_t inputs, inner;
  return l->channels && out_height && out_width && qnn_multiply(l->channels, l->kernel_h, &inputs) &&
         qnn_multiply(inputs, l->kernel_w, &inputs) && inputs == l->in_nodes &&
         qnn_multiply(out_height, out_width, &inner) && inner == l->inner &&
         qnn_fits(l->outer, l->channels, l->height, l->width, sizeof(float));
}

static qnn_status check(const qnn_lut_layer *layer, const float *connections) {
  if (layer->input < QNN_LUT_REAL || layer->input > QNN_LUT_HARD) return QNN_BAD_ARGUMENT;
  if (layer->n < 2 || layer->n > QNN_LUT_MAX_N || !layer->num_nodes || !layer->in_nodes) return QNN_BAD_SHAPE;
  if (!are_windows_valid(layer)) return QNN_BAD_SHAPE;
  if (layer->group > 1 && (layer->group > QNN_LUT_STRIP || layer->num_nodes % layer->group)) return QNN_BAD_SHAPE;
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

void qnn_lut_finish(qnn_lut_pass *p) {
  free(p->wiring);
  free(p->pixels);
  free(p->tables);
  free(p->norms);
}

qnn_status qnn_lut_start(qnn_lut_pass *p, const float *x, const float *connections, const float *weight, const qnn_lut_layer *layer) {
  const qnn_status status = check(layer, connections);
  if (status != QNN_OK) return status;
  const size_t nodes = layer->num_nodes;
  *p = (qnn_lut_pass){.x = x, .weight = weight, .layer = layer, .isa = qnn_lut_isa_active(),
              .frames = layer->outer * layer->inner, .entries = (size_t)1 << layer->n,
              .is_real = layer->input == QNN_LUT_REAL};
  p->num_threads = qnn_threads_for(nodes * p->frames, block_grain);
  const size_t units = layer->kernel_h ? layer->outer : qnn_ceil_div(p->frames, QNN_LUT_BLOCK);
  if ((size_t)p->num_threads > units) p->num_threads = (int)units;
  p->wiring = malloc(nodes * layer->n * sizeof *p->wiring);
  p->pixels = malloc((layer->kernel_h ? layer->in_nodes : 1) * sizeof *p->pixels);
  p->tables = malloc(nodes * p->entries * sizeof *p->tables);
  p->norms = malloc(nodes * sizeof *p->norms);
  if (!p->wiring || !p->pixels || !p->tables || !p->norms) return qnn_lut_finish(p), QNN_NO_MEMORY;
  for (size_t i = 0; i < nodes * layer->n; ++i) p->wiring[i] = (uint32_t)connections[i];
  for (size_t i = 0, taps = layer->kernel_h * layer->kernel_w; taps && i < layer->in_nodes; ++i)
    p->pixels[i] = (i / taps * layer->height + i % taps / layer->kernel_w) * layer->width + i % taps % layer->kernel_w;
  float low, high;
  qnn_lut_levels(layer, &low, &high);
  for (size_t node = 0; node < nodes; ++node) {
    float *table = p->tables + node * p->entries;
    qnn_lut_used_table(weight + node * p->entries, layer, table);
    if (!p->is_real) qnn_lut_corners(table, layer->n, low, high);
  }
  return QNN_OK;
}

void qnn_lut_set_norms(qnn_lut_pass *p, const float *stats) {
  for (size_t node = 0; node < p->layer->num_nodes; ++node) p->norms[node] = qnn_lut_norm_of(p->layer, stats, node);
}

qnn_lut_share *qnn_lut_new_shares(const qnn_lut_pass *p, size_t width, bool has_dx) {
  qnn_lut_share *shares = calloc((size_t)p->num_threads, sizeof *shares);
  bool is_whole = shares != NULL;
  const size_t inputs = p->layer->in_nodes * QNN_LUT_BLOCK;
  for (int t = 0; is_whole && t < p->num_threads; ++t) {
    qnn_lut_share *s = &shares[t];
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
double *qnn_lut_end_shares(const qnn_lut_pass *p, qnn_lut_share *shares, size_t width) {
  double *sums = shares[0].sums;
  for (int t = 0; t < p->num_threads; ++t) {
    for (size_t i = 0; t && i < p->layer->num_nodes * width; ++i) sums[i] += shares[t].sums[i];
    free(shares[t].reals), free(shares[t].bits), free(shares[t].dx);
    if (t) free(shares[t].sums);
  }
  free(shares);
  return sums;
}

qnn_lut_frames qnn_lut_inputs_of(const qnn_lut_pass *p, const qnn_lut_frames *frames) {
  qnn_lut_frames inputs = *frames;
  inputs.nodes = p->layer->in_nodes;
  inputs.windows = p->layer->kernel_h ? p->layer : NULL;
  inputs.pixels = p->pixels;
  return inputs;
}

static void load_inputs(const qnn_lut_pass *p, qnn_lut_share *s, const qnn_lut_frames *frames) {
  const qnn_lut_frames inputs = qnn_lut_inputs_of(p, frames);
  if (p->is_real) qnn_lut_load_clipped(p->x, &inputs, s->reals);
  else qnn_lut_load_bits(p->x, &inputs, s->bits);
}

void qnn_lut_load_grads(const qnn_lut_pass *p, qnn_lut_share *s, const qnn_lut_frames *frames, size_t first, size_t count) {
  const size_t group = p->layer->group;
  if (group <= 1) {
    qnn_lut_load(p->dy, frames, first, count, s->strip);
    return;
  }
  const qnn_lut_frames groups = {frames->nodes / group, frames->inner, frames->first, frames->count, NULL, NULL};
  const float size = (float)group;
  qnn_lut_load(p->dy, &groups, first / group, count / group, s->strip);
  for (size_t i = 0; i < count / group * QNN_LUT_BLOCK; ++i) s->strip[i] /= size;
}

void qnn_lut_index_of(const qnn_lut_pass *p, const qnn_lut_share *s, size_t node, uint8_t *index) {
  const uint8_t *rows[QNN_LUT_MAX_N];
  for (size_t k = 0; k < p->layer->n; ++k) rows[k] = s->bits + p->wiring[node * p->layer->n + k] * (size_t)QNN_LUT_BLOCK;
  p->isa->index(rows, p->layer->n, index);
}

void qnn_lut_y1_of(const qnn_lut_pass *p, const qnn_lut_share *s, size_t node, size_t count, float *y1) {
  const float *rows[QNN_LUT_MAX_N];
  for (size_t k = 0; k < p->layer->n; ++k) rows[k] = s->reals + p->wiring[node * p->layer->n + k] * (size_t)QNN_LUT_BLOCK;
  p->isa->tree(p->tables + node * p->entries, p->layer->n, rows, qnn_lut_whole_lanes(count), y1);
}

/* Runs `task` on all blocks, each thread on a range of its own. */
void qnn_lut_for_blocks(const qnn_lut_pass *p, qnn_lut_share *shares, qnn_lut_block_task *task, float *out) {
  const size_t unit = p->layer->kernel_h ? p->layer->inner : QNN_LUT_BLOCK, units = qnn_ceil_div(p->frames, unit);
#pragma omp parallel for schedule(static) num_threads(p->num_threads)
  for (int t = 0; t < p->num_threads; ++t) {
    const size_t begin = units * (size_t)t / (size_t)p->num_threads * unit;
    const size_t end = qnn_min(units * (size_t)(t + 1) / (size_t)p->num_threads * unit, p->frames);
    for (size_t first = begin; first < end; first += QNN_LUT_BLOCK) {
      const qnn_lut_frames frames = {p->layer->num_nodes, p->layer->inner, first, qnn_min(QNN_LUT_BLOCK, end - first),
                                     NULL, NULL};
      load_inputs(p, &shares[t], &frames);
      task(p, &shares[t], &frames, out);
    }
  }
}
