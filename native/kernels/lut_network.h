/* lut_network.h: look-up tables on slices, for any width of vectors. A file lut_network-<isa>.c defines QNN_LUT_LANES (words of a slice),
 * may define QNN_LUT_MUX(s, a, b) = s ? a : b and QNN_LUT_COMPARE, includes this, and ends with QNN_LUT_KERNELS(isa).
 *
 * A table of 6 inputs is a tree: its 16 nibbles are functions of x_0 and x_1, all 16 of which are computed once per node;
 * then x_2 .. x_5 choose between them, 8 + 4 + 2 + 1 multiplexers. No branch depends on the table. */
#include "../internal.h"

#ifndef QNN_LUT_MUX
#define QNN_LUT_MUX(s, a, b) ((b) ^ ((s) & ((a) ^ (b))))
#endif

typedef uint64_t qnn_slice __attribute__((vector_size(8 * QNN_LUT_LANES)));
typedef uint8_t qnn_bytes __attribute__((vector_size(16)));

static inline qnn_slice spread(uint64_t word) { return word - (qnn_slice){0}; }

/* Bit i of a table, in all samples. */
static inline qnn_slice constant(uint64_t table, unsigned i) { return spread(-(table >> i & 1)); }

/* The function of x_0, x_1 whose table is the nibble at bit `at`. */
static inline qnn_slice pair(uint64_t table, unsigned at, qnn_slice x0, qnn_slice x1) {
  return QNN_LUT_MUX(x1, QNN_LUT_MUX(x0, constant(table, at + 3), constant(table, at + 2)),
                     QNN_LUT_MUX(x0, constant(table, at + 1), constant(table, at)));
}

/* Nodes of 4, 5, 6 inputs. */
static inline __attribute__((always_inline)) qnn_slice tree(uint64_t table, const qnn_slice *const *x, unsigned n,
                                                            qnn_slice *functions) {
  const qnn_slice a = *x[0], b = *x[1];
  functions[1] = ~(a | b), functions[2] = a & ~b, functions[3] = ~b, functions[4] = b & ~a, functions[5] = ~a;
  functions[6] = a ^ b, functions[7] = ~(a & b), functions[8] = a & b, functions[9] = ~(a ^ b), functions[10] = a;
  functions[11] = a | ~b, functions[12] = b, functions[13] = b | ~a, functions[14] = a | b;
  qnn_slice y[8];
  for (unsigned i = 0; i < 1u << (n - 3); ++i)
    y[i] = QNN_LUT_MUX(*x[2], functions[table >> (8 * i + 4) & 15], functions[table >> 8 * i & 15]);
  for (unsigned j = 3; j < n; ++j)
    for (unsigned i = 0; i < 1u << (n - 1 - j); ++i) y[i] = QNN_LUT_MUX(*x[j], y[2 * i + 1], y[2 * i]);
  return y[0];
}

static void evaluate(const qnn_lut_network *network, uint64_t *words) {
  qnn_slice *slices = (qnn_slice *)words, *y = slices + network->num_inputs;
  qnn_slice functions[16];
  functions[0] = spread(0), functions[15] = ~spread(0);
  const int32_t *connections = network->connections;
  for (size_t k = 0; k < network->num_nodes; ++k, connections += 6) {
    const uint64_t table = network->tables[k];
    const unsigned arity = network->arities[k];
    const qnn_slice *x[6];
    for (unsigned j = 0; j < 6; ++j) x[j] = slices + (j < arity ? connections[j] : 0);
    switch (arity) {
      case 6: y[k] = tree(table, x, 6, functions); break;
      case 5: y[k] = tree(table, x, 5, functions); break;
      case 4: y[k] = tree(table, x, 4, functions); break;
      case 3: y[k] = QNN_LUT_MUX(*x[2], pair(table, 4, *x[0], *x[1]), pair(table, 0, *x[0], *x[1])); break;
      case 2: y[k] = pair(table, 0, *x[0], *x[1]); break;
      case 1: y[k] = QNN_LUT_MUX(*x[0], constant(table, 1), constant(table, 0)); break;
      default: y[k] = constant(table, 0);
    }
  }
}

