/* threads.c: how many threads a driver may use.
 *
 * QNN_NUM_THREADS, else OMP_NUM_THREADS, else the affinity mask. Not omp_get_max_threads(): a host process may have set
 * that to half the cores (MXNet does, in its workers). A value that is no count is passed over for the next source. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "internal.h"

enum { max_threads = 1024 };

static atomic_int chosen;       /* 0: not decided yet */
static atomic_bool is_forked;   /* libgomp's pool does not survive fork: a parallel region in the child would hang */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void after_fork_in_child(void) { atomic_store(&is_forked, true); }

static void watch_forks(void) { pthread_atfork(NULL, NULL, after_fork_in_child); }

/* Before any parallel region, so that no fork is missed. */
__attribute__((constructor)) static void start(void) { pthread_once(&once, watch_forks); }

/* First number of "4" or of OpenMP's list form "4,2"; 0 if it is not a count. */
static int count_from(const char *name) {
  const char *text = getenv(name);
  if (!text || !*text) return 0;
  char *end = NULL;
  errno = 0;
  const long count = strtol(text, &end, 10);
  while (*end == ' ') ++end;
  const bool is_count = end != text && !errno && (*end == '\0' || *end == ',') && count >= 1 && count <= max_threads;
  return is_count ? (int)count : 0;
}

static int count_cores(void) {
  /* The mask may be wider than cpu_set_t on a big machine: grow until the kernel accepts it. */
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
    cpu_set_t *mask = CPU_ALLOC(cpus);
    if (!mask) return 1;
    const size_t bytes = CPU_ALLOC_SIZE(cpus);
    const int failed = sched_getaffinity(0, bytes, mask);
    const int count = failed ? 0 : CPU_COUNT_S(bytes, mask);
    CPU_FREE(mask);
    if (!failed) return count < 1 ? 1 : count > max_threads ? max_threads : count;
    if (errno != EINVAL) return 1;
  }
  return 1;
}

int qnn_threads(void) {
  if (atomic_load(&is_forked)) return 1;
  int count = atomic_load(&chosen);
  if (count) return count;
  count = count_from("QNN_NUM_THREADS");
  if (!count) count = count_from("OMP_NUM_THREADS");
  if (!count) count = count_cores();
  int undecided = 0;
  return atomic_compare_exchange_strong(&chosen, &undecided, count) ? count : undecided;
}

qnn_status qnn_set_threads(int num_threads) {
  if (num_threads < 1 || num_threads > max_threads) return QNN_BAD_ARGUMENT;
  atomic_store(&chosen, num_threads);
  return QNN_OK;
}

int qnn_threads_for(size_t work, size_t grain) {
  if (work < 2 * grain) return 1;
  return (int)qnn_min((size_t)qnn_threads(), work / grain);
}
