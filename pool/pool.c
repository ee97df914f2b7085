/* Which server may serve a request, and taking it.
 *
 *   first try        home slot -> its published owner, unless that server is out or full
 *   a further try    home slot -> the owner it would have if the servers tried were out (whatif)
 *   no owner, full   outward from the key, slot by slot, until a server takes the request
 *   keyless          in turn over the slots, by weight, until a server takes the request
 *
 * All but the quickest case are one loop over slots in different orders: the request is offered to
 * the server of a slot (offer()), which takes or refuses it. A slot that refused is not asked again
 * in the same call, however many points it has. */
#include "pool/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define GOLDEN 0x9e3779b97f4a7c15u /* 2^64 / the golden ratio: its multiples spread evenly */
#define MAX_TRIED 15

/* ---- the word of a slot: owner in bits 0 to 15, from in 16 to 31, share above ---- */

static uint64_t pack(struct pool_owner o)
{
    assert(o.share <= 65536);
    return o.owner | (uint64_t)o.from << 16 | (uint64_t)o.share << 32;
}

static inline uint16_t word_owner(uint64_t word)
{
    return (uint16_t)word;
}

static inline uint16_t word_from(uint64_t word)
{
    return (uint16_t)(word >> 16);
}

/* The id of the server that serves a key of this slot. */
static inline uint16_t word_decide(uint64_t word, uint64_t hash)
{
    if (word_from(word) != SERVER_NONE && (hash & 0xffff) >= word >> 32)
        return word_from(word);
    return word_owner(word);
}

/* Acquire: a thread that sees an owner also sees what the control thread wrote before it. */
static inline uint64_t load_word(const struct pool *p, unsigned slot)
{
    return atomic_load_explicit(&p->owner[slot], memory_order_acquire);
}

static inline bool usable(const struct pool *p, uint16_t id)
{
    return atomic_load_explicit(&p->members[id].server->usable, memory_order_relaxed);
}

/* ---- life ---- */

/* The index of a name among servers sorted by name; n if there is none. */
static size_t index_of(const struct config_server *servers, size_t n, const char *name)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(servers[middle].name, name);
        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return n;
}

const struct pool_member *pool_find_name(const struct pool *p, const char *name)
{
    const struct config_pool *c = p->config;
    size_t i = index_of(c->backends, c->nbackends, name);
    if (i < c->nbackends)
        return &p->members[i];
    i = index_of(c->standbys, c->nstandbys, name);
    return i < c->nstandbys ? &p->members[c->nbackends + i] : NULL;
}

const struct pool_member *pool_find_server(const struct pool *p, const struct server *s)
{
    const struct pool_member *m = pool_find_name(p, s->name);
    return m && m->server == s ? m : NULL;
}

/* A reference to the server of the generation before if name and address are the same, else to a
 * new one. An interface that was made anew has the same text, and another number. */
static struct server *adopt_server(const struct pool *p, const struct pool_member *was,
                                   const struct config_server *c)
{
    if (was && strcmp(was->server->address_text, c->address_text) == 0 &&
        addr_eq(&was->server->address, &c->address))
        return server_ref(was->server);
    return server_new(p->config->name, c->name, c->address_text, &c->address, p->nworkers);
}

static void init_member(struct pool *p, uint16_t id, const struct pool *old)
{
    const struct config_pool *pool = p->config;
    bool standby = id >= p->nbackends;
    const struct config_server *c =
        standby ? &pool->standbys[id - p->nbackends] : &pool->backends[id];
    const struct pool_member *was = old ? pool_find_name(old, c->name) : NULL;
    p->before[id] = was ? was->id : SERVER_NONE;
    p->members[id] = (struct pool_member){.server = adopt_server(p, was, c),
                                          .weight = c->weight,
                                          .max_connections = c->max_connections,
                                          .passive_failures = pool->passive.failures,
                                          .id = id,
                                          .standby = standby};
    p->limited |= c->max_connections != 0;
}

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
    while (b) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* A round has a turn for each unit of weight. It is gone through in steps of about 0.618 of its
 * length. As the step is coprime to the length, each turn comes once; as it is near the golden
 * ratio, turns of heavy and light backends mix well. */