/* Full adders: three slices of one weight become one, and a carry of the next weight. */
static size_t count(const uint64_t *words, const int32_t *signals, size_t n, uint64_t *digits) {
  const qnn_slice *slices = (const qnn_slice *)words;
  qnn_slice waiting[33][3], *out = (qnn_slice *)digits;
  unsigned filled[33] = {0};
  size_t top = 0;
  for (size_t i = 0; i < n; ++i) {
    qnn_slice x = slices[signals[i]];
    for (size_t level = 0;; ++level) {
      qnn_slice *w = waiting[level];
      w[filled[level]++] = x;
      if (level >= top) top = level + 1;
      if (filled[level] < 3) break;
      x = (w[0] & w[1]) | (w[2] & (w[0] | w[1]));
      w[0] ^= w[1] ^ w[2];
      filled[level] = 1;
    }
  }
  for (size_t level = 0; level < top; ++level) {
    qnn_slice *w = waiting[level];
    if (filled[level] > 1) {
      if (filled[level] == 2) w[2] = spread(0);
      const qnn_slice carry = (w[0] & w[1]) | (w[2] & (w[0] | w[1]));
      w[0] ^= w[1] ^ w[2];
      waiting[level + 1][filled[level + 1]++] = carry;
      if (level + 1 == top) ++top;
    }
    out[level] = w[0];
  }
  return top;
}

/* 64 x 64 bits in every lane, by swapping halves, quarters ... down to single bits. */
static void transpose(const uint64_t *rows, size_t stride, size_t num_words, size_t num_samples, uint64_t *words) {
  qnn_slice *slices = (qnn_slice *)words;
  for (size_t w = 0; w < num_words; ++w) {
    qnn_slice r[64];
    for (size_t i = 0; i < 64; ++i)
      for (size_t lane = 0; lane < QNN_LUT_LANES; ++lane)
        r[i][lane] = 64 * lane + i < num_samples ? rows[(64 * lane + i) * stride + w] : 0;
    uint64_t mask = 0xFFFFFFFF;
    for (unsigned s = 32; s; s >>= 1, mask ^= mask << s)
      for (unsigned k = 0; k < 64; k = (k + s + 1) & ~s) {
        const qnn_slice t = ((r[k] >> s) ^ r[k + s]) & mask;
        r[k + s] ^= t;
        r[k] ^= t << s;
      }
    memcpy(slices + 64 * w, r, sizeof r);
  }
}

#ifndef QNN_LUT_COMPARE
/* Bit i = x[i] >= level, of 64 bytes. */
static inline uint64_t at_least(const uint8_t *x, uint8_t level) {
  static const qnn_bytes weights = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  uint64_t word = 0;
  for (unsigned i = 0; i < 4; ++i) {
    qnn_bytes v;
    memcpy(&v, x + 16 * i, sizeof v);
    const qnn_bytes bits = (qnn_bytes)(v >= level) & weights;
    uint64_t half[2];
    memcpy(half, &bits, sizeof half);
    word |= (half[0] * 0x0101010101010101u >> 56 | half[1] * 0x0101010101010101u >> 56 << 8) << 16 * i;
  }
  return word;
}
#endif

static void compare(const uint8_t *columns, size_t num_bits, const int32_t *features, const uint16_t *levels,
                    uint64_t *slices) {
  for (size_t i = 0; i < num_bits; ++i) {
    const uint8_t *x = columns + 64 * (size_t)features[i];
    slices[i * QNN_LUT_LANES] = levels[i] > 255 ? 0 : at_least(x, (uint8_t)levels[i]);
  }
}

#define QNN_LUT_KERNELS(isa)                              \
  extern const qnn_lut_kernels qnn_lut_kernels__##isa;    \
  const qnn_lut_kernels qnn_lut_kernels__##isa = {QNN_LUT_LANES, transpose, compare, evaluate, count};
