/* check.h: what the groups of tests share. A group returns the number of values that differ; all of them run with every
 * instruction set in turn, which the library has chosen before. */
#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "qnn_train.h"

void restart_random(void);
uint64_t random_word(void);
float random_float(void);  /* -1..1, now and then a zero, a denormal, an infinity or NaN */
float *random_floats(size_t n);

static inline int sign_of(float x) { return x < 0 ? -1 : 1; }
static inline size_t words_for(size_t n) { return (n + 63) / 64; }
static inline size_t bit_of(const uint64_t *row, size_t i) { return row[i / 64] >> i % 64 & 1; }

/* Border pixels, and pad bits of all pixels, of a packed image without groups. */
size_t check_border(const uint64_t *image, size_t batch, size_t height, size_t width, size_t pad_h, size_t pad_w,
                    size_t channels, int pad_value);

/* ---- groups --------------------------------------------------------------------------------------------------------- */

size_t test_pack(void), test_flush_to_zero(void), test_thresholds(void);           /* test_packing.c */
size_t test_xgemm(void), test_conv2d(void), test_groups(void);                     /* test_layers.c */
size_t test_planes(void);                                                          /* test_planes.c */
size_t test_pool(void), test_pool_of_codes(void);                                  /* test_pooling.c */
size_t test_scaled_codes(void);                                                   /* test_scaled_codes.c */
size_t test_lut(void);                                                             /* test_lut_network.c */
size_t test_thermometer(void), test_mean_of_groups(void);                          /* test_lut_signals.c */
size_t test_stem(void);                                                            /* test_stem.c */
size_t test_train_conv(void);                                                      /* test_train_conv.c */
size_t test_lut_train(void), test_lut_batch_norm(void), test_lut_tables(void);     /* test_lut_train.c */
size_t test_lut_windows(void);                                                     /* test_lut_windows.c */

#endif
