/* The promotion rule against references written from its words: for small pools by listing every
 * matching there is, for middling ones by testing each pair with a matching made anew. */
#include "pool/failover.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "ring/hash.h"
#include "tests/lib/unit.h"

#define LARGEST 2048 /* backends or standbys in a test */

/* ---- pools by hand ---- */

static uint64_t random_state = 1;

static unsigned random_below(unsigned n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % n;
}

static void name_servers(struct config_server *servers, size_t n, char kind, unsigned salt)
{
    for (size_t i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof(name), "%c%u-%04zu", kind, salt, i);
        servers[i] = (struct config_server){.name = mem_strdup(name), .weight = 1};
    }
}

/* Names differ with the salt, and so do all hashes. */
static struct config_pool *pool_of(size_t nbackends, size_t nstandbys, unsigned salt)
{
    struct config_pool *pool = mem_zalloc(sizeof(*pool));
    pool->backends = mem_zalloc_array(nbackends, sizeof(*pool->backends));
    pool->standbys = mem_zalloc_array(nstandbys, sizeof(*pool->standbys));
    pool->nbackends = nbackends;
    pool->nstandbys = nstandbys;
    name_servers(pool->backends, nbackends, 'b', salt);
    name_servers(pool->standbys, nstandbys, 's', salt);
    return pool;
}

static void add_for(struct config_server *standby, size_t backend)
{
    size_t n = standby->nfor++;
    standby->for_backends = mem_grow(standby->for_backends, n + 1, sizeof(*standby->for_backends));
    standby->for_backends[n] = (uint16_t)backend;
}

static void drop_servers(struct config_server *servers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(servers[i].name);
        free(servers[i].for_backends);
    }
    free(servers);
}

static void drop_pool(struct config_pool *pool)
{
    drop_servers(pool->backends, pool->nbackends);
    drop_servers(pool->standbys, pool->nstandbys);
    free(pool);
}

static bool eligible(const struct config_pool *pool, size_t standby, size_t backend)
{
    const struct config_server *s = &pool->standbys[standby];
    for (size_t i = 0; i < s->nfor; i++)
        if (s->for_backends[i] == backend)
            return true;
    return s->nfor == 0;
}

/* ---- the order of promotion, by its definition ---- */

struct pair {
    const struct config_pool *pool;
    size_t backend, standby;
};

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    const struct config_server *bx = &x->pool->backends[x->backend],
                               *by = &y->pool->backends[y->backend],
                               *sx = &x->pool->standbys[x->standby],
                               *sy = &y->pool->standbys[y->standby];
    size_t nx = sx->nfor ? sx->nfor : SIZE_MAX, ny = sy->nfor ? sy->nfor : SIZE_MAX;
    if (nx != ny)
        return nx < ny ? -1 : 1;
    uint64_t hx = hash_pair(str_of(bx->name), str_of(sx->name));
    uint64_t hy = hash_pair(str_of(by->name), str_of(sy->name));
    if (hx != hy)
        return hx > hy ? -1 : 1;
    int names = strcmp(bx->name, by->name);
    return names ? names : strcmp(sx->name, sy->name);
}

static size_t pairs_in_order(const struct config_pool *pool, const bool *out, struct pair *pairs)
{
    size_t n = 0;
    for (size_t b = 0; b < pool->nbackends; b++)
        for (size_t s = 0; s < pool->nstandbys; s++)
            if (out[b] && !out[pool->nbackends + s] && eligible(pool, s, b))
                pairs[n++] = (struct pair){pool, b, s};
    qsort(pairs, n, sizeof(*pairs), compare_pairs);
    return n;
}

/* ---- reference 1: every matching ---- */

#define MAX_MATCHINGS 8192

struct matchings {
    const struct config_pool *pool;
    const bool *out;
    int of[MAX_MATCHINGS][5]; /* the standby of each backend, -1: none */
    size_t size[MAX_MATCHINGS];
    size_t count;
};

