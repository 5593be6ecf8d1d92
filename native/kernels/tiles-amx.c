/* tiles-amx.c: AMX. A tile register holds 16 rows of 64 bytes, and an instruction multiplies the codes of 16 pixels by
 * the factors of 16 filters, 64 products a sum: 1024 products a cycle, where popcounts do 512.
 *
 * Bits become bytes by a masked move each 64. Codes of a pixel are a row of a tile, bit b in byte b. Factors lie as the
 * instruction wants them: row r has bits 4r .. 4r+3 of every filter, so that its mask is the nibbles r of 16 words. */
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../tiles.h"
#include "amx.h"

enum { row_bytes = 64, tile_bytes = QNN_TILE_ROWS * row_bytes, nibbles = 16 };

/* The processor has tiles of bytes and of bfloat16 (all that have tiles do), and Linux lets this process use their
 * registers: a process must ask once. */
bool qnn_amx_is_usable(void) {
  enum { request_permission = 0x1023, tile_data = 18, has_tiles = 3 << 24 | 1 << 22 };  /* ARCH_REQ_XCOMP_PERM */
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & has_tiles) == has_tiles &&
         syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

/* A register that the compiler does not fold into a slower instruction. */
static inline __m512i bytes_of(char x) {
  __m512i bytes = _mm512_set1_epi8(x);
  __asm__("" : "+v"(bytes));
  return bytes;
}

static void spread(const uint64_t *words, size_t num_words, size_t num_planes, size_t plane_words, uint8_t *codes) {
  const __m512i one = bytes_of(1);
  if (num_planes == 1) {
#pragma GCC unroll 4
    for (size_t k = 0; k < num_words; ++k)
      _mm512_store_si512(codes + k * row_bytes, _mm512_maskz_mov_epi8(words[k], one));
    return;
  }
  for (size_t k = 0; k < num_words; ++k, codes += row_bytes) {
    __m512i code = _mm512_setzero_si512(), bit = one;
    for (size_t i = 0; i < num_planes; ++i, bit = _mm512_add_epi8(bit, bit))
      code = _mm512_mask_add_epi8(code, words[k + i * plane_words], code, bit);
    _mm512_store_si512(codes, code);
  }
}

/* Tiles 0..3: counts, 4 and 5: codes, 6 and 7: factors. */
static void start(size_t rows) {
  assert(rows >= 1 && rows <= QNN_TILE_ROWS);
  uint8_t of_tile[8];
  for (size_t i = 0; i < 8; ++i) of_tile[i] = (uint8_t)(i < 6 ? rows : QNN_TILE_ROWS);
  configure_tiles(of_tile);
}

static void stop(void) { _tile_release(); }

/* The words of a panel: even filters, then odd ones. */
typedef struct {
  __mmask8 even, odd;
  size_t num_even, step;
} lanes;

static inline __m512i even_words(const uint64_t *w, const lanes *lanes) {
  return _mm512_maskz_loadu_epi64(lanes->even, w);
}

static inline __m512i odd_words(const uint64_t *w, const lanes *lanes) {
  return _mm512_maskz_loadu_epi64(lanes->odd, w + lanes->num_even);
}

/* masks[r]: bits 4r .. 4r+3 of the words of 16 filters, a nibble each. */
static inline void load_masks(const uint64_t *w, const lanes *lanes, uint64_t masks[nibbles]) {
  const __m512i columns = _mm512_set_epi64(
      0x3F372F271F170F07, 0x3E362E261E160E06, 0x3D352D251D150D05, 0x3C342C241C140C04, 0x3B332B231B130B03,
      0x3A322A221A120A02, 0x3931292119110901, 0x3830282018100800);
  const __m512i low = _mm512_set1_epi8(0x0F);
  const __m512i even = _mm512_permutexvar_epi8(columns, even_words(w, lanes));  /* word q: byte q of 8 filters */
  const __m512i odd = _mm512_permutexvar_epi8(columns, odd_words(w, lanes));
  const __m512i first = _mm512_ternarylogic_epi64(low, even, _mm512_slli_epi64(odd, 4), 0xCA);
  const __m512i second = _mm512_ternarylogic_epi64(low, _mm512_srli_epi64(even, 4), odd, 0xCA);
  _mm512_storeu_si512(masks, first);       /* rows 0, 2, 4, ... */
  _mm512_storeu_si512(masks + 8, second);  /* rows 1, 3, 5, ... */
  __asm__("" : "+m"(*(uint64_t(*)[nibbles])masks));  /* masks come from memory, where gcc would shuffle the registers */
}

