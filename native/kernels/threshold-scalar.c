/* threshold-scalar.c: counts to bits, in plain C. */
#include "plain.h"

QNN_PLAIN_THRESHOLD(scalar)
