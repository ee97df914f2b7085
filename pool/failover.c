/* The promotion rule.
 *
 * Its order has two parts, and each part has an algorithm of its own:
 *
 *   listed   Pairs with standbys that have a `for`. A maximum matching of all pairs (here called
 *            the plan) is kept, in which the common standbys (those without a `for`) are one vertex
 *            with as many places. A pair is taken if some maximum matching holds it and all pairs
 *            taken before. An alternating path finds such a matching, which becomes the plan.
 *   common   The pairs that are left form a complete bipartite graph: no choice can cost a backend
 *            its standby. So taking the best pair first is the whole rule. Its result is the one
 *            stable matching: each backend claims its best standby, unless the backend that has
 *            that standby has a better right to it.
 *
 * Why paths decide (Berge): let b be the backend of a pair (b, s), on place p in the plan, and let
 * h hold s. The pair is in a maximum matching if and only if h can move to p or to a free place, or
 * a backend without a place can move to p (then h goes without). Each backend that moves may take
 * the place of the next one. */
#include "pool/failover.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ring/hash.h"

#define NOBODY 0xffffu  /* no backend */
#define NOWHERE 0xffffu /* no place */
#define COMMON 0xfffeu  /* a place at any common standby */

struct pair {
    uint16_t backend, standby;
};

struct failover {
    size_t nbackends, nservers;
    struct pair *listed; /* pairs by `for`, as server ids, in the order of promotion */
    size_t nlisted;
    uint16_t *common; /* ids of the standbys without a `for`, ascending */
    size_t ncommon;
    uint64_t *score; /* hash_pair(): a row of ncommon for each backend */
};

struct ranked {
    uint64_t score;
    size_t nfor;
    struct pair pair;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->nfor != y->nfor)
        return x->nfor < y->nfor ? -1 : 1;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->pair.backend != y->pair.backend)
        return x->pair.backend < y->pair.backend ? -1 : 1;
    return (x->pair.standby > y->pair.standby) - (x->pair.standby < y->pair.standby);
}

static uint64_t pair_score(const struct config_pool *pool, size_t backend, size_t standby)
{
    return hash_pair(str_of(pool->backends[backend].name), str_of(pool->standbys[standby].name));
}

static void rank_listed(struct failover *f, const struct config_pool *pool)
{
    size_t count = 0, n = 0;
    for (size_t s = 0; s < pool->nstandbys; s++)
        count += pool->standbys[s].nfor;
    struct ranked *ranked = mem_zalloc_array(count, sizeof(*ranked));
    for (size_t s = 0; s < pool->nstandbys; s++) {
        const struct config_server *c = &pool->standbys[s];
        for (size_t i = 0; i < c->nfor; i++) {
            uint16_t b = c->for_backends[i];
            assert(b < pool->nbackends);
            ranked[n++] = (struct ranked){
                pair_score(pool, b, s), c->nfor, {b, (uint16_t)(pool->nbackends + s)}};
        }
    }
    assert(n == count);
    qsort(ranked, n, sizeof(*ranked), compare_ranked);
    f->listed = mem_zalloc_array(n, sizeof(*f->listed));
    f->nlisted = n;
    for (size_t i = 0; i < n; i++)
        f->listed[i] = ranked[i].pair;
    free(ranked);
}

static void score_common(struct failover *f, const struct config_pool *pool)
{
    f->common = mem_zalloc_array(pool->nstandbys, sizeof(*f->common));
    for (size_t s = 0; s < pool->nstandbys; s++)
        if (pool->standbys[s].nfor == 0)
            f->common[f->ncommon++] = (uint16_t)(f->nbackends + s);
    f->score = mem_zalloc_array(f->nbackends * f->ncommon, sizeof(*f->score));
    for (size_t b = 0; b < f->nbackends; b++)
        for (size_t c = 0; c < f->ncommon; c++)
            f->score[b * f->ncommon + c] = pair_score(pool, b, f->common[c] - f->nbackends);
}

struct failover *failover_new(const struct config_pool *pool)
{
    assert(pool->nbackends > 0 && pool->nbackends + pool->nstandbys <= 4096);
    struct failover *f = mem_zalloc(sizeof(*f));
    f->nbackends = pool->nbackends;
    f->nservers = pool->nbackends + pool->nstandbys;
    rank_listed(f, pool);
    score_common(f, pool);
    return f;
}

void failover_free(struct failover *f)
{
    if (f == NULL)
        return;
    free(f->listed);
    free(f->common);
    free(f->score);
    free(f);
}

size_t failover_backends(const struct failover *f)
{
    return f->nbackends;
}

size_t failover_servers(const struct failover *f)
{
    return f->nservers;
}

