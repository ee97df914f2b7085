/* Frees what takes long to free, on a thread of its own.
 *
 *   disposal_new -> disposal_take ... -> disposal_free
 *
 * What for: a generation of the configuration may be a hundred thousand servers and rings of
 * hundreds of MiB. Freeing one takes tens of ms, for which neither the control loop nor a worker
 * must stand still. What was freed goes back to the system, so that the process is as large after a
 * thousand reloads as after the first.
 * Ownership: what was taken is freed by disposal_free() at the latest.
 * Threads: disposal_take() is for any thread, the rest is control's. */
#pragma once
#include "base/error.h"

struct disposal;

typedef void disposal_fn(void *object);

/* NULL: there is no thread to be had, and *e says why. */
struct disposal *disposal_new(struct error *e);
/* Calls free_it(object) on the thread, after what was taken before. */
void disposal_take(struct disposal *d, disposal_fn *free_it, void *object);
/* Waits until all is freed. NULL is fine. */
void disposal_free(struct disposal *d);
