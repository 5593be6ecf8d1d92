/* roofline-neon.c: vcnt counts bytes, summed for 16 rounds before they are widened: 4 weights against 2 inputs. */
#include <arm_neon.h>

#include "../roofline.h"

enum { num_inputs = 2, num_weights = 4, lanes = 2, byte_rounds = 16,
       round_words = num_inputs * num_weights * lanes * byte_rounds, stream_sums = 4 };

static inline uint8x16_t count_bytes(uint64x2_t x) { return vcntq_u8(vreinterpretq_u8_u64(x)); }

static inline uint64x2_t widen(uint64x2_t sum, uint8x16_t bytes) {
  return vpadalq_u32(sum, vpaddlq_u16(vpaddlq_u8(bytes)));
}

qnn_popcount_ukernel qnn_popcount_ukernel__neon;
uint64_t qnn_popcount_ukernel__neon(size_t iterations) {
  uint64x2_t x[num_inputs], w[num_weights], sum = vdupq_n_u64(0);
  for (size_t j = 0; j < num_inputs; ++j) x[j] = vdupq_n_u64(0x9E3779B97F4A7C15u * (j + 1));
  for (size_t i = 0; i < num_weights; ++i) w[i] = vdupq_n_u64(0xC2B2AE3D27D4EB4Fu * (i + 1));
  for (size_t round = iterations * (QNN_POPCOUNT_WORDS / round_words); round > 0; --round) {
    uint8x16_t bytes[num_inputs][num_weights];
#pragma GCC unroll 2
    for (size_t j = 0; j < num_inputs; ++j)
#pragma GCC unroll 4
      for (size_t i = 0; i < num_weights; ++i) bytes[j][i] = vdupq_n_u8(0);
    for (size_t step = 0; step < byte_rounds; ++step)
#pragma GCC unroll 2
      for (size_t j = 0; j < num_inputs; ++j) {
        QNN_OPAQUE(x[j], "w");
#pragma GCC unroll 4
        for (size_t i = 0; i < num_weights; ++i)
          bytes[j][i] = vaddq_u8(bytes[j][i], count_bytes(veorq_u64(x[j], w[i])));
      }
#pragma GCC unroll 2
    for (size_t j = 0; j < num_inputs; ++j)
#pragma GCC unroll 4
      for (size_t i = 0; i < num_weights; ++i) sum = widen(sum, bytes[j][i]);
  }
  return vgetq_lane_u64(sum, 0) + vgetq_lane_u64(sum, 1);
}

qnn_stream_ukernel qnn_stream_ukernel__neon;
uint64_t qnn_stream_ukernel__neon(const uint64_t *x, size_t num_words) {
  uint64x2_t sum[stream_sums], input = vdupq_n_u64(0x5555555555555555u);
  QNN_OPAQUE(input, "w");
  for (size_t i = 0; i < stream_sums; ++i) sum[i] = vdupq_n_u64(0);
  for (size_t k = 0; k < num_words; k += 64)  /* 32 registers in 4 sums of bytes, 8 each: at most 64 */
#pragma GCC unroll 4
    for (size_t i = 0; i < stream_sums; ++i) {
      uint8x16_t bytes = vdupq_n_u8(0);
#pragma GCC unroll 8
      for (size_t j = 0; j < 8; ++j)
        bytes = vaddq_u8(bytes, count_bytes(veorq_u64(input, vld1q_u64(x + k + (8 * i + j) * lanes))));
      sum[i] = widen(sum[i], bytes);
    }
  uint64_t total = 0;
  for (size_t i = 0; i < stream_sums; ++i) total += vgetq_lane_u64(sum[i], 0) + vgetq_lane_u64(sum[i], 1);
  return total;
}
