/* check.c: random numbers, and comparisons that several groups make. */
#include <stdlib.h>

#include "check.h"

static uint64_t state;

void restart_random(void) { state = 88172645463325252u; }

uint64_t random_word(void) {  /* xorshift64 */
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}

float random_float(void) {
  static const float edges[] = {0.0f, -0.0f, 1e-42f, -1e-42f, INFINITY, -INFINITY};
  const uint64_t r = random_word();
  if (r % 16 == 0) return edges[r / 16 % 6];
  return r % 16 == 1 ? (r & 1024 ? NAN : -NAN) : (float)(int64_t)random_word() * 0x1p-63f;
}

float *random_floats(size_t n) {
  float *x = malloc(n * sizeof *x);
  for (size_t i = 0; i < n; ++i) x[i] = random_float();
  return x;
}

size_t check_border(const uint64_t *image, size_t batch, size_t height, size_t width, size_t pad_h, size_t pad_w,
                    size_t channels, int pad_value) {
  const size_t words = words_for(channels), padded_w = width + 2 * pad_w, padded_h = height + 2 * pad_h;
  size_t bad = 0;
  for (size_t p = 0; p < batch * padded_h * padded_w; ++p) {
    const size_t row = p / padded_w % padded_h, col = p % padded_w;
    const int is_inside = row - pad_h < height && col - pad_w < width;  /* unsigned: below the pad wraps to large */
    for (size_t c = 0; c < words * 64; ++c)
      if (c >= channels || !is_inside) bad += bit_of(image + p * words, c) != (c < channels && pad_value > 0);
  }
  return bad;
}