static void list_matchings(struct matchings *m, size_t b, int *of, size_t size)
{
    if (b == m->pool->nbackends) {
        ck_assert_uint_lt(m->count, MAX_MATCHINGS);
        memcpy(m->of[m->count], of, b * sizeof(*of));
        m->size[m->count++] = size;
        return;
    }
    of[b] = -1;
    list_matchings(m, b + 1, of, size);
    for (size_t s = 0; s < m->pool->nstandbys; s++) {
        bool used = !m->out[b] || m->out[m->pool->nbackends + s] || !eligible(m->pool, s, b);
        for (size_t i = 0; i < b; i++)
            used |= of[i] == (int)s;
        if (used)
            continue;
        of[b] = (int)s;
        list_matchings(m, b + 1, of, size + 1);
    }
}

/* Keeps those that have the pair (of the largest), if there is one. */
static void prefer(struct matchings *m, struct pair p)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->count; i++)
        kept += m->of[i][p.backend] == (int)p.standby;
    if (kept == 0)
        return;
    kept = 0;
    for (size_t i = 0; i < m->count; i++)
        if (m->of[i][p.backend] == (int)p.standby)
            memmove(m->of[kept++], m->of[i], sizeof(m->of[i]));
    m->count = kept;
}

static void expect_by_listing(const struct config_pool *pool, const bool *out, uint16_t *owner)
{
    static struct matchings m;
    static struct pair pairs[25];
    int of[5];
    m.pool = pool;
    m.out = out;
    m.count = 0;
    list_matchings(&m, 0, of, 0);
    size_t largest = 0, kept = 0;
    for (size_t i = 0; i < m.count; i++)
        largest = m.size[i] > largest ? m.size[i] : largest;
    for (size_t i = 0; i < m.count; i++)
        if (m.size[i] == largest)
            memmove(m.of[kept++], m.of[i], sizeof(m.of[i]));
    m.count = kept;
    size_t npairs = pairs_in_order(pool, out, pairs);
    for (size_t i = 0; i < npairs; i++)
        prefer(&m, pairs[i]);
    ck_assert_uint_eq(m.count, 1);
    for (size_t b = 0; b < pool->nbackends; b++) {
        int s = m.of[0][b];
        owner[b] = !out[b]  ? (uint16_t)b
                   : s >= 0 ? (uint16_t)(pool->nbackends + (size_t)s)
                            : SERVER_NONE;
    }
}

/* ---- reference 2: the largest matching made anew (Kuhn) for each question ---- */

struct kuhn {
    const struct config_pool *pool;
    const bool *out;
    bool gone_backend[LARGEST], gone_standby[LARGEST];
    bool seen[LARGEST];
    int holder[LARGEST];
};

static bool kuhn_may(const struct kuhn *k, size_t b, size_t s)
{
    return !k->seen[s] && !k->gone_standby[s] && !k->out[k->pool->nbackends + s] &&
           eligible(k->pool, s, b);
}

static bool kuhn_place(struct kuhn *k, size_t b)
{
    for (size_t s = 0; s < k->pool->nstandbys; s++)
        if (k->holder[s] < 0 && kuhn_may(k, b, s)) {
            k->holder[s] = (int)b;
            return true;
        }
    for (size_t s = 0; s < k->pool->nstandbys; s++) {
        if (k->holder[s] < 0 || !kuhn_may(k, b, s))
            continue;
        k->seen[s] = true;
        if (kuhn_place(k, (size_t)k->holder[s])) {
            k->holder[s] = (int)b;
            return true;
        }
    }
    return false;
}

/* The most backends out that can have a standby, without those that are gone. */
static size_t kuhn_size(struct kuhn *k)
{
    size_t size = 0;
    memset(k->holder, 0xff, sizeof(k->holder));
    for (size_t b = 0; b < k->pool->nbackends; b++) {
        if (!k->out[b] || k->gone_backend[b])
            continue;
        memset(k->seen, 0, sizeof(k->seen));
        size += kuhn_place(k, b);
    }
    return size;
}

static void expect_by_asking(const struct config_pool *pool, const bool *out, uint16_t *owner)
{
    static struct kuhn k;
    static struct pair pairs[40 * 40];
    memset(&k, 0, sizeof(k));
    k.pool = pool;
    k.out = out;
    size_t left = kuhn_size(&k), npairs = pairs_in_order(pool, out, pairs);
    for (size_t b = 0; b < pool->nbackends; b++)
        owner[b] = out[b] ? SERVER_NONE : (uint16_t)b;
    for (size_t i = 0; i < npairs; i++) {
        struct pair p = pairs[i];
        if (k.gone_backend[p.backend] || k.gone_standby[p.standby])
            continue;
        k.gone_backend[p.backend] = k.gone_standby[p.standby] = true;
        if (left > 0 && kuhn_size(&k) == left - 1) {
            owner[p.backend] = (uint16_t)(pool->nbackends + p.standby);
            left--;
        } else {
            k.gone_backend[p.backend] = k.gone_standby[p.standby] = false;
        }
    }
    ck_assert_uint_eq(left, 0);
}