/* The work of one call on the listed pairs. Backends that are out, and listed standbys in service,
 * get small numbers in here, so that the tables grow with the servers that are out, not with all.
 *
 * The plan: place[b] is a standby, COMMON or NOWHERE; holder[s] is the backend there or NOBODY;
 * spare counts the common places that nobody has. Once plan() has run, it is a maximum matching. */
struct deal {
    size_t nbackends, nstandbys;
    size_t ncommon, spare;
    uint16_t *backend;  /* number -> id */
    uint16_t *standby;  /* number -> id */
    struct pair *pairs; /* by numbers, in the order of promotion */
    size_t npairs;
    uint16_t *place, *holder;
    bool *given;     /* a backend each: its pair was taken */
    size_t words;    /* of 64 bits, one bit for each standby */
    uint64_t *wants; /* a row of words for each backend: the standbys that it may get */
    uint64_t *open;  /* the standbys in no taken pair */

    /* of the last search */
    uint64_t *unseen; /* the open standbys that it has not reached */
    uint16_t *queue;  /* the backends that it has reached, nqueue of them */
    size_t nqueue;
    uint16_t *from; /* the backend that would take this one's place; NOBODY: this is a root */
};

/* A place that a search found: `backend` may go there. */
struct step {
    uint16_t backend, place;
    bool free; /* nobody has the place; else it is the target's */
};

static bool bit_get(const uint64_t *bits, size_t i)
{
    return bits[i / 64] >> (i % 64) & 1;
}

static void bit_set(uint64_t *bits, size_t i)
{
    bits[i / 64] |= UINT64_C(1) << (i % 64);
}

