/* test_lut_network.c: packed networks of look-up tables, node by node: every arity, frames, both heads, counts of samples
 * around the words and vectors, from bits, from bytes and from floats. */
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { inputs = 70, nodes = 60, features = 33, frames = 2, scores = 3, most = 577 };

/* Scores and class of one sample; bits: its frames. */
static void evaluate(const qnn_lut_network *net, const uint64_t *bits, int32_t *want, int32_t *best) {
  memset(want, 0, scores * sizeof *want);
  for (size_t f = 0; f < frames; ++f) {
    size_t signals[inputs + nodes];
    for (size_t i = 0; i < inputs; ++i) signals[i] = bit_of(bits + f * 2, i);
    for (size_t k = 0; k < nodes; ++k) {
      size_t index = 0;
      for (size_t j = 0; j < net->arities[k]; ++j) index |= signals[net->connections[6 * k + j]] << j;
      signals[inputs + k] = net->tables[k] >> index & 1;
    }
    for (int s = 0; s < scores; ++s)
      for (int32_t o = net->starts[s]; o < net->starts[s + 1]; ++o) want[s] += (int32_t)signals[net->outputs[o]];
  }
  *best = 0;
  for (int s = 1; s < scores; ++s)
    if (want[s] > want[*best]) *best = s;
}

/* Both ways in give what the bits say. */
static size_t check_samples(const qnn_lut_network *net, const uint64_t *bits, const qnn_lut_samples *encoded) {
  static const size_t counts[] = {1, 63, 65, 513, most};
  const qnn_lut_samples packed = {.bits = bits};
  int32_t *found = malloc(most * scores * 4), *again = malloc(most * scores * 4), *classes = malloc(most * 4);
  size_t bad = qnn_lut_check(net, &packed) != QNN_OK;
  bad += qnn_lut_check(net, encoded) != QNN_OK;
  for (size_t c = 0; c < sizeof counts / sizeof *counts; ++c) {
    const size_t samples = counts[c];
    bad += qnn_lut_run(net, &packed, samples, found, classes) || qnn_lut_run(net, encoded, samples, again, NULL);
    bad += memcmp(found, again, samples * scores * 4) != 0;
    for (size_t n = 0; n < samples; ++n) {
      int32_t want[scores], best;
      evaluate(net, bits + n * frames * 2, want, &best);
      for (int s = 0; s < scores; ++s) bad += found[n * scores + (size_t)s] != want[s];
      bad += classes[n] != best;
    }
    bad += qnn_lut_run(net, encoded, samples, NULL, again) != QNN_OK;
    bad += memcmp(classes, again, samples * 4) != 0;
  }
  free(found), free(again), free(classes);
  return bad;
}

size_t test_lut(void) {
  uint8_t arities[nodes], *bytes = malloc(most * features);
  float *floats = random_floats(most * features), *thresholds = random_floats(frames * inputs);
  int32_t connections[nodes * 6], outputs[nodes], starts[scores + 1] = {0, 1, 1, nodes}, sources[inputs];
  uint64_t tables[nodes], *of_bytes = calloc(most * frames * 2, 8), *of_floats = calloc(most * frames * 2, 8);
  uint16_t levels[frames * inputs];
  for (size_t k = 0; k < nodes; ++k) {
    arities[k] = (uint8_t)(k % 7), tables[k] = random_word(), outputs[k] = (int32_t)(random_word() % (inputs + nodes));
    for (size_t j = 0; j < 6; ++j) connections[6 * k + j] = (int32_t)(random_word() % (inputs + k));
  }
  for (size_t i = 0; i < inputs; ++i) sources[i] = (int32_t)(random_word() % features);
  for (size_t i = 0; i < frames * inputs; ++i) {
    levels[i] = (uint16_t)(random_word() % 257);
    if (isnan(thresholds[i])) thresholds[i] = 0.0f;  /* an encoder has none */
  }
  for (size_t i = 0; i < most * features; ++i) bytes[i] = (uint8_t)random_word();
  for (size_t i = 0; i < most * frames * inputs; ++i) {
    const size_t row = i / inputs, bit = i % inputs, at = row / frames * features + (size_t)sources[bit];
    const size_t limit = row % frames * inputs + bit;
    of_bytes[row * 2 + bit / 64] |= (uint64_t)(bytes[at] >= levels[limit]) << bit % 64;
    of_floats[row * 2 + bit / 64] |= (uint64_t)(floats[at] > thresholds[limit]) << bit % 64;
  }
  const qnn_lut_network net = {inputs, nodes, nodes, scores, frames, arities, connections, tables, outputs, starts};
  const qnn_lut_samples by_bytes = {.bytes = bytes, .num_features = features, .features = sources, .levels = levels};
  const qnn_lut_samples by_floats = {.floats = floats, .num_features = features, .features = sources,
                                     .thresholds = thresholds};
  const size_t bad = check_samples(&net, of_bytes, &by_bytes) + check_samples(&net, of_floats, &by_floats);
  free(bytes), free(floats), free(thresholds), free(of_bytes), free(of_floats);
  return bad;
}
