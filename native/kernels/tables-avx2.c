/* tables-avx2.c: vpshufb looks up 32 bytes in two tables of 16: those of the low halves of a byte of two pixels, and those
 * of the high halves. A register of indices has the same two halves of a byte of 16 filters, so that a look-up makes 256
 * products, and three of them with their additions take nine instructions; counting bits takes eight for 256. Sums stay
 * in bytes for 7 words (7 * 8 * 4 = 224), then 16 bits take them. */
#include <immintrin.h>

#include "../tables.h"

enum { word_bytes = 8, table_bytes = 16, index_bytes = 32, group = 3 };

#define COUNT(n) (((n) & 1) + ((n) >> 1 & 1) + ((n) >> 2 & 1) + ((n) >> 3 & 1))
#define COUNTS(x, y, n) COUNT((x) ^ (n)) + 16 * COUNT((y) ^ (n))
#define TABLE(x, y)                                                                                                   \
  {COUNTS(x, y, 0), COUNTS(x, y, 1), COUNTS(x, y, 2), COUNTS(x, y, 3), COUNTS(x, y, 4), COUNTS(x, y, 5),              \
   COUNTS(x, y, 6), COUNTS(x, y, 7), COUNTS(x, y, 8), COUNTS(x, y, 9), COUNTS(x, y, 10), COUNTS(x, y, 11),            \
   COUNTS(x, y, 12), COUNTS(x, y, 13), COUNTS(x, y, 14), COUNTS(x, y, 15)}
#define TABLES(y)                                                                                                     \
  TABLE(0, y), TABLE(1, y), TABLE(2, y), TABLE(3, y), TABLE(4, y), TABLE(5, y), TABLE(6, y), TABLE(7, y),             \
  TABLE(8, y), TABLE(9, y), TABLE(10, y), TABLE(11, y), TABLE(12, y), TABLE(13, y), TABLE(14, y), TABLE(15, y)
static const _Alignas(64) uint8_t tables[256][table_bytes] = {
    TABLES(0), TABLES(1), TABLES(2),  TABLES(3),  TABLES(4),  TABLES(5),  TABLES(6),  TABLES(7),
    TABLES(8), TABLES(9), TABLES(10), TABLES(11), TABLES(12), TABLES(13), TABLES(14), TABLES(15)};

/* Bytes 2i and 2i+1, numbers below 16 -> offsets of tables. */
static inline __m256i offsets_of(__m256i halves) {
  return _mm256_slli_epi16(_mm256_maddubs_epi16(halves, _mm256_set1_epi16(0x1001)), 4);
}

/* Two words of a pixel and of the one beside it: for each word 8 offsets of the low halves, then 8 of the high ones. */
static inline void spread_words(__m128i first, __m128i beside, void *spread) {
  const __m256i half = _mm256_set1_epi8(15);
  const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi8(first, beside)),
                                               _mm_unpackhi_epi8(first, beside), 1);
  const __m256i low = offsets_of(_mm256_and_si256(both, half));
  const __m256i high = offsets_of(_mm256_and_si256(_mm256_srli_epi16(both, 4), half));
  _mm256_storeu_si256((__m256i *)spread, _mm256_permute2x128_si256(low, high, 0x20));
  _mm256_storeu_si256((__m256i *)spread + 1, _mm256_permute2x128_si256(low, high, 0x31));
}

static void spread_pixels(const uint64_t *words, size_t num_words, size_t distance, uint64_t *spread) {
  size_t k = 0;
  for (; k + 2 + distance <= num_words; k += 2, spread += 2 * QNN_SPREAD_PIXEL)
    spread_words(_mm_loadu_si128((const __m128i *)(words + k)), _mm_loadu_si128((const __m128i *)(words + k + distance)),
                 spread);
  for (; k < num_words; ++k, spread += QNN_SPREAD_PIXEL) {
    const uint64_t beside = k + distance < num_words ? words[k + distance] : 0;
    uint16_t both[4 * word_bytes];
    spread_words(_mm_cvtsi64_si128((long long)words[k]), _mm_cvtsi64_si128((long long)beside), both);
    memcpy(spread, both, QNN_SPREAD_PIXEL * sizeof *spread);
  }
}

static inline __m256i load_pairs(const uint64_t *low, const uint64_t *high) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)low)),
                                 _mm_loadu_si128((const __m128i *)high), 1);
}

/* A word of 16 filters, even ones first -> for each of its bytes the low halves of all filters, then the high ones, in
 * the order 0 4 1 5 2 6 3 7 8 12 9 13 10 14 11 15, from which store_counts makes 0 .. 15. */