static void bit_clear(uint64_t *bits, size_t i)
{
    bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

/* The number of a server id; a new number if the id has none yet. */
static uint16_t number(uint16_t *numbers, uint16_t *ids, size_t *count, uint16_t id)
{
    if (numbers[id] == NOBODY) {
        ids[*count] = id;
        numbers[id] = (uint16_t)(*count)++;
    }
    return numbers[id];
}

static void collect_pairs(struct deal *d, const struct failover *f, const bool *out)
{
    uint16_t *numbers = mem_zalloc_array(f->nservers, sizeof(*numbers));
    memset(numbers, 0xff, f->nservers * sizeof(*numbers));
    d->backend = mem_zalloc_array(f->nbackends, sizeof(*d->backend));
    d->standby = mem_zalloc_array(f->nservers - f->nbackends, sizeof(*d->standby));
    size_t cap = 0;
    for (size_t i = 0; i < f->nlisted; i++) {
        struct pair p = f->listed[i];
        if (!out[p.backend] || out[p.standby])
            continue;
        if (d->npairs == cap) {
            cap = cap ? cap * 2 : 16;
            d->pairs = mem_grow(d->pairs, cap, sizeof(*d->pairs));
        }
        d->pairs[d->npairs].backend = number(numbers, d->backend, &d->nbackends, p.backend);
        d->pairs[d->npairs++].standby = number(numbers, d->standby, &d->nstandbys, p.standby);
    }
    /* Backends without a listed pair need a common place as much as the others. */
    for (uint16_t b = 0; b < f->nbackends; b++)
        if (out[b])
            number(numbers, d->backend, &d->nbackends, b);
    free(numbers);
}

static void deal_init(struct deal *d, const struct failover *f, const bool *out)
{
    memset(d, 0, sizeof(*d));
    collect_pairs(d, f, out);
    d->place = mem_zalloc_array(d->nbackends, sizeof(*d->place));
    memset(d->place, 0xff, d->nbackends * sizeof(*d->place));
    d->holder = mem_zalloc_array(d->nstandbys, sizeof(*d->holder));
    memset(d->holder, 0xff, d->nstandbys * sizeof(*d->holder));
    d->given = mem_zalloc_array(d->nbackends, sizeof(*d->given));
    d->words = (d->nstandbys + 63) / 64;
    d->wants = mem_zalloc_array(d->nbackends * d->words, sizeof(*d->wants));
    d->open = mem_zalloc_array(d->words, sizeof(*d->open));
    d->unseen = mem_zalloc_array(d->words, sizeof(*d->unseen));
    d->queue = mem_zalloc_array(d->nbackends, sizeof(*d->queue));
    d->from = mem_zalloc_array(d->nbackends, sizeof(*d->from));
    for (size_t i = 0; i < f->ncommon; i++)
        d->ncommon += !out[f->common[i]];
    d->spare = d->ncommon;
    for (size_t i = 0; i < d->npairs; i++)
        bit_set(d->wants + d->pairs[i].backend * d->words, d->pairs[i].standby);
    for (size_t s = 0; s < d->nstandbys; s++)
        bit_set(d->open, s);
}

static void deal_deinit(struct deal *d)
{
    free(d->backend);
    free(d->standby);
    free(d->pairs);
    free(d->place);
    free(d->holder);
    free(d->given);
    free(d->wants);
    free(d->open);
    free(d->unseen);
    free(d->queue);
    free(d->from);
}

static void settle(struct deal *d, uint16_t backend, uint16_t place)
{
    d->place[backend] = place;
    if (place < COMMON)
        d->holder[place] = backend;
}

/* Nobody has this place any more. */
static void vacate(struct deal *d, uint16_t place)
{
    if (place == COMMON)
        d->spare++;
    else if (place != NOWHERE)
        d->holder[place] = NOBODY;
}

static void search_root(struct deal *d, uint16_t backend)
{
    d->from[backend] = NOBODY;
    d->queue[d->nqueue++] = backend;
}

/* The search has reached a place from x. True: the search ends there. */
static bool search_place(struct deal *d, uint16_t x, uint16_t place, uint16_t holder,
                         uint16_t target, struct step *end)
{
    if (holder == NOBODY || holder == target) {
        *end = (struct step){x, place, holder == NOBODY};
        return true;
    }
    d->from[holder] = x;
    d->queue[d->nqueue++] = holder;
    return false;
}

static bool search_common(struct deal *d, uint16_t x, uint16_t target, struct step *end)
{
    if (d->spare)
        return search_place(d, x, COMMON, NOBODY, target, end);
    for (size_t b = 0; b < d->nbackends; b++)
        if (d->place[b] == COMMON && search_place(d, x, COMMON, (uint16_t)b, target, end))
            return true;
    return false;
}

static bool search_listed(struct deal *d, uint16_t x, uint16_t target, struct step *end)
{
    const uint64_t *row = d->wants + x * d->words;
    for (size_t w = 0; w < d->words; w++) {
        uint64_t bits = row[w] & d->unseen[w];
        d->unseen[w] &= ~bits;
        for (; bits; bits &= bits - 1) {
            uint16_t s = (uint16_t)(w * 64 + (unsigned)__builtin_ctzll(bits));
            if (search_place(d, x, s, d->holder[s], target, end))
                return true;
        }
    }
    return false;
}

/* A search, breadth first, from the roots in the queue to a free place or to the target's place.
 * The caller has set `unseen`. False: neither can be reached; queue and unseen then tell what can.
 */
static bool search(struct deal *d, uint16_t target, struct step *end)
{
    bool common_seen = d->ncommon == 0;
    for (size_t head = 0; head < d->nqueue; head++) {
        uint16_t x = d->queue[head];
        if (!common_seen && search_common(d, x, target, end))
            return true;
        common_seen = true;
        if (search_listed(d, x, target, end))
            return true;
    }
    return false;
}

/* Moves each backend along the path that ends at `end`. The place that the root leaves is not
 * updated: that depends on why the caller searched. */
static void follow(struct deal *d, const struct step *end)
{
    if (end->free && end->place == COMMON)
        d->spare--;
    uint16_t x = end->backend, place = end->place;
    for (;;) {
        uint16_t left = d->place[x];
        settle(d, x, place);
        if (d->from[x] == NOBODY)
            break;
        place = left;
        x = d->from[x];
    }
}

/* Makes the first plan. The pairs that come first in the order of promotion are mostly those that
 * will be taken, so starting with them leaves little to search for later. */
static void plan(struct deal *d)
{
    for (size_t i = 0; i < d->npairs; i++) {
        struct pair p = d->pairs[i];
        if (d->place[p.backend] == NOWHERE && d->holder[p.standby] == NOBODY)
            settle(d, p.backend, p.standby);
    }
    for (size_t b = 0; b < d->nbackends; b++) {
        struct step end;
        if (d->place[b] != NOWHERE)
            continue;
        memcpy(d->unseen, d->open, d->words * sizeof(*d->unseen));
        d->nqueue = 0;
        search_root(d, (uint16_t)b);
        if (search(d, NOBODY, &end))
            follow(d, &end);
    }
}

/* After a search that failed: the backends that it reached can go only to each other's places. So
 * no other backend can ever get a standby there. Without this step each pair that can't be taken
 * would cause the same search again; with it there are at most about two searches for each backend.
 */
static void cut_off(struct deal *d)
{
    for (size_t i = 0; i < d->nbackends; i++)
        d->from[i] = NOBODY;
    for (size_t i = 0; i < d->nqueue; i++)
        d->from[d->queue[i]] = d->queue[i];
    for (size_t b = 0; b < d->nbackends; b++) {
        if (d->from[b] != NOBODY)
            continue;
        for (size_t w = 0; w < d->words; w++)
            d->wants[b * d->words + w] &= ~(d->open[w] & ~d->unseen[w]);
    }
}

/* Changes the plan so that b has s, which h has now, and as many backends as before have a place.
 * False: there is no such plan. */
static bool replan(struct deal *d, uint16_t b, uint16_t s, uint16_t h)
{
    struct step end;
    memcpy(d->unseen, d->open, d->words * sizeof(*d->unseen));
    bit_clear(d->unseen, s);
    d->nqueue = 0;
    search_root(d, h);
    for (size_t i = 0; i < d->nbackends; i++)
        if (d->place[i] == NOWHERE)
            search_root(d, (uint16_t)i);
    if (!search(d, b, &end)) {
        cut_off(d);
        return false;
    }
    follow(d, &end);
    if (end.free)
        vacate(d, d->place[b]);
    if (d->place[h] == s) /* a backend without a place took b's: h goes without now */
        d->place[h] = NOWHERE;
    settle(d, b, s);
    return true;
}

/* Takes the pair if a maximum matching holds it together with all pairs taken before. */
static bool take(struct deal *d, uint16_t b, uint16_t s)
{
    uint16_t h = d->holder[s];
    if (h == b)
        return true;
    if (h != NOBODY && d->place[b] != NOWHERE)
        return replan(d, b, s, h);
    assert(h != NOBODY || d->place[b] != NOWHERE);
    vacate(d, d->place[b]);
    if (h != NOBODY)
        d->place[h] = NOWHERE;
    settle(d, b, s);
    return true;
}

/* The first part of the order. */
static void deal_listed(const struct failover *f, const bool *out, uint16_t *owner)
{
    struct deal d;
    deal_init(&d, f, out);
    plan(&d);
    for (size_t i = 0; i < d.npairs; i++) {
        struct pair p = d.pairs[i];
        if (d.given[p.backend] || !bit_get(d.open, p.standby) ||
            !bit_get(d.wants + p.backend * d.words, p.standby))
            continue;
        if (!take(&d, p.backend, p.standby))
            continue;
        d.given[p.backend] = true;
        bit_clear(d.open, p.standby);
    }
    for (size_t b = 0; b < d.nbackends; b++) {
        assert(d.given[b] == (d.place[b] < COMMON));
        if (d.given[b])
            owner[d.backend[b]] = d.standby[d.place[b]];
    }
    deal_deinit(&d);
}

/* The common standbys in service, and the backends that have claimed them so far. */
struct claims {
    size_t *column; /* its column in the score table */
    size_t count;
    uint16_t *holder; /* a backend's id or NOBODY */
    uint64_t *score;  /* of the holder */
};

/* b takes its best standby among those to which no other backend has a better right. Returns the
 * backend that loses that standby, or NOBODY. At equal scores the first name wins, which is the
 * lower id, as ids are in the order of names. */
static uint16_t claim(const struct failover *f, struct claims *c, uint16_t b)
{
    const uint64_t *row = f->score + b * f->ncommon;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < c->count; i++) {
        uint64_t score = row[c->column[i]];
        if (best != SIZE_MAX && score <= row[c->column[best]])
            continue;
        if (c->holder[i] == NOBODY || score > c->score[i] ||
            (score == c->score[i] && b < c->holder[i]))
            best = i;
    }
    if (best == SIZE_MAX)
        return NOBODY;
    uint16_t pushed = c->holder[best];
    c->holder[best] = b;
    c->score[best] = row[c->column[best]];
    return pushed;
}

