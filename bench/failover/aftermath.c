#include "bench/failover/aftermath.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* The state of an examination. An owner is a backend of the result; LOAD_NO_BACKEND: there is none.
 */
struct examiner {
    struct aftermath *a;
    const struct load_result *r;
    uint32_t nkeys;
    uint64_t slow_ns;
    struct aftermath_fault *faults;
    size_t nfaults;
    uint16_t *server; /* of each fault; LOAD_NO_BACKEND: it answered nothing in the whole run */
    uint16_t *first;  /* the first owner of each key */
    uint16_t *home;
    uint16_t *owner; /* the owner of each key at some time, see owners_at() */
};

/* ---- owners ---- */

static bool answered_by_a_server(const struct load_move *m)
{
    return m->to != LOAD_NO_BACKEND;
}

/* The result holds the last owners and all moves: undone in reverse order, the moves lead back to
 * the first owners. */
static void find_first(struct examiner *x)
{
    memcpy(x->first, x->r->owner, x->nkeys * sizeof *x->first);
    for (size_t i = x->r->moves_kept; i-- > 0;)
        x->first[x->r->moves[i].key] = x->r->moves[i].from;
}

/* Sets `out` to the backend that answered each key last before the time, and returns the index of
 * the first move at or after it. */
static size_t owners_at(const struct examiner *x, uint64_t ns, uint16_t *out)
{
    size_t i = 0;
    memcpy(out, x->first, x->nkeys * sizeof *out);
    for (; i < x->r->moves_kept && x->r->moves[i].at_ns < ns; i++)
        if (answered_by_a_server(&x->r->moves[i]))
            out[x->r->moves[i].key] = x->r->moves[i].to;
    return i;
}

static uint16_t find_backend(const struct load_result *r, const char *name)
{
    for (unsigned i = 0; i < r->nbackends; i++)
        if (strcmp(r->backend_names[i], name) == 0)
            return (uint16_t)i;
    return LOAD_NO_BACKEND;
}

/* By name: a server that never answered is not among the backends of the result. */
static void find_homes(struct examiner *x)
{
    find_first(x);
    x->a->early = owners_at(x, x->nfaults ? x->faults[0].from_ns : AFTERMATH_NONE, x->home);
    for (size_t f = 0; f < x->nfaults; f++)
        x->server[f] = find_backend(x->r, x->faults[f].server);
}

/* How many keys of the server of a fault have another owner in x->owner. */
static uint64_t count_away(const struct examiner *x, size_t f)
{
    uint64_t n = 0;
    for (uint32_t k = 0; k < x->nkeys; k++)
        n += x->home[k] == x->server[f] && x->owner[k] != x->home[k];
    return n;
}

/* ---- one fault ---- */

/* When the next fault of the same server begins. */
static uint64_t next_begin(const struct examiner *x, size_t f)
{
    for (size_t g = f + 1; g < x->nfaults; g++)
        if (strcmp(x->faults[g].server, x->faults[f].server) == 0)
            return x->faults[g].from_ns;
    return AFTERMATH_NONE;
}

/* Keys that are elsewhere already, since an earlier fault, need no takeover. */
static void examine_takeover(struct examiner *x, size_t f)
{
    struct aftermath_fault *fault = &x->faults[f];
    uint64_t next = next_begin(x, f);
    size_t i = owners_at(x, fault->from_ns, x->owner);
    if (fault->keys && count_away(x, f) == fault->keys) {
        fault->takeover_ns = 0;
        return;
    }
    for (; i < x->r->moves_kept && x->r->moves[i].at_ns < next; i++) {
        const struct load_move *m = &x->r->moves[i];
        if (answered_by_a_server(m) && x->home[m->key] == x->server[f] && m->to != x->server[f]) {
            fault->takeover_ns = m->at_ns - fault->from_ns;
            return;
        }
    }
}