static inline void spread_word(const uint64_t *w, uint8_t *to, size_t stride) {
  __m256i two[4];  /* byte b of filters 0 and 4 | 8 and 12, for each b; 2 6 | 10 14; 1 5 | 9 13; 3 7 | 11 15 */
#pragma GCC unroll 2
  for (size_t i = 0; i < 2; ++i, w += 8) {
    const __m256i first = load_pairs(w, w + 4), second = load_pairs(w + 2, w + 6);
    two[2 * i] = _mm256_unpacklo_epi8(first, second);
    two[2 * i + 1] = _mm256_unpackhi_epi8(first, second);
  }
  __m256i eight[4];
#pragma GCC unroll 2
  for (size_t i = 0; i < 2; ++i) {
    const __m256i low = i ? _mm256_unpackhi_epi16(two[0], two[2]) : _mm256_unpacklo_epi16(two[0], two[2]);
    const __m256i high = i ? _mm256_unpackhi_epi16(two[1], two[3]) : _mm256_unpacklo_epi16(two[1], two[3]);
    eight[2 * i] = _mm256_unpacklo_epi32(low, high);
    eight[2 * i + 1] = _mm256_unpackhi_epi32(low, high);
  }
  const __m256i half = _mm256_set1_epi8(15);
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i) {  /* bytes 2i and 2i+1 of all filters */
    const __m256i bytes = _mm256_permute4x64_epi64(eight[i], 0xD8);
    const __m256i low = _mm256_and_si256(bytes, half), high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), half);
    _mm256_store_si256((__m256i *)(to + 2 * i * stride), _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_store_si256((__m256i *)(to + (2 * i + 1) * stride), _mm256_permute2x128_si256(low, high, 0x31));
  }
}

/* Indices of the panels alternate: [word][byte][panel][32 bytes]. */
static void spread_panels(const uint64_t *panels, size_t num_filter, size_t num_words, uint64_t *spread) {
  const size_t num_full = num_filter / QNN_PANEL_FILTERS, rest = num_filter % QNN_PANEL_FILTERS;
  const size_t stride = (num_full + (rest > 0)) * index_bytes, panel_words = num_words * QNN_PANEL_FILTERS;
  const size_t num_even = (rest + 1) / 2, num_odd = rest / 2;
  uint8_t *to = (uint8_t *)spread;
  for (size_t k = 0; k < num_words; ++k, to += word_bytes * stride) {
    for (size_t i = 0; i < num_full; ++i)
      spread_word(panels + i * panel_words + k * QNN_PANEL_FILTERS, to + i * index_bytes, stride);
    if (!rest) continue;
    const uint64_t *from = panels + num_full * panel_words + k * rest;
    uint64_t w[QNN_PANEL_FILTERS] = {0};
    memcpy(w, from, num_even * sizeof *w);
    memcpy(w + 8, from + num_even, num_odd * sizeof *w);
    spread_word(w, to + num_full * index_bytes, stride);
  }
}

/* Sums of bytes, as 16-bit numbers: all = even + 256 odd. Even bytes are filters 0..3, 8..11, odd ones 4..7, 12..15, of
 * the low halves, then of the high ones. */
typedef struct {
  __m256i all, odd;
} sums_of_panel;

static inline sums_of_panel add_bytes(__m256i bytes, qnn_table_step step, const uint64_t *sums) {
  const __m256i *before = (const __m256i *)sums;
  sums_of_panel sum = {bytes, _mm256_srli_epi16(bytes, 8)};
  for (int i = 0; i < (int)step; ++i) {  /* none, once, twice */
    sum.all = _mm256_add_epi16(sum.all, _mm256_load_si256(before));
    sum.odd = _mm256_add_epi16(sum.odd, _mm256_load_si256(before + 1));
  }
  return sum;
}

static inline void store_sums(sums_of_panel sum, uint64_t *sums) {
  _mm256_store_si256((__m256i *)sums, sum.all);
  _mm256_store_si256((__m256i *)sums + 1, sum.odd);
}

static inline void store_counts(sums_of_panel sum, int32_t *counts) {
  const __m256i even = _mm256_sub_epi16(sum.all, _mm256_slli_epi16(sum.odd, 8)), zero = _mm256_setzero_si256();
  const __m256i both = _mm256_add_epi16(_mm256_permute2x128_si256(even, sum.odd, 0x20),
                                        _mm256_permute2x128_si256(even, sum.odd, 0x31));
  _mm256_storeu_si256((__m256i *)counts, _mm256_unpacklo_epi16(both, zero));
  _mm256_storeu_si256((__m256i *)counts + 1, _mm256_unpackhi_epi16(both, zero));
}

