/* train_conv-amx.c: AMX on bfloat16: 512 products a cycle, where float32 has 32. */
#include "../bf16_tiles.h"
#include "amx.h"
#include "lanes-avx512.h"

#define LOAD(tile, from) QNN_LOAD_TILE(tile, from, QNN_ROW_BYTES)

enum { sums_of_tile = QNN_LANES * QNN_LANES };

/* What the first term leaves; nothing of infinity and NaN. */
static inline __m512i rest_of(__m512i x) {
  const __m512i head = _mm512_and_si512(x, _mm512_set1_epi32((int)0xFFFF0000));
  const __mmask16 is_finite = _mm512_cmplt_epu32_mask(_mm512_slli_epi32(x, 1), _mm512_set1_epi32((int)0xFF000000));
  return _mm512_castps_si512(_mm512_maskz_sub_ps(is_finite, _mm512_castsi512_ps(x), _mm512_castsi512_ps(head)));
}

/* The first terms of both as pairs of bfloat16. */
static inline __m512i pairs_of(__m512i even, __m512i odd) {
  return _mm512_mask_blend_epi16(0xAAAAAAAA, _mm512_srli_epi32(even, 16), odd);
}

static void interleave(const float *even, const float *odd, size_t step, size_t num_even, size_t num_odd,
                       size_t num_pixels, size_t terms, uint8_t *to, size_t pixel_bytes, size_t term_bytes) {
  for (size_t p = 0; p < num_pixels; p += QNN_LANES, to += QNN_LANES * pixel_bytes) {
    const size_t count = qnn_min(num_pixels - p, QNN_LANES);
    const __mmask16 mask = first_lanes(count);
    const __m512i none = _mm512_setzero_si512();
    __m512i a[16], b[16];  /* read once: planes at powers of two throw each other out of the cache */
    for (size_t i = 0; i < 16; ++i) {
      a[i] = i < num_even ? _mm512_maskz_loadu_epi32(mask, even + i * step + p) : none;
      b[i] = i < num_odd ? _mm512_maskz_loadu_epi32(mask, odd + i * step + p) : none;
    }
    for (size_t term = 0; term < terms; ++term) {
      __m512i r[16];
#pragma GCC unroll 16
      for (size_t i = 0; i < 16; ++i) {
        r[i] = pairs_of(a[i], b[i]);
        if (terms == 1) continue;
        a[i] = rest_of(a[i]);
        b[i] = rest_of(b[i]);
      }
      transpose16((__m512 *)r);
      uint8_t *at = to + term * term_bytes;
#pragma GCC unroll 16
      for (size_t i = 0; i < 16; ++i)
        if (i < count) _mm512_store_si512(at + i * pixel_bytes, r[i]);
    }
  }
}

static void pack(const float *weight, size_t channels, size_t channel_step, size_t num_filter, size_t filter_step,
                 uint8_t *to) {
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i places = _mm512_mullo_epi32(lanes, _mm512_set1_epi32((int)filter_step));
  const __mmask16 mask = first_lanes(num_filter);
  for (size_t c = 0; c < QNN_CHUNK; c += 2, to += QNN_ROW_BYTES) {
    __m512i pair[2];
    for (size_t i = 0; i < 2; ++i)
      pair[i] = c + i < channels ? _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), mask, places,
                                                               weight + (c + i) * channel_step, sizeof *weight)
                                 : _mm512_setzero_si512();
    _mm512_store_si512(to, pairs_of(pair[0], pair[1]));
  }
}

/* Tiles 0, 1: sums of the first 16 images, 2, 3: of the others; 4 and 5: their codes; 6 and 7: factors. */
static void start(size_t images) {
  assert(images >= 1 && images <= 2 * QNN_LANES);
  const size_t ahead = qnn_min(images, QNN_LANES), behind = images > QNN_LANES ? images - QNN_LANES : QNN_LANES;
  uint8_t rows[8];
  for (size_t i = 0; i < 8; ++i) rows[i] = (uint8_t)(i > 5 ? QNN_LANES : i < 2 || i == 4 ? ahead : behind);
  configure_tiles(rows);
}

static void stop(void) {
  _mm_sfence();  /* behind streamed stores */
  _tile_release();
}

