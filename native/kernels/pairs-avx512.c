/* pairs-avx512.c: the xgemm of xgemm-avx512.c by pairs of words: five instructions a pair, where xor, popcount, add of
 * each word are six. Differing bits of equal place, x1 and x2, enter a carry-save adder with the bit `low` that earlier
 * words have left there; only the carry is counted:
 *
 *   x1 = a1 ^ w1;  s = low ^ (a1 ^ a2) ^ (w1 ^ w2);  carries += popcount(s == low ? x1 : low);  low = s
 *   count = 2 * carries + popcount(low)
 *
 * s and the carry are one vpternlogq each. w1 ^ w2 is formed once for all pixels. a1 ^ a2 is formed once for all
 * filters, by scalar instructions, and goes through memory: a broadcast from there takes no vector port, one from a
 * general register does. 6 pixels x 16 filters are 24 sums; 4 weights and 4 intermediate values fill the 32 registers. */
#include "pairs-avx512.h"

#include <immintrin.h>

enum { mr = 6, num_registers = 2 };  /* a panel: even filters, odd filters */

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

/* Words of `lanes` filters, all 8 where the panel is not short. */
static inline __m512i load(const uint64_t *w, __mmask8 lanes, const bool is_short) {
  return is_short ? _mm512_maskz_loadu_epi64(lanes, w) : _mm512_loadu_si512(w);
}

/* The five instructions; the processor renames the move away. In assembly, because gcc 12 moves and spills up to a third
 * of the sums where it allocates the registers of intrinsics. */
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

/* One panel. num_pixels, is_short and is_single (one pair of planes) are constants where this is called: every loop over
 * pixels and registers is unrolled. */
static inline __attribute__((always_inline)) void run(
    const size_t num_pixels, const bool is_short, const bool is_single, const uint64_t *const *pixels,
    size_t num_filter, const uint64_t *panel, const qnn_walk *walk, int32_t *counts, size_t ld) {
  const size_t k_words = walk->num_segments * walk->segment_words;
  const size_t step = is_short ? num_filter : QNN_PANEL_FILTERS, num_even = is_short ? (num_filter + 1) / 2 : 8;
  const __mmask8 lanes[num_registers] = {(__mmask8)((1u << num_even) - 1), (__mmask8)((1u << (step - num_even)) - 1)};
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
      EACH_REGISTER weight[i] = load(w + i * num_even, lanes[i], is_short);
      w += step;
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
        w1[i] = load(w + i * num_even, lanes[i], is_short);
        w12[i] = _mm512_xor_si512(w1[i], load(w + step + i * num_even, lanes[i], is_short));
      }
      w += 2 * step;
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

void qnn_pairs_ukernel__avx512(size_t num_pixels, const uint64_t *const *pixels, size_t num_filter,
                               const uint64_t *panels, const qnn_walk *walk, int32_t *counts, size_t ld) {
  assert(num_pixels >= 4 && num_pixels <= mr);
  assert((num_filter >= 1 && num_filter <= QNN_PANEL_FILTERS) || num_filter == 2 * QNN_PANEL_FILTERS);
#define RUN(num_pixels, ...)                                                                                          \
  case num_pixels:                                                                                                    \
    run(num_pixels, __VA_ARGS__, pixels, n, panels + done * k_words, walk, counts + done, ld);                        \
    break
#define RUN_ALL(...)                                                                                                  \
  switch (num_pixels) {                                                                                               \
    RUN(4, __VA_ARGS__);                                                                                              \
    RUN(5, __VA_ARGS__);                                                                                              \
    RUN(6, __VA_ARGS__);                                                                                              \
  }
  const size_t k_words = walk->num_segments * walk->segment_words, n = qnn_min(num_filter, QNN_PANEL_FILTERS);
  const bool is_single = walk->num_pairs == 1;
  for (size_t done = 0; done < num_filter; done += QNN_PANEL_FILTERS) {
    if (n < QNN_PANEL_FILTERS) {
      if (is_single) RUN_ALL(true, true)
      else RUN_ALL(true, false)
    } else {
      if (is_single) RUN_ALL(false, true)
      else RUN_ALL(false, false)
    }
  }
}
