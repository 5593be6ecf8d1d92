/* stem.c: float first layers. Pooled rows of the convolution go through a ring that holds a window, in cache. */
#include <math.h>
#include <omp.h>

#include "shape.h"

enum { grain = 1 << 19, max_window = 64 };  /* products that are worth a thread; rows and columns of a pooling window */

typedef struct {
  const float *x;
  float *y;
  const qnn_conv2d_shape *shape;
  const qnn_stem *stem;
  const qnn_stem_kernels *kernels;
  qnn_stem_taps taps;
  qnn_stem_ends ends;
  size_t conv_height, conv_width;           /* before the pooling */
  size_t out_height, out_width;
  size_t chunk;                             /* output rows that a thread makes at a time */
  bool has_copy;                            /* of the rows that a chunk reads: data are padded, or normalised */
  size_t rows, width, plane;                /* of what is read: the copy, or x itself */
  size_t pool_rows, pool_stride;            /* of a window, of the next one; 1 without pooling */
  size_t row_floats, ring_floats;           /* of a row of the convolution, with the pooling's padding; of pooled rows */
} plan;

static size_t pooled(size_t length, size_t size, size_t stride, size_t pad) {
  if (!size) return length;
  return pad < size && size <= max_window ? qnn_positions(length, pad, size, stride, 1) : 0;
}

static bool is_valid(const qnn_conv2d_shape *s, const qnn_stem *stem) {
  return qnn_conv2d_is_valid(s) && s->num_group == 1 && s->dilate_h == 1 && s->dilate_w == 1 && s->num_filter % 16 == 0 &&
         !stem->pool_h == !stem->pool_w && qnn_fits(4 * max_window, s->width + 2 * s->pad_w, s->num_filter, 1, sizeof(float));
}

size_t qnn_stem_out_height(const qnn_conv2d_shape *s, const qnn_stem *stem) {
  if (!s || !stem || !is_valid(s, stem)) return 0;
  return pooled(qnn_conv2d_out_height(s), stem->pool_h, stem->pool_stride_h, stem->pool_pad_h);
}

size_t qnn_stem_out_width(const qnn_conv2d_shape *s, const qnn_stem *stem) {
  if (!s || !stem || !is_valid(s, stem)) return 0;
  return pooled(qnn_conv2d_out_width(s), stem->pool_w, stem->pool_stride_w, stem->pool_pad_w);
}

/* What never is the largest. */
static void fill(float *to, size_t count) {
  for (size_t i = 0; i < count; ++i) to[i] = -INFINITY;
}

static void normalise(const qnn_stem *stem, size_t channel, const float *restrict from, size_t count, float *restrict to) {
  if (!stem->mean) {
    memcpy(to, from, count * sizeof *to);
    return;
  }
  const float mean = stem->mean[channel], slope = stem->slope[channel], shift = stem->shift[channel];
  for (size_t i = 0; i < count; ++i) to[i] = (from[i] - mean) * slope + shift;
}

/* Rows begin .. end of the padded and normalised image, 0 outside of it, to `plane` and to the planes behind it. */
static void copy_rows(const plan *p, size_t image, size_t begin, size_t end, float *plane) {
  const qnn_conv2d_shape *s = p->shape;
  for (size_t c = 0; c < s->channels; ++c, plane += p->plane) {
    const float *from = p->x + (image * s->channels + c) * s->height * s->width;
    float *to = plane;
    for (size_t row = begin; row < end; ++row, to += p->width) {
      if (row < s->pad_h || row - s->pad_h >= s->height) {
        memset(to, 0, p->width * sizeof *to);
        continue;
      }
      memset(to, 0, s->pad_w * sizeof *to);
      normalise(p->stem, c, from + (row - s->pad_h) * s->width, s->width, to + s->pad_w);
      memset(to + s->pad_w + s->width, 0, s->pad_w * sizeof *to);
    }
  }
}

/* `memory`: a row, a ring and a copy, which only this thread uses. */
static void run_chunk(const plan *p, size_t image, size_t y, float *memory) {
  const qnn_conv2d_shape *s = p->shape;
  const qnn_stem *stem = p->stem;
  const size_t y_end = qnn_min(y + p->chunk, p->out_height), num_filter = s->num_filter, out_floats = p->out_width * num_filter;
  float *row = memory, *ring = row + p->row_floats, *copy = ring + p->ring_floats;
  const float *x = p->has_copy ? copy : p->x + image * s->channels * p->plane;
  size_t next = y * p->pool_stride;  /* row of the convolution, among pool_pad_h rows more */
  const size_t first = p->has_copy && next > stem->pool_pad_h ? (next - stem->pool_pad_h) * s->stride_h : 0;
  size_t copied = first;             /* row of the padded image; copied while it is in use, which keeps it in L1 */
  fill(row, p->row_floats);
  for (; y < y_end; ++y) {
    float *out = p->y + (image * p->out_height + y) * out_floats;
    const size_t begin = y * p->pool_stride, end = begin + p->pool_rows;
    if (next < begin) next = begin;
    for (; next < end; ++next) {
      float *pooled = ring + next % p->pool_rows * out_floats;
      if (next < stem->pool_pad_h || next - stem->pool_pad_h >= p->conv_height) {
        fill(pooled, out_floats);
        continue;
      }
      const size_t top = (next - stem->pool_pad_h) * s->stride_h;
      if (p->has_copy && copied < top + s->kernel_h) {
        copy_rows(p, image, copied, top + s->kernel_h, copy + (copied - first) * p->width);
        copied = top + s->kernel_h;
      }
      p->kernels->convolve(p->conv_width, x + (top - first) * p->width, &p->taps, &p->ends,
                           stem->pool_h ? row + stem->pool_pad_w * num_filter : out);
      if (stem->pool_h)
        p->kernels->pool(row, stem->pool_stride_w * num_filter, num_filter, stem->pool_w, p->out_width, num_filter, pooled);
    }
    if (stem->pool_h) p->kernels->pool(ring, 0, out_floats, stem->pool_h, 1, out_floats, out);
  }
}

