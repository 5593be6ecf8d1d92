/* train_conv_plain.c: the passes of train_conv.c by plain loops in float32, for processors without tiles of bfloat16.
 * The innermost loop runs along a row of the output, the tap fixed. Threads share planes of what they write. */
#include "train_conv.h"

enum { grain_products = 1 << 18 };

static int threads_for(const qnn_conv2d_shape *s, const qnn_axis *rows, const qnn_axis *columns) {
  size_t work = s->batch * s->num_filter * rows->out_length * columns->out_length;  /* floats in memory: fits */
  if (!qnn_multiply(work, s->channels * s->kernel_h * s->kernel_w, &work)) work = SIZE_MAX;
  return qnn_threads_for(work, grain_products);
}

static void add_row(size_t count, float w, const float *restrict x, size_t stride, float *restrict y) {
  if (stride == 1)
    for (size_t i = 0; i < count; ++i) y[i] += w * x[i];
  else
    for (size_t i = 0; i < count; ++i) y[i] += w * x[i * stride];
}

static void spread_row(size_t count, float w, const float *restrict y, size_t stride, float *restrict x) {
  if (stride == 1)
    for (size_t i = 0; i < count; ++i) x[i] += w * y[i];
  else
    for (size_t i = 0; i < count; ++i) x[i * stride] += w * y[i];
}

static float dot_row(size_t count, const float *x, size_t stride, const float *y) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < count; ++i) sum += x[i * stride] * y[i];
  return sum;
}

qnn_status qnn_train_plain_forward(const qnn_conv2d_shape *s, const float *x, const float *weight, const float *bias,
                                   float *y) {
  const qnn_axis rows = qnn_rows_of(s), columns = qnn_columns_of(s);
  const size_t in_plane = s->height * s->width, plane = rows.out_length * columns.out_length;
  const int num_threads = threads_for(s, &rows, &columns);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t nf = 0; nf < s->batch * s->num_filter; ++nf) {
    const size_t n = nf / s->num_filter, f = nf % s->num_filter;
    const float *w = weight + f * s->channels * s->kernel_h * s->kernel_w;
    float *to = y + nf * plane;
    memset(to, 0, plane * sizeof *to);
    for (size_t c = 0; c < s->channels; ++c)
      for (size_t i = 0; i < s->kernel_h; ++i) {
        const qnn_span v = qnn_outputs_of(&rows, i);
        for (size_t j = 0; j < s->kernel_w; ++j, ++w) {
          const qnn_span h = qnn_outputs_of(&columns, j);
          if (h.first == h.last) continue;
          const float *from = x + (n * s->channels + c) * in_plane + qnn_input_of(&columns, h.first, j);
          for (size_t q = v.first; q < v.last; ++q)
            add_row(h.last - h.first, *w, from + qnn_input_of(&rows, q, i) * s->width, s->stride_w,
                    to + q * columns.out_length + h.first);
        }
      }
    if (!bias) continue;
    for (size_t q = 0; q < plane; ++q) to[q] += bias[f];
  }
  return QNN_OK;
}

qnn_status qnn_train_plain_grad_data(const qnn_conv2d_shape *s, const float *dy, const float *weight, float *dx) {
  const qnn_axis rows = qnn_rows_of(s), columns = qnn_columns_of(s);
  const size_t in_plane = s->height * s->width, plane = rows.out_length * columns.out_length;
  const int num_threads = threads_for(s, &rows, &columns);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t nc = 0; nc < s->batch * s->channels; ++nc) {
    const size_t n = nc / s->channels, c = nc % s->channels;
    float *to = dx + nc * in_plane;
    memset(to, 0, in_plane * sizeof *to);
    for (size_t f = 0; f < s->num_filter; ++f) {
      const float *w = weight + (f * s->channels + c) * s->kernel_h * s->kernel_w;
      for (size_t i = 0; i < s->kernel_h; ++i) {
        const qnn_span v = qnn_outputs_of(&rows, i);
        for (size_t j = 0; j < s->kernel_w; ++j, ++w) {
          const qnn_span h = qnn_outputs_of(&columns, j);
          if (h.first == h.last) continue;
          const float *from = dy + (n * s->num_filter + f) * plane + h.first;
          for (size_t q = v.first; q < v.last; ++q)
            spread_row(h.last - h.first, *w, from + q * columns.out_length, s->stride_w,
                       to + qnn_input_of(&rows, q, i) * s->width + qnn_input_of(&columns, h.first, j));
        }
      }
    }
  }
  return QNN_OK;
}

qnn_status qnn_train_plain_grad_weight(const qnn_conv2d_shape *s, const float *x, const float *dy, float *dweight) {
  const qnn_axis rows = qnn_rows_of(s), columns = qnn_columns_of(s);
  const size_t in_plane = s->height * s->width, plane = rows.out_length * columns.out_length;
  const int num_threads = threads_for(s, &rows, &columns);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t fc = 0; fc < s->num_filter * s->channels; ++fc) {
    const size_t f = fc / s->channels, c = fc % s->channels;
    float *to = dweight + fc * s->kernel_h * s->kernel_w;
    for (size_t i = 0; i < s->kernel_h; ++i) {
      const qnn_span v = qnn_outputs_of(&rows, i);
      for (size_t j = 0; j < s->kernel_w; ++j, ++to) {
        const qnn_span h = qnn_outputs_of(&columns, j);
        double sum = 0.0;
        for (size_t n = 0; n < s->batch && h.first < h.last; ++n) {
          const float *a = x + (n * s->channels + c) * in_plane + qnn_input_of(&columns, h.first, j);
          const float *b = dy + (n * s->num_filter + f) * plane + h.first;
          for (size_t q = v.first; q < v.last; ++q)
            sum += (double)dot_row(h.last - h.first, a + qnn_input_of(&rows, q, i) * s->width, s->stride_w,
                                   b + q * columns.out_length);
        }
        *to = (float)sum;
      }
    }
  }
  return QNN_OK;
}
