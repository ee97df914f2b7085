/* From what happened to figures: tables of runs. Times are in milliseconds, servers are letters:
 * 'A' to 'D' backends, 'S' a standby, '-' nobody. */
#include "bench/failover/aftermath.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/unit.h"

#define SERVERS "ABCDS"
#define MS(x) ((x) == NEVER ? AFTERMATH_NONE : (uint64_t)(x)*1000000)
#define NEVER (-1)
#define SLOW 250
#define MAX 16

struct fault {
    char server;
    int from, to;
    unsigned event;
    /* expected */
    int keys, takeover, recovery, failed, slow, home, away;
};

struct run {
    const char *what;
    const char *owners; /* of the keys at the end */
    struct {
        int at, key;
        const char *move; /* "AB": from A to B */
    } moves[MAX];
    struct {
        int due, at, key, status; /* 0: no answer */
    } failures[MAX];
    struct {
        int due, at, key;
    } slow[MAX];
    struct fault faults[4];
    /* expected */
    int failed, nslow, before, slowest, takeover, recovery, home;
    int minimum, moved, foreign, not_home, early;
};

static const struct run runs[] = {
    {"nothing noticed", .owners = "AABC",
     .faults = {{'A', 1000, 2000, 0, .keys = 2, NEVER, NEVER, .home = 0}}, .takeover = NEVER,
     .recovery = NEVER, .minimum = 2},

    {"killed, taken over by a standby, home again", .owners = "AABC",
     .moves = {{1010, 0, "AS"}, {1200, 1, "AS"}, {3100, 1, "SA"}, {3500, 0, "SA"}},
     .faults = {{'A', 1000, 2000, 0, .keys = 2, .takeover = 10, NEVER, .home = 1500}},
     .takeover = 10, .recovery = NEVER, .home = 1500, .minimum = 2, .moved = 2},

    {"a key is not home at the end", .owners = "ASBC",
     .moves = {{1010, 0, "AS"}, {1200, 1, "AS"}, {3500, 0, "SA"}},
     .faults = {{'A', 1000, 2000, 0, .keys = 2, .takeover = 10, NEVER, .home = NEVER, .away = 1}},
     .takeover = 10, .recovery = NEVER, .home = NEVER, .minimum = 2, .moved = 2, .not_home = 1},

    {"a fault without an end", .owners = "SSBC", .moves = {{1010, 0, "AS"}, {1200, 1, "AS"}},
     .faults = {{'A', 1000, NEVER, 0, .keys = 2, .takeover = 10, NEVER, .home = NEVER, .away = 2}},
     .takeover = 10, .recovery = NEVER, .home = NEVER, .minimum = 2, .moved = 2, .not_home = 2},

    {"moves before the first fault decide the home, and are told", .owners = "BABC",
     .moves = {{100, 0, "AB"}, {200, 1, "AC"}, {300, 1, "CA"}, {1500, 1, "AS"}, {2500, 1, "SA"}},
     .faults = {{'A', 1000, 2000, 0, .keys = 1, .takeover = 500, NEVER, .home = 500}},
     .takeover = 500, .recovery = NEVER, .home = 500, .minimum = 1, .moved = 1, .early = 3},

    {"keys of a live server that move are foreign, even if they come back", .owners = "ABDD",
     .moves = {{1010, 0, "AS"}, {1020, 1, "BC"}, {1030, 2, "CD"}, {1040, 1, "CB"}, {2200, 0, "SA"}},
     .faults = {{'A', 1000, 2000, 0, .keys = 1, .takeover = 10, NEVER, .home = 200}},
     .takeover = 10, .recovery = NEVER, .home = 200, .minimum = 1, .moved = 3, .foreign = 2,
     .not_home = 1},

    {"a key is foreign until its own home is hurt", .owners = "AABB",
     .moves = {{1010, 0, "AS"},
               {1020, 2, "BS"},
               {1030, 2, "SB"},
               {2100, 0, "SA"},
               {3010, 3, "BS"},
               {4100, 3, "SB"}},
     .faults = {{'A', 1000, 2000, 0, .keys = 2, .takeover = 10, NEVER, .home = 100},
                {'B', 3000, 4000, 1, .keys = 2, .takeover = 10, NEVER, .home = 100}},
     .takeover = 10, .recovery = NEVER, .home = 100, .minimum = 4, .moved = 3, .foreign = 1},

    {"a key that was never asked has no home and moves nowhere", .owners = "A-BC",
     .moves = {{1010, 0, "AS"}, {2500, 0, "SA"}},
     .faults = {{'A', 1000, 2000, 0, .keys = 1, .takeover = 10, NEVER, .home = 500}},
     .takeover = 10, .recovery = NEVER, .home = 500, .minimum = 1, .moved = 1},

    {"a late answer of the old server on another connection", .owners = "ABBC",
     .moves = {{1010, 0, "AS"}, {1050, 0, "SA"}, {1060, 0, "AS"}, {2500, 0, "SA"}},
     .faults = {{'A', 1000, 2000, 0, .keys = 1, .takeover = 10, NEVER, .home = 500}},
     .takeover = 10, .recovery = NEVER, .home = 500, .minimum = 1, .moved = 1},

    {"a key that wavers is home when it is for good", .owners = "AABC",
     .moves = {{1010, 0, "AS"},
               {1020, 1, "AS"},
               {2100, 0, "SA"},
               {2200, 1, "SA"},
               {2300, 0, "AS"},
               {2900, 0, "SA"}},
     .faults = {{'A', 1000, 2000, 0, .keys = 2, .takeover = 10, NEVER, .home = 900}},
     .takeover = 10, .recovery = NEVER, .home = 900, .minimum = 2, .moved = 2},

    {"flapping: each fault has its own figures, the last one's return counts", .owners = "AABC",
     .moves = {{1010, 0, "AS"},
               {1200, 1, "AS"},
               {2100, 0, "SA"},
               {2200, 1, "SA"},
               {3040, 1, "AS"},
               {3100, 0, "AS"},
               {4300, 0, "SA"},
               {4400, 1, "SA"}},
     .faults = {{'A', 1000, 2000, 0, .keys = 2, .takeover = 10, NEVER, .home = 200},
                {'A', 3000, 4000, 1, .keys = 2, .takeover = 40, NEVER, .home = 400}},
     .takeover = 40, .recovery = NEVER, .home = 400, .minimum = 2, .moved = 2},

    {"hurt again before its keys were back: they are elsewhere at once", .owners = "AABC",
     .moves = {{1010, 0, "AS"}, {1200, 1, "AS"}, {5000, 0, "SA"}, {5100, 1, "SA"}},
     .faults = {{'A', 1000, 2000, 0, .keys = 2, .takeover = 10, NEVER, .home = NEVER, .away = 2},
                {'A', 2500, 3000, 1, .keys = 2, .takeover = 0, NEVER, .home = 2100}},
     .takeover = 10, .recovery = NEVER, .home = 2100, .minimum = 2, .moved = 2},

    {"two at once: each its own takeover and return, one disturbance", .owners = "ABCD",
     .moves = {{1010, 0, "AS"}, {1030, 1, "BC"}, {2100, 0, "SA"}, {2600, 1, "CB"}},
     .failures = {{1000, 1400, 1, 0}},
     .faults = {{'A', 1000, 2000, 0, .keys = 1, .takeover = 10, 400, .failed = 1, .home = 100},
                {'B', 1001, 2000, 0, .keys = 1, .takeover = 29, 399, .failed = 1, .home = 600}},
     .failed = 1, .slowest = 400, .takeover = 29, .recovery = 400, .home = 600, .minimum = 2,
     .moved = 2},

    {"failed and slow requests make the recovery", .owners = "AABC",
     .failures = {{1005, 1008, 0, 0}, {1100, 1101, 1, 502}},
     .slow = {{1050, 1900, 0}, {1200, 1600, 2}},
     .faults = {{'A', 1000, 2000, 0, .keys = 2, NEVER, .recovery = 900, .failed = 2, .slow = 2}},
     .failed = 2, .nslow = 2, .slowest = 850, .takeover = NEVER, .recovery = 900, .minimum = 2},

    {"a slow 502 is one disturbed request, a 404 is none", .owners = "AABC",
     .failures = {{1100, 1700, 0, 502}, {1200, 1201, 1, 404}}, .slow = {{1100, 1700, 0}},
     .faults = {{'A', 1000, 2000, 0, .keys = 2, NEVER, .recovery = 700, .failed = 1}}, .failed = 1,
     .slowest = 600, .takeover = NEVER, .recovery = 700, .minimum = 2},

    {"trouble before any fault is nobody's", .owners = "AABC",
     .failures = {{500, 501, 0, 0}, {520, 530, 1, 500}}, .slow = {{600, 900, 2}},
     .faults = {{'A', 1000, 2000, 0, .keys = 2, NEVER, NEVER}}, .failed = 2, .nslow = 1,
     .before = 3, .slowest = 300, .takeover = NEVER, .recovery = NEVER, .minimum = 2},

    {"slow before the fault, or failed by it", .owners = "AABC",
     .failures = {{990, 1002, 0, 0}}, /* was on its way when the server died */
     .slow = {{700, 1100, 1}, {900, 1300, 0}},
     .faults = {{'A', 1000, 2000, 0, .keys = 2, NEVER, .recovery = 300, .failed = 1, .slow = 1}},
     .failed = 1, .nslow = 2, .before = 1, .slowest = 400, .takeover = NEVER, .recovery = 300,
     .minimum = 2},

    {"what waits since the first fault is not the second one's", .owners = "AABC",
     .slow = {{1100, 3300, 0}}, .failures = {{2990, 3010, 1, 0}},
     .faults = {{'A', 1000, 2000, 0, .keys = 2, NEVER, .recovery = 2300, .slow = 1},
                {'A', 3000, 4000, 1, .keys = 2, NEVER, .recovery = 10, .failed = 1}},
     .failed = 1, .nslow = 1, .slowest = 2200, .takeover = NEVER, .recovery = 2300, .minimum = 2},

    {"a failure after the fault's end is still laid to it", .owners = "AABC",
     .failures = {{2490, 2500, 0, 0}},
     .faults = {{'A', 1000, 2000, 0, .keys = 2, NEVER, .recovery = 1500, .failed = 1}}, .failed = 1,
     .slowest = 10, .takeover = NEVER, .recovery = 1500, .minimum = 2},

    {"no fault at all", .owners = "BABC", .moves = {{1010, 0, "AB"}},
     .failures = {{1000, 1400, 1, 0}}, .failed = 1, .before = 1, .slowest = 400, .takeover = NEVER,
     .recovery = NEVER, .home = NEVER, .early = 1},

    {"a standby that nobody needed", .owners = "AABC",
     .faults = {{'S', 1000, 2000, 0, .keys = 0, NEVER, NEVER}}, .takeover = NEVER,
     .recovery = NEVER},

    {"a server that the load never met", .owners = "AABC",
     .faults = {{'Z', 1000, 2000, 0, .keys = 0, NEVER, NEVER, .home = NEVER}}, .takeover = NEVER,
     .recovery = NEVER, .home = NEVER},
};