static inline uint64_t mask_of(const uint64_t masks[nibbles], size_t row) { return masks[row / 2 + row % 2 * 8]; }

/* The tile of factors of one word; is_bit: xgemm with one plane. */
static inline __attribute__((always_inline)) void spread_factors(const qnn_tile_walk *walk, const bool is_bit,
                                                                 const uint64_t *w, const lanes *lanes, int8_t *to) {
  uint64_t masks[QNN_TILE_PLANES + 1][nibbles];
  const size_t num_planes = is_bit ? 1 : walk->weight_planes, num_masks = is_bit ? 1 : num_planes + walk->is_masked;
  assert(num_planes <= QNN_TILE_PLANES);
  for (size_t i = 0; i < num_masks; ++i) load_masks(w + i * walk->panel_words, lanes, masks[i]);
  const __m512i one = bytes_of(1), minus_one = bytes_of(-1);
#pragma GCC unroll 16
  for (size_t r = 0; r < QNN_TILE_ROWS; ++r, to += row_bytes) {
    __m512i factor, bit = one;
    if (is_bit) {
      factor = _mm512_mask_blend_epi8(mask_of(masks[0], r), one, minus_one);
    } else if (walk->is_masked) {
      factor = _mm512_setzero_si512();
      for (size_t i = 0; i < num_planes; ++i, bit = _mm512_add_epi8(bit, bit))
        factor = _mm512_mask_add_epi8(factor, mask_of(masks[i + 1], r), factor, bit);
      factor = _mm512_mask_sub_epi8(factor, mask_of(masks[0], r), _mm512_setzero_si512(), factor);
    } else {
      factor = _mm512_setzero_si512();
      for (size_t i = 0; i < num_planes; ++i, bit = _mm512_add_epi8(bit, bit))
        factor = _mm512_add_epi8(factor, _mm512_mask_sub_epi8(bit, mask_of(masks[i], r), _mm512_setzero_si512(), bit));
    }
    _mm512_store_si512(to, factor);
  }
}

/* first[] of internal.h, qnn_tile_walk. */
static void sum_first(const qnn_tile_walk *walk, const uint64_t *panel, const lanes *lanes, int32_t *first) {
  __m512i even = _mm512_setzero_si512(), odd = _mm512_setzero_si512();
  const size_t num_words = walk->num_segments * walk->segment_words;
  for (size_t i = walk->weight_planes; i-- > 0;) {
    const uint64_t *w = panel + (i + walk->is_masked) * walk->panel_words, *sign = panel;
    even = _mm512_add_epi64(even, even);
    odd = _mm512_add_epi64(odd, odd);
    for (size_t k = 0; k < num_words; ++k, w += lanes->step, sign += lanes->step) {
      __m512i a = even_words(w, lanes), b = odd_words(w, lanes);
      if (walk->is_masked) {
        a = _mm512_and_si512(a, even_words(sign, lanes));
        b = _mm512_and_si512(b, odd_words(sign, lanes));
      }
      even = _mm512_add_epi64(even, _mm512_popcnt_epi64(a));
      odd = _mm512_add_epi64(odd, _mm512_popcnt_epi64(b));
    }
  }
  const __m512i sums = _mm512_mask_shuffle_epi32(even, 0xAAAA, odd, _MM_PERM_CCAA);
  _mm512_store_si512(first, _mm512_mullo_epi32(sums, _mm512_set1_epi32((1 << walk->act_planes) - 1)));
}

enum { ring_words = 4 };  /* factors that are used once stay in L1 */

