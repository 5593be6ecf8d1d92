/* pairs-avx512.c: the xgemm of xgemm-avx512.c by pairs of words: five instructions a pair, where xor, popcount, add of
 * each word are six. Differing bits of equal place, x1 and x2, enter a carry-save adder with the bit `low` that earlier
 * words have left there; only the carry is counted:
 *
 *   x1 = a1 ^ w1;  s = low ^ (a1 ^ a2) ^ (w1 ^ w2);  carries += popcount(s == low ? x1 : low);  low = s
 *   count = 2 * carries + popcount(low)
 *
 * s and the carry are one vpternlogq each. w1 ^ w2 is formed once for all pixels. a1 ^ a2 is formed once for all
 * filters, by scalar instructions, and goes through memory: a broadcast from there takes no vector port, one from a
 * general register does. 6 pixels x 16 filters have 24 sums; 4 weights and 4 intermediate values fill the registers. */
#include "pairs-avx512.h"

#include <immintrin.h>

enum { mr = 6, num_registers = 2, lanes = 8 };  /* a panel: even filters, odd ones */

/* Where the words of a pixel go on. */
typedef struct {
  size_t segment, word;
} cursor;

static inline __attribute__((always_inline)) size_t next_word(const qnn_walk *walk, cursor *at) {
  const size_t offset = walk->segments[at->segment] + at->word;
  if (++at->word == walk->segment_words) {
    at->word = 0;
    ++at->segment;
  }
  return offset;
}

/* The five instructions; the processor renames the move away. In assembly, because gcc 12 moves and spills up to a
 * third of the sums where it allocates the registers of intrinsics. */
static inline __attribute__((always_inline)) void count_pair(__m512i a1, __m512i a12, __m512i w1, __m512i w12,
                                                             __m512i *low, __m512i *carries) {
  __m512i x, before;
  __asm__(
      "vpxorq %[a1], %[w1], %[x]\n\t"
      "vmovdqa64 %[low], %[before]\n\t"
      "vpternlogq $0x96, %[a12], %[w12], %[low]\n\t"     /* low ^ a12 ^ w12 */
      "vpternlogq $0xD4, %[low], %[before], %[x]\n\t"    /* low == before ? x : before */
      "vpopcntq %[x], %[x]\n\t"
      "vpaddq %[x], %[carries], %[carries]"
      : [x] "=&v"(x), [before] "=&v"(before), [low] "+v"(*low), [carries] "+v"(*carries)
      : [a1] "v"(a1), [a12] "v"(a12), [w1] "v"(w1), [w12] "v"(w12));
}

#define EACH_PIXEL _Pragma("GCC unroll 6") for (size_t j = 0; j < num_pixels; ++j)
#define EACH_REGISTER _Pragma("GCC unroll 2") for (size_t i = 0; i < num_registers; ++i)

/* One full panel. num_pixels and is_single (one pair of planes) are constants where this is called: every loop over
 * pixels and registers is unrolled. */
