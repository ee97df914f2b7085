/* Threads for work that takes long and that nobody waits for.
 *
 * What for: such a thread must not take the cores from the workers, nor from the control loop.
 * Invariants: it takes no signal.
 * Threads: any. */
#pragma once
#include <pthread.h>

/* As pthread_create(); name: at most 15 bytes, for tools that list threads. nicer: by how much the
 * priority is below that of the thread that starts it; 0 for a thread that holds locks for which
 * others wait. */
int background_start(pthread_t *thread, const char *name, int nicer, void *(*run)(void *),
                     void *arg);
