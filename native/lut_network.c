/* lut_network.c: networks of look-up tables: blocks of samples become slices, pass all nodes, and their scores are counted. */
#include <stdlib.h>

#include "internal.h"

enum { max_lanes = 8, group = 64, grain_nodes = 1 << 14 };

typedef uint8_t bytes16 __attribute__((vector_size(16)));

static bool in_range(const int32_t *x, size_t n, size_t limit) {
  bool is_good = true;
  for (size_t i = 0; i < n; ++i) is_good &= (uint32_t)x[i] < limit;
  return is_good;
}

qnn_status qnn_lut_check(const qnn_lut_network *net, const qnn_lut_samples *input) {
  if (!net || !net->outputs || !net->starts) return QNN_BAD_ARGUMENT;
  if (net->num_nodes && (!net->arities || !net->connections || !net->tables)) return QNN_BAD_ARGUMENT;
  if (!net->num_inputs || !net->num_outputs || !net->num_scores || !net->num_frames) return QNN_BAD_SHAPE;
  if (net->num_inputs > INT32_MAX || net->num_nodes > INT32_MAX - net->num_inputs || net->num_outputs > INT32_MAX ||
      net->num_scores > INT32_MAX || net->num_frames > INT32_MAX / net->num_outputs)
    return QNN_BAD_SHAPE;
  for (size_t k = 0; k < net->num_nodes; ++k)
    if (net->arities[k] > 6 || !in_range(net->connections + 6 * k, net->arities[k], net->num_inputs + k))
      return QNN_BAD_SHAPE;
  if (!in_range(net->outputs, net->num_outputs, net->num_inputs + net->num_nodes)) return QNN_BAD_SHAPE;
  if (net->starts[0] != 0 || (size_t)net->starts[net->num_scores] != net->num_outputs) return QNN_BAD_SHAPE;
  for (size_t s = 0; s < net->num_scores; ++s)
    if (net->starts[s] > net->starts[s + 1]) return QNN_BAD_SHAPE;
  if (!input) return QNN_OK;
  if (!!input->bits + !!input->bytes + !!input->floats != 1) return QNN_BAD_ARGUMENT;
  if (input->bits) return QNN_OK;
  if (!input->features || (input->bytes && !input->levels) || (input->floats && !input->thresholds))
    return QNN_BAD_ARGUMENT;
  if (!input->num_features || !in_range(input->features, net->num_inputs, input->num_features)) return QNN_BAD_SHAPE;
  return QNN_OK;
}

/* 16 rows of 16 bytes, transposed by four perfect shuffles. */
static void transpose16(bytes16 *a) {
  static const bytes16 low = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
  static const bytes16 high = {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  bytes16 b[16];
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 8; ++i) b[2 * i] = __builtin_shuffle(a[i], a[i + 8], low), b[2 * i + 1] = __builtin_shuffle(a[i], a[i + 8], high);
    for (int i = 0; i < 8; ++i) a[2 * i] = __builtin_shuffle(b[i], b[i + 8], low), a[2 * i + 1] = __builtin_shuffle(b[i], b[i + 8], high);
  }
}

/* Up to 64 samples of bytes -> columns[feature][64], zeros behind the last sample. */
static void byte_columns(const uint8_t *x, size_t num_features, size_t num_samples, uint8_t *columns) {
  for (size_t f = 0; f < num_features; f += 16) {
    const size_t width = qnn_min(16, num_features - f);
    for (size_t first = 0; first < group; first += 16) {
      bytes16 tile[16] = {{0}};
      for (size_t i = 0; i < 16 && first + i < num_samples; ++i) {
        const uint8_t *row = x + (first + i) * num_features + f;
        if (width == 16) memcpy(&tile[i], row, 16);
        else memcpy(&tile[i], row, width);
      }
      transpose16(tile);
      for (size_t i = 0; i < width; ++i) memcpy(columns + (f + i) * group + first, &tile[i], 16);
    }
  }
}

/* Up to 64 samples of floats -> word 0 of the slices. */
static void compare_floats(const float *x, size_t num_features, size_t num_samples, const int32_t *features,
                           const float *thresholds, size_t num_bits, uint64_t *slices, size_t lanes) {
  for (size_t i = 0; i < num_bits; ++i) {
    const float *column = x + features[i], threshold = thresholds[i];
    uint64_t word = 0;
    for (size_t sample = 0; sample < num_samples; ++sample)
      word |= (uint64_t)(column[sample * num_features] > threshold) << sample;
    slices[i * lanes] = word;
  }
}

typedef struct {
  uint64_t *slices;     /* [num_inputs rounded up to 64 + num_nodes + 64][lanes] */
  uint8_t *columns;     /* [num_features][64], of bytes */
  int32_t *counts;      /* [num_scores][64 * lanes] */
} workspace;

/* Input slices of frame `frame` of the samples from `first` on. */
static void slice_inputs(const qnn_lut_network *net, const qnn_lut_samples *in, const qnn_lut_kernels *kernels, size_t first,
                         size_t num_samples, size_t frame, const workspace *space) {
  const size_t lanes = kernels->lanes, words = qnn_words_for(net->num_inputs);
  if (in->bits) {
    const size_t stride = words * net->num_frames;
    kernels->transpose(in->bits + first * stride + frame * words, stride, words, num_samples, space->slices);
    return;
  }
  for (size_t lane = 0; lane < lanes; ++lane) {
    const size_t done = lane * group, count = done < num_samples ? qnn_min(group, num_samples - done) : 0;
    const size_t row = (first + done) * in->num_features, bits = frame * net->num_inputs;
    if (in->floats) {
      compare_floats(in->floats + row, in->num_features, count, in->features, in->thresholds + bits, net->num_inputs,
                     space->slices + lane, lanes);
      continue;
    }
    uint8_t *columns = space->columns + lane * in->num_features * group;
    if (frame == 0) byte_columns(in->bytes + row, in->num_features, count, columns);
    kernels->compare(columns, net->num_inputs, in->features, in->levels + bits, space->slices + lane);
  }
}

