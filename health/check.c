#include "health/check.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

struct attempt {
    struct check *check;
    struct probe *probe; /* NULL: it is closed */
    bool done;           /* outcome and reason are set, or of no interest */
    enum probe_outcome outcome;
    char reason[PROBE_REASON_MAX];
};

struct check {
    struct check_callbacks callbacks;
    unsigned open; /* probes whose on_closed was not called yet: they still refer to this memory */
    unsigned n;
    struct attempt attempts[];
};

/* Cancelled probes still call on_probe_closed(), which frees the check after the last of them.
 * Those that are done may go on and read the rest of their answers. */
static void cancel_rest(struct check *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        struct attempt *a = &c->attempts[i];
        if (!a->done)
            probe_cancel(a->probe);
        a->done = true;
    }
}

/* The outcome is certain; the other probes are of no interest any more. */
static void finish(struct check *c, unsigned which, enum probe_outcome outcome)
{
    cancel_rest(c);
    c->callbacks.on_done(c->callbacks.arg, outcome, which, c->attempts[which].reason);
}

/* Reports the outcome as soon as it is certain: an address that passed is the result once all
 * before it are done and did not pass. A later one that answered faster must wait, because every
 * proxy has to choose the same address. */
static void decide(struct check *c)
{
    unsigned not_done = c->n;
    for (unsigned i = 0; i < c->n; i++) {
        if (!c->attempts[i].done)
            return;
        if (c->attempts[i].outcome == PROBE_PASS) {
            finish(c, i, PROBE_PASS);
            return;
        }
        if (c->attempts[i].outcome == PROBE_NOT_DONE)
            not_done = i;
    }
    /* A probe that this host could not carry out says nothing about the server, so the check as a
     * whole has not failed. */
    if (not_done < c->n)
        finish(c, not_done, PROBE_NOT_DONE);
    else
        finish(c, c->n - 1, PROBE_FAIL);
}

static void on_probe_done(void *arg, enum probe_outcome outcome, const char *reason)
{
    struct attempt *a = arg;
    a->done = true;
    a->outcome = outcome;
    snprintf(a->reason, sizeof a->reason, "%s", reason); /* the probe's text goes with the probe */
    decide(a->check);
}

static void on_probe_closed(void *arg)
{
    struct attempt *a = arg;
    struct check *c = a->check;
    assert(c->open > 0);
    a->probe = NULL;
    if (--c->open > 0)
        return;
    struct check_callbacks cb =
        c->callbacks; /* on_closed may free what contains the caller's arg */
    free(c);
    cb.on_closed(cb.arg);
}

struct check *check_start(struct net *net, const struct probe_plan *plan, const struct addr *to,
                          unsigned n, const struct check_callbacks *callbacks)
{
    assert(n > 0);
    /* one allocation: the number of addresses is bounded by ADDR_SET_MAX */
    struct check *c = mem_zalloc(sizeof *c + n * sizeof *c->attempts);
    c->callbacks = *callbacks;
    c->n = c->open = n;
    for (unsigned i = 0; i < n; i++) {
        struct attempt *a = &c->attempts[i];
        struct probe_callbacks cb = {on_probe_done, on_probe_closed, a};
        a->check = c;
        a->probe = probe_start(net, plan, &to[i], &cb);
    }
    return c;
}

void check_hand_over(struct check *c, void *arg)
{
    c->callbacks.arg = arg;
}

void check_cancel(struct check *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        c->attempts[i].done = true;
        if (c->attempts[i].probe)
            probe_cancel(c->attempts[i].probe);
    }
}