/* Offsets, starts and ends of the sums. */
static void fill_tables(const plan *p, size_t *offsets, float *start, float *end) {
  const qnn_conv2d_shape *s = p->shape;
  for (size_t row = 0; row < s->kernel_h; ++row)
    for (size_t column = 0; column < s->kernel_w; ++column)
      for (size_t c = 0; c < s->channels; ++c) *offsets++ = c * p->plane + row * p->width + column;
  for (size_t f = 0; f < s->num_filter; ++f) {
    const float bias = p->stem->bias ? p->stem->bias[f] : -0.0f;
    start[f] = p->stem->bias_first && p->stem->bias ? bias : 0.0f;
    end[f] = p->stem->bias_first ? -0.0f : bias;
  }
}

static size_t lines(size_t bytes) { return qnn_ceil_div(bytes, 64) * 64; }

qnn_status qnn_stem_convolution(const float *x, const float *weight, const qnn_conv2d_shape *s, const qnn_stem *stem,
                                float *y) {
  if (!x || !weight || !s || !stem || !y || !stem->mean != !stem->slope || !stem->mean != !stem->shift)
    return QNN_BAD_ARGUMENT;
  plan p = {.x = x, .y = y, .shape = s, .stem = stem, .kernels = qnn_isa_active()->stem};
  p.out_height = qnn_stem_out_height(s, stem), p.out_width = qnn_stem_out_width(s, stem);
  if (!p.out_height || !p.out_width) return QNN_BAD_SHAPE;
  p.conv_height = qnn_conv2d_out_height(s), p.conv_width = qnn_conv2d_out_width(s);
  const size_t num_taps = s->kernel_h * s->kernel_w * s->channels;
  size_t work = s->batch * p.conv_height * p.conv_width;
  if (!qnn_multiply(work, num_taps * s->num_filter, &work)) work = SIZE_MAX;
  const int num_threads = qnn_threads_for(work, grain);
  p.chunk = qnn_ceil_div(p.out_height, qnn_min(p.out_height, qnn_ceil_div((size_t)num_threads, s->batch)));
  const size_t chunks = qnn_ceil_div(p.out_height, p.chunk);
  p.has_copy = s->pad_h || s->pad_w || stem->mean;
  p.pool_rows = stem->pool_h ? stem->pool_h : 1, p.pool_stride = stem->pool_h ? stem->pool_stride_h : 1;
  const size_t conv_rows = qnn_min((p.chunk - 1) * p.pool_stride + p.pool_rows, p.conv_height);
  p.rows = p.has_copy ? (conv_rows - 1) * s->stride_h + s->kernel_h : s->height;
  p.width = s->width + 2 * s->pad_w;
  p.plane = p.rows * p.width;
  p.row_floats = stem->pool_h ? (p.conv_width + 2 * stem->pool_pad_w) * s->num_filter : 0;
  p.ring_floats = stem->pool_h * p.out_width * s->num_filter;

  const size_t copy_floats = p.has_copy ? s->channels * p.plane : 0;
  const size_t own = lines((p.ring_floats + p.row_floats + copy_floats) * sizeof *x);
  const size_t table = lines(num_taps * sizeof(size_t)), ends = lines(s->num_filter * sizeof *x);
  char *memory = qnn_scratch(table + 2 * ends + (size_t)num_threads * own);
  if (!memory) return QNN_NO_MEMORY;
  float *start = (float *)(memory + table), *end = (float *)(memory + table + ends);
  fill_tables(&p, (size_t *)memory, start, end);
  p.taps = (qnn_stem_taps){(size_t *)memory, num_taps, s->stride_w, s->num_filter, weight};
  p.ends = (qnn_stem_ends){start, end, stem->relu};
  memory += table + 2 * ends;
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1) schedule(dynamic)
  for (size_t item = 0; item < s->batch * chunks; ++item)
    run_chunk(&p, item / chunks, item % chunks * p.chunk, (float *)(memory + (size_t)omp_get_thread_num() * own));
  return QNN_OK;
}