static void init_turns(struct pool *p)
{
    p->turn_end = mem_zalloc_array(p->nbackends, sizeof(*p->turn_end));
    for (uint16_t b = 0; b < p->nbackends; b++) {
        p->turns += p->config->backends[b].weight;
        p->turn_end[b] = p->turns;
    }
    p->turn_step = (uint32_t)((uint64_t)p->turns * 618 / 1000) + 1;
    while (common_divisor(p->turn_step, p->turns) != 1)
        p->turn_step++;
}

static struct shared_ring *adopt_ring(const struct config_pool *config, const struct pool *old,
                                      struct error *e)
{
    if (old && shared_ring_same(config, old->config))
        return shared_ring_ref(old->shared_ring);
    return shared_ring_new(config, e);
}

struct pool *pool_new(const struct config_pool *config, unsigned nworkers, const struct pool *old,
                      struct error *e)
{
    assert(old == NULL || old->nworkers == nworkers);
    assert(config->nbackends > 0 && config->nbackends + config->nstandbys <= 4096);
    struct shared_ring *ring = adopt_ring(config, old, e);
    if (ring == NULL)
        return NULL;
    struct pool *p = server_zalloc_lines(1, sizeof(*p));
    p->config = config;
    p->nworkers = nworkers;
    p->shared_ring = ring;
    p->ring = ring->ring;
    p->failover = failover_new(config);
    p->nbackends = (uint16_t)config->nbackends;
    p->nservers = (uint16_t)(config->nbackends + config->nstandbys);
    p->load_millionths = (uint64_t)(config->max_load * 1e6 + 0.5);
    p->limited = p->load_millionths != 0;
    p->totals = old ? pool_totals_ref(old->totals) : pool_totals_new();
    p->members = server_zalloc_lines(p->nservers, sizeof(*p->members));
    p->before = mem_zalloc_array(p->nservers, sizeof(*p->before));
    for (uint16_t id = 0; id < p->nservers; id++)
        init_member(p, id, old);
    init_turns(p);
    p->owner = mem_zalloc_array(p->nbackends, sizeof(*p->owner));
    for (uint16_t b = 0; b < p->nbackends; b++)
        atomic_init(&p->owner[b], pack((struct pool_owner){b, SERVER_NONE, 0}));
    atomic_init(&p->live_slots, p->nbackends);
    atomic_init(&p->live_weight, p->turns);
    return p;
}

void pool_free(struct pool *p)
{
    if (p == NULL)
        return;
    for (uint16_t id = 0; id < p->nservers; id++)
        server_unref(p->members[id].server);
    free(p->before);
    free(p->members);
    pool_totals_unref(p->totals);
    free(p->owner);
    free(p->turn_end);
    failover_free(p->failover);
    shared_ring_unref(p->shared_ring);
    free(p);
}

void pool_view_deinit(struct pool_view *v)
{
    free(v->refused);
    free(v->whatif_owner);
    free(v->whatif_out);
    memset(v, 0, sizeof(*v));
}

/* ---- owners ---- */

struct pool_owner pool_owner_of(const struct pool *p, unsigned slot)
{
    assert(slot < p->nbackends);
    uint64_t word = load_word(p, slot);
    return (struct pool_owner){word_owner(word), word_from(word), (uint32_t)(word >> 32)};
}

/* The version is stored last. A thread that reads the version first and then the words can get
 * words newer than that version, never older ones; it then sees another version at its next
 * request. */
void pool_publish(struct pool *p, const struct pool_owner *owners)
{
    uint32_t slots = 0, weight = 0;
    for (uint16_t slot = 0; slot < p->nbackends; slot++) {
        struct pool_owner o = owners[slot];
        assert(o.owner == SERVER_NONE || o.owner == slot ||
               (o.owner >= p->nbackends && o.owner < p->nservers));
        assert(o.from == SERVER_NONE || (o.from < p->nservers && o.owner != SERVER_NONE));
        atomic_store_explicit(&p->owner[slot], pack(o), memory_order_release);
        if (o.owner == SERVER_NONE)
            continue;
        slots++;
        weight += p->members[slot].weight;
    }
    atomic_store_explicit(&p->live_slots, slots, memory_order_relaxed);
    atomic_store_explicit(&p->live_weight, weight, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->version, 1, memory_order_release);
}

