/* max_pool_bits.c: max of signs = OR of bits. Positions outside the image count as bit 0, which never wins. */
#include "internal.h"

/* Positions of the window along one axis, 0 for a bad one. pad < kernel: every window holds a pixel or a padding of one
 * that does; windows that lie in the padding only cannot arise. */
static size_t positions(size_t length, size_t kernel, size_t stride, size_t pad) {
  if (!length || !kernel || !stride || pad >= kernel || length > SIZE_MAX / 4 || kernel > SIZE_MAX / 4) return 0;
  return length + 2 * pad < kernel ? 0 : (length + 2 * pad - kernel) / stride + 1;
}

/* Part of the window at `start` (in padded coordinates) that lies inside the image: begin .. end. */
static void clip(size_t start, size_t kernel, size_t pad, size_t length, size_t *begin, size_t *end) {
  *begin = start > pad ? start - pad : 0;
  *end = start + kernel > pad ? qnn_min(start + kernel - pad, length) : 0;
}

qnn_status qnn_max_pool_bits(const uint64_t *in, size_t batch, size_t height, size_t width, size_t pixel_words,
                             size_t kernel_h, size_t kernel_w, size_t stride_h, size_t stride_w, size_t pad_h,
                             size_t pad_w, uint64_t *out) {
  if (!in || !out) return QNN_BAD_ARGUMENT;
  const size_t out_height = positions(height, kernel_h, stride_h, pad_h);
  const size_t out_width = positions(width, kernel_w, stride_w, pad_w);
  if (!batch || !pixel_words || !out_height || !out_width) return QNN_BAD_SHAPE;
  if (!qnn_fits(batch, height, width, pixel_words, sizeof *in) ||
      !qnn_fits(batch, out_height, out_width, pixel_words, sizeof *out))
    return QNN_BAD_SHAPE;

  const size_t num_rows = batch * out_height;
  const int num_threads = qnn_threads_for(batch * height * width * pixel_words, 1 << 16);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t row = 0; row < num_rows; ++row) {
    size_t y_begin, y_end;
    clip(row % out_height * stride_h, kernel_h, pad_h, height, &y_begin, &y_end);
    const uint64_t *image = in + row / out_height * height * width * pixel_words;
    uint64_t *to = out + row * out_width * pixel_words;
    memset(to, 0, out_width * pixel_words * sizeof *to);
    for (size_t x = 0; x < out_width; ++x, to += pixel_words) {
      size_t x_begin, x_end;
      clip(x * stride_w, kernel_w, pad_w, width, &x_begin, &x_end);
      for (size_t i = y_begin; i < y_end; ++i)
        for (size_t j = x_begin; j < x_end; ++j) {
          const uint64_t *from = image + (i * width + j) * pixel_words;
          for (size_t k = 0; k < pixel_words; ++k) to[k] |= from[k];
        }
    }
  }
  return QNN_OK;
}
