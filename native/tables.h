/* tables.h: counts by looking up, where an instruction set looks up many bytes at once.
 *
 * Half a byte of a pixel and half a byte of a filter differ in popcount(x ^ w) bits, one of 16 counts for each x. So half
 * bytes of 16 filters are indices into the table of x, and one look-up makes 4 products of each of them. A count is 4 at
 * most: the other half of the table's byte has the count of the pixel beside, and three look-ups are added up before the
 * two are told apart. Data are bits, so that the tables of all pairs (x, x beside) are constants, and nothing is computed
 * for a pixel but where its tables lie. (For data of 8 bits, whose tables are computed: Wei et al., T-MAC,
 * arXiv:2407.00088.) */
#ifndef QNN_TABLES_H
#define QNN_TABLES_H

#include "internal.h"

enum {
  QNN_SPREAD_PIXEL = 4,       /* words for a word of a pair of pixels: 16 offsets of tables */
  QNN_SPREAD_PANEL = 32,      /* words for a word of 16 filters: 16 times 16 indices */
  QNN_TABLE_PANELS = 4,       /* most panels of a call */
  QNN_TABLE_FILTERS = QNN_TABLE_PANELS * QNN_PANEL_FILTERS,
  QNN_TABLE_PAIRS = 16,       /* most pairs: what they read and sum up stays in L1 */
  QNN_TABLE_WORDS = 7,        /* most words: sums of their low and of their high halves stay in bytes, 7 * 8 * 4 <= 255 */
  QNN_TABLE_SUMS = 16         /* words for the sums of a pair and a panel */
};

typedef enum { QNN_TABLE_START, QNN_TABLE_ADD, QNN_TABLE_DOUBLE } qnn_table_step;  /* 0, 1 and 2 times the sums before */

struct qnn_tables {
  /* Word k of a pixel, and word k + distance, of the one beside it (0 from num_words on) -> 4 words at spread + 4k. */
  void (*spread_pixels)(const uint64_t *words, size_t num_words, size_t distance, uint64_t *spread);
  /* Up to 4 panels behind each other, the last of which may be short, of num_words words a filter. */
  void (*spread_panels)(const uint64_t *panels, size_t num_filter, size_t num_words, uint64_t *spread);
  /* Sums += differing bits of num_words words: word k of a pair at pairs[i] + offsets[k], of the panels at the k-th
   * place. Sums stay within 16 bits. If counts is not NULL, these are the last words, and pair by pair the sums become
   * counts: of the first pixel at counts[i], of the one beside it ld behind. */
  void (*count)(size_t num_pairs, const uint64_t *const *pairs, const size_t *offsets, size_t num_words,
                size_t num_panels, const uint64_t *panels, qnn_table_step step, uint64_t *sums, int32_t *const *counts,
                size_t ld);
};

extern const qnn_tables qnn_tables__avx2;

/* True if tables are possible, and faster for as many pixels. */
bool qnn_tables_gain(const qnn_layer *layer, const qnn_isa *isa, size_t num_pixels);

/* Filters begin .. end of pixels first .. first+num_pixels by tables (layer_tables.c): false, and nothing done, if that is
 * not possible, or not faster. pixels: where each lies. */
bool qnn_run_tables(const qnn_layer *layer, const qnn_isa *isa, size_t first, size_t num_pixels,
                    const uint64_t *const *pixels, size_t begin, size_t end);

#endif
