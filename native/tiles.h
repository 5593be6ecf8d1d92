/* tiles.h: matrix tiles of bytes, where an instruction set has them. */
#ifndef QNN_TILES_H
#define QNN_TILES_H

#include "internal.h"

/* Bits of the data become codes, bits of the weights factors, such that counts are those of xgemm and tgemm, whatever
 * the number of planes:
 *
 *   counts[j * ld + f] = first[f] + sum of segments s, words k, bits b:
 *                        code(pixel j, segments[s] + k, b) * factor(w[f][s*segment_words + k], b)
 *   code = sum of planes i: 2^i x_i                                   in 0 .. 2^a - 1
 *   xgemm:  factor = sum of planes j: 2^j (1 - 2 w_j)                 first = (2^a - 1) sum of words, bits, j: 2^j w_j
 *   tgemm:  factor = (1 - 2 sign) sum of planes j: 2^j magnitude_j    first = (2^a - 1) sum of these where sign is 1
 */
typedef struct {
  const size_t *segments;     /* in words, as in qnn_walk */
  size_t num_segments, segment_words;
  size_t pixel_words;         /* from one pixel of a piece to the next */
  size_t act_planes, weight_planes, panel_words;  /* words from a plane of a panel to its next */
  bool is_masked;
} qnn_tile_walk;

enum {
  QNN_TILE_ROWS = 16,         /* most pixels of a piece */
  QNN_TILE_PIECES = 4,        /* most pieces of a call */
  QNN_TILE_PLANES = 7         /* most planes of weights: factors are signed bytes */
};

struct qnn_tiles {
  /* Words of all planes -> 64 codes for each word. */
  void (*spread)(const uint64_t *words, size_t num_words, size_t num_planes, size_t plane_words, uint8_t *codes);
  /* Between start and stop a thread multiplies pieces of `rows` pixels. */
  void (*start)(size_t rows);
  void (*stop)(void);
  /* Counts of `num_pieces` <= QNN_TILE_PIECES pieces and `num_filter` <= 16 filters. pieces[i]: codes of the first
   * pixel of a piece, counts[i]: its counts. spread: room for the factors of two panels, `index` says whose: 64 bytes
   * and 1024 for every word of a filter, each, aligned to 64. The first call for a panel fills it, and leaves it for
   * others unless it is the last one, too. */
  void (*multiply)(const qnn_tile_walk *walk, size_t num_pieces, const uint8_t *const *pieces, const uint64_t *panel,
                   size_t num_filter, bool is_first, bool is_last, size_t index, int8_t *spread,
                   int32_t *const *counts, size_t ld);
  /* The same for one or two pieces and two panels whose factors are there. */
  void (*multiply_pair)(const qnn_tile_walk *walk, size_t num_pieces, const uint8_t *const *pieces, int8_t *spread,
                        int32_t *const *counts, size_t ld);
};

extern const qnn_tiles qnn_tiles__amx;
bool qnn_amx_is_usable(void);

#endif
