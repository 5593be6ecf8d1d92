/* finish-neon.c: counts to the float output, in plain C: the compiler vectorises the NHWC loop for AArch64. */
#include "plain.h"

QNN_PLAIN_FINISH(neon)