/* The second part of the order: common standbys for the backends that still have none. A backend
 * that loses its standby claims the next one. */
static void deal_common(const struct failover *f, const bool *out, uint16_t *owner)
{
    struct claims c = {0};
    c.column = mem_zalloc_array(f->ncommon, sizeof(*c.column));
    c.holder = mem_zalloc_array(f->ncommon, sizeof(*c.holder));
    c.score = mem_zalloc_array(f->ncommon, sizeof(*c.score));
    memset(c.holder, 0xff, f->ncommon * sizeof(*c.holder));
    for (size_t i = 0; i < f->ncommon; i++)
        if (!out[f->common[i]])
            c.column[c.count++] = i;
    for (uint16_t b = 0; b < f->nbackends; b++)
        for (uint16_t next = owner[b] == SERVER_NONE ? b : NOBODY; next != NOBODY;)
            next = claim(f, &c, next);
    for (size_t i = 0; i < c.count; i++)
        if (c.holder[i] != NOBODY)
            owner[c.holder[i]] = f->common[c.column[i]];
    free(c.column);
    free(c.holder);
    free(c.score);
}

void failover_owners(const struct failover *f, const bool *out, uint16_t *owner)
{
    bool any = false;
    for (uint16_t b = 0; b < f->nbackends; b++) {
        owner[b] = out[b] ? SERVER_NONE : b;
        any |= out[b];
    }
    if (!any)
        return;
    if (f->nlisted)
        deal_listed(f, out, owner);
    if (f->ncommon)
        deal_common(f, out, owner);
}
