/* train_conv_plain.c: the passes of train_conv.c in float32, for processors without tiles of bfloat16: matrix products
 * of 4 rows with 8 columns, which are gathered before (im2col):
 *
 *   forward:              filters x pixels of the output,   summed over channels and taps
 *   gradient of data:     channels x pixels of the input,   over filters and taps
 *   gradient of weights:  filters x channels and taps,      over pixels; images are added in double */
#include "train_conv.h"

enum { lanes = 8, rows = 4, grain_products = 1 << 18 };

typedef float vector __attribute__((vector_size(lanes * sizeof(float))));

static int threads_for(const qnn_conv2d_shape *s) {
  size_t work = s->batch * s->num_filter * qnn_conv2d_out_height(s) * qnn_conv2d_out_width(s);  /* floats: fits */
  if (!qnn_multiply(work, s->channels * s->kernel_h * s->kernel_w, &work)) work = SIZE_MAX;
  return qnn_threads_for(work, grain_products);
}

/* sums[i] = sum of g < groups, t < depth: a[i * row + g * group + t] b[g * depth + t] for i < count. */
static void multiply(size_t count, size_t groups, size_t group, size_t depth, const float *a, size_t row,
                     const vector *b, vector sums[rows]) {
  const float *a1 = a + (count > 1 ? row : 0), *a2 = a + (count > 2 ? 2 * row : 0), *a3 = a + (count > 3 ? 3 * row : 0);
  vector s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
  for (size_t g = 0; g < groups; ++g, a += group, a1 += group, a2 += group, a3 += group, b += depth)
    for (size_t t = 0; t < depth; ++t) {
      s0 += a[t] * b[t];
      s1 += a1[t] * b[t];
      s2 += a2[t] * b[t];
      s3 += a3[t] * b[t];
    }
  sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}

/* Where output `at` of tap `tap` lies in the input, or the length of that: outside. */
static size_t input_of(const qnn_axis *axis, size_t at, size_t tap) {
  const size_t place = at * axis->stride + tap * axis->dilate;
  return place < axis->pad || place - axis->pad >= axis->length ? axis->length : place - axis->pad;
}

/* The output whose tap `tap` lies at `at` of the input, or their number: none. */
static size_t output_of(const qnn_axis *axis, size_t at, size_t tap) {
  const size_t place = at + axis->pad, offset = tap * axis->dilate;
  if (place < offset || (place - offset) % axis->stride) return axis->out_length;
  return qnn_min((place - offset) / axis->stride, axis->out_length);
}

typedef size_t position(const qnn_axis *axis, size_t at, size_t tap);

/* Offsets of what each tap of `count` pixels of a plane from `first` on meets in the other plane; SIZE_MAX: nothing. */
static void find_places(const qnn_axis *h, const qnn_axis *w, position *of, size_t first, size_t count, size_t width,
                        size_t other_height, size_t other_width, size_t *places) {
  for (size_t i = 0; i < h->kernel; ++i)
    for (size_t j = 0; j < w->kernel; ++j)
      for (size_t q = 0; q < lanes; ++q) {
        size_t *place = places + (i * w->kernel + j) * lanes + q;
        *place = SIZE_MAX;
        if (q >= count) continue;
        const size_t y = of(h, (first + q) / width, i), x = of(w, (first + q) % width, j);
        if (y < other_height && x < other_width) *place = y * other_width + x;
      }
}