/* ---- the claims ---- */

static void check_same(const uint16_t *got, const uint16_t *want, size_t n)
{
    for (size_t b = 0; b < n; b++)
        if (got[b] != want[b])
            ck_abort_msg("backend %zu: owner %u, expected %u", b, got[b], want[b]);
}

/* Every set of servers that are out. */
static void check_every_outage(const struct config_pool *pool)
{
    struct failover *f = failover_new(pool);
    size_t n = failover_servers(f);
    ck_assert_uint_eq(n, pool->nbackends + pool->nstandbys);
    ck_assert_uint_eq(failover_backends(f), pool->nbackends);
    for (unsigned set = 0; set < 1u << n; set++) {
        bool out[10];
        uint16_t got[5], want[5];
        for (size_t i = 0; i < n; i++)
            out[i] = set >> i & 1;
        failover_owners(f, out, got);
        expect_by_listing(pool, out, want);
        check_same(got, want, pool->nbackends);
    }
    failover_free(f);
}

static void set_for(struct config_pool *pool, size_t standby, unsigned mask)
{
    for (size_t b = 0; b < pool->nbackends; b++)
        if (mask >> b & 1)
            add_for(&pool->standbys[standby], b);
}

/* A `for` is any subset of the backends, the empty one makes a common standby. */
static void check_every_for(size_t nbackends, size_t nstandbys, unsigned salt)
{
    unsigned subsets = 1u << nbackends, combinations = 1;
    for (size_t s = 0; s < nstandbys; s++)
        combinations *= subsets;
    for (unsigned c = 0; c < combinations; c++) {
        struct config_pool *pool = pool_of(nbackends, nstandbys, salt);
        unsigned rest = c;
        for (size_t s = 0; s < nstandbys; s++, rest /= subsets)
            set_for(pool, s, rest % subsets);
        check_every_outage(pool);
        drop_pool(pool);
    }
}

START_TEST(every_small_pool_follows_the_rule)
{
    for (size_t nbackends = 1; nbackends <= 3; nbackends++)
        for (size_t nstandbys = 0; nstandbys <= 3; nstandbys++)
            for (unsigned salt = 0; salt < 2; salt++)
                check_every_for(nbackends, nstandbys, salt);
}
END_TEST

START_TEST(pools_of_four_and_five_follow_the_rule)
{
    for (unsigned i = 0; i < 60; i++) {
        size_t nbackends = 4 + random_below(2), nstandbys = 4 + random_below(2);
        struct config_pool *pool = pool_of(nbackends, nstandbys, 100 + i);
        for (size_t s = 0; s < nstandbys; s++)
            set_for(pool, s, random_below(4) ? random_below(1u << nbackends) : 0);
        check_every_outage(pool);
        drop_pool(pool);
    }
}
END_TEST

/* One in `out_of` is out; a `for` has up to `longest` backends; one in `common_of` is common. */
static struct config_pool *random_pool(size_t nbackends, size_t nstandbys, unsigned longest,
                                       unsigned common_of, unsigned salt)
{
    struct config_pool *pool = pool_of(nbackends, nstandbys, salt);
    for (size_t s = 0; s < nstandbys; s++) {
        unsigned n = 1 + random_below(longest);
        if (common_of && random_below(common_of) == 0)
            continue;
        for (size_t b = 0; b < nbackends; b++)
            if (random_below((unsigned)nbackends) < n)
                add_for(&pool->standbys[s], b);
    }
    return pool;
}

static void random_outage(const struct config_pool *pool, unsigned backends, unsigned standbys,
                          bool *out)
{
    for (size_t i = 0; i < pool->nbackends; i++)
        out[i] = random_below(100) < backends;
    for (size_t i = 0; i < pool->nstandbys; i++)
        out[pool->nbackends + i] = random_below(100) < standbys;
}

/* Short lists of equal length and about as many standbys as backends: much has to be moved to serve
 * as many as possible. */
