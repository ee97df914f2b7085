/* A server serves at most one slot, so the load of a server is the load of its slot: what the slot
 * has with all in service, and what it inherits. Slots only gain while they have an owner. So the
 * fullest one is among the heirs, or it is the fullest one with all in service whose slot is not
 * lost (`by_load`). */
#include "plan/outages.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pool/shared_ring.h"
#include "ring/heirs.h"

struct outages {
    const struct config_pool *config;
    struct shared_ring *ring;
    struct ring_heirs *heirs;
    struct failover *failover;
    size_t nbackends, nservers;
    uint64_t weights;
    uint16_t *by_load; /* slots, that with the most for its weight first */

    struct outage *cases;
    size_t ncases;

    /* of the case that is looked at */
    bool *out;       /* nservers */
    uint16_t *owner; /* of each slot, or SERVER_NONE: the slot is lost */
    uint16_t lost[2];
    size_t nlost;
    uint64_t *gain; /* of each slot; all 0 between cases */
    uint16_t *heir; /* slots that gain */
    size_t nheirs;
};

static double slot_relative(const struct outages *o, unsigned slot, uint64_t positions)
{
    return (double)positions / (double)RING_SPACE * (double)o->weights /
           o->config->backends[slot].weight;
}

struct load {
    double relative;
    uint16_t slot;
};

