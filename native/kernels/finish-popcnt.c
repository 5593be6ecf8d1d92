/* finish-popcnt.c: counts to the float output, in plain C. */
#include "plain.h"

QNN_PLAIN_FINISH(popcnt)
