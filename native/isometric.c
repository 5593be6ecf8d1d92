/* isometric.c: codes of isometric residual binarization (qnn/quantizers_residual.py), for training, and their gradients. */
#include "internal.h"

enum { lanes = 4, grain = 1 << 15, max_levels = 4 };

/* Vectors, because compilers do not vectorise comparisons of floats that might trap. */
typedef float floats __attribute__((vector_size(lanes * sizeof(float)), aligned(sizeof(float)), may_alias));
typedef int32_t ints __attribute__((vector_size(lanes * sizeof(int32_t)), may_alias));

/* `left` > 0 elements are there; behind them, 0. */
static inline floats load(const float *from, size_t left) {
  floats x = {0};
  if (left >= lanes) return *(const floats *)from;
  memcpy(&x, from, left * sizeof *from);
  return x;
}

static inline void store(float *to, size_t left, floats x) {
  if (left >= lanes)
    *(floats *)to = x;
  else
    memcpy(to, &x, left * sizeof *to);
}

static inline floats select(ints mask, floats a, floats b) { return (floats)((mask & (ints)a) | (~mask & (ints)b)); }

static inline floats all(float value) { return (floats){0} + value; }

static bool are_levels(float gamma, unsigned levels) { return !(gamma <= 0) && levels >= 1 && levels <= max_levels; }

static inline floats isometric_codes(floats x, float step, float half) {
  floats quotient = x / step;
  quotient = select(quotient < half - 1, quotient, all(half - 1));  /* NaN: the uppermost code */
  quotient = select(quotient > -half, quotient, all(-half));
  const floats whole = __builtin_convertvector(__builtin_convertvector(quotient, ints), floats);
  return 2 * (whole - select(whole > quotient, all(1), all(0))) + 1;
}

qnn_status qnn_isometric(const float *x, size_t n, float gamma, unsigned levels, float *codes) {
  if (!x || !codes || !are_levels(gamma, levels)) return QNN_BAD_ARGUMENT;
  if (!qnn_is_count(n)) return QNN_BAD_SHAPE;
  const float half = (float)(1 << (levels - 1)), step = gamma * (2 / half);
  const int num_threads = qnn_threads_for(n, grain);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t i = 0; i < n; i += lanes) store(codes + i, n - i, isometric_codes(load(x + i, n - i), step, half));
  return QNN_OK;
}

/* With r_l as in qnn/quantizers_residual.py: *slope = sum of 2^(M-l) where |r_l| <= 1, returns sum of 2^-(l-1) r_l
 * clipped to -1..1. */
static inline __attribute__((always_inline)) floats isometric_slopes(const unsigned levels, floats rest, float gamma,
                                                                     floats *slope) {
  floats sum = {0};
  *slope = (floats){0};
#pragma GCC unroll 4
  for (unsigned level = 0; level < levels; ++level) {
    const float weight = 1.0f / (float)(1 << level);
    const ints above = rest > 1, below = rest < -1, inside = (rest <= 1) & (rest >= -1);
    *slope += select(inside, all((float)(1 << (levels - 1 - level))), all(0));
    sum += weight * select(above, all(1), select(below, all(-1), rest));
    rest -= select(rest < 0, all(-gamma * weight), all(gamma * weight));
  }
  return sum;
}

static inline __attribute__((always_inline)) double isometric_grad(const unsigned levels, const float *x,
                                                                   const float *dy, size_t count, float gamma,
                                                                   float *dx) {
  floats products = {0};
  for (size_t i = 0; i < count; i += lanes) {
    const floats head = load(dy + i, count - i);
    floats slope;
    products += isometric_slopes(levels, load(x + i, count - i), gamma, &slope) * head;
    store(dx + i, count - i, slope * head);
  }
  double sum = 0;
  for (size_t lane = 0; lane < lanes; ++lane) sum += (double)products[lane];
  return sum;
}

#define GRADIENT(name, levels)                                                                                        \
  static double name(const float *x, const float *dy, size_t count, float gamma, float *dx) {                         \
    return isometric_grad(levels, x, dy, count, gamma, dx);                                                           \
  }
GRADIENT(grad_1, 1)
GRADIENT(grad_2, 2)
GRADIENT(grad_3, 3)
GRADIENT(grad_4, 4)

qnn_status qnn_isometric_grad(const float *x, const float *dy, size_t n, float gamma, unsigned levels, float *dx,
                              float *dgamma) {
  static qnn_chunk_grad *const gradients[max_levels] = {grad_1, grad_2, grad_3, grad_4};
  if (!x || !dy || !dx || !dgamma || !are_levels(gamma, levels)) return QNN_BAD_ARGUMENT;
  double sum;
  const qnn_status status = qnn_sum_chunk_grads(gradients[levels - 1], x, dy, n, gamma, dx, &sum);
  if (status == QNN_OK) *dgamma = (float)(sum * (1 << (levels - 1)) / gamma);
  return status;
}
