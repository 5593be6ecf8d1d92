/* amx.h: what the kernels on matrix tiles share: loads, and the shapes of the eight tile registers. */
#ifndef QNN_KERNELS_AMX_H
#define QNN_KERNELS_AMX_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

/* gcc's _tile_loadd and _tile_loadconfig do not say which memory they read, so that it moves stores behind them. */
#define QNN_LOAD_TILE(tile, from, stride) \
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(from), "r"((size_t)(stride)) : "memory")

/* Register i has rows[i] rows of 64 bytes, until _tile_release. */
static inline void configure_tiles(const uint8_t rows[8]) {
  struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } config = {.palette = 1};
  for (size_t i = 0; i < 8; ++i) {
    config.row_bytes[i] = 64;
    config.rows[i] = rows[i];
  }
  __asm__ volatile("ldtilecfg %0" : : "m"(config));
}

#endif