/* Only until the next fault of the server: what happens then belongs to that one. */
static void examine_return(struct examiner *x, size_t f)
{
    struct aftermath_fault *fault = &x->faults[f];
    uint64_t next = next_begin(x, f), last = 0;
    if (fault->to_ns != AFTERMATH_NONE) {
        size_t i = owners_at(x, fault->to_ns, x->owner);
        for (; i < x->r->moves_kept && x->r->moves[i].at_ns < next; i++) {
            const struct load_move *m = &x->r->moves[i];
            if (x->home[m->key] == x->server[f] && m->to == x->server[f])
                last = m->at_ns - fault->to_ns;
        }
    }
    owners_at(x, next, x->owner);
    fault->away = count_away(x, f);
    if (fault->to_ns != AFTERMATH_NONE && fault->away == 0)
        fault->home_ns = last;
}

static void examine_fault(struct examiner *x, size_t f)
{
    struct aftermath_fault *fault = &x->faults[f];
    fault->keys = fault->failed = fault->slow = fault->away = 0;
    fault->takeover_ns = fault->recovery_ns = fault->home_ns = AFTERMATH_NONE;
    if (x->server[f] == LOAD_NO_BACKEND)
        return;
    for (uint32_t k = 0; k < x->nkeys; k++)
        fault->keys += x->home[k] == x->server[f];
    examine_takeover(x, f);
    examine_return(x, f);
}

/* ---- disturbed requests ---- */

/* All faults of one event share the request: which of the servers disturbed it cannot be told. */
static void assign_to_event(struct examiner *x, unsigned event, uint64_t at_ns, bool failed)
{
    for (size_t f = 0; f < x->nfaults; f++) {
        struct aftermath_fault *fault = &x->faults[f];
        if (fault->event != event)
            continue;
        uint64_t ns = at_ns > fault->from_ns ? at_ns - fault->from_ns : 0;
        if (fault->recovery_ns == AFTERMATH_NONE || fault->recovery_ns < ns)
            fault->recovery_ns = ns;
        fault->failed += failed;
        fault->slow += !failed;
    }
}

/* Assigns a disturbed request to the last fault before the moment when it became disturbed. */
static void assign(struct examiner *x, uint64_t due_ns, uint64_t at_ns, bool failed)
{
    assert(at_ns >= due_ns);
    uint64_t disturbed_ns = at_ns - due_ns > x->slow_ns ? due_ns + x->slow_ns : at_ns;
    size_t f = x->nfaults;
    while (f > 0 && x->faults[f - 1].from_ns > disturbed_ns)
        f--;
    if (f == 0)
        x->a->before++;
    else
        assign_to_event(x, x->faults[f - 1].event, at_ns, failed);
    if (at_ns - due_ns > x->a->slowest_ns)
        x->a->slowest_ns = at_ns - due_ns;
}

static bool is_failure(const struct load_failure *f)
{
    return f->status == 0 || f->status >= 500;
}

static int by_request(const void *a, const void *b)
{
    const struct load_failure *x = a, *y = b;
    if (x->due_ns != y->due_ns)
        return x->due_ns < y->due_ns ? -1 : 1;
    return x->key < y->key ? -1 : x->key > y->key;
}

/* Assigns the failures. Returns them sorted for bsearch(); the caller frees. */
static struct load_failure *assign_failures(struct examiner *x, size_t *n)
{
    struct load_failure *kept = mem_zalloc_array(x->r->failures_kept, sizeof *kept);
    *n = 0;
    for (size_t i = 0; i < x->r->failures_kept; i++) {
        const struct load_failure *f = &x->r->failures[i];
        if (!is_failure(f))
            continue;
        assign(x, f->due_ns, f->at_ns, true);
        kept[(*n)++] = *f;
    }
    if (*n)
        qsort(kept, *n, sizeof *kept, by_request);
    return kept;
}

/* A slow answer with a status of 500 or more is among the failures and must not count twice. */
static void examine_requests(struct examiner *x)
{
    size_t nfailed;
    struct load_failure *failed = assign_failures(x, &nfailed);
    for (size_t i = 0; i < x->r->slow_kept; i++) {
        const struct load_slow *s = &x->r->slow[i];
        struct load_failure same = {.due_ns = s->due_ns, .key = s->key};
        if (nfailed && bsearch(&same, failed, nfailed, sizeof same, by_request))
            continue;
        x->a->slow++;
        assign(x, s->due_ns, s->at_ns, false);
    }
    free(failed);
    if (x->r->latency.count && x->r->latency.max > x->a->slowest_ns)
        x->a->slowest_ns = x->r->latency.max;
    x->a->failed = x->r->failed;
    for (unsigned s = 500; s < 600; s++)
        x->a->failed += x->r->statuses[s];
}