/* Sums, then the factors of a panel. */
static inline int8_t *factors_of(int8_t *spread, size_t panel, size_t num_words) {
  return spread + panel * (row_bytes + num_words * tile_bytes);
}

/* One panel. num_pieces, is_first, is_last and is_bit are constants where this is called. */
static inline __attribute__((always_inline)) void run_panel(const size_t num_pieces, const bool is_first,
                                                            const bool is_last, const bool is_bit,
                                                            const qnn_tile_walk *walk, const uint8_t *const *pieces,
                                                            const uint64_t *panel, const lanes *lanes, int8_t *spread,
                                                            int32_t *const *counts, size_t ld) {
  const size_t stride = walk->pixel_words * row_bytes, pitch = ld * sizeof **counts;
  const size_t segment_words = walk->segment_words, num_words = walk->num_segments * segment_words;
  const uint8_t *const a = pieces[0], *const b = pieces[num_pieces > 1 ? 1 : 0];
  const uint8_t *const c = pieces[num_pieces > 2 ? 2 : 0], *const d = pieces[num_pieces > 3 ? 3 : 0];
  int8_t *const factors = spread + row_bytes;
#define AT(n) (factors + (is_first && is_last ? (n) % ring_words : (n)) * tile_bytes)
  if (is_first) {
    sum_first(walk, panel, lanes, (int32_t *)spread);
    spread_factors(walk, is_bit, panel, lanes, AT(0));
  }
  QNN_LOAD_TILE(0, spread, 0);  /* stride 0: the same row for all pixels */
  if (num_pieces > 1) QNN_LOAD_TILE(1, spread, 0);
  if (num_pieces > 2) QNN_LOAD_TILE(2, spread, 0);
  if (num_pieces > 3) QNN_LOAD_TILE(3, spread, 0);
  size_t n = 0;
  for (size_t s = 0; s < walk->num_segments; ++s) {
    const size_t segment = walk->segments[s] * row_bytes;
    for (size_t k = 0; k < segment_words; ++k, ++n) {
      /* The next word's: tiles would wait for stores that are under way. */
      if (is_first && n + 1 < num_words) spread_factors(walk, is_bit, panel + (n + 1) * lanes->step, lanes, AT(n + 1));
      const size_t at = segment + k * row_bytes;
      QNN_LOAD_TILE(6, AT(n), row_bytes);
      QNN_LOAD_TILE(4, a + at, stride);
      _tile_dpbusd(0, 4, 6);
      if (num_pieces > 1) {
        QNN_LOAD_TILE(5, b + at, stride);
        _tile_dpbusd(1, 5, 6);
      }
      if (num_pieces > 2) {
        QNN_LOAD_TILE(4, c + at, stride);
        _tile_dpbusd(2, 4, 6);
      }
      if (num_pieces > 3) {
        QNN_LOAD_TILE(5, d + at, stride);
        _tile_dpbusd(3, 5, 6);
      }
    }
  }
  _tile_stored(0, counts[0], pitch);
  if (num_pieces > 1) _tile_stored(1, counts[1], pitch);
  if (num_pieces > 2) _tile_stored(2, counts[2], pitch);
  if (num_pieces > 3) _tile_stored(3, counts[3], pitch);
}

