/* roofline.c: what measurements are compared with: the popcount loop and the popcount stream of the instruction set in
 * use, and a matrix product as the textbook has it. */
#include "roofline.h"

#define QNN_ISA(isa, base, mr, tmr, nr, tables, tiles, bf16, usable) \
  qnn_popcount_ukernel qnn_popcount_ukernel__##base;    \
  qnn_stream_ukernel qnn_stream_ukernel__##base;
#define QNN_ISA_MISSING(isa)
#include "kernels/isa.inc"
#undef QNN_ISA
#undef QNN_ISA_MISSING

typedef struct {
  const char *name;
  qnn_popcount_ukernel *popcount;
  qnn_stream_ukernel *stream;
} roofline;

#define QNN_ISA(isa, base, mr, tmr, nr, tables, tiles, bf16, usable) \
  {#isa, qnn_popcount_ukernel__##base, qnn_stream_ukernel__##base},
#define QNN_ISA_MISSING(isa)
static const roofline table[] = {
#include "kernels/isa.inc"
};

static const roofline *active(void) {
  const char *name = qnn_isa_chosen();
  for (size_t i = 0; i < sizeof table / sizeof table[0]; ++i)
    if (strcmp(name, table[i].name) == 0) return &table[i];
  assert(!"every usable instruction set has a row");
  return &table[0];
}

static volatile uint64_t sink;  /* lets the compiler keep what is computed */

size_t qnn_popcount_loop(size_t iterations) {
  sink = active()->popcount(iterations);
  return iterations * QNN_POPCOUNT_WORDS;
}

qnn_status qnn_popcount_stream(const uint64_t *x, size_t num_words) {
  if (!x || num_words % 64) return QNN_BAD_ARGUMENT;
  sink = active()->stream(x, num_words);
  return QNN_OK;
}

qnn_status qnn_naive_sgemm(const float *a, const float *b, size_t m, size_t n, size_t k, float *c) {
  if (!a || !b || !c) return QNN_BAD_ARGUMENT;
  memset(c, 0, m * n * sizeof *c);
  for (size_t i = 0; i < m; ++i)
    for (size_t p = 0; p < k; ++p)
      for (size_t j = 0; j < n; ++j) c[i * n + j] += a[i * k + p] * b[p * n + j];
  return QNN_OK;
}
