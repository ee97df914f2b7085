/* Reads a configuration and builds a generation of it, on a thread of its own.
 *
 *   control loop   prepare_start ............................ on_done
 *   its thread           read, parse, check, rings, plan ----/
 *
 * What for: rings of many servers take long to build, and a slow disk may take longer; neither may
 * hold up the control loop, on which failover depends, nor the workers: the thread has a low
 * priority.
 * Invariants: nothing that is in service changes. Of the generation in service only what is
 * constant, or counted by reference, is used.
 * Ownership: one that was started frees itself after on_done, or after prepare_cancel() when its
 * thread has ended; until then the loop does not end.
 * Threads: the functions are control's. */
#pragma once
#include <uv.h>

#include "app/disposal.h"
#include "app/service.h"
#include "config/config.h"
#include "config/replace.h"
#include "plan/plan.h"
#include "pool/snapshot.h"

struct prepare_options {
    uv_loop_t *loop;
    struct snapshot *old;   /* the generation in service; a reference is taken */
    const struct str *text; /* NULL: the file of that generation is read again. Copied. */
    bool replace;           /* the text is to replace the file */
    struct disposal *disposal;
    roster_notify_fn *notify; /* for the rosters */
    void *notify_arg;
};

/* What has come of it; on_done's to free, by prepared_deinit(), what it did not take out. */
struct prepared {
    struct config_errors errors;     /* count 0: the configuration is good */
    struct service *service;         /* not opened; NULL: there are errors */
    struct plan *plan;               /* from the generation before to this one; NULL: as above */
    struct replacement *replacement; /* of the file: replace_commit() is due; NULL: none */
    int status;              /* of HTTP: why the file can't be replaced; 0: it can, or need not */
    struct error error;      /* the same in words */
    size_t nadded, nremoved; /* servers that only the one or the other generation has */
    struct snapshot *old;    /* a reference, as the plan points into it; NULL: the rest is, too */
};

/* The generations and the plan are freed later, by d. */
void prepared_deinit(struct prepared *p, struct disposal *d);
/* The status for a failure of config/replace.h. */
int prepared_status(const struct error *e);

struct prepare;

typedef void prepare_fn(void *arg, struct prepared *p);

/* NULL: there is no thread to be had, *e says why. on_done comes once, on the loop, never within
 * this call. */
struct prepare *prepare_start(const struct prepare_options *o, prepare_fn *on_done, void *arg,
                              struct error *e);
/* on_done does not come any more. */
void prepare_cancel(struct prepare *p);
