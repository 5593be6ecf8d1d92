/* tables-avx2.c: vpshufb looks up 32 bytes in two tables of 16 counts. A byte of a pixel chooses a pair of tables, one
 * for each half of it, and a register of indices has the same two halves of a byte of 16 filters: two instructions, look
 * up and add, for 128 products, where counting bits takes eight for 256. Sums stay in bytes for up to 7 words
 * (7 * 8 * 4 = 224), then 16 bits take them. 4 pixels x 2 panels. */
#include <immintrin.h>

#include "../tables.h"

enum { mr = 4, max_panels = 2, word_bytes = 8, table_bytes = 32, max_byte_words = 7 };

#define COUNT(n) ((n) & 1) + ((n) >> 1 & 1) + ((n) >> 2 & 1) + ((n) >> 3 & 1)
#define COUNTS(x)                                                                                                     \
  COUNT((x) ^ 0), COUNT((x) ^ 1), COUNT((x) ^ 2), COUNT((x) ^ 3), COUNT((x) ^ 4), COUNT((x) ^ 5), COUNT((x) ^ 6),     \
  COUNT((x) ^ 7), COUNT((x) ^ 8), COUNT((x) ^ 9), COUNT((x) ^ 10), COUNT((x) ^ 11), COUNT((x) ^ 12),                  \
  COUNT((x) ^ 13), COUNT((x) ^ 14), COUNT((x) ^ 15)
#define TABLE(low, high) {COUNTS(low), COUNTS(high)}
#define TABLES(high)                                                                                                  \
  TABLE(0, high), TABLE(1, high), TABLE(2, high), TABLE(3, high), TABLE(4, high), TABLE(5, high), TABLE(6, high),     \
  TABLE(7, high), TABLE(8, high), TABLE(9, high), TABLE(10, high), TABLE(11, high), TABLE(12, high),                  \
  TABLE(13, high), TABLE(14, high), TABLE(15, high)
static const _Alignas(64) uint8_t tables[256][table_bytes] = {
    TABLES(0), TABLES(1), TABLES(2),  TABLES(3),  TABLES(4),  TABLES(5),  TABLES(6),  TABLES(7),
    TABLES(8), TABLES(9), TABLES(10), TABLES(11), TABLES(12), TABLES(13), TABLES(14), TABLES(15)};

/* Bytes become offsets of their tables. */
static void spread_pixels(const uint64_t *words, size_t num_words, uint64_t *spread) {
  size_t k = 0;
  for (; k + 2 <= num_words; k += 2) {
    const __m256i bytes = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(words + k)));
    _mm256_storeu_si256((__m256i *)(spread + k * QNN_SPREAD_PIXEL), _mm256_slli_epi16(bytes, 5));
  }
  if (k == num_words) return;
  const __m128i bytes = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(words + k)));
  _mm_storeu_si128((__m128i *)(spread + k * QNN_SPREAD_PIXEL), _mm_slli_epi16(bytes, 5));
}

static inline __m256i load_pairs(const uint64_t *low, const uint64_t *high) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)low)),
                                 _mm_loadu_si128((const __m128i *)high), 1);
}

/* A word of 16 filters, even ones first -> for each of its bytes the low halves of all filters, then the high ones, in
 * the order 0 4 1 5 2 6 3 7 8 12 9 13 10 14 11 15, from which store() makes 0 .. 15. */
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

/* Indices of two panels alternate, 32 bytes each. */
static void spread_panels(const uint64_t *panels, size_t num_filter, size_t num_words, uint64_t *spread) {
  uint8_t *to = (uint8_t *)spread;
  if (num_filter < QNN_PANEL_FILTERS) {
    const size_t num_even = (num_filter + 1) / 2, num_odd = num_filter / 2;
    uint64_t w[QNN_PANEL_FILTERS] = {0};
    for (size_t k = 0; k < num_words; ++k, panels += num_filter, to += word_bytes * table_bytes) {
      memcpy(w, panels, num_even * sizeof *w);
      memcpy(w + 8, panels + num_even, num_odd * sizeof *w);
      spread_word(w, to, table_bytes);
    }
    return;
  }
  const size_t num_panels = num_filter / QNN_PANEL_FILTERS, stride = num_panels * table_bytes;
  for (size_t i = 0; i < num_panels; ++i)
    for (size_t k = 0; k < num_words; ++k, panels += QNN_PANEL_FILTERS)
      spread_word(panels, to + i * table_bytes + k * word_bytes * stride, stride);
}

/* Sums of bytes, as 16-bit numbers: all = even + 256 odd. Even bytes are filters 0..3, 8..11, odd ones 4..7, 12..15, of
 * the low halves, then of the high ones. */
typedef struct {
  __m256i all, odd;
} sums;

static inline void add_bytes(sums *sum, __m256i bytes) {
  sum->all = _mm256_add_epi16(sum->all, bytes);
  sum->odd = _mm256_add_epi16(sum->odd, _mm256_srli_epi16(bytes, 8));
}