/* ---- all together ---- */

/* Whether the server has had a fault by this time. */
static bool at_fault(const struct examiner *x, uint16_t server, uint64_t ns)
{
    for (size_t f = 0; f < x->nfaults && x->faults[f].from_ns <= ns; f++)
        if (x->server[f] == server)
            return true;
    return false;
}

static void count_keys(struct examiner *x)
{
    enum { MOVED = 1, FOREIGN = 2 };
    unsigned char *marks = mem_zalloc(x->nkeys);
    for (size_t i = x->a->early; i < x->r->moves_kept; i++) {
        const struct load_move *m = &x->r->moves[i];
        uint16_t home = x->home[m->key];
        if (answered_by_a_server(m) && m->to != home)
            marks[m->key] |= at_fault(x, home, m->at_ns) ? MOVED : MOVED | FOREIGN;
    }
    for (uint32_t k = 0; k < x->nkeys; k++) {
        x->a->moved += (marks[k] & MOVED) != 0;
        x->a->foreign += (marks[k] & FOREIGN) != 0;
        x->a->not_home += x->r->owner[k] != x->home[k];
        x->a->minimum += x->home[k] != LOAD_NO_BACKEND && at_fault(x, x->home[k], AFTERMATH_NONE);
    }
    free(marks);
}

/* AFTERMATH_NONE stands for "did not happen", not for the longest time. */
static uint64_t worst(uint64_t a, uint64_t b)
{
    return a == AFTERMATH_NONE ? b : b == AFTERMATH_NONE || b < a ? a : b;
}

static void sum_up(struct examiner *x)
{
    struct aftermath *a = x->a;
    bool stayed_away = false;
    for (size_t f = 0; f < x->nfaults; f++) {
        const struct aftermath_fault *fault = &x->faults[f];
        a->takeover_ns = worst(a->takeover_ns, fault->takeover_ns);
        a->recovery_ns = worst(a->recovery_ns, fault->recovery_ns);
        if (next_begin(x, f) != AFTERMATH_NONE)
            continue;
        a->home_ns = worst(a->home_ns, fault->home_ns);
        stayed_away |= fault->keys && fault->home_ns == AFTERMATH_NONE;
    }
    if (stayed_away) /* a time would claim that all keys came home */
        a->home_ns = AFTERMATH_NONE;
}

static bool in_order(const struct aftermath_fault *faults, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (faults[i].from_ns < faults[i - 1].from_ns)
            return false;
    return true;
}

void aftermath_examine(struct aftermath *a, const struct load_result *r, uint32_t nkeys,
                       uint64_t slow_ns, struct aftermath_fault *faults, size_t nfaults)
{
    assert(in_order(faults, nfaults) && nkeys > 0);
    *a = (struct aftermath){
        .takeover_ns = AFTERMATH_NONE, .recovery_ns = AFTERMATH_NONE, .home_ns = AFTERMATH_NONE};
    struct examiner x = {a, r, nkeys, slow_ns, faults, nfaults};
    x.server = mem_zalloc_array(nfaults, sizeof *x.server);
    x.first = mem_zalloc_array(nkeys, sizeof *x.first);
    x.home = mem_zalloc_array(nkeys, sizeof *x.home);
    x.owner = mem_zalloc_array(nkeys, sizeof *x.owner);
    find_homes(&x);
    for (size_t f = 0; f < nfaults; f++)
        examine_fault(&x, f);
    examine_requests(&x);
    count_keys(&x);
    sum_up(&x);
    a->cut =
        r->nmoves > r->moves_kept || r->nfailures > r->failures_kept || r->nslow > r->slow_kept;
    free(x.server);
    free(x.first);
    free(x.home);
    free(x.owner);
}
