/* xgemm.c: y = finish(popcount(a xor w)) for rows of words; the fully connected layer. One row is one pixel. */
#include "internal.h"

qnn_status qnn_xgemm(const uint64_t *a, const uint64_t *panels, size_t rows, size_t num_filter, size_t k,
                     const qnn_output *output, float *y) {
  if (!a || !panels || !y || !qnn_output_is_valid(output, num_filter)) return QNN_BAD_ARGUMENT;
  const size_t k_words = qnn_words_for(k), start = 0;
  if (!rows || !num_filter || !k || k > QNN_MAX_K) return QNN_BAD_SHAPE;
  if (!qnn_fits(rows, k_words, 1, 1, sizeof(uint64_t)) || !qnn_fits(num_filter, k_words, 1, 1, sizeof(uint64_t)) ||
      !qnn_fits(rows, num_filter, 1, 1, sizeof(float)))
    return QNN_BAD_SHAPE;
  const qnn_pair pair = {0, 0, false};
  const qnn_layer layer = {
      .image = a, .panels = panels, .num_planes = 1, .weight_planes = 1, .batch = 1, .out_height = 1, .out_width = rows,
      .pixel_words = k_words, .num_filter = num_filter, .num_group = 1,
      .walk = {.segments = &start, .num_segments = 1, .segment_words = k_words, .pairs = &pair, .num_pairs = 1},
      .k = k, .range = (int32_t)k, .step = 2, .is_half = !output->no_offset, .output = output, .is_nhwc = true, .y = y};
  qnn_run_layer(&layer);
  return QNN_OK;
}
