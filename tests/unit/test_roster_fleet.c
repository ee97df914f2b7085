/* Rosters of proxies that agree: agreements, exceptions, votes, and what of that outlives a reload
 * and a change of the program. */
#include <stdio.h>
#include <string.h>

#include "pool/roster_save.h"
#include "ring/hash.h"
#include "tests/lib/pool_line.h"
#include "tests/lib/unit.h"

#define KEYS 400

struct member {
    struct file *file;
    struct pool *pool;
    struct roster *roster;
    struct pool_view view;
    char told[2048];
    unsigned news, claims, looks;
};

static const char *const words[] = {
    [ROSTER_SERVER_UP] = "up",        [ROSTER_SERVER_DOWN] = "down",
    [ROSTER_PROMOTION] = "promotion", [ROSTER_TAKEOVER_ENDED] = "ended",
    [ROSTER_NEXT] = "next",           [ROSTER_RAMP] = "ramp",
    [ROSTER_FAILBACK] = "failback",   [ROSTER_HELD] = "held",
    [ROSTER_DRAINED] = "drained",     [ROSTER_ENABLED] = "enabled",
    [ROSTER_ALL_DOWN] = "all down",   [ROSTER_ALL_DOWN_ENDED] = "all down ended",
    [ROSTER_SUSPECTED] = "suspected", [ROSTER_SPARED] = "spared",
    [ROSTER_AGREED] = "agreed",       [ROSTER_PARTED] = "parted",
    [ROSTER_EXCEPTION] = "exception", [ROSTER_EXCEPTION_ENDED] = "no exception",
};

static void on_notice(void *arg, const struct roster_notice *n)
{
    struct member *m = arg;
    size_t at = strlen(m->told);
    if (n->event != ROSTER_OWNERS && at + 40 < sizeof m->told)
        snprintf(m->told + at, sizeof m->told - at, "%s%s%s%s", at ? ", " : "", words[n->event],
                 n->member ? " " : "", n->member ? n->member->server->name : "");
}

static void on_news(void *arg, bool claim)
{
    struct member *m = arg;
    m->news++;
    m->claims += claim;
}

static void on_look(void *arg, unsigned server)
{
    struct member *m = arg;
    m->looks |= 1u << server;
}

static void open_member(struct member *m, const char *line, const struct pool *old)
{
    struct error e;
    memset(m, 0, sizeof *m);
    m->file = read_file(line);
    m->pool = pool_new(&m->file->pool, 1, old, &e);
    ck_assert_msg(m->pool != NULL, "%s", e.text);
    m->roster = roster_new(m->pool, on_notice, m);
    roster_on_news(m->roster, on_news, m);
    roster_on_look(m->roster, on_look, m);
}

static void open_started(struct member *m, const char *line, uint64_t now_ms)
{
    open_member(m, line, NULL);
    roster_start(m->roster, now_ms);
}

static void close_member(struct member *m)
{
    roster_free(m->roster);
    pool_view_deinit(&m->view);
    pool_free(m->pool);
    free(m->file);
}

static unsigned id_of(const struct member *m, const char *name)
{
    const struct pool_member *found = pool_find_name(m->pool, name);
    ck_assert_ptr_nonnull(found);
    return found->id;
}

static void check_told(struct member *m, const char *told)
{
    ck_assert_str_eq(m->told, told);
    m->told[0] = 0;
}

static void check(struct member *m, const char *name, bool ok, uint64_t now_ms)
{
    roster_check(m->roster, id_of(m, name), ok, ok ? "fine" : "refused", now_ms, now_ms);
}

static void advance(const struct member *m, uint64_t to_ms)
{
    while (roster_next_ms(m->roster) <= to_ms)
        roster_tick(m->roster, roster_next_ms(m->roster));
}

/* "b1 down, b2 wait, b3 ramp s1 32768, b4 up drained" */
struct publication {
    struct agreed_pool pool;
    struct agreed_server servers[MAX_SERVERS * 2];
    char text[256];
};

static void read_server(struct agreed_server *s, char *text)
{
    char *word;
    s->name = strsep(&text, " ");
    while ((word = strsep(&text, " ")) != NULL)
        if (strcmp(word, "down") == 0)
            s->phase = AGREED_DOWN;
        else if (strcmp(word, "wait") == 0)
            s->phase = AGREED_WAIT, s->left_ms = 5000;
        else if (strcmp(word, "held") == 0)
            s->phase = AGREED_HELD;
        else if (strcmp(word, "drained") == 0)
            s->drained = true;
        else if (strcmp(word, "carried") == 0)
            s->carried = true, s->asked_ms = 5;
        else if (strcmp(word, "back") == 0)
            s->returned = true;
        else if (strcmp(word, "ramp") == 0)
            s->phase = AGREED_RAMP, s->from = strsep(&text, " "),
            s->share = (uint32_t)atoi(strsep(&text, " "));
        else
            ck_assert_str_eq(word, "up");
}

