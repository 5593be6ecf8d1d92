/* dispatch.c: the table of instruction sets, and the row in use. */
#include <stdatomic.h>

#include "bf16_tiles.h"
#include "tables.h"
#include "tiles.h"

#define QNN_AVX512_IS_USABLE                                                   \
  (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&  \
   __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vpopcntdq"))

#define QNN_ISA(isa, base, mr, tmr, nr, tables, tiles, bf16, usable) \
  qnn_xgemm_ukernel qnn_xgemm_ukernel__##base;               \
  qnn_xgemm_ukernel qnn_tgemm_ukernel__##base;               \
  qnn_pack_ukernel qnn_pack_ukernel__##base;                 \
  qnn_encode_ukernel qnn_encode_ukernel__##base;             \
  qnn_finish_ukernel qnn_finish_ukernel__##base;             \
  qnn_threshold_ukernel qnn_threshold_ukernel__##base;       \
  extern const qnn_lut_kernels qnn_lut_kernels__##base;      \
  extern const qnn_stem_kernels qnn_stem_kernels__##base;    \
  static bool isa##_is_usable(void) { return usable; }
#define QNN_ISA_MISSING(isa)
#include "kernels/isa.inc"
#undef QNN_ISA
#undef QNN_ISA_MISSING

#define QNN_ISA(isa, base, mr, tmr, nr, tables, tiles, bf16, usable) \
  {#isa, isa##_is_usable, mr, tmr, nr, qnn_xgemm_ukernel__##base, qnn_tgemm_ukernel__##base,                        \
   qnn_pack_ukernel__##base, qnn_encode_ukernel__##base, qnn_finish_ukernel__##base, qnn_threshold_ukernel__##base, \
   &qnn_lut_kernels__##base, &qnn_stem_kernels__##base, tables, tiles, bf16},
#define QNN_ISA_MISSING(isa) {#isa, NULL, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL},
static const qnn_isa table[] = {
#include "kernels/isa.inc"
};

enum { num_isa = sizeof table / sizeof table[0] };

static _Atomic(const qnn_isa *) active;  /* NULL until first use */

size_t qnn_isa_count(void) { return num_isa; }

const char *qnn_isa_name(size_t index) { return index < num_isa ? table[index].name : NULL; }

int qnn_isa_is_built(size_t index) { return index < num_isa && table[index].is_usable != NULL; }

int qnn_isa_is_usable(size_t index) { return qnn_isa_is_built(index) && table[index].is_usable(); }

const qnn_isa *qnn_isa_active(void) {
  const qnn_isa *isa = atomic_load_explicit(&active, memory_order_acquire);
  if (isa) return isa;
  for (size_t i = num_isa; i-- > 0;) {
    if (!qnn_isa_is_usable(i)) continue;
    /* Two threads may both come here, with the same answer; a selection in between stays. */
    const qnn_isa *none = NULL;
    atomic_compare_exchange_strong(&active, &none, &table[i]);
    break;
  }
  return atomic_load_explicit(&active, memory_order_acquire);
}

const char *qnn_isa_chosen(void) { return qnn_isa_active()->name; }

qnn_status qnn_isa_select(const char *name) {
  if (!name) return QNN_BAD_ARGUMENT;
  for (size_t i = 0; i < num_isa; ++i) {
    if (strcmp(name, table[i].name) != 0) continue;
    if (!qnn_isa_is_built(i)) return QNN_ISA_NOT_BUILT;
    if (!qnn_isa_is_usable(i)) return QNN_ISA_NOT_USABLE;
    atomic_store_explicit(&active, &table[i], memory_order_release);
    return QNN_OK;
  }
  return QNN_UNKNOWN_ISA;
}
