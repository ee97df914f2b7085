/* Who votes on a server, what comes out, and who takes the role: tables.
 *
 * A fleet is a text of members separated by blanks, the reader first. A member is what it says of
 * server b1, and further letters:
 *
 *   u up   d down   ? unsure   - has another pool   . does not list b1   * leaves out the names,
 * and nobody knows them        n gave no view          then, only of the last two: o routes by b1
 * being out b blind   a listens as the active one alone   k the same, and is the keeper   z silent
 * x gone o routes by b1 being out */
#include "cluster/votes.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tests/lib/unit.h"

#define TTL 3000
#define NOW 1000000
#define DIGEST "9f3a"

static char name_b1[] = "b1", name_b2[] = "b2", name_s1[] = "a1", name_pool[] = "cache";
static struct config_server backends[] = {{.name = name_b1}, {.name = name_b2}},
                            standbys[] = {{.name = name_s1}};
static struct config_pool config;

static void setup(void)
{
    config = (struct config_pool){.name = name_pool,
                                  .health.check = CHECK_TCP,
                                  .backends = backends,
                                  .nbackends = 2,
                                  .standbys = standbys,
                                  .nstandbys = 1};
}

/* ---- members ---- */

static const char *instance_of(char out[INSTANCE_SIZE], unsigned i)
{
    snprintf(out, INSTANCE_SIZE, "%032x", i + 1);
    return out;
}

/* As JSON, so that what is counted came through the decoder. */
static struct view *view_of(unsigned i, const char *says)
{
    char text[1024], id[INSTANCE_SIZE], d[8] = "", unsure[8] = "", out[8] = "";
    bool active = strpbrk(says, "ak"), keeper = strchr(says, 'k');
    if (*says == 'd')
        strcpy(d, "\"b1\"");
    if (*says == '?')
        strcpy(unsure, "\"b1\"");
    if (strchr(says, 'o'))
        strcpy(out, "\"b1\"");
    const char *names = *says == '*'   ? ""
                        : *says == '.' ? "\"names\":[\"b2\",\"a1\"],"
                                       : "\"names\":[\"b1\",\"b2\",\"a1\"],";
    int n = snprintf(
        text, sizeof text,
        "{\"v\":1,\"id\":\"%s\",\"epoch\":7,\"by\":\"a\",\"seq\":3,\"role\":\"%s\",\"listen\":\"%"
        "s\","
        "\"accepting\":true,\"priority\":100,\"preempt\":true,\"ready\":true,\"pools\":{\"%s\":{"
        "\"digest\":\"%s\",%s\"blind\":%s,\"d\":[%s],\"?\":[%s],\"out\":[%s]}}}",
        instance_of(id, i), keeper ? "keeper" : "follower", active ? "active" : "always",
        *says == '-' ? "other" : "cache", *says == '*' ? "bad" : DIGEST, names,
        strchr(says, 'b') ? "true" : "false", d, unsure, out);
    struct error e;
    struct view *v = view_decode((struct str){text, (size_t)n}, &e);
    ck_assert_msg(v != NULL, "%s: %s", text, e.text);
    return v;
}

struct fleet {
    struct peers *peers;
    struct view *own;
    struct electorate electorate;
};

static void fleet_add(struct fleet *f, unsigned i, const char *says)
{
    char node[16], id[INSTANCE_SIZE];
    uint64_t heard = strchr(says, 'z') ? NOW - 5 * TTL : strchr(says, 'x') ? NOW - 11 * TTL : NOW;
    if (i == 0)
        f->own = view_of(i, says);
    snprintf(node, sizeof node, "m%u", i);
    ck_assert(peers_beat(f->peers, node, instance_of(id, i), 1, 1, heard));
    peers_view(f->peers, node, *says == 'n' ? NULL : view_of(i, i ? says : "u"), heard);
}

static void fleet_init(struct fleet *f, const char *members)
{
    char text[128], *rest = NULL;
    unsigned i = 0;
    f->peers = peers_new();
    snprintf(text, sizeof text, "%s", members);
    for (char *m = strtok_r(text, " ", &rest); m; m = strtok_r(NULL, " ", &rest))
        fleet_add(f, i++, m);
    f->electorate = (struct electorate){f->peers, "m0", f->own, NOW, TTL};
}