static void agree(struct member *m, const char *line, uint64_t now_ms)
{
    struct publication p = {.pool = {.name = "pool"}};
    snprintf(p.text, sizeof p.text, "%s", line);
    char *rest = p.text, *server;
    while ((server = strsep(&rest, ",")) != NULL)
        read_server(&p.servers[p.pool.nservers++], server + (server[0] == ' '));
    p.pool.servers = p.servers;
    roster_agree(m->roster, &p.pool, now_ms);
}

/* ---- where keys go ---- */

static uint64_t hash_of(unsigned key)
{
    return hash_key((struct str){(const char *)&key, sizeof key});
}

static bool is_usable(const struct member *m, uint16_t id)
{
    return server_usable(m->pool->members[id].server);
}

static uint16_t decide(struct pool_owner w, uint64_t hash)
{
    return w.from != SERVER_NONE && (hash & 0xffff) >= w.share ? w.from : w.owner;
}

struct walk {
    const struct member *m;
    const uint16_t *whatif; /* NULL: the published words */
    uint64_t hash;
    uint16_t found;
};

static uint16_t candidate(const struct walk *w, unsigned slot)
{
    struct pool_owner o = pool_owner_of(w->m->pool, slot);
    bool ramp = o.from != SERVER_NONE && is_usable(w->m, o.owner) && is_usable(w->m, o.from);
    uint16_t id = w->whatif && !ramp ? w->whatif[slot] : decide(o, w->hash);
    return id == SERVER_NONE || !is_usable(w->m, id) ? SERVER_NONE : id;
}

static bool on_slot(const void *arg, unsigned slot)
{
    struct walk *w = *(struct walk *const *)arg;
    w->found = candidate(w, slot);
    return w->found != SERVER_NONE;
}

/* Where a key has to go: the agreed server, unless that is left out here; then whom the promotion
 * rule gives if it is out; without one, the next ones. */
static uint16_t expected(const struct member *m, uint64_t hash)
{
    uint16_t owner[MAX_SERVERS];
    bool out[2 * MAX_SERVERS];
    unsigned home = pool_home(m->pool, hash);
    struct walk w = {m, NULL, hash, SERVER_NONE}, *arg = &w;
    uint16_t id = decide(pool_owner_of(m->pool, home), hash);
    if (id != SERVER_NONE && !is_usable(m, id)) {
        for (unsigned i = 0; i < m->pool->nservers; i++)
            out[i] = roster_all_down(m->roster)
                         ? !is_usable(m, (uint16_t)i)
                         : roster_is_out(m->roster, i) || roster_is_excepted(m->roster, i);
        failover_owners(m->pool->failover, out, owner);
        w.whatif = owner;
    }
    id = candidate(&w, home);
    if (id != SERVER_NONE || m->file->pool.when_down == WHEN_DOWN_FAIL)
        return id;
    ring_walk(m->pool->ring, hash, on_slot, &arg);
    return w.found;
}

static uint16_t acquired(struct member *m, uint64_t hash, struct pool_agreed *agreed)
{
    const struct pool_member *got;
    const struct pool_request r = {.hash = hash, .agreed = agreed};
    if (pool_acquire(m->pool, &m->view, &r, &got) != POOL_OK)
        return SERVER_NONE;
    pool_release(m->pool, got->server);
    return got->id;
}

static void check_keys(struct member *m)
{
    for (unsigned k = 0; k < KEYS; k++) {
        uint64_t hash = hash_of(k);
        uint16_t agreed = pool_find(m->pool, hash), here = pool_find_here(m->pool, &m->view, hash);
        ck_assert_uint_eq(acquired(m, hash, NULL), here);
        ck_assert_uint_eq(here, expected(m, hash));
        if (agreed != SERVER_NONE && is_usable(m, agreed))
            ck_assert_uint_eq(here, agreed); /* foreign keys stay */
        else if (here != SERVER_NONE)
            ck_assert(!roster_is_excepted(m->roster, here));
        if (here != SERVER_NONE && !roster_all_down(m->roster))
            ck_assert(!roster_is_out(m->roster, here));
    }
}

static void find_all(struct member *m, uint16_t *here)
{
    for (unsigned k = 0; k < KEYS; k++)
        here[k] = pool_find_here(m->pool, &m->view, hash_of(k));
}

/* ---- exceptions ---- */

START_TEST(a_server_down_here_alone_is_left_out_and_keeps_its_words)
{
    struct member m;
    open_started(&m, "b1 b2 b3 | s1 ; fall=1 after=5000", 0);
    agree(&m, "b1 up, b2 up, b3 up, s1 up", 10);
    check_told(&m, "agreed");
    check(&m, "b1", false, 20);
    check_told(&m, "down b1, exception b1");
    ck_assert(!is_usable(&m, 0) && roster_is_excepted(m.roster, 0) && !roster_is_out(m.roster, 0));
    ck_assert_uint_eq(pool_owner_of(m.pool, 0).owner, 0);
    ck_assert_int_eq(roster_state(m.roster, 0), ROSTER_UP);
    ck_assert(roster_is_down(m.roster, 0));
    check_keys(&m);
    close_member(&m);
}
END_TEST

