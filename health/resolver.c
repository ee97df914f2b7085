#include "health/resolver.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

struct resolver {
    struct lookups *lookups;
    const char *address;
    uint64_t interval_ms;
    struct resolver_callbacks callbacks;
    uv_timer_t timer;      /* runs until the next lookup */
    struct lookup *lookup; /* NULL: none is under way */
    uint64_t began_ms;
    bool repeats;
};

static void on_timer(uv_timer_t *t);

/* Counts from the beginning of the last lookup, so that slow answers do not stretch the
 * interval. */
static void schedule(struct resolver *r)
{
    uint64_t at = r->began_ms + r->interval_ms, now = uv_now(r->timer.loop);
    int err = uv_timer_start(&r->timer, on_timer, at > now ? at - now : 0, 0);
    assert(err == 0);
    (void)err;
}

static void on_lookup(void *arg, const struct lookup_answer *a)
{
    struct resolver *r = arg;
    r->lookup = NULL;
    if (r->repeats)
        schedule(r);
    r->callbacks.on_answer(r->callbacks.arg, a); /* last: it may close the resolver */
}

static void ask(struct resolver *r)
{
    struct addr port; /* for its port alone */
    enum addr_result result = addr_parse(str_of(r->address), &port);
    assert(result == ADDR_NAME && r->lookup == NULL);
    (void)result;
    r->began_ms = uv_now(r->timer.loop);
    r->lookup = lookup_start(r->lookups, addr_host(r->address), addr_port(&port), on_lookup, r);
}

static void on_timer(uv_timer_t *t)
{
    ask(t->data);
}

struct resolver *resolver_open(uv_loop_t *loop, struct lookups *lookups, const char *address,
                               uint64_t interval_ms, const struct resolver_callbacks *callbacks)
{
    struct resolver *r = mem_zalloc(sizeof *r);
    r->lookups = lookups;
    r->address = address;
    r->interval_ms = interval_ms;
    r->callbacks = *callbacks;
    int err = uv_timer_init(loop, &r->timer); /* cannot fail: it only fills in the handle */
    assert(err == 0);
    (void)err;
    r->timer.data = r;
    ask(r);
    return r;
}

void resolver_repeat(struct resolver *r)
{
    assert(!r->repeats);
    r->repeats = true;
    if (r->lookup == NULL) /* otherwise on_lookup() does it */
        schedule(r);
}

void resolver_hand_over(struct resolver *r, uint64_t interval_ms, void *arg)
{
    r->callbacks.arg = arg;
    r->interval_ms = interval_ms;
    if (r->repeats && r->lookup == NULL)
        schedule(r);
}

static void on_closed(uv_handle_t *h)
{
    struct resolver *r = h->data;
    struct resolver_callbacks cb = r->callbacks; /* a copy, as r is freed before the call */
    free(r);
    cb.on_closed(cb.arg);
}

void resolver_close(struct resolver *r)
{
    if (r->lookup)
        lookup_cancel(r->lookup);
    r->lookup = NULL;
    uv_close((uv_handle_t *)&r->timer, on_closed);
}