/* sums over planes and taps, for the pixels of one plane after the other: what forward and gradient of data share. */
static qnn_status multiply_planes(const qnn_conv2d_shape *s, bool is_gradient, const float *from, const float *weight,
                                  const float *bias, float *to) {
  const qnn_axis h = qnn_rows_of(s), w = qnn_columns_of(s);
  const size_t taps = s->kernel_h * s->kernel_w, planes = is_gradient ? s->num_filter : s->channels;
  const size_t out_planes = is_gradient ? s->channels : s->num_filter, filter = s->channels * taps;
  const size_t in_h = is_gradient ? h.out_length : h.length, in_w = is_gradient ? w.out_length : w.length;
  const size_t out_w = is_gradient ? w.length : w.out_length;
  const size_t out_plane = out_w * (is_gradient ? h.length : h.out_length), blocks = qnn_ceil_div(out_plane, lanes);
  const int num_threads = threads_for(s);
  bool is_done = true;
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1) reduction(&& : is_done)
  for (size_t task = 0; task < s->batch * blocks; ++task) {
    const size_t n = task / blocks, first = task % blocks * lanes, count = qnn_min(out_plane - first, lanes);
    vector *columns = qnn_scratch(planes * taps * sizeof *columns + taps * lanes * sizeof(size_t)), sums[rows];
    if (!columns) {
      is_done = false;
      continue;
    }
    size_t *places = (size_t *)(columns + planes * taps);
    find_places(&h, &w, is_gradient ? output_of : input_of, first, count, out_w, in_h, in_w, places);
    for (size_t c = 0; c < planes; ++c) {
      const float *plane = from + (n * planes + c) * in_h * in_w;
      float *column = (float *)(columns + c * taps);
      for (size_t i = 0; i < taps * lanes; ++i) column[i] = places[i] == SIZE_MAX ? 0.0f : plane[places[i]];
    }
    for (size_t f = 0; f < out_planes; f += rows) {
      const size_t num = qnn_min(out_planes - f, rows);
      if (is_gradient)
        multiply(num, planes, filter, taps, weight + f * taps, taps, columns, sums);
      else
        multiply(num, 1, 0, filter, weight + f * filter, filter, columns, sums);
      for (size_t i = 0; i < num; ++i) {
        const float summand = bias ? bias[f + i] : 0.0f;
        for (size_t q = 0; q < count; ++q) to[(n * out_planes + f + i) * out_plane + first + q] = sums[i][q] + summand;
      }
    }
  }
  return is_done ? QNN_OK : QNN_NO_MEMORY;
}

qnn_status qnn_train_plain_forward(const qnn_conv2d_shape *s, const float *x, const float *weight, const float *bias,
                                   float *y) {
  return multiply_planes(s, false, x, weight, bias, y);
}

qnn_status qnn_train_plain_grad_data(const qnn_conv2d_shape *s, const float *dy, const float *weight, float *dx) {
  return multiply_planes(s, true, dy, weight, NULL, dx);
}

/* Lane by lane: the values of x that this channel and tap meets, pixel by pixel. */
static void gather_pixels(const qnn_conv2d_shape *s, const qnn_axis *h, const qnn_axis *w, const float *image,
                          size_t first, size_t count, vector *columns) {
  const size_t taps = s->kernel_h * s->kernel_w;
  memset(columns, 0, h->out_length * w->out_length * sizeof *columns);
  for (size_t k = 0; k < count; ++k) {
    const size_t c = (first + k) / taps, i = (first + k) % taps / s->kernel_w, j = (first + k) % s->kernel_w;
    const qnn_span v = qnn_outputs_of(h, i), u = qnn_outputs_of(w, j);
    for (size_t y = v.first; y < v.last; ++y) {
      const float *row = image + (c * s->height + qnn_input_of(h, y, i)) * s->width;
      for (size_t x = u.first; x < u.last; ++x) columns[y * w->out_length + x][k] = row[qnn_input_of(w, x, j)];
    }
  }
}

qnn_status qnn_train_plain_grad_weight(const qnn_conv2d_shape *s, const float *x, const float *dy, float *dweight) {
  const qnn_axis h = qnn_rows_of(s), w = qnn_columns_of(s);
  const size_t plane = h.out_length * w.out_length, size = s->channels * s->kernel_h * s->kernel_w;
  const int num_threads = threads_for(s);
  bool is_done = true;
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1) reduction(&& : is_done)
  for (size_t first = 0; first < size; first += lanes) {
    const size_t count = qnn_min(size - first, lanes);
    vector *columns = qnn_scratch(plane * sizeof *columns + s->num_filter * lanes * sizeof(double)), sums[rows];
    if (!columns) {
      is_done = false;
      continue;
    }
    double *totals = (double *)(columns + plane);
    memset(totals, 0, s->num_filter * lanes * sizeof *totals);
    for (size_t n = 0; n < s->batch; ++n) {
      gather_pixels(s, &h, &w, x + n * s->channels * s->height * s->width, first, count, columns);
      for (size_t f = 0; f < s->num_filter; f += rows) {
        const size_t num = qnn_min(s->num_filter - f, rows);
        multiply(num, 1, 0, plane, dy + (n * s->num_filter + f) * plane, plane, columns, sums);
        for (size_t i = 0; i < num; ++i)
          for (size_t k = 0; k < lanes; ++k) totals[(f + i) * lanes + k] += (double)sums[i][k];
      }
    }
    for (size_t f = 0; f < s->num_filter; ++f)
      for (size_t k = 0; k < count; ++k) dweight[f * size + first + k] = (float)totals[f * lanes + k];
  }
  return is_done ? QNN_OK : QNN_NO_MEMORY;
}