/* two_images: more than 16 of them. The first three are constants where this is called. */
static inline __attribute__((always_inline)) void run(const bool two_images, const bool two_blocks, const size_t terms,
                                                      const qnn_tap_walk *walk, const qnn_taps *columns,
                                                      const uint8_t *factors, float *sums) {
  const size_t images = walk->images, blocks = two_blocks ? 2 : 1, pitch = sums_of_tile * sizeof *sums;
  const size_t tap_bytes = walk->chunks * blocks * QNN_TILE_BYTES;
  _tile_zero(0);
  if (two_blocks) _tile_zero(1);
  if (two_images) _tile_zero(2);
  if (two_images && two_blocks) _tile_zero(3);
  for (size_t i = 0; i < walk->num_rows; ++i) {
    const qnn_row row = walk->rows[i];
    for (size_t j = 0; j < columns->count; ++j) {
      const uint8_t *a = row.codes + (columns->source + j * (size_t)columns->source_step) * walk->pixel_bytes;
      const uint8_t *b = factors + (row.tap + columns->tap + j * columns->tap_step) * tap_bytes;
      for (size_t k = 0; k < walk->chunks; ++k, b += blocks * QNN_TILE_BYTES) {
        LOAD(6, b);
        if (two_blocks) LOAD(7, b + QNN_TILE_BYTES);
#pragma GCC unroll 3
        for (size_t term = 0; term < terms; ++term, a += images * QNN_ROW_BYTES) {
          LOAD(4, a);
          _tile_dpbf16ps(0, 4, 6);
          if (two_blocks) _tile_dpbf16ps(1, 4, 7);
          if (!two_images) continue;
          LOAD(5, a + QNN_TILE_BYTES);
          _tile_dpbf16ps(2, 5, 6);
          if (two_blocks) _tile_dpbf16ps(3, 5, 7);
        }
      }
    }
  }
  float *const other = sums + images * sums_of_tile;
  _tile_stored(0, sums, pitch);
  if (two_blocks) _tile_stored(1, other, pitch);
  if (two_images) _tile_stored(2, sums + QNN_LANES * sums_of_tile, pitch);
  if (two_images && two_blocks) _tile_stored(3, other + QNN_LANES * sums_of_tile, pitch);
}

/* A function for each, as in tiles-amx.c. */
typedef void variant(const qnn_tap_walk *walk, const qnn_taps *columns, const uint8_t *factors, float *sums);
#define VARIANT(name, ...)                                                                                            \
  static void name(const qnn_tap_walk *walk, const qnn_taps *columns, const uint8_t *factors, float *sums) {          \
    run(__VA_ARGS__, walk, columns, factors, sums);                                                                   \
  }
VARIANT(one_by_one, false, false, 1)
VARIANT(one_by_two, false, true, 1)
VARIANT(two_by_one, true, false, 1)
VARIANT(two_by_two, true, true, 1)
VARIANT(one_by_one_terms, false, false, QNN_TERMS)
VARIANT(one_by_two_terms, false, true, QNN_TERMS)

static void multiply(const qnn_tap_walk *walk, size_t blocks, const qnn_taps *columns, const uint8_t *factors,
                     float *sums) {
  static variant *const variants[3][2] = {
      {one_by_one, one_by_two}, {two_by_one, two_by_two}, {one_by_one_terms, one_by_two_terms}};
  const bool has_terms = walk->terms > 1;
  assert((blocks == 1 || blocks == 2) && walk->images <= (has_terms ? QNN_LANES : 2 * QNN_LANES));
  variants[has_terms ? 2 : walk->images > QNN_LANES][blocks > 1](walk, columns, factors, sums);
}

static void write(const float *sums, size_t num_pixels, size_t num_filter, const float *bias, bool is_far, float *y,
                  size_t plane) {
  const bool is_streamed = is_far && num_pixels == QNN_LANES && !((uintptr_t)y % 64) && !(plane % QNN_LANES);
  const __mmask16 mask = first_lanes(num_pixels);
  __m512i r[16];
#pragma GCC unroll 16
  for (size_t i = 0; i < 16; ++i) r[i] = _mm512_load_si512(sums + i * QNN_LANES);
  transpose16((__m512 *)r);
#pragma GCC unroll 16
  for (size_t f = 0; f < 16; ++f) {
    if (f >= num_filter) continue;
    __m512 x = _mm512_castsi512_ps(r[f]);
    if (bias) x = _mm512_add_ps(x, _mm512_set1_ps(bias[f]));
    if (is_streamed)
      _mm512_stream_ps(y + f * plane, x);
    else
      _mm512_mask_storeu_ps(y + f * plane, mask, x);
  }
}

