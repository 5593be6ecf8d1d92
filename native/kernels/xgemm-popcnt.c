/* xgemm-popcnt.c: x86-64 with the POPCNT instruction, xgemm and tgemm, one 64-bit word at a time. */
#define QNN_POPCOUNT(word) ((uint64_t)__builtin_popcountll(word))
#include "plain.h"

QNN_PLAIN_XGEMM(popcnt)
QNN_PLAIN_TGEMM(popcnt)