START_TEST(the_agreement_sends_the_keys_where_the_exception_did)
{
    static const char *const lines[] = {"b1 b2 b3 | s1 s2 ; fall=1", "b1 b2 b3 ; fall=1",
                                        "b1 b2 b3 | s1:b1 s2 ; fall=1",
                                        "b1 b2 b3 | s1:b2 ; fall=1 fail"};
    struct member m;
    uint16_t before[KEYS], after[KEYS];
    open_started(&m, lines[_i], 0);
    agree(&m, "b1 up, b2 up, b3 up, s1 up, s2 up", 10);
    check(&m, "b1", false, 20);
    check_keys(&m);
    find_all(&m, before);
    m.told[0] = 0;
    agree(&m, "b1 down, b2 up, b3 up, s1 up, s2 up", 30);
    ck_assert_ptr_nonnull(strstr(m.told, "no exception b1"));
    ck_assert_ptr_null(strstr(m.told, ", down b1")); /* told already */
    find_all(&m, after);
    ck_assert_int_eq(memcmp(before, after, sizeof before), 0);
    check_keys(&m);
    close_member(&m);
}
END_TEST

START_TEST(an_exception_ends_after_the_delay)
{
    struct member m;
    open_started(&m, "b1 b2 ; fall=1 after=5000", 0);
    agree(&m, "b1 up, b2 up", 10);
    check(&m, "b1", false, 20);
    check(&m, "b1", true, 100);
    ck_assert(roster_is_excepted(m.roster, 0));
    ck_assert_uint_eq(roster_next_ms(m.roster), 5100);
    m.told[0] = 0;
    advance(&m, 5099);
    ck_assert(!is_usable(&m, 0));
    advance(&m, 5100);
    check_told(&m, "no exception b1");
    ck_assert(is_usable(&m, 0));
    check_keys(&m);
    close_member(&m);
}
END_TEST

START_TEST(an_agreement_that_brings_a_server_back_ends_it_or_makes_it)
{
    struct member m;
    open_started(&m, "b1 b2 ; fall=1 after=5000", 0);
    agree(&m, "b1 up, b2 up", 10);
    check(&m, "b1", false, 20);
    agree(&m, "b1 down, b2 up", 30);
    m.told[0] = 0;
    if (_i == 0) { /* still down here */
        agree(&m, "b1 up back, b2 up", 40);
        check_told(&m, "agreed, failback b1, exception b1");
        ck_assert(!is_usable(&m, 0));
    } else {
        check(&m, "b1", true, 35);
        ck_assert(!is_usable(&m, 0)); /* never used while out by agreement */
        agree(&m, "b1 up back, b2 up", 40);
        check_told(&m, "up b1, agreed, up b1, failback b1");
        ck_assert(is_usable(&m, 0));
    }
    check_keys(&m);
    close_member(&m);
}
END_TEST

START_TEST(an_agreement_takes_out_what_is_up_here)
{
    struct member m;
    open_started(&m, "b1 b2 | s1 ; fall=1", 0);
    agree(&m, "b1 down, b2 up, s1 up", 10);
    check_told(&m, "agreed, down b1, promotion b1");
    ck_assert(!is_usable(&m, 0) && !roster_is_down(m.roster, 0));
    ck_assert_int_eq(roster_state(m.roster, 0), ROSTER_DOWN);
    check(&m, "b1", true, 20);
    ck_assert(!is_usable(&m, 0));
    agree(&m, "b1 wait, b2 up, s1 up", 30);
    check_told(&m, "agreed, up b1, held b1");
    ck_assert_int_eq(roster_state(m.roster, 0), ROSTER_RETURNING);
    advance(&m, 100000);
    ck_assert(roster_is_out(m.roster, 0)); /* a wait ends by agreement alone */
    agree(&m, "b1 ramp s1 16384, b2 up, s1 up", 40);
    check_told(&m, "agreed, ramp b1");
    ck_assert_uint_eq(pool_owner_of(m.pool, 0).share, 16384);
    advance(&m, 200000);
    ck_assert_uint_eq(pool_owner_of(m.pool, 0).share, 16384);
    agree(&m, "b1 up, b2 up, s1 up", 50);
    check_told(&m, "agreed, failback b1");
    close_member(&m);
}
END_TEST

START_TEST(who_sees_nothing_goes_on_by_the_agreement)
{
    struct member m;
    open_started(&m, "b1 b2 ; fall=1 after=5000", 0);
    agree(&m, "b1 up, b2 up", 10);
    check(&m, "b1", false, 20);
    m.told[0] = 0;
    check(&m, "b2", false, 30);
    check_told(&m, "down b2, no exception b1");
    ck_assert(roster_blind(m.roster));
    ck_assert(is_usable(&m, 0) && is_usable(&m, 1));
    check(&m, "b2", true, 40);
    ck_assert(!is_usable(&m, 0) && is_usable(&m, 1));
    ck_assert(!roster_blind(m.roster));
    close_member(&m);
}
END_TEST

