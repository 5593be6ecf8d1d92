/* scaled_codes.c: codes of isometric residual binarization and products with a scale, for training, with gradients. */
#include "internal.h"

enum { chunk = 1 << 12, grain_chunks = 8, lanes = 4, max_levels = 4 };

/* ---- sums that do not depend on the number of threads ------------------------------------------------------------- */

/* Products of a chunk add up in float lanes, lanes and chunks in double, all in the order of the elements. */
static double sum_of(const double *sums, size_t n) {
  double total = 0;
  for (size_t i = 0; i < n; ++i) total += sums[i];
  return total;
}

static double sum_of_lanes(const float *part) {
  double total = 0;
  for (size_t i = 0; i < lanes; ++i) total += part[i];
  return total;
}

static int threads_for_chunks(size_t num_chunks) { return qnn_threads_for(num_chunks, grain_chunks); }

/* ---- y = scale * x ------------------------------------------------------------------------------------------------- */

qnn_status qnn_scale(const float *x, size_t n, float scale, float *y) {
  if (!x || !y) return QNN_BAD_ARGUMENT;
  const size_t num_chunks = qnn_ceil_div(n, chunk);
  const int num_threads = threads_for_chunks(num_chunks);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t c = 0; c < num_chunks; ++c) {
    const size_t begin = c * chunk, count = qnn_min(chunk, n - begin);
    const float *restrict from = x + begin;
    float *restrict to = y + begin;
    for (size_t i = 0; i < count; ++i) to[i] = scale * from[i];
  }
  return QNN_OK;
}

static double scale_chunk_grad(const float *restrict x, const float *restrict dy, size_t count, float scale,
                               float *restrict dx) {
  float part[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (size_t lane = 0; lane < lanes; ++lane) {
      part[lane] += dy[i + lane] * x[i + lane];
      dx[i + lane] = scale * dy[i + lane];
    }
  for (; i < count; ++i) {
    part[i % lanes] += dy[i] * x[i];
    dx[i] = scale * dy[i];
  }
  return sum_of_lanes(part);
}

qnn_status qnn_scale_grad(const float *x, const float *dy, size_t n, float scale, float *dx, float *dscale) {
  if (!x || !dy || !dx || !dscale) return QNN_BAD_ARGUMENT;
  const size_t num_chunks = qnn_ceil_div(n, chunk);
  double *sums = qnn_scratch(num_chunks * sizeof *sums);
  if (!sums) return QNN_NO_MEMORY;
  const int num_threads = threads_for_chunks(num_chunks);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t c = 0; c < num_chunks; ++c) {
    const size_t begin = c * chunk;
    sums[c] = scale_chunk_grad(x + begin, dy + begin, qnn_min(chunk, n - begin), scale, dx + begin);
  }
  *dscale = (float)sum_of(sums, num_chunks);
  return QNN_OK;
}

/* ---- isometric codes ----------------------------------------------------------------------------------------------- */

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
  const float half = (float)(1 << (levels - 1)), step = gamma * (2 / half);
  const size_t num_chunks = qnn_ceil_div(n, chunk);
  const int num_threads = threads_for_chunks(num_chunks);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t c = 0; c < num_chunks; ++c) {
    const size_t end = qnn_min((c + 1) * chunk, n);
    for (size_t i = c * chunk; i < end; i += lanes)
      store(codes + i, end - i, isometric_codes(load(x + i, end - i), step, half));
  }
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

static inline __attribute__((always_inline)) double isometric_chunk_grad(const unsigned levels, const float *x,
                                                                         const float *dy, size_t count, float gamma,
                                                                         float *dx) {
  float part[lanes];
  floats products = {0};
  for (size_t i = 0; i < count; i += lanes) {
    const floats head = load(dy + i, count - i);
    floats slope;
    products += isometric_slopes(levels, load(x + i, count - i), gamma, &slope) * head;
    store(dx + i, count - i, slope * head);
  }
  memcpy(part, &products, sizeof part);
  return sum_of_lanes(part);
}

qnn_status qnn_isometric_grad(const float *x, const float *dy, size_t n, float gamma, unsigned levels, float *dx,
                              float *dgamma) {
  if (!x || !dy || !dx || !dgamma || !are_levels(gamma, levels)) return QNN_BAD_ARGUMENT;
  const size_t num_chunks = qnn_ceil_div(n, chunk);
  double *sums = qnn_scratch(num_chunks * sizeof *sums);
  if (!sums) return QNN_NO_MEMORY;
  const int num_threads = threads_for_chunks(num_chunks);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (size_t c = 0; c < num_chunks; ++c) {
    const size_t begin = c * chunk, count = qnn_min(chunk, n - begin);
    const float *from = x + begin, *head = dy + begin;
    sums[c] = levels == 1   ? isometric_chunk_grad(1, from, head, count, gamma, dx + begin)
              : levels == 2 ? isometric_chunk_grad(2, from, head, count, gamma, dx + begin)
              : levels == 3 ? isometric_chunk_grad(3, from, head, count, gamma, dx + begin)
                            : isometric_chunk_grad(4, from, head, count, gamma, dx + begin);
  }
  *dgamma = (float)(sum_of(sums, num_chunks) * (1 << (levels - 1)) / gamma);
  return QNN_OK;
}