static struct config_pool *tight_pool(unsigned salt)
{
    size_t nbackends = 4 + random_below(21), length = 2 + random_below(3);
    size_t nstandbys = nbackends - 1 + random_below(3), ncommon = random_below(3);
    struct config_pool *pool = pool_of(nbackends, nstandbys, salt);
    for (size_t s = ncommon; s < nstandbys; s++) {
        size_t wanted = length;
        for (size_t b = 0; b < nbackends; b++)
            if (random_below((unsigned)(nbackends - b)) < wanted) {
                add_for(&pool->standbys[s], b);
                wanted--;
            }
    }
    return pool;
}

START_TEST(middling_pools_follow_the_rule)
{
    for (unsigned i = 0; i < 3000; i++) {
        struct config_pool *pool =
            i % 3 ? tight_pool(1000 + i)
                  : random_pool(1 + random_below(24), 1 + random_below(24), 1 + random_below(6),
                                random_below(8), 1000 + i);
        struct failover *f = failover_new(pool);
        for (unsigned j = 0; j < 3; j++) {
            bool out[64];
            uint16_t got[32], want[32];
            random_outage(pool, 60 + random_below(41), random_below(3) * 20, out);
            failover_owners(f, out, got);
            expect_by_asking(pool, out, want);
            check_same(got, want, pool->nbackends);
        }
        failover_free(f);
        drop_pool(pool);
    }
}
END_TEST

/* Lists that overlap like a chain leave one way to serve all, and greed does not find it. */
START_TEST(chains_give_everyone_the_only_standby_there_is)
{
    enum { N = 200 };
    struct config_pool *pool = pool_of(N, N, 7);
    bool out[2 * N];
    uint16_t owner[N];
    for (size_t s = 0; s < N; s++) {
        add_for(&pool->standbys[s], s);
        if (s + 1 < N)
            add_for(&pool->standbys[s], s + 1);
    }
    struct failover *f = failover_new(pool);
    for (size_t i = 0; i < 2 * N; i++)
        out[i] = i < N;
    failover_owners(f, out, owner);
    for (size_t b = 0; b < N; b++)
        ck_assert_uint_eq(owner[b], N + b);
    out[N + N / 2] = true; /* now one has to go without, and one only */
    failover_owners(f, out, owner);
    size_t without = 0;
    for (size_t b = 0; b < N; b++)
        without += owner[b] == SERVER_NONE;
    ck_assert_uint_eq(without, 1);
    failover_free(f);
    drop_pool(pool);
}
END_TEST

/* The pool with its servers in another order; place[i] is where server i went. */
static struct config_pool *shuffled(const struct config_pool *pool, size_t *place)
{
    struct config_pool *other = pool_of(0, 0, 0);
    size_t nb = pool->nbackends, ns = pool->nstandbys;
    other->nbackends = nb;
    other->nstandbys = ns;
    other->backends = mem_grow(other->backends, nb, sizeof(*other->backends));
    other->standbys = mem_grow(other->standbys, ns, sizeof(*other->standbys));
    for (size_t i = 0; i < nb + ns; i++) {
        size_t first = i < nb ? 0 : nb, j = first + random_below((unsigned)(i - first + 1));
        place[i] = place[j];
        place[j] = i;
    }
    for (size_t i = 0; i < nb + ns; i++) {
        struct config_server *to =
            place[i] < nb ? &other->backends[place[i]] : &other->standbys[place[i] - nb];
        const struct config_server *from = i < nb ? &pool->backends[i] : &pool->standbys[i - nb];
        *to = (struct config_server){.name = mem_strdup(from->name), .weight = 1};
    }
    for (size_t s = 0; s < ns; s++)
        for (size_t j = 0; j < nb; j++)
            for (size_t b = 0; b < nb; b++)
                if (place[b] == j && pool->standbys[s].nfor && eligible(pool, s, b))
                    add_for(&other->standbys[place[nb + s] - nb], j);
    return other;
}

