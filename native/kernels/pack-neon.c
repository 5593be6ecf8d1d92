/* pack-neon.c: signs of floats to words; each compare result becomes one bit per lane by a bit-select and a sum. */
#include <arm_neon.h>

#include "plain.h"

/* Bits of x < 0 for 8 floats, decided on the bit patterns (internal.h, qnn_is_negative). */
static inline uint64_t negatives(const float *x) {
  static const uint16_t lane_bits[8] = {1, 2, 4, 8, 16, 32, 64, 128};
  const int32x4_t limit = vdupq_n_s32((int32_t)0xFF800000u), one = vdupq_n_s32(1);
  const int32x4_t low = vsubq_s32(vreinterpretq_s32_f32(vld1q_f32(x)), one);
  const int32x4_t high = vsubq_s32(vreinterpretq_s32_f32(vld1q_f32(x + 4)), one);
  const uint16x8_t is_negative = vcombine_u16(vmovn_u32(vcltq_s32(low, limit)), vmovn_u32(vcltq_s32(high, limit)));
  return vaddvq_u16(vandq_u16(is_negative, vld1q_u16(lane_bits)));
}

qnn_pack_ukernel qnn_pack_ukernel__neon;
void qnn_pack_ukernel__neon(const float *x, size_t n, uint64_t *words) {
  for (; n >= QNN_WORD_BITS; n -= QNN_WORD_BITS, x += QNN_WORD_BITS) {
    uint64_t word = 0;
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; ++i) word |= negatives(x + 8 * i) << 8 * i;
    *words++ = ~word;
  }
  if (n) plain_pack(x, n, words);
}