struct find {
    const struct pool *pool;
    uint64_t hash;
};

static bool has_owner(const void *arg, unsigned slot)
{
    const struct find *f = arg;
    return word_decide(load_word(f->pool, slot), f->hash) != SERVER_NONE;
}

uint16_t pool_find(const struct pool *p, uint64_t hash)
{
    struct find f = {p, hash};
    unsigned slot = ring_find(p->ring, hash);
    uint16_t id = word_decide(load_word(p, slot), hash);
    if (id != SERVER_NONE || p->config->when_down == WHEN_DOWN_FAIL ||
        atomic_load_explicit(&p->live_slots, memory_order_relaxed) == 0)
        return id;
    slot = ring_walk(p->ring, hash, has_owner, &f);
    return slot == RING_NONE ? SERVER_NONE : word_decide(load_word(p, slot), hash);
}

uint16_t pool_home(const struct pool *p, uint64_t hash)
{
    return (uint16_t)ring_find(p->ring, hash);
}

/* ---- the agreement of a fleet that the owners follow from ---- */

void pool_set_agreed(struct pool *p, uint64_t epoch, uint64_t seq)
{
    uint32_t turn = atomic_load_explicit(&p->agreed_turn, memory_order_relaxed) + 1;
    /* Release: who reads one of these while it is written anew also sees that the turn is over. */
    atomic_store_explicit(&p->agreed[turn % 2][0], epoch, memory_order_release);
    atomic_store_explicit(&p->agreed[turn % 2][1], seq, memory_order_release);
    atomic_store_explicit(&p->agreed_turn, turn, memory_order_release);
}

struct pool_agreed pool_agreed(const struct pool *p)
{
    struct pool_agreed a;
    uint32_t turn, after = atomic_load_explicit(&p->agreed_turn, memory_order_acquire);
    do { /* again if it was written twice meanwhile */
        turn = after;
        a.epoch = atomic_load_explicit(&p->agreed[turn % 2][0], memory_order_acquire);
        a.seq = atomic_load_explicit(&p->agreed[turn % 2][1], memory_order_acquire);
        after = atomic_load_explicit(&p->agreed_turn, memory_order_acquire);
    } while (after != turn);
    if (!atomic_load_explicit(&p->by_agreement, memory_order_relaxed))
        a = (struct pool_agreed){0};
    return a;
}

/* ---- limits ---- */

/* ceil(max_load x total x weight / weight in service). In integers, so that 1.1 means 11/10: the
 * product fits for less than 700 million requests at once. */
static uint64_t load_cap(const struct pool *p, unsigned slot, uint32_t total)
{
    uint64_t all = atomic_load_explicit(&p->live_weight, memory_order_relaxed);
    if (all == 0) /* all backends have just gone out of service */
        return UINT64_MAX;
    uint64_t divisor = UINT64_C(1000000) * all;
    uint64_t product = p->load_millionths * total * p->members[slot].weight;
    return (product + divisor - 1) / divisor;
}

void pool_release(struct pool *p, struct server *s)
{
    uint32_t before = atomic_fetch_sub_explicit(&s->active, 1, memory_order_relaxed);
    assert(before > 0);
    if (p->load_millionths)
        atomic_fetch_sub_explicit(&p->totals->active, 1, memory_order_relaxed);
}

/* Raises `active`, checks the limits, and takes it back if one was passed. The weight is the
 * slot's: a standby has the weight of the backend for which it stands in. */