/* Two panels whose factors are there: fewer codes to load, which come from L2 where pixels share none. */
static inline __attribute__((always_inline)) void run_pair(const size_t num_pieces, const qnn_tile_walk *walk,
                                                           const uint8_t *const *pieces, int8_t *spread,
                                                           int32_t *const *counts, size_t ld) {
  const size_t stride = walk->pixel_words * row_bytes, pitch = ld * sizeof **counts;
  const size_t segment_words = walk->segment_words, num_words = walk->num_segments * segment_words;
  const uint8_t *const a = pieces[0], *const b = pieces[num_pieces > 1 ? 1 : 0];
  int8_t *first = factors_of(spread, 0, num_words), *second = factors_of(spread, 1, num_words);
  QNN_LOAD_TILE(0, first, 0);
  QNN_LOAD_TILE(1, second, 0);
  if (num_pieces > 1) {
    QNN_LOAD_TILE(2, first, 0);
    QNN_LOAD_TILE(3, second, 0);
  }
  first += row_bytes, second += row_bytes;
  for (size_t s = 0; s < walk->num_segments; ++s) {
    const size_t segment = walk->segments[s] * row_bytes;
    for (size_t k = 0; k < segment_words; ++k, first += tile_bytes, second += tile_bytes) {
      const size_t at = segment + k * row_bytes;
      QNN_LOAD_TILE(6, first, row_bytes);
      QNN_LOAD_TILE(4, a + at, stride);
      _tile_dpbusd(0, 4, 6);
      QNN_LOAD_TILE(7, second, row_bytes);
      _tile_dpbusd(1, 4, 7);
      if (num_pieces > 1) {
        QNN_LOAD_TILE(5, b + at, stride);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
      }
    }
  }
  _tile_stored(0, counts[0], pitch);
  _tile_stored(1, counts[0] + QNN_PANEL_FILTERS, pitch);
  if (num_pieces > 1) {
    _tile_stored(2, counts[1], pitch);
    _tile_stored(3, counts[1] + QNN_PANEL_FILTERS, pitch);
  }
}

static void multiply_pair(const qnn_tile_walk *walk, size_t num_pieces, const uint8_t *const *pieces, int8_t *spread,
                          int32_t *const *counts, size_t ld) {
  assert(num_pieces == 1 || num_pieces == 2);
  if (num_pieces == 1)
    run_pair(1, walk, pieces, spread, counts, ld);
  else
    run_pair(2, walk, pieces, spread, counts, ld);
}

/* A function for each: gcc keeps the registers of one apart from those of the next. */
typedef void variant(const qnn_tile_walk *walk, const uint8_t *const *pieces, const uint64_t *panel, const lanes *lanes,
                     int8_t *spread, int32_t *const *counts, size_t ld);
#define VARIANT(name, ...)                                                                                            \
  static void name(const qnn_tile_walk *walk, const uint8_t *const *pieces, const uint64_t *panel, const lanes *lanes, \
                   int8_t *spread, int32_t *const *counts, size_t ld) {                                               \
    run_panel(__VA_ARGS__, walk, pieces, panel, lanes, spread, counts, ld);                                           \
  }
#define VARIANTS(n)                        \
  VARIANT(found_##n, n, false, false, false)  \
  VARIANT(kept_##n, n, true, false, false)    \
  VARIANT(kept_bit_##n, n, true, false, true) \
  VARIANT(once_##n, n, true, true, false)     \
  VARIANT(once_bit_##n, n, true, true, true)
VARIANTS(1)
VARIANTS(2)
VARIANTS(3)
VARIANTS(4)

static void multiply(const qnn_tile_walk *walk, size_t num_pieces, const uint8_t *const *pieces, const uint64_t *panel,
                     size_t num_filter, bool is_first, bool is_last, size_t index, int8_t *spread,
                     int32_t *const *counts, size_t ld) {
#define OF(n) {found_##n, kept_##n, kept_bit_##n, once_##n, once_bit_##n}
  static variant *const variants[QNN_TILE_PIECES][5] = {OF(1), OF(2), OF(3), OF(4)};
  assert(num_pieces >= 1 && num_pieces <= QNN_TILE_PIECES && num_filter >= 1 && num_filter <= QNN_PANEL_FILTERS);
  const size_t num_even = (num_filter + 1) / 2;
  const lanes lanes = {(__mmask8)((1u << num_even) - 1), (__mmask8)((1u << num_filter / 2) - 1), num_even, num_filter};
  const bool is_bit = walk->weight_planes == 1 && !walk->is_masked;
  variants[num_pieces - 1][is_first ? 1 + 2 * is_last + is_bit : 0](
      walk, pieces, panel, &lanes, factors_of(spread, index, walk->num_segments * walk->segment_words), counts, ld);
}

const qnn_tiles qnn_tiles__amx = {spread, start, stop, multiply, multiply_pair};
