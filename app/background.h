/* Threads for work that takes long and that nobody waits for.
 *
 * What for: such a thread must not take the cores from the workers, nor from the control loop.
 * Invariants: it takes no signal, and has a lower priority than the thread that starts it.
 * Threads: any. */
#pragma once
#include <pthread.h>

/* As pthread_create(); name: at most 15 bytes, for tools that list threads. */
int background_start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg);