static inline __attribute__((always_inline)) void run(
    const size_t num_pixels, const bool is_single, const uint64_t *const *pixels, const uint64_t *panel,
    const qnn_walk *walk, int32_t *counts, size_t ld) {
  const size_t k_words = walk->num_segments * walk->segment_words;
  __m512i carries[mr][num_registers], low[mr][num_registers];
  EACH_PIXEL EACH_REGISTER carries[j][i] = low[j][i] = _mm512_setzero_si512();
  const size_t num_pairs = is_single ? 1 : walk->num_pairs;
  for (size_t n = 0; n < num_pairs; ++n) {
    const qnn_pair *pair = walk->pairs + n;
    const uint64_t *w = panel + (is_single ? 0 : pair->panel), *p[mr];
    EACH_PIXEL p[j] = pixels[j] + (is_single ? 0 : pair->pixel);
    if (!is_single && pair->doubles) {  /* twice the count is 2 * (2 * carries + popcount(low)) */
      EACH_PIXEL EACH_REGISTER {
        carries[j][i] = _mm512_add_epi64(carries[j][i], carries[j][i]);
        carries[j][i] = _mm512_add_epi64(carries[j][i], _mm512_popcnt_epi64(low[j][i]));
        low[j][i] = _mm512_setzero_si512();
      }
    }
    cursor at = {0, 0};
    if (k_words % 2) {
      const size_t k = next_word(walk, &at);
      __m512i weight[num_registers];
      EACH_REGISTER weight[i] = _mm512_loadu_si512(w + i * lanes);
      w += QNN_PANEL_FILTERS;
#define DIFFERING _mm512_xor_si512(_mm512_set1_epi64((long long)p[j][k]), weight[i])
      if (is_single || n == 0 || pair->doubles)  /* low is 0 */
        EACH_PIXEL EACH_REGISTER low[j][i] = DIFFERING;
      else
        EACH_PIXEL EACH_REGISTER {
          const __m512i x = DIFFERING, carry = _mm512_and_si512(low[j][i], x);
          carries[j][i] = _mm512_add_epi64(carries[j][i], _mm512_popcnt_epi64(carry));
          low[j][i] = _mm512_xor_si512(low[j][i], x);
        }
    }
    for (size_t left = k_words / 2; left > 0; --left) {
      const size_t k1 = next_word(walk, &at), k2 = next_word(walk, &at);
      __m512i w1[num_registers], w12[num_registers];
      EACH_REGISTER {
        w1[i] = _mm512_loadu_si512(w + i * lanes);
        w12[i] = _mm512_xor_si512(w1[i], _mm512_loadu_si512(w + QNN_PANEL_FILTERS + i * lanes));
      }
      w += 2 * QNN_PANEL_FILTERS;
      EACH_PIXEL {
        uint64_t both = p[j][k1] ^ p[j][k2];
        __asm__("" : "+m"(both));
        const __m512i a1 = _mm512_set1_epi64((long long)p[j][k1]), a12 = _mm512_set1_epi64((long long)both);
        EACH_REGISTER count_pair(a1, a12, w1[i], w12[i], &low[j][i], &carries[j][i]);
      }
    }
  }
  EACH_PIXEL {
    EACH_REGISTER {
      carries[j][i] = _mm512_add_epi64(carries[j][i], carries[j][i]);
      carries[j][i] = _mm512_add_epi64(carries[j][i], _mm512_popcnt_epi64(low[j][i]));
    }
    /* 64-bit lanes of even filters and of odd ones: 16 consecutive counts */
    _mm512_storeu_si512(counts + j * ld,
                        _mm512_mask_shuffle_epi32(carries[j][0], 0xAAAA, carries[j][1], _MM_PERM_CCAA));
  }
}

/* Functions of their own, for the reason given in xgemm-avx512.c. */
#define VARIANT(name, num_pixels, is_single)                                                                          \
  static __attribute__((noinline)) void name(const uint64_t *const *pixels, const uint64_t *panel,                    \
                                             const qnn_walk *walk, int32_t *counts, size_t ld) {                      \
    run(num_pixels, is_single, pixels, panel, walk, counts, ld);                                                      \
  }
VARIANT(bits_of_4, 4, true)
VARIANT(bits_of_5, 5, true)
VARIANT(bits_of_6, 6, true)
VARIANT(codes_of_4, 4, false)
VARIANT(codes_of_5, 5, false)
VARIANT(codes_of_6, 6, false)

void qnn_pairs_ukernel__avx512(size_t num_pixels, const uint64_t *const *pixels, size_t num_filter,
                               const uint64_t *panels, const qnn_walk *walk, int32_t *counts, size_t ld) {
  assert(num_pixels >= 4 && num_pixels <= mr && num_filter % QNN_PANEL_FILTERS == 0);
  void (*const run_bits)(const uint64_t *const *, const uint64_t *, const qnn_walk *, int32_t *, size_t) =
      num_pixels == 6 ? bits_of_6 : num_pixels == 5 ? bits_of_5 : bits_of_4;
  void (*const run_codes)(const uint64_t *const *, const uint64_t *, const qnn_walk *, int32_t *, size_t) =
      num_pixels == 6 ? codes_of_6 : num_pixels == 5 ? codes_of_5 : codes_of_4;
  const size_t k_words = walk->num_segments * walk->segment_words;
  for (size_t done = 0; done < num_filter; done += QNN_PANEL_FILTERS)
    (walk->num_pairs == 1 ? run_bits : run_codes)(pixels, panels + done * k_words, walk, counts + done, ld);
}