START_TEST(live_traffic_spares_the_last_server_that_is_seen)
{
    struct member m;
    open_started(&m, "b1 b2 b3 ; fall=1", 0);
    agree(&m, "b1 up, b2 up, b3 down", 10);
    roster_passive_down(m.roster, 0, 20);
    ck_assert(roster_is_excepted(m.roster, 0));
    roster_passive_down(m.roster, 1, 30); /* b3 is up here, but out by agreement */
    ck_assert(!roster_is_down(m.roster, 1) && is_usable(&m, 1));
    close_member(&m);
}
END_TEST

START_TEST(all_out_by_agreement_are_tried_if_so_configured)
{
    struct member m;
    open_started(&m, "b1 b2 ; fall=1 try", 0);
    agree(&m, "b1 down, b2 down drained", 10);
    pool_set_agreed(m.pool, 7, 1);
    ck_assert(roster_all_down(m.roster));
    ck_assert(is_usable(&m, 0) && !is_usable(&m, 1));
    ck_assert_uint_eq(pool_agreed(m.pool).epoch, 0); /* nobody has agreed on that server */
    agree(&m, "b1 up, b2 down", 20);
    ck_assert(!roster_all_down(m.roster));
    ck_assert_uint_eq(pool_agreed(m.pool).epoch, 7);
    close_member(&m);
}
END_TEST

/* ---- operators ---- */

START_TEST(a_drain_asked_for_here_holds_until_it_is_agreed)
{
    struct member m;
    open_started(&m, "b1 b2 ; fall=1", 0);
    agree(&m, "b1 up, b2 up", 10);
    m.told[0] = 0;
    roster_ask(m.roster, 0, true, 20);
    check_told(&m, "exception b1");
    ck_assert(!is_usable(&m, 0) && roster_is_excepted(m.roster, 0));
    ck_assert_int_eq(roster_state(m.roster, 0), ROSTER_DRAINING);
    check_keys(&m);
    agree(&m, "b1 up drained, b2 up", 30);
    roster_ask(m.roster, 0, false, 30);
    ck_assert_int_eq(roster_state(m.roster, 0), ROSTER_DRAINING);
    ck_assert(!roster_is_excepted(m.roster, 0) && roster_is_out(m.roster, 0));
    check_told(&m, "agreed, drained b1, next b1, no exception b1");
    close_member(&m);
}
END_TEST

/* ---- alone again ---- */

START_TEST(parting_moves_nothing_and_changes_count_from_then_on)
{
    struct member m;
    uint16_t before[KEYS], after[KEYS];
    open_started(&m, "b1 b2 b3 | s1 ; fall=1 after=5000 ramp=4000", 0);
    agree(&m, "b1 down, b2 up, b3 ramp s1 20000, s1 up", 10); /* b1 is up here */
    check(&m, "b2", false, 20);
    pool_set_agreed(m.pool, 3, 4);
    find_all(&m, before);
    m.told[0] = 0;
    uint64_t version = atomic_load(&m.pool->version);
    roster_part(m.roster, 3000);
    check_told(&m, "parted");
    ck_assert_uint_eq(atomic_load(&m.pool->version), version);
    ck_assert_uint_eq(pool_agreed(m.pool).epoch, 0);
    find_all(&m, after);
    ck_assert_int_eq(memcmp(before, after, sizeof before), 0);
    ck_assert(!is_usable(&m, 1)); /* the exception stays */
    check(&m, "b1", true, 3010);
    ck_assert(roster_is_out(m.roster, 0)); /* no change */
    check(&m, "b1", false, 3020);
    check(&m, "b1", true, 3030);
    ck_assert_int_eq(roster_state(m.roster, 0), ROSTER_RETURNING); /* it was seen to come back */
    check(&m, "b2", true, 3040);
    advance(&m, 8040);
    ck_assert(is_usable(&m, 1));
    check(&m, "b2", false, 8100);
    ck_assert(roster_is_out(m.roster, 1));
    close_member(&m);
}
END_TEST

START_TEST(an_exception_of_one_that_was_alone_lasts_its_delay)
{
    struct member m;
    open_started(&m, "b1 b2 ; fall=1 after=5000", 0);
    agree(&m, "b1 up, b2 up", 10);
    roster_part(m.roster, 20);
    check(&m, "b1", false, 30);
    check(&m, "b1", true, 40);
    ck_assert(roster_is_out(m.roster, 0)); /* it waits */
    agree(&m, "b1 up, b2 up", 50);         /* nobody else has noticed */
    ck_assert(!roster_is_out(m.roster, 0) && roster_is_excepted(m.roster, 0));
    advance(&m, 5039);
    ck_assert(!is_usable(&m, 0));
    advance(&m, 5040);
    ck_assert(is_usable(&m, 0));
    close_member(&m);
}
END_TEST