/* ---- a table's run as a load's result ---- */

static uint16_t server_of(char c)
{
    const char *at = strchr(SERVERS, c);
    return at && c ? (uint16_t)(at - SERVERS) : LOAD_NO_BACKEND;
}

struct world {
    struct load_result result;
    struct load_move moves[MAX];
    struct load_failure failures[MAX];
    struct load_slow slow[MAX];
    uint16_t owner[MAX];
    struct aftermath_fault faults[4];
    char names[4][2];
    size_t nfaults;
};

static void fill_requests(struct world *w, const struct run *run)
{
    struct load_result *r = &w->result;
    for (size_t i = 0; i < MAX && run->failures[i].at; i++) {
        int status = run->failures[i].status;
        w->failures[i] = (struct load_failure){MS(run->failures[i].due), MS(run->failures[i].at),
                                               (uint32_t)run->failures[i].key, (uint16_t)status,
                                               status ? 0 : LOAD_RESET};
        r->nfailures = r->failures_kept = i + 1;
        r->failed += status == 0;
        r->statuses[status] += status != 0;
    }
    for (size_t i = 0; i < MAX && run->slow[i].at; i++) {
        w->slow[i] = (struct load_slow){MS(run->slow[i].due), MS(run->slow[i].at),
                                        (uint32_t)run->slow[i].key, 0};
        r->nslow = r->slow_kept = i + 1;
    }
}