static void fleet_deinit(struct fleet *f)
{
    peers_free(f->peers);
    view_free(f->own);
}

/* ---- votes ---- */

enum { MAJORITY, ALL, UNCHECKED, UNCHECKED_ALL };

static const struct {
    const char *members;
    int pool;
    struct tally tally; /* down, up, voters */
    enum votes_outcome outcome;
    const char *why;
} votes[] = {
    {"u", MAJORITY, {0, 1, 1}, VOTES_IN, "one alone decides"},
    {"d", MAJORITY, {1, 0, 1}, VOTES_OUT, "one alone decides"},
    {"?", MAJORITY, {0, 0, 1}, VOTES_UNCHANGED, "and waits until it knows"},
    {"d u", MAJORITY, {1, 1, 2}, VOTES_UNCHANGED, "one of two is a tie"},
    {"u d", MAJORITY, {1, 1, 2}, VOTES_UNCHANGED, "whoever it is"},
    {"d d", MAJORITY, {2, 0, 2}, VOTES_OUT, "both"},
    {"u u", MAJORITY, {0, 2, 2}, VOTES_IN, "both"},
    {"d ?", MAJORITY, {1, 0, 2}, VOTES_UNCHANGED, "no vote is none against, and counts"},
    {"u ?", MAJORITY, {0, 1, 2}, VOTES_UNCHANGED, "the same way back"},
    {"d d u", MAJORITY, {2, 1, 3}, VOTES_OUT, "two of three"},
    {"d u u", MAJORITY, {1, 2, 3}, VOTES_IN, "a minority cannot hold it out"},
    {"u d ?", MAJORITY, {1, 1, 3}, VOTES_UNCHANGED, "nobody has more than half"},
    {"d d u u", MAJORITY, {2, 2, 4}, VOTES_UNCHANGED, "a tie of four"},
    {"d d d u u", MAJORITY, {3, 2, 5}, VOTES_OUT, "three of five"},
    /* silent */
    {"d uz", MAJORITY, {1, 0, 2}, VOTES_UNCHANGED, "a silent one counts, without a vote"},
    {"d dz", MAJORITY, {1, 0, 2}, VOTES_UNCHANGED, "whatever it said last"},
    {"d d uz", MAJORITY, {2, 0, 3}, VOTES_OUT, "more than half of all"},
    {"u uz uz", MAJORITY, {0, 1, 3}, VOTES_UNCHANGED, "a rolling restart: the last one"},
    {"d ux ux", MAJORITY, {1, 0, 1}, VOTES_OUT, "until they are gone"},
    {"d uz uz ux", MAJORITY, {1, 0, 3}, VOTES_UNCHANGED, "ghosts"},
    {"d .z", MAJORITY, {1, 0, 1}, VOTES_OUT, "a silent one that did not know the server"},
    {"d d dz bz", MAJORITY, {2, 0, 4}, VOTES_UNCHANGED, "blind and silent counts"},
    /* blind */
    {"db u", MAJORITY, {0, 1, 1}, VOTES_IN, "a blind one is no voter"},
    {"u db db", MAJORITY, {0, 1, 1}, VOTES_IN, "nor are more of them"},
    {"db ub", MAJORITY, {1, 1, 2}, VOTES_UNCHANGED, "but if all are blind"},
    {"db db", MAJORITY, {2, 0, 2}, VOTES_OUT, "all are blind: all is down"},
    {"db db db .", MAJORITY, {3, 0, 3}, VOTES_OUT, "all that know the server are blind"},
    {"db ?", MAJORITY, {0, 0, 1}, VOTES_UNCHANGED, "one that sees and has no vote yet"},
    /* who lists it */
    {"d - u", MAJORITY, {1, 1, 2}, VOTES_UNCHANGED, "another pool"},
    {"d .", MAJORITY, {1, 0, 1}, VOTES_OUT, "who does not know the server"},
    {"d *", MAJORITY, {1, 0, 2}, VOTES_UNCHANGED, "names that nobody knows: no vote, but counts"},
    {"d n", MAJORITY, {1, 0, 2}, VOTES_UNCHANGED, "a view that was refused"},
    {"d nz", MAJORITY, {1, 0, 2}, VOTES_UNCHANGED, "and silent"},
    {"d nx", MAJORITY, {1, 0, 1}, VOTES_OUT, "and gone"},
    {"-", MAJORITY, {0, 0, 0}, VOTES_UNCHANGED, "nobody knows the pool"},
    /* active and standby */
    {"dk ua", MAJORITY, {1, 0, 1}, VOTES_OUT, "a standby proxy has no vote"},
    {"uk da da", MAJORITY, {0, 1, 1}, VOTES_IN, "nor have more of them"},
    {"dk uaz", MAJORITY, {1, 0, 1}, VOTES_OUT, "nor do silent ones count"},
    {"dk ukz", MAJORITY, {1, 0, 1}, VOTES_OUT, "nor the one that had the role before"},
    {"dk na", MAJORITY, {1, 0, 1}, VOTES_OUT, "nor one without a view"},
    {"da ua", MAJORITY, {1, 1, 2}, VOTES_UNCHANGED, "but if nobody has the role"},
    {"dk u", MAJORITY, {1, 1, 2}, VOTES_UNCHANGED, "`always` has a vote beside it"},
    {"d ua", MAJORITY, {1, 0, 1}, VOTES_OUT, "an `always` keeper beside a standby"},
    {"dkb ua", MAJORITY, {1, 0, 1}, VOTES_OUT, "the active one is blind, the other has no traffic"},
    /* agree: all */
    {"u d u", ALL, {1, 2, 3}, VOTES_OUT, "any accuser"},
    {"u u u", ALL, {0, 3, 3}, VOTES_IN, "no accuser"},
    {"u ? ?", ALL, {0, 1, 3}, VOTES_UNCHANGED, "no accuser, but not half see it"},
    {"u uz uz", ALL, {0, 1, 3}, VOTES_UNCHANGED, "nor if they are silent"},
    {"u u uz", ALL, {0, 2, 3}, VOTES_IN, "more than half see it"},
    {"u db", ALL, {0, 1, 1}, VOTES_IN, "a blind accuser"},
    {"u dz", ALL, {0, 1, 2}, VOTES_UNCHANGED, "a silent accuser"},
    /* check: off */
    {"? ? ?", UNCHECKED, {0, 0, 0}, VOTES_IN, "nobody sees anything"},
    {"d ? ?", UNCHECKED, {1, 0, 1}, VOTES_OUT, "any claim decides"},
    {"? ? d", UNCHECKED, {1, 0, 1}, VOTES_OUT, "whosever it is"},
    {"d ? ?z", UNCHECKED, {1, 0, 1}, VOTES_OUT, "silent ones or not"},
    {"? dz", UNCHECKED, {0, 0, 0}, VOTES_IN, "its end reverses it"},
    {"? d", UNCHECKED_ALL, {1, 0, 1}, VOTES_OUT, "the same"},
    {"? ?", UNCHECKED_ALL, {0, 0, 0}, VOTES_IN, "the same"},
};