/* The bits of a byte, one to a byte, as 0 or 1. */
static inline uint64_t spread_bits(uint64_t byte) {
  return (((byte * 0x0101010101010101u) & 0x8040201008040201u) + 0x00406070787C7E7Fu) >> 7 & 0x0101010101010101u;
}

/* counts[sample] += the binary number whose digits are slices. */
static void add_digits(const uint64_t *digits, size_t num_digits, size_t lanes, int32_t *counts) {
  for (size_t low = 0; low < num_digits; low += 8) {
    const size_t n = qnn_min(8, num_digits - low);
    for (size_t at = 0; at < 8 * lanes; ++at) {
      uint64_t sum = 0;
      for (size_t d = 0; d < n; ++d)
        sum |= spread_bits(digits[(low + d) * lanes + at / 8] >> 8 * (at % 8) & 255) << d;
      for (size_t i = 0; i < 8; ++i) counts[8 * at + i] += (int32_t)(sum >> 8 * i & 255) << low;
    }
  }
}

static void store(const int32_t *counts, size_t num_scores, size_t ld, size_t num_samples, int32_t *scores,
                  int32_t *classes) {
  if (scores)
    for (size_t i = 0; i < num_samples; ++i)
      for (size_t s = 0; s < num_scores; ++s) scores[i * num_scores + s] = counts[s * ld + i];
  if (!classes) return;
  int32_t best[group * max_lanes];
  memcpy(best, counts, ld * sizeof *best);
  memset(classes, 0, num_samples * sizeof *classes);
  for (size_t s = 1; s < num_scores; ++s)
    for (size_t i = 0; i < num_samples; ++i) {
      const int32_t count = counts[s * ld + i];
      classes[i] = count > best[i] ? (int32_t)s : classes[i];
      best[i] = count > best[i] ? count : best[i];
    }
}

static void run_block(const qnn_lut_network *net, const qnn_lut_samples *in, const qnn_lut_kernels *kernels, size_t first,
                      size_t num_samples, const workspace *space, int32_t *scores, int32_t *classes) {
  _Alignas(64) uint64_t digits[33 * max_lanes];
  const size_t ld = group * kernels->lanes;
  memset(space->counts, 0, net->num_scores * ld * sizeof *space->counts);
  for (size_t frame = 0; frame < net->num_frames; ++frame) {
    slice_inputs(net, in, kernels, first, num_samples, frame, space);
    kernels->evaluate(net, space->slices);
    for (size_t s = 0; s < net->num_scores; ++s) {
      const size_t begin = (size_t)net->starts[s], n = (size_t)net->starts[s + 1] - begin;
      const size_t num_digits = kernels->count(space->slices, net->outputs + begin, n, digits);
      add_digits(digits, num_digits, kernels->lanes, space->counts + s * ld);
    }
  }
  store(space->counts, net->num_scores, ld, num_samples, scores ? scores + first * net->num_scores : NULL,
        classes ? classes + first : NULL);
}

qnn_status qnn_lut_run(const qnn_lut_network *net, const qnn_lut_samples *in, size_t samples, int32_t *scores,
                       int32_t *classes) {
  if (!net || !in || (!scores && !classes) || !!in->bits + !!in->bytes + !!in->floats != 1) return QNN_BAD_ARGUMENT;
  const qnn_lut_kernels *kernels = qnn_isa_active()->lut;
  const size_t block = group * kernels->lanes, num_blocks = samples / block + (samples % block != 0);
  const size_t slices = (net->num_inputs + net->num_nodes + 64) * kernels->lanes * sizeof(uint64_t);
  const size_t columns = in->bytes ? in->num_features * block : 0;
  const size_t counts = net->num_scores * block * sizeof(int32_t);
  const size_t bytes = slices + columns + counts;  /* all multiples of 64 but in the narrowest slices */
  const size_t stride = (bytes + 63) / 64 * 64;
  if (!samples || !qnn_fits(samples, net->num_scores, 1, 1, sizeof *scores)) return QNN_BAD_SHAPE;
  const int wanted = qnn_threads_for(num_blocks * net->num_nodes * net->num_frames, grain_nodes);
  const size_t num_threads = qnn_min((size_t)wanted, num_blocks);
  unsigned char *memory = qnn_fits(stride, num_threads, 1, 1, 1) ? aligned_alloc(64, stride * num_threads) : NULL;
  if (!memory) return QNN_NO_MEMORY;
#pragma omp parallel for schedule(static) num_threads((int)num_threads) if (num_threads > 1)
  for (size_t t = 0; t < num_threads; ++t) {
    unsigned char *base = memory + t * stride;
    const workspace space = {(uint64_t *)base, base + slices + counts, (int32_t *)(base + slices)};
    for (size_t b = num_blocks * t / num_threads; b < num_blocks * (t + 1) / num_threads; ++b)
      run_block(net, in, kernels, b * block, qnn_min(block, samples - b * block), &space, scores, classes);
  }
  free(memory);
  return QNN_OK;
}
