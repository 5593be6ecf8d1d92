/* test_kernels.c: every built instruction set against plain loops written from the formulas, on awkward sizes.
 * Prints one line "PASS group" or "FAIL group ..." each; exit status 1 after a FAIL. Needs nothing but the library. */
#include <stdio.h>
#include <string.h>

#include "check.h"

typedef struct {
  const char *name;
  size_t (*run)(void);
} group;

static const group groups[] = {
    {"pack", test_pack}, {"flush to zero", test_flush_to_zero}, {"xgemm", test_xgemm}, {"conv2d", test_conv2d},
    {"groups", test_groups}, {"thresholds", test_thresholds}, {"pool", test_pool}, {"lut", test_lut},
    {"planes", test_planes}, {"pool of codes", test_pool_of_codes},
    {"thermometer", test_thermometer}, {"mean of groups", test_mean_of_groups}, {"lut train", test_lut_train},
    {"lut batch norm", test_lut_batch_norm}, {"lut tables", test_lut_tables}, {"lut windows", test_lut_windows},
    {"scaled codes", test_scaled_codes}, {"train conv", test_train_conv}, {"stem", test_stem}};

/* Once more on tiles and tables wherever they can run. */
static const group forced[] = {
    {"xgemm, forced", test_xgemm}, {"conv2d, forced", test_conv2d}, {"thresholds, forced", test_thresholds},
    {"planes, forced", test_planes}};

static size_t report(const char *group, const char *isa, size_t num_bad) {
  printf("%s %s %s", num_bad ? "FAIL" : "PASS", isa, group);
  printf(num_bad ? ": %zu values differ\n" : "\n", num_bad);
  return num_bad != 0;
}

int main(void) {
  size_t num_failed = 0;
  qnn_set_threads(1);
  for (size_t i = 0; i < qnn_isa_count(); ++i) {
    const char *isa = qnn_isa_name(i);
    if (!qnn_isa_is_usable(i)) continue;
    if (qnn_isa_select(isa) != QNN_OK || strcmp(qnn_isa_chosen(), isa) != 0) num_failed += report("select", isa, 1);
    restart_random();
    for (size_t g = 0; g < sizeof groups / sizeof *groups; ++g) num_failed += report(groups[g].name, isa, groups[g].run());
    qnn_force_tiles(1);
    for (size_t g = 0; g < sizeof forced / sizeof *forced; ++g) num_failed += report(forced[g].name, isa, forced[g].run());
    qnn_force_tiles(0);
  }
  return num_failed ? 1 : 0;
}
