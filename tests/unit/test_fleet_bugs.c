/* Bugs put into a fleet on purpose: what watches it in test_fleet_sim.c must see each of them.
 *
 * Calls between its modules go through the functions below in this program (-Wl,--wrap), which do
 * the wrong thing for the bug that is on. Some are in the store (enum fake_bug).
 *
 *   FLEET_BUG=any-down test_fleet_bugs       one bug, told with what was found
 *   FLEET_SIM_SEEDS=40 test_fleet_bugs       look at so many seeds of each scenario before giving
 * up
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/fleet_internal.h"
#include "pool/witness.h"
#include "tests/lib/sim_scenarios.h"
#include "tests/lib/unit.h"

enum bug {
    NONE,
    VERSION_PAIR,
    NO_PROOF_OF_SIGHT,
    BLIND_VOTES,
    STALL_VOTES,
    FORGET_DELAY,
    ANY_DOWN,
    TIE_FLIPS,
    FORGET_SILENT,
    ARRIVAL_ORDER,
    ALONE_LEVEL,
    CLOCK_AFTER_REPLY,
    NO_CLOCK,
    NO_SETTLE,
    SETTLE_WITHOUT_ASKING,
    TIE_OWN,
    EXCEPTION_UNDAMPED,
    NO_EXCEPTION,
    DRAIN_LOCAL,
    NEVER_PARTS,
    KEEPER_FORGETS_RELOAD,
};

static enum bug bug;

/* ---- the wrong things ---- */

int __real_version_compare(const struct version *a, const struct version *b);
int __wrap_version_compare(const struct version *a, const struct version *b);
int __wrap_version_compare(const struct version *a, const struct version *b)
{
    if (bug == VERSION_PAIR && a->epoch == b->epoch)
        return (a->seq > b->seq) - (a->seq < b->seq);
    return __real_version_compare(a, b);
}

enum roster_vote __real_roster_vote(const struct roster *r, unsigned server);
enum roster_vote __wrap_roster_vote(const struct roster *r, unsigned server);
enum roster_vote __wrap_roster_vote(const struct roster *r, unsigned server)
{
    if (bug == NO_PROOF_OF_SIGHT && roster_is_down(r, server))
        return ROSTER_VOTE_DOWN;
    return __real_roster_vote(r, server);
}

bool __real_roster_blind(const struct roster *r);
bool __wrap_roster_blind(const struct roster *r);
bool __wrap_roster_blind(const struct roster *r)
{
    return bug != BLIND_VOTES && __real_roster_blind(r);
}

void __real_roster_stalled(struct roster *r, uint64_t now_ms);
void __wrap_roster_stalled(struct roster *r, uint64_t now_ms);
void __wrap_roster_stalled(struct roster *r, uint64_t now_ms)
{
    if (bug != STALL_VOTES)
        __real_roster_stalled(r, now_ms);
}

void __real_standings_export(const struct standings *st, struct agreed_pool *out, uint64_t now_ms);
void __wrap_standings_export(const struct standings *st, struct agreed_pool *out, uint64_t now_ms);
void __wrap_standings_export(const struct standings *st, struct agreed_pool *out, uint64_t now_ms)
{
    __real_standings_export(st, out, now_ms);
    for (size_t i = 0; bug == FORGET_DELAY && i < out->nservers; i++) {
        out->servers[i].delay_ms = 0;
        out->servers[i].returned = false;
    }
}

enum votes_outcome __real_votes_rule(const struct config_pool *config, struct tally t);
enum votes_outcome __wrap_votes_rule(const struct config_pool *config, struct tally t);
enum votes_outcome __wrap_votes_rule(const struct config_pool *config, struct tally t)
{
    if (bug == ANY_DOWN)
        return t.down > 0 ? VOTES_OUT : t.up > 0 ? VOTES_IN : VOTES_UNCHANGED;
    static unsigned turn;
    if (bug == TIE_FLIPS && t.down == t.up && t.down > 0)
        return turn++ % 8 ? VOTES_IN : VOTES_OUT;
    return __real_votes_rule(config, t);
}

enum votes_outcome __real_votes_merge(struct tally t);
enum votes_outcome __wrap_votes_merge(struct tally t);
enum votes_outcome __wrap_votes_merge(struct tally t)
{
    if (bug == TIE_OWN && t.down == t.up && t.down > 0)
        return VOTES_OUT;
    return __real_votes_merge(t);
}

enum peer_life __real_peer_life(const struct peer *p, uint64_t now_ms, uint64_t ttl_ms);
enum peer_life __wrap_peer_life(const struct peer *p, uint64_t now_ms, uint64_t ttl_ms);
enum peer_life __wrap_peer_life(const struct peer *p, uint64_t now_ms, uint64_t ttl_ms)
{
    enum peer_life l = __real_peer_life(p, now_ms, ttl_ms);
    return bug == FORGET_SILENT && l == PEER_SILENT ? PEER_GONE : l;
}

