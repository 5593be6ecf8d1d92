/* tables.h: counts by looking up, where an instruction set looks up many bytes at once.
 *
 * Half a byte of a pixel and half a byte of a filter differ in popcount(x ^ w) bits, one of 16 counts for each x. A
 * register holds such halves of 16 filters and is the index into the table of counts of x: one look-up for 4 products of
 * 16 filters, where popcounts take four times the instructions. The tables are constants, because data are bits; so
 * nothing is computed per pixel (as T-MAC does for bytes: Wei et al., arXiv:2407.00088), only found. */
#ifndef QNN_TABLES_H
#define QNN_TABLES_H

#include "internal.h"

enum {
  QNN_SPREAD_PIXEL = 2,       /* words for a word of a pixel: 8 offsets of tables */
  QNN_SPREAD_PANEL = 32       /* words for a word of 16 filters: 8 times 32 indices */
};

struct qnn_tables {
  size_t mr;                  /* pixels of a call */
  void (*spread_pixels)(const uint64_t *words, size_t num_words, uint64_t *spread);
  /* One panel, or two full ones behind each other, of num_words words a filter. */
  void (*spread_panels)(const uint64_t *panels, size_t num_filter, size_t num_words, uint64_t *spread);
  /* Counts of xgemm, for spread pixels and panels: segments and pairs count words of before. Sums stay within 16 bits. */
  qnn_xgemm_ukernel *xgemm;
};

extern const qnn_tables qnn_tables__avx2;

/* A block of pixels of a layer, spread (layer_tables.c): what the micro-kernels walk over. */
typedef struct {
  qnn_walk walk;
  qnn_pair pairs[QNN_MAX_PLANES * QNN_MAX_PLANES];
  uint64_t *panels;
} qnn_spread;

/* True if `num_pixels` pixels at a time are faster by tables. */
bool qnn_tables_gain(const qnn_layer *layer, const qnn_isa *isa, size_t num_pixels);

/* Spreads what the pixels read, and sets them to where that lies; false, and nothing done, if there is no memory for it.
 * It stays until the thread's next call. */
bool qnn_spread_pixels(const qnn_layer *layer, const qnn_isa *isa, size_t num_pixels, const uint64_t **pixels,
                       qnn_spread *spread);

/* Panels of filters filter .. filter+num_filter, in place of those before. */
const uint64_t *qnn_spread_panels(const qnn_layer *layer, const qnn_isa *isa, size_t filter, size_t num_filter,
                                  const qnn_spread *spread);

#endif