static struct ballot ballot_of(int pool)
{
    config.agree = pool == ALL || pool == UNCHECKED_ALL ? AGREE_ALL : AGREE_MAJORITY;
    config.health.check = pool >= UNCHECKED ? CHECK_OFF : CHECK_TCP;
    return (struct ballot){&config, DIGEST, NULL};
}

START_TEST(more_than_half_of_the_voters_decide)
{
    struct fleet f;
    struct tally t[3];
    struct ballot b = ballot_of(votes[_i].pool);
    const struct tally *must = &votes[_i].tally;
    fleet_init(&f, votes[_i].members);
    votes_count(&f.electorate, &b, t);
    ck_assert_msg(t[0].down == must->down && t[0].up == must->up && t[0].voters == must->voters,
                  "%s (%s): %u down, %u up of %u, not %u, %u of %u", votes[_i].members,
                  votes[_i].why, t[0].down, t[0].up, t[0].voters, must->down, must->up,
                  must->voters);
    ck_assert_msg(votes_rule(&config, t[0]) == votes[_i].outcome, "%s (%s): %d", votes[_i].members,
                  votes[_i].why, votes_rule(&config, t[0]));
    fleet_deinit(&f);
}
END_TEST

START_TEST(each_server_is_counted_by_itself)
{
    struct fleet f;
    struct tally t[3];
    struct ballot b = ballot_of(MAJORITY);
    fleet_init(&f, "d . ? u *");
    votes_count(&f.electorate, &b, t);
    ck_assert_uint_eq(t[0].down, 1);
    ck_assert_uint_eq(t[0].voters, 4);
    for (int i = 1; i < 3; i++) {
        ck_assert_uint_eq(t[i].down, 0);
        ck_assert_uint_eq(t[i].up, 4);
        ck_assert_uint_eq(t[i].voters, 5);
    }
    fleet_deinit(&f);
}
END_TEST