START_TEST(owners_do_not_depend_on_the_order_of_the_file)
{
    for (unsigned i = 0; i < 300; i++) {
        struct config_pool *pool =
            random_pool(1 + random_below(15), 1 + random_below(15), 4, 4, 5000 + i);
        size_t n = pool->nbackends + pool->nstandbys, place[30];
        struct config_pool *other = shuffled(pool, place);
        struct failover *f = failover_new(pool), *g = failover_new(other);
        bool out[30], other_out[30];
        uint16_t owner[15], other_owner[15];
        random_outage(pool, 70, 20, out);
        for (size_t j = 0; j < n; j++)
            other_out[place[j]] = out[j];
        failover_owners(f, out, owner);
        failover_owners(g, other_out, other_owner);
        for (size_t b = 0; b < pool->nbackends; b++)
            ck_assert_uint_eq(owner[b] == SERVER_NONE ? SERVER_NONE : place[owner[b]],
                              other_owner[place[b]]);
        failover_free(f);
        failover_free(g);
        drop_pool(pool);
        drop_pool(other);
    }
}
END_TEST

static void check_properties(const struct config_pool *pool, const bool *out, const uint16_t *owner)
{
    static struct kuhn k;
    static bool used[2 * LARGEST];
    size_t served = 0;
    memset(used, 0, sizeof(used));
    for (size_t b = 0; b < pool->nbackends; b++) {
        if (!out[b]) {
            ck_assert_uint_eq(owner[b], b);
            continue;
        }
        if (owner[b] == SERVER_NONE)
            continue;
        ck_assert(owner[b] >= pool->nbackends);
        ck_assert(owner[b] < pool->nbackends + pool->nstandbys);
        ck_assert(!out[owner[b]] && !used[owner[b]]);
        ck_assert(eligible(pool, owner[b] - pool->nbackends, b));
        used[owner[b]] = true;
        served++;
    }
    memset(&k, 0, sizeof(k));
    k.pool = pool;
    k.out = out;
    ck_assert_uint_eq(served, kuhn_size(&k));
}

START_TEST(large_pools_serve_as_many_as_possible_and_nobody_twice)
{
    for (unsigned i = 0; i < 40; i++) {
        struct config_pool *pool = random_pool(1 + random_below(300), 1 + random_below(300),
                                               1 + random_below(8), random_below(20), 9000 + i);
        struct failover *f = failover_new(pool);
        bool out[600];
        uint16_t owner[300];
        random_outage(pool, random_below(101), random_below(60), out);
        failover_owners(f, out, owner);
        check_properties(pool, out, owner);
        failover_free(f);
        drop_pool(pool);
    }
}
END_TEST

/* The largest there may be, with every backend out. */
START_TEST(the_largest_pool_can_lose_all_its_backends)
{
    for (unsigned common_of = 1; common_of <= 3; common_of++) {
        struct config_pool *pool = random_pool(LARGEST, LARGEST, 4, common_of, common_of);
        struct failover *f = failover_new(pool);
        bool *out = mem_zalloc_array(2 * LARGEST, sizeof(*out));
        uint16_t *owner = mem_zalloc_array(LARGEST, sizeof(*owner));
        for (size_t b = 0; b < LARGEST; b++)
            out[b] = true;
        failover_owners(f, out, owner);
        check_properties(pool, out, owner);
        free(out);
        free(owner);
        failover_free(f);
        drop_pool(pool);
    }
}
END_TEST

START_TEST(nobody_out_changes_nothing)
{
    struct config_pool *pool = random_pool(50, 20, 3, 3, 1);
    struct failover *f = failover_new(pool);
    bool out[70] = {false};
    uint16_t owner[50];
    failover_owners(f, out, owner);
    for (size_t b = 0; b < 50; b++)
        ck_assert_uint_eq(owner[b], b);
    failover_free(f);
    failover_free(NULL);
    drop_pool(pool);
}
END_TEST

static Suite *failover_suite(void)
{
    Suite *s = suite_create("failover");
    TCase *t = tcase_create("failover");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, nobody_out_changes_nothing);
    tcase_add_test(t, every_small_pool_follows_the_rule);
    tcase_add_test(t, pools_of_four_and_five_follow_the_rule);
    tcase_add_test(t, middling_pools_follow_the_rule);
    tcase_add_test(t, chains_give_everyone_the_only_standby_there_is);
    tcase_add_test(t, owners_do_not_depend_on_the_order_of_the_file);
    tcase_add_test(t, large_pools_serve_as_many_as_possible_and_nobody_twice);
    tcase_add_test(t, the_largest_pool_can_lose_all_its_backends);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(failover_suite);
}