START_TEST(a_return_that_was_missed_ends_an_exception)
{
    struct member m;
    open_started(&m, "b1 b2 ; fall=1 after=5000", 0);
    agree(&m, "b1 up, b2 up", 10);
    check(&m, "b1", false, 20);
    check(&m, "b1", true, 3000);
    ck_assert(roster_is_excepted(m.roster, 0));
    agree(&m, "b1 up back, b2 up", 3010);
    ck_assert(is_usable(&m, 0));
    close_member(&m);
}
END_TEST

START_TEST(what_was_agreed_to_be_out_is_used_when_nobody_else_is_left)
{
    static const char *const lines[] = {"b1 b2 ; fall=1 after=5000",
                                        "b1 b2 ; fall=1 after=5000 try"};
    struct member m;
    open_started(&m, lines[_i], 0);
    agree(&m, "b1 down, b2 up", 10);
    roster_part(m.roster, 20);
    check(&m, "b2", false, 30);
    ck_assert(!roster_is_out(m.roster, 0) && roster_is_out(m.roster, 1));
    ck_assert(!roster_all_down(m.roster));
    check_keys(&m);
    close_member(&m);
}
END_TEST

START_TEST(a_ramp_goes_on_from_where_it_was)
{
    struct member m;
    open_started(&m, "b1 b2 | s1 ; ramp=4000", 0);
    agree(&m, "b1 ramp s1 32768, b2 up, s1 up", 10);
    roster_part(m.roster, 3010);
    advance(&m, 3110);
    uint32_t share = pool_owner_of(m.pool, 0).share;
    ck_assert_uint_gt(share, 32768);
    ck_assert_uint_lt(share, 32768 + 3000);
    advance(&m, 5100);
    ck_assert_uint_eq(pool_owner_of(m.pool, 0).from, SERVER_NONE);
    close_member(&m);
}
END_TEST

START_TEST(servers_that_are_not_listed_are_decided_here)
{
    struct member m;
    open_started(&m, "b1 b2 b3 | s1 ; fall=1 after=500", 0);
    agree(&m, "b1 up, s1 up, x9 down", 10);
    pool_set_agreed(m.pool, 3, 4);
    ck_assert_uint_eq(pool_agreed(m.pool).epoch, 0);
    check(&m, "b2", false, 20);
    ck_assert(roster_is_out(m.roster, 1) && !roster_is_excepted(m.roster, 1));
    check(&m, "b2", true, 30);
    advance(&m, 530);
    ck_assert(!roster_is_out(m.roster, 1));
    check(&m, "b1", false, 540);
    ck_assert(!roster_is_out(m.roster, 0) && roster_is_excepted(m.roster, 0));
    close_member(&m);
}
END_TEST

START_TEST(a_server_that_the_keeper_does_not_know_is_decided_here)
{
    struct member m;
    open_started(&m, "b1 b2 b3 ; fall=1 after=500", 0);
    agree(&m, "b1 down, b2 up, b3 up", 10);
    agree(&m, "b1 down carried, b2 up, b3 up drained carried", 20);
    ck_assert_int_eq(roster_state(m.roster, 0), ROSTER_RETURNING); /* it is up here */
    ck_assert_int_eq(roster_state(m.roster, 2), ROSTER_DRAINING);
    advance(&m, 520);
    ck_assert(!roster_is_out(m.roster, 0));
    agree(&m, "b1 down carried, b2 up, b3 up drained carried", 600);
    ck_assert(!roster_is_out(m.roster, 0));
    check(&m, "b1", false, 610);
    ck_assert(roster_is_out(m.roster, 0));
    close_member(&m);
}
END_TEST

/* ---- votes ---- */

START_TEST(votes_are_told)
{
    struct member m;
    open_started(&m, "b1 b2 ; fall=2", 0);
    check(&m, "b1", true, 1);
    ck_assert_uint_eq(m.news, 1);
    check(&m, "b2", true, 2);
    check(&m, "b2", true, 3);
    ck_assert_uint_eq(m.news, 2);
    ck_assert_int_eq(roster_vote(m.roster, 0), ROSTER_VOTE_UP);
    roster_claim(m.roster, 0, true);
    check(&m, "b1", false, 4);
    ck_assert(roster_is_down(m.roster, 0));
    ck_assert_uint_eq(m.looks, 2); /* b2, to see whether anything can be seen */
    ck_assert_int_eq(roster_vote(m.roster, 0), ROSTER_VOTE_NONE);
    ck_assert_uint_eq(m.claims, 0);
    check(&m, "b2", true, 5);
    ck_assert_int_eq(roster_vote(m.roster, 0), ROSTER_VOTE_DOWN);
    ck_assert_uint_eq(m.claims, 1);
    close_member(&m);
}
END_TEST

