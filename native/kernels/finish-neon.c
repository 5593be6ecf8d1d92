/* finish-neon.c: counts to the float output, in plain C: the compiler vectorises the NHWC loop with AArch64's base set. */
#include "plain.h"

QNN_PLAIN_FINISH(neon)
