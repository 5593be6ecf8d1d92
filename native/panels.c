/* panels.c: rows of words -> panels of 16 interleaved filters, even ones first (bits.py, rows_to_panels). */
#include "internal.h"

qnn_status qnn_pack_panels(const uint64_t *rows, size_t num_filter, size_t k_words, size_t num_group,
                           uint64_t *panels) {
  if (!rows || !panels) return QNN_BAD_ARGUMENT;
  if (!num_filter || !k_words || !num_group || num_filter % num_group != 0) return QNN_BAD_SHAPE;
  if (!qnn_fits(num_filter, k_words, 1, 1, sizeof *rows)) return QNN_BAD_SHAPE;
  const size_t filters_per_group = num_filter / num_group;
  for (size_t group = 0; group < num_group; ++group)
    for (size_t start = 0, n; start < filters_per_group; start += n) {
      n = qnn_min(filters_per_group - start, QNN_PANEL_FILTERS);
      for (size_t k = 0; k < k_words; ++k) {
        for (size_t i = 0; i < n; i += 2) *panels++ = rows[i * k_words + k];
        for (size_t i = 1; i < n; i += 2) *panels++ = rows[i * k_words + k];
      }
      rows += n * k_words;
    }
  return QNN_OK;
}
