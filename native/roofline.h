/* roofline.h: loops that say how fast this machine can be at all, one pair per instruction set. */
#ifndef QNN_ROOFLINE_H
#define QNN_ROOFLINE_H

#include "internal.h"

/* xor + popcount + add between registers, the xgemm without its loads and stores: counts over `iterations` times
 * QNN_POPCOUNT_WORDS words; the result only keeps the compiler from dropping the work. */
enum { QNN_POPCOUNT_WORDS = 4096 };
typedef uint64_t qnn_popcount_ukernel(size_t iterations);

/* Popcount of num_words words of memory, each read once, xor a register: what a fully connected layer does with its
 * weights at batch 1. num_words is a multiple of 64. */
typedef uint64_t qnn_stream_ukernel(const uint64_t *x, size_t num_words);

/* Makes a register's value unknown to the compiler, so that nothing moves out of the loop. */
#define QNN_OPAQUE(x, constraint) __asm__ volatile("" : "+" constraint(x))

#endif