static void fill(struct world *w, const struct run *run)
{
    struct load_result *r = &w->result;
    *w = (struct world){0};
    r->nbackends = (unsigned)strlen(SERVERS);
    for (unsigned i = 0; i < r->nbackends; i++)
        r->backend_names[i][0] = SERVERS[i];
    for (size_t i = 0; run->owners[i]; i++)
        w->owner[i] = server_of(run->owners[i]);
    for (size_t i = 0; i < MAX && run->moves[i].move; i++) {
        w->moves[i] =
            (struct load_move){MS(run->moves[i].at), (uint32_t)run->moves[i].key,
                               server_of(run->moves[i].move[0]), server_of(run->moves[i].move[1])};
        r->nmoves = r->moves_kept = i + 1;
    }
    fill_requests(w, run);
    r->owner = w->owner, r->moves = w->moves, r->failures = w->failures, r->slow = w->slow;
    for (; w->nfaults < 4 && run->faults[w->nfaults].server; w->nfaults++) {
        const struct fault *f = &run->faults[w->nfaults];
        w->names[w->nfaults][0] = f->server;
        w->faults[w->nfaults] =
            (struct aftermath_fault){w->names[w->nfaults], MS(f->from), MS(f->to), f->event};
    }
}

#define EXPECT(run, name, got, wanted)                                                     \
    ck_assert_msg((got) == (wanted), "%s: %s is %llu, expected %llu", (run)->what, (name), \
                  (unsigned long long)(got), (unsigned long long)(wanted))