static int compare_loads(const void *a, const void *b)
{
    const struct load *x = a, *y = b;
    if (x->relative != y->relative)
        return x->relative > y->relative ? -1 : 1;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

static void sort_by_load(struct outages *o)
{
    struct load *loads = mem_zalloc_array(o->nbackends, sizeof *loads);
    for (uint16_t s = 0; s < o->nbackends; s++)
        loads[s] = (struct load){slot_relative(o, s, o->ring->positions[s]), s};
    qsort(loads, o->nbackends, sizeof *loads, compare_loads);
    for (size_t i = 0; i < o->nbackends; i++)
        o->by_load[i] = loads[i].slot;
    free(loads);
}

struct outages *outages_new(const struct config_pool *pool, struct error *e)
{
    struct shared_ring *ring = shared_ring_new(pool, e);
    if (ring == NULL)
        return NULL;
    struct outages *o = mem_zalloc(sizeof *o);
    o->config = pool;
    o->ring = ring;
    o->heirs = ring_heirs_new(ring->ring);
    o->failover = failover_new(pool);
    o->nbackends = pool->nbackends;
    o->nservers = pool->nbackends + pool->nstandbys;
    for (size_t s = 0; s < o->nbackends; s++)
        o->weights += pool->backends[s].weight;
    o->by_load = mem_zalloc_array(o->nbackends, sizeof *o->by_load);
    o->out = mem_zalloc_array(o->nservers, sizeof *o->out);
    o->owner = mem_zalloc_array(o->nbackends, sizeof *o->owner);
    o->gain = mem_zalloc_array(o->nbackends, sizeof *o->gain);
    o->heir = mem_zalloc_array(o->nbackends, sizeof *o->heir);
    for (uint16_t s = 0; s < o->nbackends; s++)
        o->owner[s] = s;
    sort_by_load(o);
    return o;
}

void outages_free(struct outages *o)
{
    if (o == NULL)
        return;
    shared_ring_unref(o->ring);
    ring_heirs_free(o->heirs);
    failover_free(o->failover);
    free(o->by_load);
    free(o->cases);
    free(o->out);
    free(o->owner);
    free(o->gain);
    free(o->heir);
    free(o);
}

/* ---- one case ---- */

/* Sets owner, lost, and gain. Undone by restore(). */
static void apply(struct outages *o, const struct outage *c)
{
    o->nlost = o->nheirs = 0;
    if (c->ignored)
        return;
    for (unsigned i = 0; i < c->nout; i++)
        o->out[c->out[i]] = true;
    if (o->config->nstandbys)
        failover_owners(o->failover, o->out, o->owner);
    for (unsigned i = 0; i < c->nout; i++) {
        uint16_t id = c->out[i];
        if (id >= o->nbackends)
            continue;
        if (o->config->nstandbys == 0)
            o->owner[id] = SERVER_NONE;
        if (o->owner[id] == SERVER_NONE)
            o->lost[o->nlost++] = id;
    }
    if (o->nlost && o->nlost < o->nbackends && o->config->when_down == WHEN_DOWN_NEXT)
        o->nheirs = ring_heirs_find(o->heirs, o->lost, o->nlost, o->gain, o->heir);
}

static void restore(struct outages *o, const struct outage *c)
{
    for (size_t i = 0; i < o->nheirs; i++)
        o->gain[o->heir[i]] = 0;
    for (unsigned i = 0; i < c->nout; i++) {
        o->out[c->out[i]] = false;
        if (c->out[i] < o->nbackends)
            o->owner[c->out[i]] = c->out[i];
    }
}

static uint64_t load(const struct outages *o, unsigned slot)
{
    return o->ring->positions[slot] + o->gain[slot];
}

static void find_fullest(const struct outages *o, struct outage *c)
{
    unsigned fullest = SERVER_NONE;
    for (size_t i = 0; i < o->nbackends && fullest == SERVER_NONE; i++)
        if (o->owner[o->by_load[i]] != SERVER_NONE)
            fullest = o->by_load[i];
    c->fullest = SERVER_NONE;
    if (fullest == SERVER_NONE)
        return;
    c->relative = slot_relative(o, fullest, load(o, fullest));
    for (size_t i = 0; i < o->nheirs; i++) {
        double relative = slot_relative(o, o->heir[i], load(o, o->heir[i]));
        if (relative > c->relative || (relative == c->relative && o->heir[i] < fullest)) {
            c->relative = relative;
            fullest = o->heir[i];
        }
    }
    c->fullest = o->owner[fullest];
    c->fullest_share = load(o, fullest);
}

static void count_keys(const struct outages *o, struct outage *c)
{
    for (unsigned i = 0; i < c->nout && !c->ignored; i++)
        if (c->out[i] < o->nbackends)
            c->moved += o->ring->positions[c->out[i]];
    if (o->nlost == o->nbackends || o->config->when_down == WHEN_DOWN_FAIL)
        for (size_t i = 0; i < o->nlost; i++)
            c->refused += o->ring->positions[o->lost[i]];
}

static void try_case(struct outages *o, uint16_t a, uint16_t b)
{
    struct outage *c = &o->cases[o->ncases++];
    *c = (struct outage){.out = {a, b}, .nout = b == SERVER_NONE ? 1 : 2};
    c->ignored = c->nout == o->nservers && o->config->when_all_down == WHEN_ALL_DOWN_TRY;
    apply(o, c);
    find_fullest(o, c);
    count_keys(o, c);
    restore(o, c);
}

struct outage outages_normal(struct outages *o)
{
    struct outage c = {0};
    apply(o, &c);
    find_fullest(o, &c);
    restore(o, &c);
    return c;
}

/* ---- all cases ---- */

static int compare_cases(const void *a, const void *b)
{
    const struct outage *x = a, *y = b;
    if (x->refused != y->refused)
        return x->refused > y->refused ? -1 : 1;
    if (x->relative != y->relative)
        return x->relative > y->relative ? -1 : 1;
    if (x->out[0] != y->out[0])
        return x->out[0] < y->out[0] ? -1 : 1;
    if (x->nout != y->nout)
        return x->nout < y->nout ? -1 : 1;
    return (x->out[1] > y->out[1]) - (x->out[1] < y->out[1]);
}

/* What a case costs beside its points and servers, in time and, kept as it is, in memory. */
#define STEPS_A_CASE 500

static bool may_run(const struct outages *o, uint64_t cases, unsigned most, struct error *e)
{
    uint64_t points = ring_points(o->ring->ring) / o->nbackends * most;
    uint64_t servers = o->config->nstandbys ? o->nservers : 0;
    if (cases * (STEPS_A_CASE + points + servers) <= OUTAGES_STEPS)
        return true;
    error_set(e, 0,
              "%llu cases of %llu points and %llu servers to look at are too many: cases x (%d + "
              "points + servers) may be %llu at most",
              (unsigned long long)cases, (unsigned long long)points, (unsigned long long)servers,
              STEPS_A_CASE, (unsigned long long)OUTAGES_STEPS);
    return false;
}

bool outages_run(struct outages *o, unsigned most, struct error *e)
{
    assert(most == 1 || most == 2);
    uint64_t n = o->nservers, cases = most == 1 ? n : n + n * (n - 1) / 2;
    if (!may_run(o, cases, most, e))
        return false;
    free(o->cases);
    o->cases = mem_zalloc_array(cases, sizeof *o->cases);
    o->ncases = 0;
    for (uint16_t a = 0; a < n; a++) {
        try_case(o, a, SERVER_NONE);
        for (uint16_t b = (uint16_t)(a + 1); b < n && most == 2; b++)
            try_case(o, a, b);
    }
    assert(o->ncases == cases);
    qsort(o->cases, o->ncases, sizeof *o->cases, compare_cases);
    return true;
}

const struct outage *outages_cases(const struct outages *o, size_t *n)
{
    *n = o->ncases;
    return o->cases;
}

/* ---- looking at one ---- */

static const struct outage none; /* nobody is out */

void outages_shares(struct outages *o, const struct outage *c, uint64_t *shares)
{
    c = c ? c : &none;
    memset(shares, 0, o->nservers * sizeof *shares);
    apply(o, c);
    for (unsigned slot = 0; slot < o->nbackends; slot++)
        if (o->owner[slot] != SERVER_NONE)
            shares[o->owner[slot]] += load(o, slot);
    restore(o, c);
}

static int compare_gains(const void *a, const void *b)
{
    const struct outage_gain *x = a, *y = b;
    if (x->gained != y->gained)
        return x->gained > y->gained ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

size_t outages_gains(struct outages *o, const struct outage *c, struct outage_gain *gains)
{
    size_t n = 0;
    uint64_t *shares = mem_zalloc_array(o->nservers, sizeof *shares);
    outages_shares(o, c, shares);
    for (uint16_t id = 0; id < o->nservers; id++) {
        uint64_t normal = id < o->nbackends ? o->ring->positions[id] : 0;
        if (shares[id] > normal)
            gains[n++] = (struct outage_gain){id, shares[id], shares[id] - normal};
    }
    free(shares);
    qsort(gains, n, sizeof *gains, compare_gains);
    return n;
}

const char *outages_name(const struct outages *o, uint16_t id)
{
    assert(id < o->nservers);
    return id < o->nbackends ? o->config->backends[id].name
                             : o->config->standbys[id - o->nbackends].name;
}
