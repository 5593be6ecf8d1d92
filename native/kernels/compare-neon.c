/* compare-neon.c: floats to bits by a threshold per channel, in plain C. */
#include "plain.h"

QNN_PLAIN_COMPARE(neon)
