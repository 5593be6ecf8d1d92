/* scratch.c: memory that a thread keeps from call to call, because fresh pages cost more than a small layer. */
#include <pthread.h>
#include <stdlib.h>

#include "internal.h"

enum { alignment = 64, page = 4096 };

typedef struct {
  size_t bytes;
  void *memory;
} scratch;

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool has_key;

static void release(void *of_thread) {
  free(((scratch *)of_thread)->memory);
  free(of_thread);
}

static void create(void) { has_key = pthread_key_create(&key, release) == 0; }

void *qnn_scratch(size_t bytes) {
  pthread_once(&once, create);
  if (!has_key) return NULL;
  scratch *own = pthread_getspecific(key);
  if (!own) {
    if (!(own = calloc(1, sizeof *own))) return NULL;
    if (pthread_setspecific(key, own) != 0) {
      free(own);
      return NULL;
    }
  }
  if (own->bytes < bytes) {
    free(own->memory);
    own->bytes = (bytes + page - 1) / page * page;
    own->memory = aligned_alloc(alignment, own->bytes);
    if (!own->memory) own->bytes = 0;
  }
  return own->memory;
}