/* As if each request had been made when it arrives. */
static uint64_t arrival(uint64_t made_ms)
{
    static uint64_t last = UINT64_C(1) << 40;
    return bug == ARRIVAL_ORDER ? ++last : made_ms;
}

void __real_standings_drain(struct standings *st, unsigned id, uint64_t made_ms, uint64_t now_ms);
void __wrap_standings_drain(struct standings *st, unsigned id, uint64_t made_ms, uint64_t now_ms);
void __wrap_standings_drain(struct standings *st, unsigned id, uint64_t made_ms, uint64_t now_ms)
{
    __real_standings_drain(st, id, arrival(made_ms), now_ms);
}

void __real_standings_enable(struct standings *st, unsigned id, uint64_t made_ms, uint64_t now_ms);
void __wrap_standings_enable(struct standings *st, unsigned id, uint64_t made_ms, uint64_t now_ms);
void __wrap_standings_enable(struct standings *st, unsigned id, uint64_t made_ms, uint64_t now_ms)
{
    __real_standings_enable(st, id, arrival(made_ms), now_ms);
}

bool __real_standings_failback(struct standings *st, unsigned id, uint64_t made_ms,
                               uint64_t now_ms);
bool __wrap_standings_failback(struct standings *st, unsigned id, uint64_t made_ms,
                               uint64_t now_ms);
bool __wrap_standings_failback(struct standings *st, unsigned id, uint64_t made_ms, uint64_t now_ms)
{
    return __real_standings_failback(st, id, arrival(made_ms), now_ms);
}

/* A member that is alone goes by what it has seen all along, not by what changes. */
void __real_roster_part(struct roster *r, uint64_t now_ms);
void __wrap_roster_part(struct roster *r, uint64_t now_ms);
void __wrap_roster_part(struct roster *r, uint64_t now_ms)
{
    __real_roster_part(r, now_ms);
    struct standings *st = (struct standings *)(uintptr_t)roster_standings(r);
    for (unsigned i = 0; bug == ALONE_LEVEL && i < 6; i++)
        if (roster_is_down(r, i))
            standings_down(st, i, now_ms);
        else if (standings_phase(st, i) == STANDINGS_DOWN)
            standings_rise(st, i, now_ms);
}

void __real_lock_renewed(struct lock *l, uint64_t epoch, uint64_t start_ms);
void __wrap_lock_renewed(struct lock *l, uint64_t epoch, uint64_t start_ms);
void __wrap_lock_renewed(struct lock *l, uint64_t epoch, uint64_t start_ms)
{
    __real_lock_renewed(l, epoch, start_ms + (bug == CLOCK_AFTER_REPLY ? 450 : 0));
}

bool __real_lock_believes(const struct lock *l, uint64_t now_ms);
bool __wrap_lock_believes(const struct lock *l, uint64_t now_ms);
bool __wrap_lock_believes(const struct lock *l, uint64_t now_ms)
{
    return bug == NO_CLOCK ? l->held : __real_lock_believes(l, now_ms);
}

void __real_fleet_keeper_begin(struct fleet *f);
void __wrap_fleet_keeper_begin(struct fleet *f);
void __wrap_fleet_keeper_begin(struct fleet *f)
{
    __real_fleet_keeper_begin(f);
    if (bug == NO_SETTLE)
        f->settle_until_ms = 0;
}

void __real_fleet_begin_work(struct fleet *f, bool settled);
void __wrap_fleet_begin_work(struct fleet *f, bool settled);
void __wrap_fleet_begin_work(struct fleet *f, bool settled)
{
    __real_fleet_begin_work(f, settled && (bug != SETTLE_WITHOUT_ASKING || f->apart));
}

void __real_witness_settle(struct witness *w, const struct witness_context *c, uint64_t now_ms);
void __wrap_witness_settle(struct witness *w, const struct witness_context *c, uint64_t now_ms);
void __wrap_witness_settle(struct witness *w, const struct witness_context *c, uint64_t now_ms)
{
    struct witness_context none = *c;
    if (bug == NO_EXCEPTION)
        none.fleet = false;
    for (unsigned i = 0; bug == EXCEPTION_UNDAMPED && i < w->nservers; i++)
        if (w->seen[i].verdict.up)
            w->seen[i].exception.until_ms = 0;
    __real_witness_settle(w, &none, now_ms);
}

void __real_fleet_request(struct fleet *f, unsigned pool, unsigned server, enum fleet_verb verb,
                          fleet_requested_fn *done, void *arg);
void __wrap_fleet_request(struct fleet *f, unsigned pool, unsigned server, enum fleet_verb verb,
                          fleet_requested_fn *done, void *arg);
