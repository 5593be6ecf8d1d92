/* test_lut_train.c: training of table layers against the formulas of qnn/reference_lut.py, as plain loops in double.
 *
 * Numbers are dyadic: tables are eighths, inputs and levels quarters, gradients eighths, 1/std is 2. Then no operation
 * of the layer rounds (y1 and the terms of dW are multiples of 2^-15, those of dx of 2^-16; sums over 257 frames, or the
 * readers of an input, stay below 2^9 and 2^8), in whatever order: all comparisons are exact. With statistics of the
 * batch 1/std is no such number; test_lut_batch_norm has the bound. */
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { in_nodes = 37, num_nodes = 67, widest = 64 };  /* more than a strip of 64 nodes */

typedef struct {
  qnn_lut_layer layer;
  size_t frames, entries;
  float *x, *connections, *weight, *dy, stats[2 * num_nodes];
  double *y1, *entry;          /* [frames][num_nodes] and [num_nodes][entries], see settle */
} lut_case;

static float dyadic(int low, int high, float unit) {
  return (float)(low + (int)(random_word() >> 32) % (high - low + 1)) * unit;
}

static lut_case new_case(size_t outer, size_t inner, size_t n, int input) {
  lut_case c = {.layer = {.outer = outer, .inner = inner, .in_nodes = in_nodes, .num_nodes = num_nodes, .n = n,
                          .input = input, .gamma = 1.0f, .beta = 0.5f}, .frames = outer * inner,
                .entries = (size_t)1 << n};
  c.x = malloc(c.frames * in_nodes * sizeof *c.x), c.dy = malloc(c.frames * num_nodes * sizeof *c.dy);
  c.connections = malloc(num_nodes * n * sizeof *c.connections);
  c.weight = malloc(num_nodes * c.entries * sizeof *c.weight);
  for (size_t i = 0; i < c.frames * in_nodes; ++i) c.x[i] = i % 97 == 5 ? NAN : dyadic(-1, 5, 0.25f);
  for (size_t i = 0; i < c.frames * num_nodes; ++i) c.dy[i] = dyadic(-8, 8, 0.125f);
  for (size_t i = 0; i < num_nodes * n; ++i) c.connections[i] = (float)(random_word() % in_nodes);  /* some twice */
  for (size_t i = 0; i < num_nodes * c.entries; ++i) c.weight[i] = dyadic(-2, 10, 0.125f);
  for (size_t i = 0; i < num_nodes; ++i) c.stats[i] = dyadic(2, 6, 0.125f), c.stats[num_nodes + i] = 0.25f;
  return c;
}

static void free_case(lut_case *c) {
  free(c->x), free(c->connections), free(c->weight), free(c->dy), free(c->y1), free(c->entry);
}

static size_t place(const qnn_lut_layer *l, size_t width, size_t frame, size_t node) {
  return (frame / l->inner * width + node) * l->inner + frame % l->inner;
}

static double input_of(const lut_case *c, size_t frame, size_t node, size_t k) {
  const float x = c->x[place(&c->layer, in_nodes, frame, (size_t)c->connections[node * c->layer.n + k])];
  if (c->layer.input == QNN_LUT_REAL) return x > 0 ? (x < 1 ? x : 1) : 0;  /* NaN: 0 */
  const int bit = x > 0.5f;
  return c->layer.input == QNN_LUT_HARD ? bit : bit ? 0.75 : 0.25;
}

static double entry_of(const lut_case *c, size_t node, size_t i) {
  const float w = c->weight[node * c->entries + i];
  if (c->layer.lut_binarize) return w > 0.5f;
  return c->layer.clip_weight ? (w > 0 ? (w < 1 ? w : 1) : 0) : w;
}

/* parts[i] = prod over all j but `but` of x_j where bit j of i is set, 1 - x_j elsewhere. */
static void products(const double *x, size_t n, size_t but, double *parts) {
  parts[0] = 1.0;
  for (size_t j = 0; j < n; ++j)
    for (size_t i = 0; i < (size_t)1 << j; ++i) {
      parts[i + ((size_t)1 << j)] = parts[i] * (j == but ? 1.0 : x[j]);
      parts[i] *= j == but ? 1.0 : 1.0 - x[j];
    }
}

