/* The new side of an upgrade: takes over from the process that started this one (app/upgrade.h).
 *
 *   takeover_begin -> takeover_restore -> takeover_listen -> takeover_ready -> on_go
 *
 * What for: the process before this one goes on to serve until this one says that it does. What it
 * handed over becomes this one's then.
 * Invariants: it is the parent that made the line that is meant, or there is none: the variable may
 * have come from elsewhere, and is removed in any case, as it is not for a child.
 * Ownership: takeover_begin() to takeover_free(). Threads: control, or before threads exist;
 * takeover_begin() changes the environment. */
#pragma once
#include <uv.h>

#include "app/handover.h"

#define TAKEOVER_VARIABLE "RINGPROXY_UPGRADE" /* the process that hands over */
#define TAKEOVER_READY "ready\n"
#define TAKEOVER_GO "go\n"

struct takeover;

/* *t is NULL if this process is started as any other. Else sockets are added to *in. False: *e says
 * why it can't be taken over from that process. */
bool takeover_begin(struct takeover **t, struct inherited *in, struct error *e);
/* What the first generation of this process is numbered: the one that follows. t NULL: 1. */
uint64_t takeover_generation(const struct takeover *t);
/* What the process before was in a fleet, see membership_save(), until takeover_restore(); NULL: it
 * was in none. */
const char *takeover_member(const struct takeover *t);
/* Before the first checks. t NULL: does nothing. */
bool takeover_restore(struct takeover *t, struct snapshot *s, uint64_t now_ms, struct error *e);
/* Opens the line on the loop. False: the process should stop. */
bool takeover_listen(struct takeover *t, uv_loop_t *loop, struct error *e);
/* Says that this process serves. on_go comes when the other one has told the service manager, or
 * has gone. */
void takeover_ready(struct takeover *t, void (*on_go)(void *arg), void *arg);
/* The loop ends: on_go does not come any more. t NULL: does nothing. */
void takeover_close(struct takeover *t);
/* After the loop. NULL is fine. */
void takeover_free(struct takeover *t);