void __wrap_fleet_request(struct fleet *f, unsigned pool, unsigned server, enum fleet_verb verb,
                          fleet_requested_fn *done, void *arg)
{
    if (bug != DRAIN_LOCAL || verb != FLEET_DRAIN) {
        __real_fleet_request(f, pool, server, verb, done, arg);
        return;
    }
    roster_drain(f->parts[pool].roster, server, f->ops.loop_ms(f->ops.arg));
    done(arg, FLEET_AGREED);
}

void __real_fleet_part(struct fleet *f);
void __wrap_fleet_part(struct fleet *f);
void __wrap_fleet_part(struct fleet *f)
{
    if (bug != NEVER_PARTS)
        __real_fleet_part(f);
}

void __real_fleet_rebuild_work(struct fleet *f, const struct part *old, size_t nold);
void __wrap_fleet_rebuild_work(struct fleet *f, const struct part *old, size_t nold);
void __wrap_fleet_rebuild_work(struct fleet *f, const struct part *old, size_t nold)
{
    __real_fleet_rebuild_work(f, old, nold);
    for (size_t i = 0; bug == KEEPER_FORGETS_RELOAD && i < f->nparts; i++) {
        standings_free(f->parts[i].work);
        f->parts[i].work = standings_new(f->parts[i].pool);
    }
}

/* ---- each is seen ---- */

static const struct row {
    const char *name;
    enum bug bug;
    unsigned store;    /* enum fake_bug */
    const char *where; /* scenarios, with spaces */
} rows[] = {
    {"stale-publish", NONE, FAKE_STALE_PUBLISH, "lock chaos"},
    {"no-heal", NONE, FAKE_NO_HEAL, "dataloss chaos"},
    {"plain-del", NONE, FAKE_PLAIN_DEL, "lease lock"},
    {"epoch-incr-only", NONE, FAKE_EPOCH_INCR_ONLY | FAKE_NO_RESTORE, "dataloss chaos"},
    {"no-restore", NONE, FAKE_NO_RESTORE, "dataloss chaos"},
    {"no-proof-of-sight", NO_PROOF_OF_SIGHT, 0, "blind chaos"},
    {"blind-votes", BLIND_VOTES, 0, "blind"},
    {"stall-votes", STALL_VOTES, 0, "stalls"},
    {"forget-delay", FORGET_DELAY, 0, "flapping"},
    {"any-down", ANY_DOWN, 0, "sick"},
    {"tie-flips", TIE_FLIPS, 0, "rolling redisgone"},
    {"forget-silent", FORGET_SILENT, 0, "rolling"},
    {"arrival-order", ARRIVAL_ORDER, 0, "requests"},
    {"alone-level", ALONE_LEVEL, 0, "redisgone"},
    {"clock-after-reply", CLOCK_AFTER_REPLY, 0, "lease lock"},
    {"no-clock", NO_CLOCK, 0, "lock lease"},
    {"no-settle", NO_SETTLE, 0, "dataloss apart redisgone"},
    {"settle-without-asking", SETTLE_WITHOUT_ASKING, 0, "apart"},
    {"tie-own", TIE_OWN, 0, "sick redisgone"},
    {"exception-undamped", EXCEPTION_UNDAMPED, 0, "solo"},
    {"no-exception", NO_EXCEPTION, 0, "chaos apart"},
    {"drain-local", DRAIN_LOCAL, 0, "chaos dataloss"},
    {"never-parts", NEVER_PARTS, 0, "apart"},
    {"keeper-forgets-reload", KEEPER_FORGETS_RELOAD, 0, "reloads"},
};

static bool finds(const struct row *row, const struct sim_scenario *s, uint64_t seed, bool tells)
{
    struct world *w = calloc(1, sizeof *w);
    bug = row->bug;
    w->bugs = row->store;
    s->run(w, seed);
    bug = NONE;
    bool found = w->violation[0] != 0;
    if (found && tells)
        printf("%-24s %s:%llu %s\n", row->name, s->name, (unsigned long long)seed, w->violation);
    world_deinit(w);
    free(w);
    return found;
}

START_TEST(it_is_seen)
{
    const struct row *row = &rows[_i];
    const char *one = getenv("FLEET_BUG"), *more = getenv("FLEET_SIM_SEEDS");
    unsigned n = more ? (unsigned)atoi(more) : 40;
    if (one && strcmp(one, row->name) != 0)
        return;
    for (const char *at = row->where; *at; at += *at == ' ') {
        size_t len = strcspn(at, " ");
        const struct sim_scenario *s = sim_scenario(at, len);
        ck_assert(s != NULL);
        for (unsigned seed = 0; seed < n; seed++)
            if (finds(row, s, seed, one || more))
                return;
        at += len;
    }
    ck_abort_msg("nobody has seen %s", row->name);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("fleet_bugs");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 0);
    tcase_add_loop_test(t, it_is_seen, 0, (int)(sizeof rows / sizeof *rows));
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