/* What the options, which stay from here on, make of tables and inputs: y1 = sum over i of W[i] prod_j(..). */
static void settle(lut_case *c) {
  c->entry = malloc(num_nodes * c->entries * sizeof *c->entry), c->y1 = calloc(c->frames * num_nodes, sizeof *c->y1);
  for (size_t i = 0; i < num_nodes * c->entries; ++i) c->entry[i] = entry_of(c, i / c->entries, i % c->entries);
  for (size_t frame = 0; frame < c->frames; ++frame)
    for (size_t node = 0; node < num_nodes; ++node) {
      double x[6], parts[widest];
      for (size_t k = 0; k < c->layer.n; ++k) x[k] = input_of(c, frame, node, k);
      products(x, c->layer.n, widest, parts);
      for (size_t i = 0; i < c->entries; ++i) c->y1[frame * num_nodes + node] += c->entry[node * c->entries + i] * parts[i];
    }
}

/* y2 as the layer rounds it; y1 is exact. volatile: no operation is fused with the next. */
static float y2_of(const lut_case *c, const float *stats, size_t node, double y1) {
  if (!c->layer.batch_norm) return (float)y1;
  const float var = stats[num_nodes + node];
  volatile float rstd = 1.0f / sqrtf(var > 1e-5f ? var : 1e-5f), y = (float)y1 - stats[node];
  y = y * rstd;
  y = y * c->layer.gamma;
  return y + c->layer.beta;
}

/* Forward with the statistics that are given. */
static size_t check_forward(const lut_case *c, const float *stats, const float *y) {
  size_t bad = 0;
  for (size_t frame = 0; frame < c->frames; ++frame)
    for (size_t node = 0; node < num_nodes; ++node) {
      const float y2 = y2_of(c, stats, node, c->y1[frame * num_nodes + node]);
      const float want = c->layer.binarize ? (float)(y2 > 0.5f) : y2 > 0 ? (y2 < 1 ? y2 : 1.0f) : 0.0f;
      bad += y[place(&c->layer, num_nodes, frame, node)] != want;
    }
  return bad;
}

typedef struct {
  double *dx, *dweight;        /* the gradients */
  double *dx_size, *dweight_size;  /* the same sums, of absolute values */
} gradients;

/* dW[i] = sum dy1 prod_j(..), dx_k = dy1 dy1/dx_k; has_stats_grad: the statistics are those of the frames. */
static gradients backward(const lut_case *c, const float *stats, int has_stats_grad) {
  const qnn_lut_layer *l = &c->layer;
  const double frames = (double)c->frames;
  gradients g = {calloc(c->frames * in_nodes, 8), calloc(num_nodes * c->entries, 8), calloc(c->frames * in_nodes, 8),
                 calloc(num_nodes * c->entries, 8)};
  for (size_t node = 0; node < num_nodes; ++node) {
    const double var = fmax(stats[num_nodes + node], 1e-5), mean = l->batch_norm ? stats[node] : 0.0;
    const double rstd = l->batch_norm ? 1.0 / sqrt(var) : 1.0, gamma = l->batch_norm ? l->gamma : 1.0;
    double sums[2] = {0, 0}, x[6];
    for (int pass = !has_stats_grad; pass < 2; ++pass)  /* sums first, where they are needed */
      for (size_t frame = 0; frame < c->frames; ++frame) {
        const double y1 = c->y1[frame * num_nodes + node];
        const float y2 = y2_of(c, stats, node, y1);
        const int passes = !l->batch_norm || (y2 > 0.0f && y2 < 1.0f);
        const double dxn = passes ? gamma * c->dy[place(l, num_nodes, frame, node)] : 0.0;
        if (pass == 0) {
          sums[0] += dxn, sums[1] += dxn * (y1 - mean);
          continue;
        }
        const double terms[] = {dxn * rstd, -sums[0] * rstd / frames,
                                -(y1 - mean) * sums[1] * rstd * rstd * rstd / frames};
        const double dy1 = terms[0] + terms[1] + terms[2], size = fabs(terms[0]) + fabs(terms[1]) + fabs(terms[2]);
        double parts[widest];
        for (size_t k = 0; k < l->n; ++k) x[k] = input_of(c, frame, node, k);
        products(x, l->n, widest, parts);
        for (size_t i = 0; i < c->entries; ++i) {
          g.dweight[node * c->entries + i] += dy1 * parts[i];
          g.dweight_size[node * c->entries + i] += size * parts[i];
        }
        for (size_t k = 0; k < l->n; ++k) {
          const size_t at = place(l, in_nodes, frame, (size_t)c->connections[node * l->n + k]);
          products(x, l->n, k, parts);
          for (size_t i = 0; i < c->entries; ++i) {
            const double slope = c->entry[node * c->entries + i] * parts[i];
            g.dx[at] += i >> k & 1 ? dy1 * slope : -dy1 * slope;
            g.dx_size[at] += size * fabs(slope);
          }
        }
      }
  }
  return g;
}