static bool take(struct pool *p, const struct pool_member *m, unsigned slot)
{
    struct server *s = m->server;
    uint32_t active = atomic_fetch_add_explicit(&s->active, 1, memory_order_relaxed) + 1;
    bool fits = m->max_connections == 0 || active <= m->max_connections;
    if (p->load_millionths) {
        uint32_t total = atomic_fetch_add_explicit(&p->totals->active, 1, memory_order_relaxed) + 1;
        fits = fits && active <= load_cap(p, slot, total);
    }
    if (!fits)
        pool_release(p, s);
    return fits;
}

/* ---- whatif: the owners that the slots would have if the servers tried were out ---- */

static bool was_tried(const struct pool_request *r, uint16_t id)
{
    for (unsigned i = 0; i < r->ntried; i++)
        if (r->tried[i] == id)
            return true;
    return false;
}

/* Sorted, so that the same servers in another order are found in the view. */
static void sort_tried(const struct pool_request *r, uint16_t *sorted)
{
    for (unsigned i = 0; i < r->ntried; i++) {
        unsigned j = i;
        for (; j > 0 && sorted[j - 1] > r->tried[i]; j--)
            sorted[j] = sorted[j - 1];
        sorted[j] = r->tried[i];
    }
}

/* In service by what is published, not by the roster, which is another thread's: a backend is if it
 * owns its slot, a standby if it is usable. */
static void mark_out(const struct pool *p, const struct pool_request *r, bool *out)
{
    for (uint16_t id = 0; id < p->nservers; id++) {
        bool in_service = usable(p, id);
        if (id < p->nbackends)
            in_service = in_service && word_owner(load_word(p, id)) == id;
        out[id] = !in_service;
    }
    for (unsigned i = 0; i < r->ntried; i++)
        out[r->tried[i]] = true;
}

static void compute_whatif(const struct pool *p, struct pool_view *v, const struct pool_request *r)
{
    if (v->whatif_owner == NULL) {
        v->whatif_owner = mem_zalloc_array(p->nbackends, sizeof(*v->whatif_owner));
        v->whatif_out = mem_zalloc_array(p->nservers, sizeof(*v->whatif_out));
    }
    mark_out(p, r, v->whatif_out);
    failover_owners(p->failover, v->whatif_out, v->whatif_owner);
    v->whatif_live = 0;
    for (uint16_t slot = 0; slot < p->nbackends; slot++)
        v->whatif_live += v->whatif_owner[slot] != SERVER_NONE;
}

/* The owners if `tried` were out. The last result is kept, because after the death of a server all
 * requests that waited for it ask for the same. In an old generation a server can become unusable
 * without a new version: the result is computed again if it names such a server for this slot. */
static const uint16_t *whatif(const struct pool *p, struct pool_view *v,
                              const struct pool_request *r, unsigned home)
{
    uint16_t tried[MAX_TRIED + 1] = {0};
    size_t bytes = r->ntried * sizeof(*tried);
    sort_tried(r, tried);
    uint64_t version = atomic_load_explicit(&p->version, memory_order_acquire);
    if (v->whatif_valid && v->whatif_version == version && v->whatif_ntried == r->ntried &&
        memcmp(v->whatif_tried, tried, bytes) == 0) {
        uint16_t id = v->whatif_owner[home];
        if (id == SERVER_NONE || usable(p, id))
            return v->whatif_owner;
    }
    compute_whatif(p, v, r);
    memcpy(v->whatif_tried, tried, sizeof(tried));
    v->whatif_ntried = r->ntried;
    v->whatif_version = version;
    v->whatif_valid = true;
    return v->whatif_owner;
}

/* ---- offering ---- */

struct offer {
    struct pool *pool;
    const struct pool_request *request;
    uint64_t hash;
    bool look;              /* nothing is lent, and limits do not count */
    const uint16_t *whatif; /* NULL: the published owners count */
    bool stop_at_gap, gap;  /* a published owner that is left out here ends the offering */
    uint64_t *refused;      /* a bit for each slot that was asked and refused */
    unsigned nrefused;
    const struct pool_member *taken;
    bool full; /* a server may serve the request, but is at a limit */
};

/* Whether a further try keeps to the ramp: both servers of a ramp are in service, so if neither was
 * tried, the words hold as for a first try. */