/* Whatever members there are: never more votes than voters, never out and in, nobody's order
 * matters, and one more vote down never brings a server in. */
START_TEST(counts_hold_for_random_fleets)
{
    static const char *const kinds[] = {"u",  "d",  "?",  ".",  "-",  "*",  "n",
                                        "ub", "db", "ua", "da", "uk", "dk", "uz",
                                        "dz", "ux", "dx", "?b", "nz", "daz"};
    srand(17);
    for (int round = 0; round < 3000; round++) {
        char text[64] = "", back[64] = "";
        size_t n = 1 + (size_t)rand() % 7, pick[8];
        for (size_t i = 0; i < n; i++) {
            pick[i] = (size_t)rand() % (i ? sizeof kinds / sizeof *kinds : 3);
            strcat(strcat(text, kinds[pick[i]]), " ");
        }
        strcat(strcat(back, kinds[pick[0]]), " ");
        for (size_t i = n; i-- > 1;)
            strcat(strcat(back, kinds[pick[i]]), " ");
        struct fleet f, g;
        struct tally t[3], u[3];
        struct ballot b = ballot_of(rand() % 4);
        fleet_init(&f, text);
        fleet_init(&g, back);
        votes_count(&f.electorate, &b, t);
        votes_count(&g.electorate, &b, u);
        ck_assert_msg(memcmp(t, u, sizeof t) == 0, "%s", text);
        for (int i = 0; i < 3; i++)
            ck_assert_msg(t[i].down + t[i].up <= t[i].voters && t[i].voters <= n, "%s", text);
        struct tally more = {t[0].down + 1, t[0].up, t[0].voters + 1};
        if (votes_rule(&config, t[0]) == VOTES_OUT)
            ck_assert_int_eq(votes_rule(&config, more), VOTES_OUT);
        ck_assert(votes_rule(&config, t[0]) == VOTES_IN || votes_rule(&config, more) != VOTES_IN);
        fleet_deinit(&f);
        fleet_deinit(&g);
    }
}
END_TEST

/* ---- names that were left out ---- */

static struct view *unnamed(const char *digest)
{
    char text[512];
    struct error e;
    int n = snprintf(text, sizeof text,
                     "{\"v\":1,\"id\":\"%032x\",\"epoch\":7,\"by\":\"a\",\"seq\":3,\"role\":"
                     "\"follower\",\"listen\":\"always\",\"accepting\":true,\"priority\":100,"
                     "\"preempt\":true,\"ready\":true,\"pools\":{\"cache\":{\"digest\":\"%s\","
                     "\"d\":[\"b2\"]}}}",
                     2, digest);
    struct view *v = view_decode((struct str){text, (size_t)n}, &e);
    ck_assert_msg(v != NULL, "%s", e.text);
    return v;
}

