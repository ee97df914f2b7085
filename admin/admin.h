/* The admin interface over httpd/: docs/operations.md, "Start and stop", "Maintenance", "Metrics".
 *
 * What for: status, metrics, routes of keys, and what operators may do to a server.
 * Invariants: reads the snapshot and its rosters as they are now, caches nothing. With a token
 * everything but /healthz and /readyz needs it. A POST that a web page of another site made the
 * browser send is refused.
 * Ownership: admin_new() to admin_close(); the snapshot is the caller's and must stand until
 * admin_set_snapshot() replaces it or admin_close() was called. So is the struct net, which must
 * stand until on_closed.
 * Threads: the control thread; times are uv_now() of its loop, the clock that the rosters are given
 * too. */
#pragma once
#include <stdbool.h>

#include "base/addr.h"
#include "base/error.h"
#include "net/conn.h"
#include "pool/snapshot.h"

struct admin;

typedef void admin_closed_fn(void *arg);

/* Not ready at first. */
struct admin *admin_new(struct net *n, struct snapshot *s);
/* Listens on the config's admin_listen (port 0 takes a free one). False: "listen ADDR: why"; the
 * admin must still be closed. */
bool admin_listen(struct admin *a, struct error *e);
const struct addr *admin_address(const struct admin *a);
/* A new generation: from now on everything is read from it, the token too. */
void admin_set_snapshot(struct admin *a, struct snapshot *s);
/* What /readyz says as long as every pool has a live backend: true once the rosters have started
 * and the listeners are open, false when a stop begins. Operators' POSTs get 503 while it is false.
 */
void admin_set_ready(struct admin *a, bool ready);
/* The snapshot is not touched any more; the memory goes later, before on_closed (may be NULL). */
void admin_close(struct admin *a, admin_closed_fn *on_closed, void *arg);
