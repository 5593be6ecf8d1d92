/* encode-neon.c: floats to codes by thresholds, in plain C. */
#include "plain.h"

QNN_PLAIN_ENCODE(neon)