START_TEST(names_that_are_left_out_are_those_of_the_digest)
{
    struct agreed_server published[] = {{.name = "b1"}, {.name = "b2"}};
    struct agreed_pool agreed = {"cache", "bad", published, 2};
    static const struct {
        const char *digest;
        bool published;
        struct tally b1, b2, s1;
    } cases[] = {
        {DIGEST, false, {0, 2, 2}, {1, 1, 2}, {0, 2, 2}}, /* the reader's own configuration */
        {"bad", true, {0, 2, 2}, {1, 1, 2}, {0, 1, 1}},   /* as published: without a1 */
        {"bad", false, {0, 1, 2}, {1, 1, 2}, {0, 1, 2}},
        {"bee", true, {0, 1, 2}, {1, 1, 2}, {0, 1, 2}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fleet f;
        struct tally t[3];
        char id[INSTANCE_SIZE];
        struct ballot b = ballot_of(MAJORITY);
        b.agreed = cases[i].published ? &agreed : NULL;
        fleet_init(&f, "u");
        ck_assert(peers_beat(f.peers, "m1", instance_of(id, 1), 1, 1, NOW));
        peers_view(f.peers, "m1", unnamed(cases[i].digest), NOW);
        votes_count(&f.electorate, &b, t);
        ck_assert_int_eq(memcmp(&t[0], &cases[i].b1, sizeof *t), 0);
        ck_assert_int_eq(memcmp(&t[1], &cases[i].b2, sizeof *t), 0);
        ck_assert_int_eq(memcmp(&t[2], &cases[i].s1, sizeof *t), 0);
        fleet_deinit(&f);
    }
}
END_TEST

/* ---- merging, claims ---- */

static const struct {
    const char *members;
    enum votes_outcome outcome;
} merges[] = {
    {"u", VOTES_IN},           {"uo", VOTES_OUT},          {"uo u", VOTES_UNCHANGED},
    {"u uo", VOTES_UNCHANGED}, {"u uo do", VOTES_OUT},     {"d uo d", VOTES_IN},
    {"uo uz uz", VOTES_OUT},   {"uo ua", VOTES_UNCHANGED}, {"uo ub", VOTES_UNCHANGED},
    {"uo .", VOTES_OUT},       {"uo *", VOTES_UNCHANGED},  {"u *", VOTES_UNCHANGED},
    {"uo *o", VOTES_OUT},      {"uo n", VOTES_OUT},        {"-", VOTES_UNCHANGED},
};

START_TEST(a_state_begins_as_most_of_those_here_route)
{
    struct fleet f;
    struct tally t[3];
    struct ballot b = ballot_of(MAJORITY);
    fleet_init(&f, merges[_i].members);
    votes_routes(&f.electorate, &b, t);
    ck_assert_msg(votes_merge(t[0]) == merges[_i].outcome, "%s: %u out, %u in of %u",
                  merges[_i].members, t[0].down, t[0].up, t[0].voters);
    fleet_deinit(&f);
}
END_TEST

START_TEST(claims_are_those_of_others_that_live)
{
    static const struct {
        const char *members;
        unsigned claims;
    } cases[] = {{"d", 0},       {"d u", 0},  {"u d", 1},  {"u d d", 2}, {"u dz dx", 0},
                 {"u ? . *", 0}, {"u da", 1}, {"u db", 1}, {"u n", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fleet f;
        unsigned claims[3];
        struct ballot b = ballot_of(MAJORITY);
        fleet_init(&f, cases[i].members);
        votes_claims(&f.electorate, &b, claims);
        ck_assert_msg(claims[0] == cases[i].claims && claims[1] == 0 && claims[2] == 0, "%s: %u",
                      cases[i].members, claims[0]);
        fleet_deinit(&f);
    }
}
END_TEST

/* ---- the role ---- */

struct candidate {
    const char *node;
    bool active, ready, preempt;
    uint32_t priority;
    enum view_role role;
    unsigned blind; /* pools of the two */
    uint64_t seq;
    uint64_t since_ms; /* ready */
    bool silent;
    bool idle; /* accepts no traffic */
};

static struct view *candidate_view(const struct candidate *c, unsigned i)
{
    char text[512];
    struct error e;
    int n =
        snprintf(text, sizeof text,
                 "{\"v\":1,\"id\":\"%032x\",\"epoch\":7,\"by\":\"a\",\"seq\":%u,\"role\":\"%s\","
                 "\"listen\":\"%s\",\"accepting\":%s,\"priority\":%u,\"preempt\":%s,\"ready\":"
                 "%s,\"pools\":{\"p\":{\"digest\":\"1\",\"blind\":%s},\"q\":{\"digest\":\"1\","
                 "\"blind\":%s}}}",
                 i + 1, (unsigned)c->seq, view_role_word(c->role), c->active ? "active" : "always",
                 c->idle ? "false" : "true", c->priority, c->preempt ? "true" : "false",
                 c->ready ? "true" : "false", c->blind > 0 ? "true" : "false",
                 c->blind > 1 ? "true" : "false");
    struct view *v = view_decode((struct str){text, (size_t)n}, &e);
    ck_assert_msg(v != NULL, "%s: %s", text, e.text);
    return v;
}

static void candidates_init(struct fleet *f, const struct candidate *c, size_t n)
{
    f->peers = peers_new();
    f->own = candidate_view(&c[0], 0);
    for (unsigned i = 1; i < n; i++) {
        char id[INSTANCE_SIZE];
        uint64_t since = NOW - c[i].since_ms;
        ck_assert(peers_beat(f->peers, c[i].node, instance_of(id, i), 1, 1, since));
        peers_view(f->peers, c[i].node, candidate_view(&c[i], i), since);
        ck_assert(
            peers_beat(f->peers, c[i].node, instance_of(id, i), 2, 1, c[i].silent ? since : NOW));
    }
    f->electorate = (struct electorate){f->peers, c[0].node, f->own, NOW, TTL};
}

#define READY .ready = true, .preempt = true, .seq = 3, .since_ms = 2 * TTL, .role = VIEW_FOLLOWER

START_TEST(a_free_lock_is_taken_in_the_order_of_preference)
{
    static const struct {
        struct candidate own, other;
        unsigned rank;
    } cases[] = {
        {{"a", READY, .priority = 100}, {"b", READY, .priority = 100}, 0},
        {{"b", READY, .priority = 100}, {"a", READY, .priority = 100}, 1},
        {{"b", READY, .priority = 101}, {"a", READY, .priority = 100}, 0},
        {{"a", READY, .priority = 99}, {"b", READY, .priority = 100}, 1},
        {{"b", READY, .priority = 1}, {"a", .priority = 100}, 0},
        {{"a", .priority = 100}, {"b", READY, .priority = 1}, 1},
        {{"a", READY, .priority = 100}, {"b", .active = true, .priority = 1}, 1},
        {{"b", .active = true, .priority = 1}, {"a", READY, .priority = 100}, 0},
        {{"b", READY}, {"a", READY, .silent = true}, 0},
        {{"b", READY, .active = true},
         {"a", READY, .active = true, .priority = 9, .idle = true},
         0},
        {{"a", READY, .active = true, .priority = 9, .idle = true},
         {"b", READY, .active = true},
         1},
        {{"b", .active = true}, {"a", READY, .active = true, .idle = true}, 1}, /* not ready */
        {{"a", .active = true, .idle = true, .role = VIEW_ALONE},
         {"b", READY, .active = true, .silent = true},
         VOTES_ABSENT},
        {{"a", .active = true, .role = VIEW_ALONE},
         {"b", READY, .active = true, .silent = true},
         0},
        {{"a", .active = true, .idle = true, .role = VIEW_FOLLOWER},
         {"b", READY, .active = true, .silent = true},
         0}, /* it has died */
        {{"a", .active = true, .idle = true, .role = VIEW_ALONE},
         {"b", READY, .active = true, .idle = true, .silent = true},
         0},
        {{"a", .idle = true, .role = VIEW_ALONE}, {"b", READY, .silent = true}, 0},
        {{"b", READY, .idle = true, .priority = 9}, {"a", READY}, 0}, /* `always` */
        {{"b", READY}, {"b", READY, .priority = 100}, 0},             /* two with one name */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fleet f;
        struct candidate c[] = {cases[i].own, cases[i].other};
        candidates_init(&f, c, 2);
        ck_assert_msg(votes_rank(&f.electorate) == cases[i].rank, "case %zu: %u", i,
                      votes_rank(&f.electorate));
        fleet_deinit(&f);
    }
}
END_TEST

START_TEST(the_rank_is_how_many_come_before)
{
    static const struct candidate c[] = {{"m", READY, .priority = 50},
                                         {"a", READY, .priority = 50},
                                         {"b", READY, .priority = 10},
                                         {"x", READY, .priority = 60},
                                         {"z", READY, .priority = 50}};
    struct fleet f;
    candidates_init(&f, c, 5);
    ck_assert_uint_eq(votes_rank(&f.electorate), 2);
    fleet_deinit(&f);
}
END_TEST

#define OWN .ready = true, .preempt = true, .seq = 3, .role = VIEW_KEEPER

START_TEST(the_role_goes_to_who_is_preferred)
{
    static const struct {
        struct candidate own, other;
        bool unfit, better;
    } cases[] = {
        {{"a", OWN, .priority = 100}, {"b", READY, .priority = 101}, .better = true},
        {{"b", OWN, .priority = 100}, {"a", READY, .priority = 100}, .better = false},
        {{"a", OWN, .priority = 100}, {"b", READY, .priority = 99}, .better = false},
        {{"a", OWN, .priority = 1},
         {"b", .ready = true, .seq = 3, .since_ms = 2 * TTL, .role = VIEW_FOLLOWER, .priority = 2},
         .better = false}, /* does not preempt */
        {{"a", OWN, .priority = 1},
         {"b", .ready = true, .preempt = true, .seq = 3, .since_ms = 2 * TTL - 1,
          .role = VIEW_FOLLOWER, .priority = 2},
         .better = false}, /* not for long enough */
        {{"a", OWN, .priority = 1},
         {"b", .ready = true, .preempt = true, .seq = 2, .since_ms = 2 * TTL, .role = VIEW_FOLLOWER,
          .priority = 2},
         .better = false}, /* behind */
        {{"a", OWN, .priority = 1},
         {"b", .ready = true, .preempt = true, .seq = 3, .since_ms = 2 * TTL, .role = VIEW_ALONE,
          .priority = 2},
         .better = false},
        {{"a", OWN, .priority = 1}, {"b", READY, .priority = 2, .silent = true}, .better = false},
        {{"a", OWN, .priority = 1}, {"b", READY, .priority = 2, .blind = 1}, .better = false},
        {{"a", OWN, .priority = 1, .blind = 1},
         {"b", READY, .priority = 2, .blind = 1},
         .better = true}, /* the same pool is down for both */
        {{"a", OWN, .priority = 100, .active = true},
         {"b", READY, .priority = 101},
         .better = false}, /* `always` serves anyway */
        {{"a", OWN, .priority = 100}, {"b", READY, .priority = 1, .active = true}, .better = true},
        /* unfit */
        {{"a", OWN, .priority = 9, .blind = 1}, {"b", READY, .priority = 1}, .better = false},
        {{"a", OWN, .priority = 9, .blind = 1}, {"b", READY, .priority = 1}, true, true},
        {{"a", OWN, .priority = 9, .blind = 1}, {"b", READY, .blind = 1}, true, false},
        {{"a", OWN, .priority = 9, .blind = 2}, {"b", READY, .blind = 1}, true, true},
        {{"a", .role = VIEW_KEEPER, .seq = 3, .priority = 9}, {"b", READY}, true, true},
        {{"a", .role = VIEW_KEEPER, .seq = 3, .priority = 9},
         {"b", READY, .blind = 1},
         true,
         false},
    };
    const struct version last = {7, "a", 3};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fleet f;
        struct candidate c[] = {cases[i].own, cases[i].other};
        candidates_init(&f, c, 2);
        const struct peer *p = votes_better(&f.electorate, &last, cases[i].unfit);
        ck_assert_msg((p != NULL) == cases[i].better, "case %zu", i);
        ck_assert(p == NULL || strcmp(p->node, c[1].node) == 0);
        fleet_deinit(&f);
    }
}
END_TEST

START_TEST(the_best_of_several_gets_the_role)
{
    static const struct candidate c[] = {{"m", OWN, .priority = 50},
                                         {"a", READY, .priority = 60},
                                         {"b", READY, .priority = 70},
                                         {"x", READY, .priority = 70},
                                         {"z", READY, .priority = 90, .blind = 1}};
    const struct version last = {7, "a", 3};
    struct fleet f;
    candidates_init(&f, c, 5);
    ck_assert_str_eq(votes_better(&f.electorate, &last, false)->node, "b");
    fleet_deinit(&f);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("votes");
    TCase *t = tcase_create("votes");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_loop_test(t, more_than_half_of_the_voters_decide, 0, sizeof votes / sizeof *votes);
    tcase_add_test(t, each_server_is_counted_by_itself);
    tcase_add_test(t, counts_hold_for_random_fleets);
    tcase_add_test(t, names_that_are_left_out_are_those_of_the_digest);
    tcase_add_loop_test(t, a_state_begins_as_most_of_those_here_route, 0,
                        sizeof merges / sizeof *merges);
    tcase_add_test(t, claims_are_those_of_others_that_live);
    tcase_add_test(t, a_free_lock_is_taken_in_the_order_of_preference);
    tcase_add_test(t, the_rank_is_how_many_come_before);
    tcase_add_test(t, the_role_goes_to_who_is_preferred);
    tcase_add_test(t, the_best_of_several_gets_the_role);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
