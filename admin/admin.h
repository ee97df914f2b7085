/* The admin interface over httpd/: docs/operations.md, The admin interface, Maintenance, Metrics.
 *
 *   GET   /healthz /readyz                            for anybody
 *   GET   /status /metrics /route?pool=P&key=K        with the token, if there is one
 *   GET   /config                                     the same
 *   PUT   /config?dry_run=1&force=1                   the same, if `admin.write` is on
 *   POST  /pools/P/backends/B/{drain,enable,failback} the same
 *   POST  /reload?force=1  /upgrade?timeout=30s       the same
 *
 * What for: status, metrics, the server of a key, and what operators may do to a server.
 * Invariants: answers are read from the snapshot and its rosters as they are now; nothing is
 * cached. If there is a token, all but /healthz and /readyz needs it. A POST or PUT that a page of
 * another web site made a browser send is refused.
 * Ownership: admin_new() to admin_close(). The snapshot is the caller's, and must live until
 * admin_set_snapshot() replaces it or admin_close() is called; the struct net is the caller's, too,
 * and must live until on_closed.
 * Threads: control. Times are uv_now() of its loop, the clock that the rosters are given. */
#pragma once
#include <stdbool.h>

#include "admin/hooks.h"
#include "base/addr.h"
#include "base/error.h"
#include "net/conn.h"
#include "pool/snapshot.h"

struct admin;

typedef void admin_closed_fn(void *arg);

/* An interface that is not ready, see admin_set_ready(). hooks must live until admin_close(); NULL:
 * what needs them is answered by a 501. */
struct admin *admin_new(struct net *n, struct snapshot *s, const struct admin_hooks *hooks);
/* Listens on the config's admin_listen; port 0 takes a free port. False: the error says "listen
 * ADDR: why"; the interface must still be closed. */
bool admin_listen(struct admin *a, struct error *e);
/* The same on a socket that is bound or listens already, which becomes the interface's in any case.
 * False also if the address of the socket asks for a token and the config has none. */
bool admin_listen_on(struct admin *a, int fd, struct error *e);
const struct addr *admin_address(const struct admin *a);
/* The socket that it listens on, which stays its own. */
int admin_socket(const struct admin *a);
/* From now on nothing that operators ask for is done, and POSTs to servers get 503: what they
 * changed would be lost, as another process takes over. `false` ends that. */
void admin_set_closed(struct admin *a, bool closed);
/* From now on everything is read from this snapshot, the token too. */
void admin_set_snapshot(struct admin *a, struct snapshot *s);
/* ready: the rosters have started, the listeners are open or stand by, and no stop has begun.
 * /readyz says so if also every pool has a live backend, and the hooks that it does not stand by.
 * POSTs of operators get 503 while it is false. */
void admin_set_ready(struct admin *a, bool ready);
/* From now on the snapshot is not used. The memory is freed later, before on_closed, which may be
 * NULL. */
void admin_close(struct admin *a, admin_closed_fn *on_closed, void *arg);