static inline void store(const sums *sum, int32_t *counts) {
  const __m256i even = _mm256_sub_epi16(sum->all, _mm256_slli_epi16(sum->odd, 8)), zero = _mm256_setzero_si256();
  const __m256i both = _mm256_add_epi16(_mm256_permute2x128_si256(even, sum->odd, 0x20),
                                        _mm256_permute2x128_si256(even, sum->odd, 0x31));
  _mm256_storeu_si256((__m256i *)counts, _mm256_unpacklo_epi16(both, zero));
  _mm256_storeu_si256((__m256i *)counts + 1, _mm256_unpackhi_epi16(both, zero));
}

/* num_pixels and num_panels are constants where this is called. */
static inline __attribute__((always_inline)) void run(const size_t num_pixels, const size_t num_panels,
                                                      const uint64_t *const *pixels, const uint64_t *panels,
                                                      const qnn_walk *walk, int32_t *counts, size_t ld) {
  sums sum[mr][max_panels];
  __m256i bytes[mr][max_panels];
#define EACH                                           \
  _Pragma("GCC unroll 8")                              \
  for (size_t j = 0; j < num_pixels; ++j)              \
    _Pragma("GCC unroll 2")                            \
    for (size_t i = 0; i < num_panels; ++i)
  EACH sum[j][i].all = sum[j][i].odd = bytes[j][i] = _mm256_setzero_si256();

  for (const qnn_pair *pair = walk->pairs, *last = pair + walk->num_pairs; pair < last; ++pair) {
    const uint8_t *w = (const uint8_t *)(panels + pair->panel * num_panels * QNN_SPREAD_PANEL);
    if (pair->doubles)
      EACH {
        sum[j][i].all = _mm256_add_epi16(sum[j][i].all, sum[j][i].all);
        sum[j][i].odd = _mm256_add_epi16(sum[j][i].odd, sum[j][i].odd);
      }
    size_t room = max_byte_words;
    for (size_t s = 0; s < walk->num_segments; ++s) {
      const uint16_t *p[mr];
#pragma GCC unroll 8
      for (size_t j = 0; j < num_pixels; ++j)
        p[j] = (const uint16_t *)(pixels[j] + (walk->segments[s] + pair->pixel) * QNN_SPREAD_PIXEL);
      for (size_t k = 0, end; k < walk->segment_words; k = end) {
        end = k + qnn_min(walk->segment_words - k, room);
        room -= end - k;
        for (size_t at = k * word_bytes; at < end * word_bytes; at += word_bytes)
#pragma GCC unroll 8
          for (size_t b = 0; b < word_bytes; ++b, w += num_panels * table_bytes) {
            __m256i index[max_panels];
#pragma GCC unroll 2
            for (size_t i = 0; i < num_panels; ++i) index[i] = _mm256_load_si256((const __m256i *)w + i);
#pragma GCC unroll 8
            for (size_t j = 0; j < num_pixels; ++j) {
              const __m256i table = _mm256_load_si256((const __m256i *)(tables[0] + p[j][at + b]));
#pragma GCC unroll 2
              for (size_t i = 0; i < num_panels; ++i) {
                bytes[j][i] = _mm256_add_epi8(bytes[j][i], _mm256_shuffle_epi8(table, index[i]));
                __asm__("" : "+x"(bytes[j][i]));  /* gcc would add look-ups to each other first, and spill them */
              }
            }
          }
        const bool is_last = s + 1 == walk->num_segments && end == walk->segment_words;
        if (room && !is_last) continue;
        room = max_byte_words;
        EACH {
          add_bytes(&sum[j][i], bytes[j][i]);
          bytes[j][i] = _mm256_setzero_si256();
        }
      }
    }
  }
  EACH store(&sum[j][i], counts + j * ld + i * QNN_PANEL_FILTERS);
}

/* A function for each, so that each keeps its sums in registers. */
#define VARIANT(name, ...)                                                                                            \
  static __attribute__((noinline)) void name(const uint64_t *const *pixels, const uint64_t *panels,                   \
                                             const qnn_walk *walk, int32_t *counts, size_t ld) {                      \
    run(__VA_ARGS__, pixels, panels, walk, counts, ld);                                                               \
  }
VARIANT(panel_1, 1, 1)
VARIANT(panel_2, 2, 1)
VARIANT(panel_3, 3, 1)
VARIANT(panel_4, 4, 1)
VARIANT(two_panels_1, 1, 2)
VARIANT(two_panels_2, 2, 2)
VARIANT(two_panels_3, 3, 2)
VARIANT(two_panels_4, 4, 2)

static void xgemm(size_t num_pixels, const uint64_t *const *pixels, size_t num_filter, const uint64_t *panels,
                  const qnn_walk *walk, int32_t *counts, size_t ld) {
  typedef void variant(const uint64_t *const *, const uint64_t *, const qnn_walk *, int32_t *, size_t);
  static variant *const variants[max_panels][mr] = {{panel_1, panel_2, panel_3, panel_4},
                                                    {two_panels_1, two_panels_2, two_panels_3, two_panels_4}};
  assert(num_pixels >= 1 && num_pixels <= mr && num_filter >= 1 && num_filter <= QNN_MAX_NR);
  variants[num_filter > QNN_PANEL_FILTERS][num_pixels - 1](pixels, panels, walk, counts, ld);
}

const qnn_tables qnn_tables__avx2 = {mr, spread_pixels, spread_panels, xgemm};