static void free_gradients(gradients *g) { free(g->dx), free(g->dweight), free(g->dx_size), free(g->dweight_size); }

/* Values that are further from the sums than `roundings` half units in the last place of what was summed. */
static size_t differing(const float *found, const double *want, const double *size, size_t count, double roundings) {
  size_t bad = 0;
  for (size_t i = 0; i < count; ++i) bad += !(fabs(found[i] - want[i]) <= roundings * 0x1p-24 * size[i]);
  return bad;
}

static const size_t shapes[][2] = {{1, 1}, {15, 1}, {1, 16}, {17, 1}, {7, 9}, {1, 40}, {5, 51}, {1, 257}};
enum { cases = 8 * 5 };  /* every shape with every n, every n with every kind of input */

/* Statistics that are given, or none. */
size_t test_lut_train(void) {
  size_t bad = 0;
  for (size_t t = 0; t < cases; ++t) {
    lut_case c = new_case(shapes[t % 8][0], shapes[t % 8][1], 2 + t % 5, (int)(t % 3));
    const size_t inputs = c.frames * in_nodes, outputs = c.frames * num_nodes, weights = num_nodes * c.entries;
    float *y = malloc(outputs * sizeof *y), *dx = malloc(inputs * sizeof *dx), *dweight = malloc(weights * sizeof *dweight);
    float *again = malloc(weights * sizeof *again);
    c.layer.batch_norm = (int)(t / 2 % 2), c.layer.binarize = (int)(t / 3 % 2);
    c.layer.lut_binarize = t % 7 == 0, c.layer.clip_weight = t % 4 > 0;
    settle(&c);
    bad += qnn_lut_train_forward(c.x, c.connections, c.weight, &c.layer, 0, c.stats, y) != QNN_OK;
    bad += check_forward(&c, c.stats, y);
    bad += qnn_lut_train_backward(c.x, c.connections, c.weight, &c.layer, 0, c.stats, c.dy, dx, dweight) != QNN_OK;
    bad += qnn_lut_train_backward(c.x, c.connections, c.weight, &c.layer, 0, c.stats, c.dy, NULL, again) != QNN_OK;
    bad += memcmp(dweight, again, weights * sizeof *again) != 0;
    gradients g = backward(&c, c.stats, 0);
    bad += differing(dx, g.dx, g.dx_size, inputs, 0.0) + differing(dweight, g.dweight, g.dweight_size, weights, 0.0);
    free_gradients(&g), free_case(&c), free(y), free(dx), free(dweight), free(again);
  }
  return bad;
}

/* Statistics of the frames. Mean and variance are sums in double, rounded once, of y1, which are exact. A gradient passes
 * the roundings of its factors (1/std, its cube, the offset and the slope of the statistics, their sum: 16), those of a
 * tree of lerps (3 a level: 18), and those of a sum in float: at most 256 frames of a block, or 67 * 6 readers of an input.
 * All instruction sets round in one order: the bits are those of the scalar kernels. */
