/* What operators ask of the fleet, until it has answered.
 *
 *   POST .../drain -> asks_begin -> admin_fleet.request ... on_requested -> the server as it is
 *
 * Invariants: an answer shows the server in the snapshot that is in service when it is given.
 * Ownership: a struct asks is embedded in its admin interface, which may be closed before the fleet
 * has answered. Threads: control. */
#pragma once
#include <uv.h>

#include "admin/hooks.h"
#include "httpd/httpd.h"
#include "pool/snapshot.h"

struct asks {
    struct ask *first;
    struct snapshot *const *snapshot; /* the interface's */
    const struct admin_hooks *hooks;
    uv_loop_t *loop; /* of the clock of the rosters */
};

/* Asks the fleet, of which there must be one, and answers q when it has: 200 with the server and
 * `agreed`, 409, 503, or 404 if the server was taken away meanwhile. False: memory is out, and
 * nothing was asked. */
bool asks_begin(struct asks *a, struct httpd_request *q, size_t pool, unsigned server,
                enum admin_verb verb);
/* The interface closes: what comes later is for nobody. */
void asks_end(struct asks *a);
