/* pack-popcnt.c: signs of floats to words, in plain C. */
#include "plain.h"

QNN_PLAIN_PACK(popcnt)
