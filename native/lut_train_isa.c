/* lut_train_isa.c: the table-layer kernels of the instruction set in use. */
#include "lut_train.h"

#define QNN_ISA(isa, base, mr, tmr, nr, tables, tiles, bf16, usable) \
  qnn_lut_index_ukernel qnn_lut_index_ukernel__##base;            \
  qnn_lut_lookup_ukernel qnn_lut_lookup_ukernel__##base;          \
  qnn_lut_input_grad_ukernel qnn_lut_input_grad_ukernel__##base;  \
  qnn_lut_tree_ukernel qnn_lut_tree_ukernel__##base;              \
  qnn_lut_tree_grad_ukernel qnn_lut_tree_grad_ukernel__##base;
#define QNN_ISA_MISSING(isa)
#include "kernels/isa.inc"
#undef QNN_ISA
#undef QNN_ISA_MISSING

#define QNN_ISA(isa, base, mr, tmr, nr, tables, tiles, bf16, usable) \
  {#isa, qnn_lut_index_ukernel__##base, qnn_lut_lookup_ukernel__##base, qnn_lut_input_grad_ukernel__##base,  \
   qnn_lut_tree_ukernel__##base, qnn_lut_tree_grad_ukernel__##base},
#define QNN_ISA_MISSING(isa)
static const qnn_lut_isa table[] = {
#include "kernels/isa.inc"
};

const qnn_lut_isa *qnn_lut_isa_active(void) {
  const char *name = qnn_isa_chosen();
  for (size_t i = 0; i < sizeof table / sizeof table[0]; ++i)
    if (strcmp(name, table[i].name) == 0) return &table[i];
  assert(!"every usable instruction set has a row");
  return &table[0];
}
