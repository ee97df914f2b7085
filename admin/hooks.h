/* What the admin interface asks of the program around it.
 *
 * What for: admin knows HTTP and the snapshot, but not how a configuration is read or put in
 * service. Control, which does, gives it these functions.
 * Invariants: `done` is called once for each call of `reload` or `upgrade`, perhaps within that
 * call. Ownership: see each member. Threads: control. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct admin_reload {
    bool force;    /* the bound `reload.max_move` is not applied */
    bool dry_run;  /* nothing changes, the answer is the plan */
    bool has_text; /* `text` in place of the file, which it replaces before it is in service */
    struct str text;
    uint64_t generation; /* 412 if another one is in force when this begins; 0: any may be */
};

/* status: of HTTP. document: the answer; the receiver takes over the reference. NULL: memory is
 * out. */
typedef void admin_done_fn(void *arg, int status, json_t *document);

/* How many reloads took effect, and how many were refused. */
struct admin_reloads {
    uint64_t ok, refused;
};

struct admin_hooks {
    /* Reads the configuration again and puts it in service. *r and its text need not live longer
     * than the call. Answers: 200 {"generation","moved":{pool: share}}, with dry_run the plan; 412;
     * 422 {"errors":[...]}, or the figures of the bound; 503 while the proxy stops. A file that is
     * asked for while another reload is under way is read after it. */
    void (*reload)(void *arg, const struct admin_reload *r, admin_done_fn *done, void *done_arg);
    /* Starts the program that is installed now, and hands over to it. timeout_ms: how long it may
     * take to be ready; 0: as long as it normally may. Answers: 200 {"pid","generation"}, and the
     * interface is closed after that; 409 where it can't be done now; 500 {"error"}: the new
     * process failed, and this one goes on; 503 while the proxy starts or stops. */
    void (*upgrade)(void *arg, uint64_t timeout_ms, admin_done_fn *done, void *done_arg);
    void *arg;
    const struct admin_reloads *reloads; /* counts; NULL: none are told */
};