START_TEST(after_a_stall_nothing_counts_that_timed_out)
{
    struct member m;
    open_started(&m, "b1 b2 ; fall=1", 0);
    check(&m, "b1", true, 1);
    check(&m, "b2", true, 1);
    agree(&m, "b1 up, b2 up", 2);
    roster_stalled(m.roster, 5000);
    ck_assert_uint_eq(m.looks, 3);
    ck_assert_int_eq(roster_vote(m.roster, 0), ROSTER_VOTE_NONE);
    roster_check(m.roster, 0, false, "timeout", 4000, 5001);
    ck_assert(!roster_is_down(m.roster, 0));
    roster_passive_down(m.roster, 0, 5900);
    ck_assert(!roster_is_down(m.roster, 0));
    roster_passive_down(m.roster, 0, 6000);
    ck_assert(roster_is_down(m.roster, 0));
    roster_check(m.roster, 1, false, "timeout", 5000, 6001);
    ck_assert(roster_is_down(m.roster, 1));
    close_member(&m);
}
END_TEST

/* ---- the number of the agreement ---- */

START_TEST(the_number_goes_with_what_the_agreement_gives)
{
    struct member m;
    unsigned with = 0, without = 0;
    open_started(&m, "b1 b2 b3 ; fall=1", 0);
    agree(&m, "b1 up, b2 up, b3 down", 10);
    pool_set_agreed(m.pool, 1795430400123, 42);
    check(&m, "b1", false, 20);
    for (unsigned k = 0; k < KEYS; k++) {
        struct pool_agreed a;
        uint16_t id = acquired(&m, hash_of(k), &a), given = pool_find(m.pool, hash_of(k));
        ck_assert(a.epoch == (id == given ? 1795430400123 : 0) && a.seq == (id == given ? 42 : 0));
        with += id == given;
        without += id != given;
    }
    ck_assert(with > 50 && without > 50);
    const uint16_t tried[] = {2};
    struct pool_agreed a = {1, 1};
    const struct pool_member *got;
    const struct pool_request again = {.hash = 1, .tried = tried, .ntried = 1, .agreed = &a};
    ck_assert_int_eq(pool_acquire(m.pool, &m.view, &again, &got), POOL_OK);
    ck_assert_uint_eq(a.epoch, 0);
    pool_release(m.pool, got->server);
    const struct pool_request keyless = {.keyless = true, .agreed = &a};
    a.epoch = 1;
    ck_assert_int_eq(pool_acquire(m.pool, &m.view, &keyless, &got), POOL_OK);
    ck_assert_uint_eq(a.epoch, 0);
    pool_release(m.pool, got->server);
    close_member(&m);
}
END_TEST

/* ---- reloads, and changes of the program ---- */

static void check_alike(struct member *a, struct member *b)
{
    ck_assert_uint_eq(a->pool->nservers, b->pool->nservers);
    for (unsigned i = 0; i < a->pool->nservers; i++) {
        ck_assert_int_eq(roster_state(a->roster, i), roster_state(b->roster, i));
        ck_assert_int_eq(roster_is_excepted(a->roster, i), roster_is_excepted(b->roster, i));
        ck_assert_int_eq(roster_is_down(a->roster, i), roster_is_down(b->roster, i));
        ck_assert_int_eq(roster_vote(a->roster, i), roster_vote(b->roster, i));
        ck_assert_int_eq(is_usable(a, (uint16_t)i), is_usable(b, (uint16_t)i));
    }
    for (unsigned i = 0; i < a->pool->nbackends; i++) {
        struct pool_owner o = pool_owner_of(a->pool, i), p = pool_owner_of(b->pool, i);
        ck_assert(o.owner == p.owner && o.from == p.from && o.share == p.share);
    }
}

START_TEST(a_reload_carries_agreement_and_exceptions)
{
    static const char agreed[] = "b1 down, b2 up, b3 ramp s2 20000, b4 up, s1 up, s2 up";
    static const char *const lines[] = {
        "b1 b2 b3 b4 | s1 s2 ; fall=1 after=5000 ramp=4000",
        "b1@2 b2 b3 b4 | s1 s2 ; fall=1 after=5000 ramp=4000"}; /* agreed on by name */
    struct member a, b;
    open_started(&a, lines[0], 0);
    for (unsigned i = 0; i < a.pool->nservers; i++)
        roster_check(a.roster, i, true, "fine", 1, 1);
    agree(&a, agreed, 10);
    check(&a, "b2", false, 20);
    check(&a, "b1", true, 30);
    roster_ask(a.roster, 3, true, 40);
    open_member(&b, lines[_i], a.pool);
    if (_i == 1)
        roster_first(b.roster, 0, true, "fine", 50, 51);
    roster_adopt(b.roster, a.roster, 1000);
    ck_assert(roster_agreed(b.roster));
    check_told(&b, "");
    agree(&b, agreed, 1000);
    check_told(&b, "");
    check_alike(&a, &b);
    check_keys(&b);
    check(&b, "b2", true, 1100);
    advance(&b, 6100);
    ck_assert(is_usable(&b, 1));
    close_member(&b);
    close_member(&a);
}
END_TEST