size_t test_lut_batch_norm(void) {
  const double roundings = 16 + 18 + num_nodes * 6;
  const char *isa = qnn_isa_chosen();
  size_t bad = 0;
  for (size_t t = 0; t < cases; ++t) {
    lut_case c = new_case(shapes[t % 8][0], shapes[t % 8][1], 2 + t % 5, (int)(t % 3));
    const size_t inputs = c.frames * in_nodes, outputs = c.frames * num_nodes, weights = num_nodes * c.entries;
    const size_t total = 2 * num_nodes + outputs + inputs + weights;
    float *results[2];
    c.layer.batch_norm = 1, c.layer.gamma = 0.3f, c.layer.binarize = (int)(t / 3 % 2), c.layer.clip_weight = 1;
    settle(&c);
    for (int run = 0; run < 2; ++run) {
      float *stats = results[run] = malloc(total * sizeof *stats), *y = stats + 2 * num_nodes, *dx = y + outputs;
      bad += qnn_isa_select(run ? isa : "scalar") != QNN_OK;
      bad += qnn_lut_train_forward(c.x, c.connections, c.weight, &c.layer, 1, stats, y) != QNN_OK;
      bad += qnn_lut_train_backward(c.x, c.connections, c.weight, &c.layer, 1, stats, c.dy, dx, dx + inputs) != QNN_OK;
    }
    const float *stats = results[1], *y = stats + 2 * num_nodes, *dx = y + outputs;
    bad += memcmp(results[0], results[1], total * sizeof *stats) != 0;
    for (size_t node = 0; node < num_nodes; ++node) {
      double mean = 0.0, var = 0.0;
      for (size_t f = 0; f < c.frames; ++f) mean += c.y1[f * num_nodes + node] / (double)c.frames;
      for (size_t f = 0; f < c.frames; ++f) var += pow(c.y1[f * num_nodes + node] - mean, 2) / (double)c.frames;
      bad += !(fabs(stats[node] - mean) <= 0x1.01p-24 * mean);
      bad += !(fabs(stats[num_nodes + node] - fmax(var, 1e-5f)) <= 0x1.01p-24 * fmax(var, 1e-5f) + 1e-14);
    }
    bad += check_forward(&c, stats, y);
    gradients g = backward(&c, stats, 1);
    bad += differing(dx, g.dx, g.dx_size, inputs, roundings);
    bad += differing(dx + inputs, g.dweight, g.dweight_size, weights, roundings);
    free_gradients(&g), free_case(&c), free(results[0]), free(results[1]);
  }
  return bad;
}

/* Truth tables are what forward gives at the corners. */
size_t test_lut_tables(void) {
  size_t bad = 0;
  for (size_t t = 0; t < 30; ++t) {
    lut_case c = new_case((size_t)1 << (2 + t % 5), 1, 2 + t % 5, (int)(t % 3));
    uint64_t tables[num_nodes];
    float *y = malloc(c.frames * num_nodes * sizeof *y);
    c.layer.batch_norm = (int)(t % 2), c.layer.binarize = 1, c.layer.clip_weight = 1, c.layer.gamma = 0.3f;
    for (size_t i = 0; i < num_nodes; ++i) c.stats[i] = random_float() > 0 ? 0.4f : 0.6f;
    for (size_t i = 0; i < num_nodes * c.layer.n; ++i) c.connections[i] = (float)(i % c.layer.n);
    for (size_t f = 0; f < c.frames; ++f)
      for (size_t k = 0; k < c.layer.n; ++k) c.x[f * in_nodes + k] = (float)(f >> k & 1);
    bad += qnn_lut_train_tables(c.weight, &c.layer, c.stats, tables) != QNN_OK;
    bad += qnn_lut_train_forward(c.x, c.connections, c.weight, &c.layer, 0, c.stats, y) != QNN_OK;
    for (size_t f = 0; f < c.frames; ++f)
      for (size_t node = 0; node < num_nodes; ++node) bad += y[f * num_nodes + node] != (float)(tables[node] >> f & 1);
    free_case(&c), free(y);
  }
  return bad;
}