static bool ramp_holds(const struct offer *o, uint64_t word)
{
    uint16_t owner = word_owner(word), from = word_from(word);
    return from != SERVER_NONE && !was_tried(o->request, owner) && !was_tried(o->request, from) &&
           usable(o->pool, owner) && usable(o->pool, from);
}

/* Offers the request to the server of a slot. True: o->taken is lent, or there is a gap. */
static bool offer(struct offer *o, unsigned slot)
{
    struct pool *p = o->pool;
    uint64_t word = load_word(p, slot);
    uint16_t id = word_decide(word, o->hash);
    if (o->whatif && !ramp_holds(o, word))
        id = o->whatif[slot];
    o->gap = o->stop_at_gap && id != SERVER_NONE && !usable(p, id);
    if (o->gap)
        return true;
    if (id == SERVER_NONE || was_tried(o->request, id) || !usable(p, id))
        return false;
    /* What a full server passes on must not go to an idle standby (docs/routing.md, Limits). */
    if (o->full && id != word_owner(word) && id != word_from(word))
        return false;
    if (!o->look && !take(p, &p->members[id], slot)) {
        o->full = true;
        return false;
    }
    o->taken = &p->members[id];
    return true;
}

static enum pool_outcome outcome(const struct offer *o, const struct pool_member **member)
{
    if (o->taken == NULL)
        return o->full ? POOL_FULL : POOL_NONE_LIVE;
    *member = o->taken;
    return POOL_OK;
}

/* Offers to a slot that has not refused yet. True: the walk ends. */
static bool ask(struct offer *o, unsigned slot)
{
    uint64_t bit = UINT64_C(1) << (slot % 64);
    if (o->refused[slot / 64] & bit)
        return false;
    if (offer(o, slot))
        return true;
    o->refused[slot / 64] |= bit;
    o->nrefused++;
    return o->nrefused == o->pool->nbackends;
}

static bool ask_on_walk(const void *arg, unsigned slot)
{
    return ask(*(struct offer *const *)arg, slot);
}

static void forget_refusals(struct offer *o, struct pool_view *v)
{
    size_t words = (o->pool->nbackends + 63u) / 64;
    if (v->refused == NULL)
        v->refused = mem_zalloc_array(words, sizeof(*v->refused));
    memset(v->refused, 0, words * sizeof(*v->refused));
    o->refused = v->refused;
}

static void offer_along(struct offer *o, struct pool_view *v, unsigned home)
{
    struct pool *p = o->pool;
    if (offer(o, home) || p->config->when_down != WHEN_DOWN_NEXT)
        return;
    forget_refusals(o, v);
    o->refused[home / 64] |= UINT64_C(1) << (home % 64);
    o->nrefused = 1;
    if (o->nrefused < p->nbackends)
        ring_walk(p->ring, o->hash, ask_on_walk, &o);
}

/* Where the published owners lead to a server that is left out here, the request goes where it
 * would go after a try of that server, wherever on the walk that is. */
static enum pool_outcome acquire_keyed(struct pool *p, struct pool_view *v,
                                       const struct pool_request *r, bool look,
                                       const struct pool_member **member)
{
    const struct offer fresh = {.pool = p, .request = r, .hash = r->hash, .look = look};
    struct offer o = fresh;
    o.stop_at_gap = true;
    unsigned home = ring_find(p->ring, r->hash);
    if (r->ntried == 0 && atomic_load_explicit(&p->live_slots, memory_order_relaxed) > 0)
        offer_along(&o, v, home);
    if (r->ntried > 0 || o.gap) {
        o = fresh;
        o.whatif = whatif(p, v, r, home);
        if (v->whatif_live > 0)
            offer_along(&o, v, home);
    }
    return outcome(&o, member);
}

uint16_t pool_find_here(struct pool *p, struct pool_view *v, uint64_t hash)
{
    const struct pool_request r = {.hash = hash};
    const struct pool_member *m;
    return acquire_keyed(p, v, &r, true, &m) == POOL_OK ? m->id : SERVER_NONE;
}