/* Tiles 0, 1: sums of a block of filters, 2, 3: of the next; 4 and 5: gradients; 6 and 7: codes. */
static inline __attribute__((always_inline)) void run_pixels(const bool two_filters, const bool two_channels,
                                                             const qnn_pixel_walk *walk, bool is_first, float *sums,
                                                             size_t step) {
  _Alignas(64) float part[4][sums_of_tile];
  _tile_zero(0);
  if (two_channels) _tile_zero(1);
  if (two_filters) _tile_zero(2);
  if (two_filters && two_channels) _tile_zero(3);
  for (size_t i = 0; i < walk->groups * walk->rows; ++i) {
    const size_t group = i / walk->rows, row = i % walk->rows;
    const uint8_t *a = walk->gradients + group * walk->gradient_group + row * walk->gradient_row;
    const uint8_t *b = walk->codes + group * walk->code_group + row * walk->code_row;
    for (size_t j = 0; j < walk->columns; ++j, a += walk->gradient_pixel, b += walk->code_pixel) {
      LOAD(6, b);
      if (two_channels) LOAD(7, b + QNN_TILE_BYTES);
#pragma GCC unroll 3
      for (size_t term = 0; term < QNN_TERMS; ++term) {
        LOAD(4, a + term * QNN_TILE_BYTES);
        _tile_dpbf16ps(0, 4, 6);
        if (two_channels) _tile_dpbf16ps(1, 4, 7);
        if (!two_filters) continue;
        LOAD(5, a + (QNN_TERMS + term) * QNN_TILE_BYTES);
        _tile_dpbf16ps(2, 5, 6);
        if (two_channels) _tile_dpbf16ps(3, 5, 7);
      }
    }
  }
  _tile_stored(0, part[0], QNN_ROW_BYTES);
  if (two_channels) _tile_stored(1, part[1], QNN_ROW_BYTES);
  if (two_filters) _tile_stored(2, part[2], QNN_ROW_BYTES);
  if (two_filters && two_channels) _tile_stored(3, part[3], QNN_ROW_BYTES);
  for (size_t i = 0; i < 4; ++i) {
    if ((i / 2 && !two_filters) || (i % 2 && !two_channels)) continue;
    float *to = sums + i / 2 * step + i % 2 * sums_of_tile;
    for (size_t k = 0; k < sums_of_tile; ++k) to[k] = is_first ? part[i][k] : to[k] + part[i][k];
  }
}

static void accumulate(const qnn_pixel_walk *walk, size_t filter_blocks, size_t channel_blocks, bool is_first,
                       float *sums, size_t block_step) {
  assert(filter_blocks >= 1 && filter_blocks <= 2 && channel_blocks >= 1 && channel_blocks <= 2);
  if (filter_blocks == 2 && channel_blocks == 2)
    run_pixels(true, true, walk, is_first, sums, block_step);
  else if (filter_blocks == 2)
    run_pixels(true, false, walk, is_first, sums, block_step);
  else if (channel_blocks == 2)
    run_pixels(false, true, walk, is_first, sums, block_step);
  else
    run_pixels(false, false, walk, is_first, sums, block_step);
}

static void scatter(const float *sums, size_t tap_step, size_t num_taps, size_t channels, float *y) {
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i places = _mm512_mullo_epi32(lanes, _mm512_set1_epi32((int)num_taps));
  for (size_t tap = 0; tap < num_taps; ++tap, sums += tap_step)
    _mm512_mask_i32scatter_ps(y + tap, first_lanes(channels), places, _mm512_loadu_ps(sums), sizeof *y);
}

const qnn_bf16_tiles qnn_bf16_tiles__amx = {interleave, pack, start, stop, multiply, write, accumulate, scatter};