static void check_faults(const struct world *w, const struct run *run)
{
    for (size_t i = 0; i < w->nfaults; i++) {
        const struct aftermath_fault *got = &w->faults[i];
        const struct fault *f = &run->faults[i];
        EXPECT(run, "fault.keys", got->keys, (uint64_t)f->keys);
        EXPECT(run, "fault.takeover", got->takeover_ns, MS(f->takeover));
        EXPECT(run, "fault.recovery", got->recovery_ns, MS(f->recovery));
        EXPECT(run, "fault.failed", got->failed, (uint64_t)f->failed);
        EXPECT(run, "fault.slow", got->slow, (uint64_t)f->slow);
        EXPECT(run, "fault.home", got->home_ns, MS(f->home));
        EXPECT(run, "fault.away", got->away, (uint64_t)f->away);
    }
}

START_TEST(a_run_has_its_figures)
{
    const struct run *run = &runs[_i];
    struct world *w = malloc(sizeof *w);
    struct aftermath a;
    ck_assert_ptr_nonnull(w);
    fill(w, run);
    aftermath_examine(&a, &w->result, (uint32_t)strlen(run->owners), MS(SLOW), w->faults,
                      w->nfaults);
    check_faults(w, run);
    EXPECT(run, "failed", a.failed, (uint64_t)run->failed);
    EXPECT(run, "slow", a.slow, (uint64_t)run->nslow);
    EXPECT(run, "before", a.before, (uint64_t)run->before);
    EXPECT(run, "slowest", a.slowest_ns, MS(run->slowest));
    EXPECT(run, "takeover", a.takeover_ns, MS(run->takeover));
    EXPECT(run, "recovery", a.recovery_ns, MS(run->recovery));
    EXPECT(run, "home", a.home_ns, MS(run->home));
    EXPECT(run, "minimum", a.minimum, (uint64_t)run->minimum);
    EXPECT(run, "moved", a.moved, (uint64_t)run->moved);
    EXPECT(run, "foreign", a.foreign, (uint64_t)run->foreign);
    EXPECT(run, "not_home", a.not_home, (uint64_t)run->not_home);
    EXPECT(run, "early", a.early, (uint64_t)run->early);
    ck_assert(!a.cut);
    free(w);
}
END_TEST

START_TEST(the_slowest_may_be_an_answer_that_was_not_slow)
{
    struct world *w = malloc(sizeof *w);
    struct aftermath a;
    ck_assert_ptr_nonnull(w);
    fill(w, &runs[0]);
    w->result.latency = (struct latency){.count = 9, .min = MS(1), .max = MS(200)};
    aftermath_examine(&a, &w->result, 4, MS(SLOW), w->faults, w->nfaults);
    ck_assert_uint_eq(a.slowest_ns, MS(200));
    ck_assert_uint_eq(a.slow, 0);
    free(w);
}
END_TEST

START_TEST(what_the_result_does_not_keep_is_told)
{
    struct world *w = malloc(sizeof *w);
    struct aftermath a;
    ck_assert_ptr_nonnull(w);
    fill(w, &runs[1]);
    w->result.nmoves++;
    aftermath_examine(&a, &w->result, 4, MS(SLOW), w->faults, w->nfaults);
    ck_assert(a.cut);
    free(w);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("aftermath");
    TCase *t = tcase_create("aftermath");
    tcase_add_loop_test(t, a_run_has_its_figures, 0, sizeof runs / sizeof *runs);
    tcase_add_test(t, the_slowest_may_be_an_answer_that_was_not_slow);
    tcase_add_test(t, what_the_result_does_not_keep_is_told);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