/* The backend whose turn it is. */
static unsigned slot_of_turn(const struct pool *p, uint64_t turn)
{
    uint32_t at = (uint32_t)(turn % p->turns * p->turn_step % p->turns);
    unsigned low = 0, high = p->nbackends - 1u;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (at < p->turn_end[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Offers to the first slot that this server serves now, wholly or in a ramp. */
static bool ask_preferred(struct offer *o, uint16_t id)
{
    const struct pool *p = o->pool;
    bool backend = id < p->nbackends; /* it serves its own slot at most */
    for (unsigned slot = backend ? id : 0; slot < (backend ? id + 1u : p->nbackends); slot++) {
        uint64_t word = load_word(p, slot);
        o->hash = word_owner(word) == id ? 0 : 0xffff;
        if (word_decide(word, o->hash) == id)
            return ask(o, slot);
    }
    return false;
}

/* A request without a key has no home slot: a server that can't take it is passed over. In a ramp a
 * number that is spread like a hash decides which side gets it. After as many turns as there are
 * backends, the backends that had no turn, because others are much heavier, are asked in order. */
static enum pool_outcome acquire_keyless(struct pool *p, struct pool_view *v,
                                         const struct pool_request *r,
                                         const struct pool_member **member)
{
    struct offer o = {.pool = p, .request = r};
    if (atomic_load_explicit(&p->live_slots, memory_order_relaxed) == 0)
        return POOL_NONE_LIVE;
    forget_refusals(&o, v);
    bool done = r->preferred && ask_preferred(&o, r->preferred->id);
    for (unsigned i = 0; i < p->nbackends && !done; i++) {
        o.hash = v->turn * GOLDEN >> 48;
        done = ask(&o, slot_of_turn(p, v->turn));
        v->turn++;
    }
    for (unsigned slot = 0; slot < p->nbackends && !done; slot++)
        done = ask(&o, slot);
    if (o.taken == NULL && r->ntried > 0) { /* only the standbys of servers tried are left */
        o.whatif = whatif(p, v, r, 0);
        forget_refusals(&o, v);
        o.nrefused = 0;
        for (unsigned slot = 0; slot < p->nbackends && o.taken == NULL; slot++)
            ask(&o, slot);
    }
    return outcome(&o, member);
}

/* Nearly every request ends in the quickest case: one load of a word, one of `usable`, one
 * addition. */
static inline enum pool_outcome acquire(struct pool *p, struct pool_view *v,
                                        const struct pool_request *r,
                                        const struct pool_member **member)
{
    if (r->keyless)
        return acquire_keyless(p, v, r, member);
    if (r->ntried == 0 && !p->limited) {
        uint16_t id = word_decide(load_word(p, ring_find(p->ring, r->hash)), r->hash);
        if (id != SERVER_NONE && usable(p, id)) {
            *member = &p->members[id];
            atomic_fetch_add_explicit(&(*member)->server->active, 1, memory_order_relaxed);
            return POOL_OK;
        }
    }
    return acquire_keyed(p, v, r, false, member);
}

/* The number is read before the owners, and written after them. So it is never newer than the
 * owner; it may be older for a moment. If it is none afterwards, the owner may follow from what
 * this proxy decided alone. */
static enum pool_outcome acquire_agreed(struct pool *p, struct pool_view *v,
                                        const struct pool_request *r,
                                        const struct pool_member **member)
{
    struct pool_agreed a = pool_agreed(p);
    enum pool_outcome outcome = acquire(p, v, r, member);
    bool given = outcome == POOL_OK && a.epoch && !r->keyless && r->ntried == 0 &&
                 pool_find(p, r->hash) == (*member)->id && pool_agreed(p).epoch;
    *r->agreed = given ? a : (struct pool_agreed){0};
    return outcome;
}

enum pool_outcome pool_acquire(struct pool *p, struct pool_view *v, const struct pool_request *r,
                               const struct pool_member **member)
{
    assert(r->ntried <= MAX_TRIED);
    return r->agreed ? acquire_agreed(p, v, r, member) : acquire(p, v, r, member);
}
