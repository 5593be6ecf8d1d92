/* bf16_tiles.h: matrix tiles of bfloat16, where an instruction set has them; train_conv_tiles.c walks over them.
 *
 * A tile has 16 rows of 64 bytes. Rows are images, so that every tap of every pixel is a tile of its own: no stride,
 * dilation or border makes one less than full. Sums are float32, each of 16 x 16 after the other pair of products:
 *
 *   sums[i][f] += sum of k < 32: codes[i][k] factors[k/2][f][k%2]
 *
 * A float32 is a sum of three bfloat16, exactly: its first 8 significant bits, the next, and the rest ("terms"). All
 * have its sign, so that none is larger. Infinity and NaN are the first term alone and act as in float32. Processors
 * take denormal bfloat16 for 0: a term below 2^-126 counts nothing. */
#ifndef QNN_BF16_TILES_H
#define QNN_BF16_TILES_H

#include "internal.h"

enum {
  QNN_LANES = 16,             /* rows of a tile, filters of a block */
  QNN_CHUNK = 32,             /* products of one sum and tile */
  QNN_ROW_BYTES = 64,
  QNN_TILE_BYTES = QNN_LANES * QNN_ROW_BYTES,
  QNN_TERMS = 3
};

/* The taps of an output position along one axis: taps tap + i tap_step meet sources source + i source_step. */
typedef struct {
  size_t count, tap, tap_step, source;
  ptrdiff_t source_step;
} qnn_taps;

/* A tap of a row that exists: the source's codes, and the number of its first column's tap. */
typedef struct {
  const uint8_t *codes;
  size_t tap;
} qnn_row;

/* Codes of an image's pixel: [chunk of 32 channels][term][image][32].
 * Factors: [tap][chunk][block of 16 filters][16 pairs of channels][16 filters][2]. */
typedef struct {
  size_t images;              /* 1..32 */
  size_t chunks, terms;       /* terms: 1 or QNN_TERMS */
  size_t pixel_bytes, num_rows;
  const qnn_row *rows;
} qnn_tap_walk;

/* Pixels of the output and the inputs that one tap multiplies: groups of 32 images, rows, columns.
 * Gradients: [block of 16 filters][term][16 filters][32 images];
 * codes: [block of 16 channels][16 pairs of images][16 channels][2]. */
typedef struct {
  size_t groups, rows, columns;
  const uint8_t *gradients, *codes;
  size_t gradient_group, gradient_row, gradient_pixel, code_group, code_row, code_pixel;  /* steps in bytes */
} qnn_pixel_walk;

struct qnn_bf16_tiles {
  /* Pairs of rows i < 16 of floats, even + i step and odd + i step (0 from num_even and num_odd on), pixel by pixel:
   * 16 pairs of bfloat16, at to + pixel * pixel_bytes + term * term_bytes. One term: the floats are bfloat16. */
  void (*interleave)(const float *even, const float *odd, size_t step, size_t num_even, size_t num_odd,
                     size_t num_pixels, size_t terms, uint8_t *to, size_t pixel_bytes, size_t term_bytes);
  /* The factors of up to 32 channels and 16 filters, 0 behind them; steps in floats. */
  void (*pack)(const float *weight, size_t channels, size_t channel_step, size_t num_filter, size_t filter_step,
               uint8_t *to);
  /* Between start and stop a thread multiplies, tiles of up to 32 images. */
  void (*start)(size_t images);
  void (*stop)(void);
  /* One output pixel, one or two blocks of filters: sums[block][image][.. 16 pixels][16 filters]. */
  void (*multiply)(const qnn_tap_walk *walk, size_t blocks, const qnn_taps *columns, const uint8_t *factors,
                   float *sums);
  /* sums[16 pixels][16 filters] + bias (NULL: none) -> y[filter * plane + pixel], past the caches if is_far. */
  void (*write)(const float *sums, size_t num_pixels, size_t num_filter, const float *bias, bool is_far, float *y,
                size_t plane);
  /* Products of all pixels, one or two blocks of filters and of channels, added to what is there unless is_first:
   * sums[filter block * block_step + channel block * 256 + filter * 16 + channel]. */
  void (*accumulate)(const qnn_pixel_walk *walk, size_t filter_blocks, size_t channel_blocks, bool is_first,
                     float *sums, size_t block_step);
  /* sums[tap * tap_step + channel] -> y[channel * num_taps + tap], up to 16 channels. */
  void (*scatter)(const float *sums, size_t tap_step, size_t num_taps, size_t channels, float *y);
};

extern const qnn_bf16_tiles qnn_bf16_tiles__amx;

#endif