/* Whoever tells of claims tells of all again after a reload; there may be nobody any more. */
START_TEST(a_reload_ends_claims)
{
    struct member a, b;
    open_started(&a, "b1 b2 ; fall=3", 0);
    check(&a, "b1", true, 1);
    roster_claim(a.roster, 0, true);
    open_member(&b, "b1 b2 ; fall=3", a.pool);
    roster_adopt(b.roster, a.roster, 10);
    check(&b, "b1", false, 20);
    ck_assert(!roster_is_down(b.roster, 0));
    close_member(&b);
    close_member(&a);
}
END_TEST

START_TEST(a_new_program_keeps_exceptions_and_what_was_agreed)
{
    struct member a, b;
    struct error e = {0};
    static const char line[] = "b1 b2 b3 | s1 ; fall=1 after=5000";
    open_started(&a, line, 0);
    agree(&a, "b1 down, b2 up, b3 up, s1 up", 10); /* b1 is up here */
    check(&a, "b2", false, 20);
    check(&a, "b3", false, 20);
    check(&a, "b3", true, 30);
    json_t *document = roster_save(a.roster, 1030);
    ck_assert_ptr_nonnull(document);
    open_member(&b, line, NULL);
    ck_assert_msg(roster_restore(b.roster, document, 501030, &e), "%s", e.text);
    roster_start(b.roster, 501030);
    ck_assert(!roster_agreed(b.roster));
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(roster_state(a.roster, i), roster_state(b.roster, i));
        ck_assert_int_eq(is_usable(&a, (uint16_t)i), is_usable(&b, (uint16_t)i));
        ck_assert_int_eq(roster_is_down(a.roster, i), roster_is_down(b.roster, i));
        ck_assert_int_eq(roster_is_excepted(a.roster, i), roster_is_excepted(b.roster, i));
    }
    check(&b, "b1", true, 501040);
    ck_assert(roster_is_out(b.roster, 0)); /* no change */
    advance(&b, 505030);
    ck_assert(is_usable(&b, 2) && !is_usable(&b, 1));
    json_decref(document);
    close_member(&a);
    close_member(&b);
}
END_TEST

START_TEST(a_start_may_know_the_agreement_before_its_checks)
{
    struct member m;
    open_member(&m, "b1 b2 | s1 ; fall=1", NULL);
    agree(&m, "b1 down, b2 up, s1 up", 5);
    roster_first(m.roster, 0, true, "fine", 0, 6);
    roster_first(m.roster, 1, false, "refused", 0, 6);
    roster_first(m.roster, 2, true, "fine", 0, 6);
    roster_start(m.roster, 7);
    ck_assert(roster_is_out(m.roster, 0) && !roster_is_out(m.roster, 1));
    ck_assert(roster_is_excepted(m.roster, 1));
    ck_assert_int_eq(roster_vote(m.roster, 1), ROSTER_VOTE_DOWN);
    check_keys(&m);
    close_member(&m);
}
END_TEST

/* ---- all of it at random ---- */

#define MEMBERS 3

struct fleet {
    struct member members[MEMBERS], keeper_member;
    uint64_t version[MEMBERS]; /* of the publication that it has applied; 0: alone */
    struct standings *keeper;
    char line[256];
    uint64_t number;
};

static void count_votes(struct fleet *f, uint64_t now_ms)
{
    unsigned n = f->members[0].pool->nservers;
    for (unsigned i = 0; i < n; i++) {
        unsigned down = 0, up = 0;
        for (unsigned m = 0; m < MEMBERS; m++) {
            enum roster_vote vote = roster_vote(f->members[m].roster, i);
            down += vote == ROSTER_VOTE_DOWN;
            up += vote == ROSTER_VOTE_UP;
        }
        if (2 * down > MEMBERS)
            standings_down(f->keeper, i, now_ms);
        else if (2 * up > MEMBERS && standings_phase(f->keeper, i) == STANDINGS_DOWN)
            standings_rise(f->keeper, i, now_ms);
    }
    standings_settle(f->keeper, now_ms);
}

/* Each member hears of it with some luck. */
static void publish(struct fleet *f, struct random *r, uint64_t now_ms)
{
    struct agreed_pool a;
    standings_export(f->keeper, &a, now_ms);
    f->number++;
    for (unsigned m = 0; m < MEMBERS; m++) {
        if (below(r, 4) == 0)
            continue;
        roster_agree(f->members[m].roster, &a, now_ms + below(r, 5));
        pool_set_agreed(f->members[m].pool, 1, f->number);
        f->version[m] = f->number;
    }
    standings_export_free(&a);
}

static void happen(struct fleet *f, struct random *r, uint64_t now_ms)
{
    unsigned which = below(r, MEMBERS), id = below(r, f->members[0].pool->nservers);
    struct member *m = &f->members[which];
    bool checked = m->file->pool.health.check != CHECK_OFF;
    switch (below(r, 16)) {
    case 0:
        roster_passive_down(m->roster, id, now_ms);
        break;
    case 1:
        roster_part(m->roster, now_ms);
        f->version[which] = 0;
        break;
    case 2:
        roster_ask(m->roster, id, below(r, 2), now_ms);
        break;
    case 3:
        standings_drain(f->keeper, id, now_ms, now_ms);
        break;
    case 4:
        standings_enable(f->keeper, id, now_ms, now_ms);
        break;
    case 5:
        roster_claim(m->roster, id, below(r, 2));
        break;
    case 6:
        if (below(r, 8) == 0)
            roster_stalled(m->roster, now_ms);
        break;
    default: /* all see one server alike, more or less */
        for (unsigned i = 0, ok = below(r, 3); checked && i < MEMBERS; i++)
            if (below(r, 8))
                roster_check(f->members[i].roster, id, ok != 0, "x", now_ms, now_ms);
    }
}

