/* xgemm-scalar.c: every machine, xgemm and tgemm. Popcount by halving sums inside the word: gcc's builtin would call
 * libgcc here. */
#include <stdint.h>

static inline uint64_t swar_popcount(uint64_t x) {
  x -= (x >> 1) & 0x5555555555555555u;
  x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
  x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0Fu;
  return (x * 0x0101010101010101u) >> 56;
}
#define QNN_POPCOUNT swar_popcount
#include "plain.h"

QNN_PLAIN_XGEMM(scalar)
QNN_PLAIN_TGEMM(scalar)
