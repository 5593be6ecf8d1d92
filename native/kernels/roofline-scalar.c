/* roofline-scalar.c: every machine; the popcount of xgemm-scalar.c. */
#include <stdint.h>

static inline uint64_t swar_popcount(uint64_t x) {
  x -= (x >> 1) & 0x5555555555555555u;
  x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
  x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0Fu;
  return (x * 0x0101010101010101u) >> 56;
}
#define QNN_POPCOUNT swar_popcount
#include "roofline-plain.h"

QNN_PLAIN_ROOFLINE(scalar)