/* Two members that have applied the same publication have the same words. */
static void check_words(struct fleet *f)
{
    for (unsigned a = 0; a < MEMBERS; a++)
        for (unsigned b = 0; b < a; b++)
            for (unsigned i = 0; f->version[a] && f->version[a] == f->version[b] &&
                                 i < f->members[a].pool->nbackends;
                 i++) {
                struct pool_owner o = pool_owner_of(f->members[a].pool, i);
                struct pool_owner p = pool_owner_of(f->members[b].pool, i);
                ck_assert(o.owner == p.owner && o.from == p.from && o.share == p.share);
            }
}

static void reload(struct fleet *f, unsigned which, uint64_t now_ms)
{
    struct member old = f->members[which], *m = &f->members[which];
    open_member(m, f->line, old.pool);
    roster_adopt(m->roster, old.roster, now_ms);
    check_alike(&old, m);
    close_member(&old);
}

START_TEST(members_of_one_version_route_alike_whatever_they_see)
{
    struct random r = {(uint64_t)_i + 1};
    for (unsigned k = 0; k < 4; k++) {
        struct fleet f = {0};
        random_line(&r, f.line, sizeof f.line);
        for (unsigned m = 0; m < MEMBERS; m++)
            open_started(&f.members[m], f.line, 1000);
        open_started(&f.keeper_member, f.line, 1000); /* for its pool */
        f.keeper = standings_copy(roster_standings(f.keeper_member.roster));
        uint64_t now_ms = 1000;
        for (unsigned i = 0; i < 150; i++) {
            happen(&f, &r, now_ms);
            count_votes(&f, now_ms);
            if (below(&r, 2))
                publish(&f, &r, now_ms);
            now_ms += below(&r, 600);
            for (unsigned m = 0; m < MEMBERS; m++)
                advance(&f.members[m], now_ms);
            check_words(&f);
            if (below(&r, 20) == 0)
                reload(&f, below(&r, MEMBERS), now_ms);
            if (i % 10 == 0)
                check_keys(&f.members[below(&r, MEMBERS)]);
        }
        standings_free(f.keeper);
        close_member(&f.keeper_member);
        for (unsigned m = 0; m < MEMBERS; m++)
            close_member(&f.members[m]);
    }
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("roster_fleet");
    TCase *t = tcase_create("roster_fleet");
    tcase_add_test(t, a_server_down_here_alone_is_left_out_and_keeps_its_words);
    tcase_add_loop_test(t, the_agreement_sends_the_keys_where_the_exception_did, 0, 4);
    tcase_add_test(t, an_exception_ends_after_the_delay);
    tcase_add_loop_test(t, an_agreement_that_brings_a_server_back_ends_it_or_makes_it, 0, 2);
    tcase_add_test(t, an_agreement_takes_out_what_is_up_here);
    tcase_add_test(t, who_sees_nothing_goes_on_by_the_agreement);
    tcase_add_test(t, live_traffic_spares_the_last_server_that_is_seen);
    tcase_add_test(t, all_out_by_agreement_are_tried_if_so_configured);
    tcase_add_test(t, a_drain_asked_for_here_holds_until_it_is_agreed);
    tcase_add_test(t, parting_moves_nothing_and_changes_count_from_then_on);
    tcase_add_test(t, an_exception_of_one_that_was_alone_lasts_its_delay);
    tcase_add_test(t, a_return_that_was_missed_ends_an_exception);
    tcase_add_loop_test(t, what_was_agreed_to_be_out_is_used_when_nobody_else_is_left, 0, 2);
    tcase_add_test(t, a_ramp_goes_on_from_where_it_was);
    tcase_add_test(t, servers_that_are_not_listed_are_decided_here);
    tcase_add_test(t, a_server_that_the_keeper_does_not_know_is_decided_here);
    tcase_add_test(t, votes_are_told);
    tcase_add_test(t, after_a_stall_nothing_counts_that_timed_out);
    tcase_add_test(t, the_number_goes_with_what_the_agreement_gives);
    tcase_add_loop_test(t, a_reload_carries_agreement_and_exceptions, 0, 2);
    tcase_add_test(t, a_reload_ends_claims);
    tcase_add_test(t, a_new_program_keeps_exceptions_and_what_was_agreed);
    tcase_add_test(t, a_start_may_know_the_agreement_before_its_checks);
    tcase_add_loop_test(t, members_of_one_version_route_alike_whatever_they_see, 0, 8);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
