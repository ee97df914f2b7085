#include "proxy/upstream_parts.h"

#include <assert.h>

#include "proxy/descriptors.h"

#define SWEEP_MS 250
/* Kept however little was in use, for `timeouts.idle`: the few requests of a quiet hour, too, are
 * to find a connection. */
#define MARK_LEAST 2
/* Closes of a sweep, so that it does not hold up the traffic: of one kind at one server an eighth,
 * at least AT_ONCE; in all at most BUDGET. */
#define AT_ONCE 32
#define BUDGET 512

static struct upstream *longest_unused(const struct server_cell *cell)
{
    assert(!list_empty(&cell->idle));
    return container_of(cell->idle.prev, struct upstream, link);
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* How many idle connections are beyond the mark. */
static uint32_t surplus(const struct server_cell *cell)
{
    uint32_t mark = larger(need_mark(&cell->need), MARK_LEAST);
    uint32_t all = cell->need.now + upstream_idle_of(cell);
    uint32_t beyond = all > mark ? all - mark : 0;
    return beyond < upstream_idle_of(cell) ? beyond : upstream_idle_of(cell);
}

static unsigned at_once(uint32_t n, unsigned budget)
{
    unsigned some = larger(n / 8, AT_ONCE);
    some = some < n ? some : n;
    return some < budget ? some : budget;
}

/* ---- giving way ---- */

/* Surplus first: who only has what it needs gives way when nobody has more. */
static struct server_cell *richest(struct worker *w)
{
    struct server_cell *best = NULL;
    uint64_t most = 0;
    list_foreach(it, &w->stocked)
    {
        struct server_cell *cell = container_of(it, struct server_cell, stocked);
        uint64_t rank = (uint64_t)surplus(cell) << 32 | upstream_idle_of(cell);
        if (rank > most) {
            best = cell;
            most = rank;
        }
    }
    assert(best); /* called only if there are idle connections */
    return best;
}

bool upstream_give_way(struct worker *w, unsigned n)
{
    if (w->nidle < n)
        return false;
    while (n--) {
        struct upstream *u = longest_unused(richest(w));
        u->counted = false;
        upstream_dismiss(u);
    }
    return true;
}

/* How many idle connections this worker has beyond its share, if descriptors are scarce. */
static unsigned beyond_share(const struct worker *w)
{
    unsigned share = descriptors_idle_share(w->current->snapshot->nworkers);
    return w->nidle > share ? w->nidle - share : 0;
}

void upstream_make_room(struct worker *w)
{
    if (descriptors_scarce() && w->nidle >= descriptors_idle_share(w->current->snapshot->nworkers))
        upstream_dismiss(longest_unused(richest(w)));
}

/* ---- the sweep ---- */

/* Those that their server is about to close. They stand by their last use, not by that time, so one
 * may hide behind one that has longer; it is not lent anyway. */
static unsigned dismiss_expired(struct server_cell *cell, uint64_t now, unsigned budget)
{
    unsigned n = at_once(upstream_idle_of(cell), budget), done = 0;
    while (done < n && longest_unused(cell)->expires_ms <= now) {
        upstream_dismiss(longest_unused(cell));
        done++;
    }
    return done;
}

static unsigned dismiss_surplus(struct server_cell *cell, unsigned budget)
{
    unsigned n = at_once(surplus(cell), budget);
    for (unsigned i = 0; i < n; i++)
        upstream_dismiss(longest_unused(cell));
    return n;
}

/* Those to a server that is gone go too, some at a time: its connections may be many, and not its
 * alone. */
static unsigned dismiss_gone(struct server_cell *cell, unsigned budget)
{
    unsigned n = 0;
    while (n < budget && upstream_idle_of(cell) && server_gone(cell->server)) {
        upstream_dismiss(longest_unused(cell));
        n++;
    }
    return n;
}

static void on_sweep(struct deadline *d)
{
    struct worker *w = container_of(d, struct worker, sweep);
    uint64_t now = uv_now(&w->loop);
    unsigned budget = BUDGET;
    list_foreach_safe(it, nxt, &w->stocked)
    {
        struct server_cell *cell = container_of(it, struct server_cell, stocked);
        need_turn(&cell->need, now);
        budget -= dismiss_gone(cell, budget);
        budget -= dismiss_expired(cell, now, budget);
        budget -= dismiss_surplus(cell, budget);
        if (upstream_idle_of(cell) == 0)
            upstream_delist(cell);
    }
    for (unsigned n = at_once(beyond_share(w), budget); n > 0 && descriptors_scarce(); n--)
        upstream_dismiss(longest_unused(richest(w)));
    if (!list_empty(&w->stocked))
        deadline_arm(&w->sweeps, d);
}

void upstream_enlist(struct worker *w, struct server_cell *cell)
{
    assert(cell->home);
    server_ref(cell->server);
    need_turn(&cell->need, uv_now(&w->loop));
    list_push_back(&w->stocked, &cell->stocked);
    if (!deadline_armed(&w->sweep))
        deadline_arm(&w->sweeps, &w->sweep);
}

void upstream_delist(struct server_cell *cell)
{
    if (list_empty(&cell->stocked))
        return;
    list_remove(&cell->stocked);
    server_unref(cell->server); /* the cell goes with the server, if that was the last reference */
}

void upstream_idle_init(struct worker *w)
{
    list_init(&w->stocked);
    w->nidle = 0;
    deadline_init(&w->sweep);
    deadline_queue_init(&w->sweeps, &w->net.clock, SWEEP_MS, on_sweep);
}