/* Tables of byte b of a word of a pair: low halves, high halves. */
static inline __m256i load_tables(const uint16_t *offsets, size_t b) {
  return _mm256_inserti128_si256(
      _mm256_castsi128_si256(_mm_load_si128((const __m128i *)(tables[0] + offsets[b]))),
      _mm_load_si128((const __m128i *)(tables[0] + offsets[word_bytes + b])), 1);
}

/* gcc would add up look-ups in another order, for which registers do not suffice. */
#define KEEP(x) __asm__("" : "+x"(x))

/* num_panels is a constant where this is called. */
static inline __attribute__((always_inline)) void count_panels(const size_t num_panels, size_t num_pairs,
                                                               const uint64_t *const *pairs, const size_t *offsets,
                                                               size_t num_words, const uint64_t *panels,
                                                               qnn_table_step step, uint64_t *sums,
                                                               int32_t *const *counts, size_t ld) {
  const __m256i half = _mm256_set1_epi8(15);
  for (size_t i = 0; i < num_pairs; ++i, sums += num_panels * QNN_TABLE_SUMS) {
    __m256i all[QNN_TABLE_PANELS], beside[QNN_TABLE_PANELS];  /* sums of first + 16 beside, modulo 256 */
#pragma GCC unroll 4
    for (size_t f = 0; f < num_panels; ++f) all[f] = beside[f] = _mm256_setzero_si256();
    const __m256i *index = (const __m256i *)panels;
    for (size_t k = 0; k < num_words; ++k, index += word_bytes * num_panels) {
      const uint16_t *at = (const uint16_t *)(pairs[i] + offsets[k]);
#pragma GCC unroll 3
      for (size_t b = 0; b < word_bytes; b += group) {
        const size_t n = b + group <= word_bytes ? group : word_bytes - b;
        __m256i table[group];
#pragma GCC unroll 3
        for (size_t t = 0; t < n; ++t) table[t] = load_tables(at, b + t);
#pragma GCC unroll 4
        for (size_t f = 0; f < num_panels; ++f) {
          __m256i sum = _mm256_shuffle_epi8(table[0], index[b * num_panels + f]);
#pragma GCC unroll 2
          for (size_t t = 1; t < n; ++t) {
            sum = _mm256_add_epi8(sum, _mm256_shuffle_epi8(table[t], index[(b + t) * num_panels + f]));
            KEEP(sum);
          }
          all[f] = _mm256_add_epi8(all[f], sum);
          beside[f] = _mm256_add_epi8(beside[f], _mm256_and_si256(_mm256_srli_epi16(sum, 4), half));
          KEEP(all[f]);
          KEEP(beside[f]);
        }
      }
    }
#pragma GCC unroll 4
    for (size_t f = 0; f < num_panels; ++f) {
      const __m256i high = _mm256_andnot_si256(half, _mm256_slli_epi16(beside[f], 4));
      uint64_t *const to = sums + f * QNN_TABLE_SUMS;
      const sums_of_panel first = add_bytes(_mm256_sub_epi8(all[f], high), step, to);
      const sums_of_panel second = add_bytes(beside[f], step, to + QNN_TABLE_SUMS / 2);
      if (counts) {
        store_counts(first, counts[i] + f * QNN_PANEL_FILTERS);
        store_counts(second, counts[i] + ld + f * QNN_PANEL_FILTERS);
      } else {
        store_sums(first, to);
        store_sums(second, to + QNN_TABLE_SUMS / 2);
      }
    }
  }
}

static void count(size_t num_pairs, const uint64_t *const *pairs, const size_t *offsets, size_t num_words,
                  size_t num_panels, const uint64_t *panels, qnn_table_step step, uint64_t *sums,
                  int32_t *const *counts, size_t ld) {
  assert(num_pairs <= QNN_TABLE_PAIRS && num_words >= 1 && num_words <= QNN_TABLE_WORDS);
#define PANELS(n) count_panels(n, num_pairs, pairs, offsets, num_words, panels, step, sums, counts, ld)
  switch (num_panels) {
    case 1: PANELS(1); break;
    case 2: PANELS(2); break;
    case 3: PANELS(3); break;
    case 4: PANELS(4); break;
    default: assert(!"1 to 4 panels");
  }
}

const qnn_tables qnn_tables__avx2 = {spread_pixels, spread_panels, count};
