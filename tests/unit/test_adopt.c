/* What the roster of a new generation takes over from the one before: tables of events, with a new
 * file in between. */
#include <stdio.h>
#include <string.h>

#include "pool/moved.h"
#include "pool/roster.h"
#include "tests/lib/pool_line.h"
#include "tests/lib/unit.h"

/* ---- one generation after the other ---- */

#define MAX_ACCOUNTS 16
#define NAME_MAX_HERE 8

/* Who has the keys of a backend by the notices alone. */
struct account {
    char backend[NAME_MAX_HERE];
    char owner[NAME_MAX_HERE]; /* "-": nobody; "?": a notice has to follow, or the slot is gone */
    char from[NAME_MAX_HERE];  /* "": no ramp */
};

struct world {
    struct file *file;
    struct pool *pool;
    struct roster *roster;
    uint64_t now_ms, told_version;
    char told[512];
    struct account account[MAX_ACCOUNTS];
    bool all_down_told;
};

static struct account *account_of(struct world *w, const char *backend)
{
    struct account *a = w->account;
    while (a->backend[0] && strcmp(a->backend, backend) != 0)
        a++;
    ck_assert(a < w->account + MAX_ACCOUNTS - 1);
    snprintf(a->backend, sizeof a->backend, "%s", backend);
    return a;
}

static void set_account(struct account *a, const char *owner, const char *from)
{
    snprintf(a->owner, sizeof a->owner, "%s", owner);
    snprintf(a->from, sizeof a->from, "%s", from);
}

/* The standby that has keys of the backend; "": none has. */
static const char *holder_by(const struct account *a)
{
    bool held = strcmp(a->owner, a->backend) != 0 && strcmp(a->owner, "-") != 0;
    return a->from[0] ? a->from : held ? a->owner : "";
}

/* What a notice says has to follow from those before. */
static void enter(struct world *w, const struct roster_notice *n)
{
    struct account *a = n->member ? account_of(w, n->member->server->name) : NULL;
    const char *by = n->by ? n->by->server->name : "";
    switch (n->event) {
    case ROSTER_PROMOTION:
        set_account(a, by, "");
        break;
    case ROSTER_TAKEOVER_ENDED:
        ck_assert_str_eq(holder_by(a), by);
        set_account(a, "?", "");
        break;
    case ROSTER_NEXT:
        set_account(a, "-", "");
        break;
    case ROSTER_RAMP:
        ck_assert_str_eq(holder_by(a), by);
        set_account(a, a->backend, by);
        break;
    case ROSTER_FAILBACK:
        ck_assert_str_eq(holder_by(a), by);
        set_account(a, a->backend, "");
        break;
    case ROSTER_ALL_DOWN:
        w->all_down_told = true;
        break;
    default:
        break;
    }
}

static void on_notice(void *arg, const struct roster_notice *n)
{
    static const char *const words[] = {
        [ROSTER_SERVER_UP] = "up",        [ROSTER_SERVER_DOWN] = "down",
        [ROSTER_PROMOTION] = "promotion", [ROSTER_TAKEOVER_ENDED] = "ended",
        [ROSTER_NEXT] = "next",           [ROSTER_RAMP] = "ramp",
        [ROSTER_FAILBACK] = "failback",   [ROSTER_HELD] = "held",
        [ROSTER_DRAINED] = "drained",     [ROSTER_ENABLED] = "enabled",
        [ROSTER_SUSPECTED] = "suspected", [ROSTER_SPARED] = "spared",
        [ROSTER_ALL_DOWN] = "all down",   [ROSTER_ALL_DOWN_ENDED] = "all down ended",
    };
    struct world *w = arg;
    size_t at = strlen(w->told);
    if (n->event == ROSTER_OWNERS) {
        w->told_version = atomic_load(&n->pool->version);
        return;
    }
    enter(w, n);
    snprintf(w->told + at, sizeof w->told - at, "%s%s%s%s%s%s", at ? ", " : "", words[n->event],
             n->member ? " " : "", n->member ? n->member->server->name : "", n->by ? " by " : "",
             n->by ? n->by->server->name : "");
}

static void open_generation(struct world *w, const char *line, const struct pool *old)
{
    struct error e;
    w->file = read_file(line);
    w->pool = pool_new(&w->file->pool, 1, old, &e);
    ck_assert_msg(w->pool != NULL, "%s", e.text);
    w->roster = roster_new(w->pool, on_notice, w);
    for (unsigned b = 0; b < w->pool->nbackends; b++) {
        const char *name = w->pool->members[b].server->name;
        const struct pool_member *was = old ? pool_find_name(old, name) : NULL;
        if (was == NULL || was->standby)
            set_account(account_of(w, name), name, "");
    }
}

static void close_generation(const struct world *w)
{
    roster_free(w->roster);
    pool_free(w->pool);
    free(w->file);
}

static void advance(struct world *w, uint64_t to_ms)
{
    while (roster_next_ms(w->roster) <= to_ms) {
        ck_assert(roster_next_ms(w->roster) > w->now_ms || w->now_ms == 0);
        w->now_ms = roster_next_ms(w->roster);
        roster_tick(w->roster, w->now_ms);
    }
    w->now_ms = to_ms;
}

/* ---- tables ---- */

enum act {
    END,
    FAIL,     /* a check */
    PASS,     /* a check */
    PASSIVE,  /* live traffic failed */
    DRAIN,    /* an operator */
    ENABLE,   /* an operator */
    FAILBACK, /* an operator */
    FIRST,    /* a first check of the next generation fails, to be named before it */
    RELOAD,   /* `what` is the new file */
    WAIT
};

/* What is NULL is not looked at. */
struct step {
    uint64_t at_ms;
    enum act act;
    const char *what;
    const char *told, *owners, *states;
};

static unsigned id_of(const struct world *w, const char *name)
{
    const struct pool_member *m = pool_find_name(w->pool, name);
    ck_assert_msg(m != NULL, "no server %s", name);
    return m->id;
}

/* failed: servers whose first check in the new generation failed, or NULL. */
static void reload(struct world *w, const char *line, const char *failed)
{
    struct world old = *w;
    open_generation(w, line, old.pool);
    if (failed)
        roster_first(w->roster, id_of(w, failed), false, "refused", w->now_ms, w->now_ms);
    roster_adopt(w->roster, old.roster, w->now_ms);
    ck_assert_uint_ge(atomic_load(&w->pool->version), 1); /* it is published, changed or not */
    close_generation(&old);
}

static void act(struct world *w, const struct step *s, const char **first)
{
    unsigned id = s->what && s->act != RELOAD && s->act != FIRST ? id_of(w, s->what) : 0;
    switch (s->act) {
    case FAIL:
    case PASS:
        roster_check(w->roster, id, s->act == PASS, "checked", s->at_ms, s->at_ms);
        break;
    case PASSIVE:
        roster_passive_down(w->roster, id, s->at_ms);
        break;
    case DRAIN:
        roster_drain(w->roster, id, s->at_ms);
        break;
    case ENABLE:
        roster_enable(w->roster, id, s->at_ms);
        break;
    case FAILBACK:
        ck_assert(roster_failback(w->roster, id, s->at_ms));
        break;
    case FIRST:
        *first = s->what;
        break;
    case RELOAD:
        reload(w, s->what, *first);
        *first = NULL;
        break;
    case WAIT:
    case END:
        break;
    }
}

static const char *name_of(const struct world *w, unsigned id)
{
    return id == SERVER_NONE ? "-" : w->pool->members[id].server->name;
}

static void format(const struct world *w, char *owners, char *states, size_t size)
{
    size_t at = 0;
    for (unsigned b = 0; b < w->pool->nbackends; b++) {
        struct pool_owner o = pool_owner_of(w->pool, b);
        at += (size_t)snprintf(owners + at, size - at, "%s%s", b ? " " : "", name_of(w, o.owner));
        if (o.from != SERVER_NONE)
            at += (size_t)snprintf(owners + at, size - at, "<%s:%u", name_of(w, o.from), o.share);
    }
    at = 0;
    for (unsigned i = 0; i < w->pool->nservers; i++)
        at += (size_t)snprintf(states + at, size - at, "%s%s", i ? " " : "",
                               roster_state_name(roster_state(w->roster, i)));
}

static void look(struct world *w, const struct step *s, int n)
{
    char owners[256], states[256];
    format(w, owners, states, sizeof owners);
    if (s->told)
        ck_assert_msg(!strcmp(w->told, s->told), "step %d: told %s, not %s", n, w->told, s->told);
    if (s->owners)
        ck_assert_msg(!strcmp(owners, s->owners), "step %d: owners %s, not %s", n, owners,
                      s->owners);
    if (s->states)
        ck_assert_msg(!strcmp(states, s->states), "step %d: states %s, not %s", n, states,
                      s->states);
    w->told[0] = 0;
}

static void play(const char *line, const struct step *steps)
{
    struct world w = {0};
    const char *first = NULL;
    open_generation(&w, line, NULL);
    roster_start(w.roster, 0);
    for (const struct step *s = steps; s->act != END; s++) {
        advance(&w, s->at_ms);
        act(&w, s, &first);
        look(&w, s, (int)(s - steps));
    }
    close_generation(&w);
}

/* ---- what stays ---- */

START_TEST(servers_are_told_by_what_they_are_and_not_by_their_ids)
{
    play("b2 b4 | s1 s5:b4 ; after=1000 manual",
         (const struct step[]){
             {10, FAIL, "b4", "down b4, promotion b4 by s5", "b2 s5", "up down standby promoted"},
             {20, DRAIN, "s1", "drained s1", "b2 s5", NULL},
             /* each has another id, in the other order too: b2 stands before and after */
             {30, RELOAD, "a1 b2 b3 b4 | s0 s1 s5:b4 ; after=1000 manual", "", "a1 b2 b3 s5",
              "up up up down standby draining promoted"},
             {40, PASS, "b4", "up b4, held b4", "a1 b2 b3 s5", NULL},
             {2000, WAIT, NULL, "held b4", NULL, "up up up returning standby draining promoted"},
             {2010, RELOAD, "b4 c1 | s5:b4 ; after=1000 manual", "", "s5 c1",
              "returning up promoted"},
             {2020, FAILBACK, "b4", "failback b4 by s5", "b4 c1", "up up standby"},
             {0},
         });
}
END_TEST

START_TEST(nothing_is_told_when_nothing_has_changed)
{
    const char *file = "b1 b2 b3 | s1 ; after=5000 ramp=4000";
    play(file, (const struct step[]){
                   {0, RELOAD, file, "", "b1 b2 b3", "up up up standby"},
                   {10, FAIL, "b2", NULL, "b1 s1 b3", NULL},
                   {20, RELOAD, file, "", "b1 s1 b3", "up down up promoted"},
                   {30, PASS, "b2", "up b2, held b2", NULL, NULL},
                   {40, RELOAD, file, "", "b1 s1 b3", "up returning up promoted"},
                   {5029, RELOAD, file, "", "b1 s1 b3", "up returning up promoted"},
                   {5030, WAIT, NULL, "ramp b2 by s1", "b1 b2<s1:0 b3", "up returning up promoted"},
                   {6030, RELOAD, file, "", "b1 b2<s1:16384 b3", "up returning up promoted"},
                   {9030, WAIT, NULL, "failback b2 by s1", "b1 b2 b3", "up up up standby"},
                   {9040, DRAIN, "b1", NULL, "s1 b2 b3", NULL},
                   {9050, RELOAD, file, "", "s1 b2 b3", "draining up up promoted"},
                   {9060, ENABLE, "b1", "enabled b1, ramp b1 by s1", NULL, NULL},
                   {0},
               });
}
END_TEST

START_TEST(a_relapse_is_one_in_the_next_generation_too)
{
    const char *file = "b1 b2 | s1 ; after=1000 max=60000";
    play(file, (const struct step[]){
                   {10, FAIL, "b1", NULL, "s1 b2", NULL},
                   {20, PASS, "b1", "up b1, held b1", NULL, NULL},
                   {1020, WAIT, NULL, "failback b1 by s1", "b1 b2", NULL},
                   {1030, RELOAD, file, "", "b1 b2", NULL},
                   {1040, FAIL, "b1", NULL, "s1 b2", NULL},
                   {1050, RELOAD, file, "", "s1 b2", NULL},
                   {1060, PASS, "b1", NULL, NULL, NULL},
                   {3059, RELOAD, file, "", "s1 b2", "returning up promoted"}, /* twice as long */
                   {3060, WAIT, NULL, "failback b1 by s1", "b1 b2", NULL},
                   {0},
               });
}
END_TEST

/* ---- servers that come and go ---- */

START_TEST(a_promoted_standby_that_is_gone_gives_way)
{
    /* to another standby */
    play("b1 b2 | s1:b1 s2", (const struct step[]){
                                 {10, FAIL, "b1", NULL, "s1 b2", NULL},
                                 {20, RELOAD, "b1 b2 | s2", "ended b1 by s1, promotion b1 by s2",
                                  "s2 b2", "down up promoted"},
                                 {30, PASS, "b1", "up b1, failback b1 by s2", "b1 b2", NULL},
                                 {0},
                             });
    /* to the next owners */
    play("b1 b2 | s1", (const struct step[]){
                           {10, FAIL, "b1", NULL, "s1 b2", NULL},
                           {20, RELOAD, "b1 b2", "ended b1 by s1, next b1", "- b2", "down up"},
                           {0},
                       });
    /* a wait goes on, a hold is over: its keys have to move anyway */
    play("b1 b2 | s1 ; after=5000",
         (const struct step[]){
             {10, FAIL, "b1", NULL, "s1 b2", NULL},
             {20, PASS, "b1", NULL, "s1 b2", NULL},
             {30, RELOAD, "b1 b2 ; after=5000", "ended b1 by s1, next b1", "- b2", "returning up"},
             {5020, WAIT, NULL, "failback b1", "b1 b2", NULL},
             {0},
         });
    play("b1 b2 | s1 s2 ; manual",
         (const struct step[]){
             {10, FAIL, "b1", NULL, NULL, NULL},
             {20, PASS, "b1", "up b1, held b1", NULL, NULL},
             {30, RELOAD, "b1 b2 | s3 ; manual", "failback b1 by s2", "b1 b2", "up up standby"},
             {0},
         });
}
END_TEST

START_TEST(a_ramp_from_a_standby_that_is_gone_is_over)
{
    play(
        "b1 b2 | s1 ; ramp=4000",
        (const struct step[]){
            {10, FAIL, "b1", NULL, "s1 b2", NULL},
            {20, PASS, "b1", "up b1, ramp b1 by s1", NULL, "returning up promoted"},
            {1020, RELOAD, "b1 b2 | s2 ; ramp=4000", "failback b1 by s1", "b1 b2", "up up standby"},
            {0},
        });
}
END_TEST

START_TEST(a_backend_that_is_gone_frees_its_standby)
{
    play(
        "b1 b2 | s1:b2 s2:b2",
        (const struct step[]){
            {10, FAIL, "b1", "down b1, next b1", "- b2", NULL},
            {20, RELOAD, "b1 b2 | s1 s2:b2", "promotion b1 by s1", "s1 b2", NULL},
            {30, FAIL, "b2", NULL, "s1 s2", NULL},
            {40, RELOAD, "b2 b3 | s1 s2:b2", "ended b1 by s1", "s2 b3", "down up standby promoted"},
            {50, RELOAD, "b3 | s1", "ended b2 by s2", "b3", "up standby"}, /* both are gone */
            {0},
        });
    /* it is promoted for another one, or for the one that has its place */
    play("b1 b2 | s1",
         (const struct step[]){
             {10, FAIL, "b1", NULL, "s1 b2", NULL},
             {20, FAIL, "b2", NULL, "- s1", NULL},
             {30, RELOAD, "b1 b3 | s1", "ended b2 by s1, promotion b1 by s1", "s1 b3", NULL},
             {0},
         });
    play("b1 b2 | s1 ; ramp=4000",
         (const struct step[]){
             {10, FAIL, "b1", NULL, "s1 b2", NULL},
             {20, PASS, "b1", NULL, "b1<s1:0 b2", NULL},
             {1020, RELOAD, "b2 | s1 ; ramp=4000", "ended b1 by s1", "b2", "up standby"},
             {0},
         });
}
END_TEST

START_TEST(new_servers_start_as_their_first_check_says)
{
    play("b1 b2 | s1 ; after=5000",
         (const struct step[]){
             {10, FIRST, "b3", NULL, NULL, NULL},
             {20, RELOAD, "b1 b2 b3 | s1 ; after=5000", "down b3, promotion b3 by s1", "b1 b2 s1",
              "up up down promoted"},
             {30, PASS, "b3", "up b3, failback b3 by s1", "b1 b2 b3", NULL}, /* without a wait */
             {40, FIRST, "s2", NULL, NULL, NULL},
             {50, RELOAD, "b1 b2 b3 | s2 ; after=5000", "down s2", "b1 b2 b3", "up up up down"},
             {0},
         });
}
END_TEST

START_TEST(another_address_is_another_server_but_the_same_slot)
{
    /* it was down: nothing of that stays, and its keys come home as after any outage */
    play("b1 b2 | s1 ; after=5000 ramp=4000",
         (const struct step[]){
             {10, FAIL, "b1", NULL, "s1 b2", NULL},
             {20, RELOAD, "b1@2 b2 | s1 ; after=5000 ramp=4000", "ramp b1 by s1", "b1<s1:0 b2",
              "returning up promoted"},
             {4020, WAIT, NULL, "failback b1 by s1", "b1 b2", NULL},
             {4030, RELOAD, "b1@3 b2 | s1", "", "b1 b2", "up up standby"},
             {0},
         });
    /* the new one is down as well: its standby stays */
    play("b1 b2 | s1", (const struct step[]){
                           {10, FAIL, "b1", NULL, "s1 b2", NULL},
                           {20, FIRST, "b1", NULL, NULL, NULL},
                           {30, RELOAD, "b1@2 b2 | s1", "down b1", "s1 b2", "down up promoted"},
                           {0},
                       });
}
END_TEST

/* ---- servers that become something else ---- */

START_TEST(a_standby_becomes_a_backend)
{
    /* promoted: whom it stood in for has to do without */
    play("b1 b2 | b3 s1:b2", (const struct step[]){
                                 {10, FAIL, "b1", NULL, "b3 b2", NULL},
                                 {20, RELOAD, "b1 b2 b3 | s1:b2", "ended b1 by b3, next b1",
                                  "- b2 b3", "down up up standby"},
                                 {0},
                             });
    /* handing back: the rest comes home at once */
    play("b1 b2 | b3 ; ramp=4000",
         (const struct step[]){
             {10, FAIL, "b1", NULL, "b3 b2", NULL},
             {20, PASS, "b1", NULL, "b1<b3:0 b2", NULL},
             {30, RELOAD, "b1 b2 b3 ; ramp=4000", "failback b1 by b3", "b1 b2 b3", "up up up"},
             {0},
         });
    /* down, waiting, drained */
    play("b1 | b2 b3 b4 ; after=5000",
         (const struct step[]){
             {10, FAIL, "b2", "down b2", NULL, NULL},
             {20, FAIL, "b3", "down b3", NULL, NULL},
             {30, PASS, "b3", "up b3, held b3", NULL, "up down returning standby"},
             {40, DRAIN, "b4", NULL, NULL, NULL},
             {50, RELOAD, "b1 b2 b3 b4 ; after=5000", "next b2, next b3, next b4", "b1 - - -",
              "up down returning draining"},
             {5030, WAIT, NULL, "failback b3", "b1 - b3 -", NULL},
             {0},
         });
}
END_TEST

START_TEST(a_backend_becomes_a_standby)
{
    /* down: it is no help; up again it is */
    play("b1 b2 b3 | s1:b1",
         (const struct step[]){
             {10, FAIL, "b3", "down b3, next b3", "b1 b2 -", NULL},
             {20, RELOAD, "b1 b2 | b3 s1:b1", "", "b1 b2", "up up down standby"},
             {30, FAIL, "b2", "down b2, next b2", "b1 -", NULL},
             {40, PASS, "b3", "up b3, promotion b2 by b3", "b1 b3", NULL},
             {0},
         });
    /* held: a standby is not, its wait is over; amid a ramp: what is left of that is nothing */
    play("b1 b2 b3 | s1:b3 s2:b2 ; manual ramp=4000",
         (const struct step[]){
             {10, FAIL, "b3", NULL, "b1 b2 s1", NULL},
             {20, PASS, "b3", "up b3, held b3", NULL, "up up returning promoted standby"},
             {30, FAIL, "b2", NULL, "b1 s2 s1", NULL},
             {40, PASS, "b2", NULL, NULL, NULL},
             {50, FAILBACK, "b2", NULL, "b1 b2 s1", NULL},
             {60, RELOAD, "b1 | b2 b3 s1 s2 ; manual ramp=4000", "ended b3 by s1", "b1",
              "up standby standby standby standby"},
             {0},
         });
    play("b1 b2 | s1 ; ramp=4000",
         (const struct step[]){
             {10, FAIL, "b2", NULL, "b1 s1", NULL},
             {20, PASS, "b2", NULL, "b1 b2<s1:0", NULL},
             {30, RELOAD, "b1 | b2 s1 ; ramp=4000", "ended b2 by s1", "b1", "up standby standby"},
             {0},
         });
}
END_TEST

START_TEST(a_standby_stands_in_for_others_or_is_another_server)
{
    play("b1 b2 | s1 s2:b1 ; manual",
         (const struct step[]){
             {10, FAIL, "b1", NULL, "s2 b2", NULL},
             {20, RELOAD, "b1 b2 | s1 s2:b2 ; manual", "ended b1 by s2, promotion b1 by s1",
              "s1 b2", "down up promoted standby"},
             {30, PASS, "b1", "up b1, held b1", "s1 b2", NULL},
             /* it has to move anyway, so it moves home */
             {40, RELOAD, "b1 b2 | s1:b2 s2:b2 ; manual", "failback b1 by s1", "b1 b2", NULL},
             {0},
         });
    play("b1 b2 | s1",
         (const struct step[]){
             {10, FAIL, "b1", NULL, "s1 b2", NULL},
             {20, RELOAD, "b1 b2 | s1:b2", "ended b1 by s1, next b1", "- b2", NULL},
             {30, RELOAD, "b1 b2 | s1", "promotion b1 by s1", "s1 b2", NULL},
             {40, RELOAD, "b1 b2 | s1@2", "ended b1 by s1, promotion b1 by s1", "s1 b2", NULL},
             {50, FIRST, "s1", NULL, NULL, NULL},
             {60, RELOAD, "b1 b2 | s1@3", "down s1, ended b1 by s1, next b1", "- b2", NULL},
             {0},
         });
}
END_TEST

/* ---- settings that change ---- */

START_TEST(all_are_down_while_the_file_changes_what_that_means)
{
    play(
        "b1 b2 | s1 ; try",
        (const struct step[]){
            {10, FAIL, "b1", NULL, "s1 b2", NULL},
            {20, FAIL, "s1", NULL, "- b2", NULL},
            {30, FAIL, "b2", "down b2, all down", "b1 b2", "down down down"},
            {40, RELOAD, "b1 b2 | s1 ; try", "", "b1 b2", NULL},
            {50, RELOAD, "b1 b2 | s1", "all down ended, next b1, next b2", "- -", NULL},
            {60, RELOAD, "b1 b2 | s1 ; try", "all down", "b1 b2", "down down down"},
            {70, RELOAD, "b1 b2 b3 | s1 ; try", "all down ended, next b1, next b2", "- - b3", NULL},
            {80, FIRST, "b4", NULL, NULL, NULL},
            {90, RELOAD, "b1 b2 b4 | s1 ; try", "down b4, all down", "b1 b2 b4", NULL},
            {100, PASS, "s1", NULL, NULL, "down down down promoted"},
            {0},
        });
}
END_TEST

START_TEST(fall_and_rise_follow_the_new_file)
{
    play("b1 b2 | s1 ; fall=3 rise=3",
         (const struct step[]){
             {10, FAIL, "b1", NULL, NULL, NULL},
             {20, FAIL, "b1", "", "b1 b2", NULL},
             {30, RELOAD, "b1 b2 | s1 ; fall=4 rise=2", "", NULL, NULL},
             {40, FAIL, "b1", "", "b1 b2", NULL},
             {50, FAIL, "b1", "down b1, promotion b1 by s1", "s1 b2", NULL}, /* the fourth */
             {60, PASS, "b1", "", NULL, NULL},
             {70, RELOAD, "b1 b2 | s1 ; fall=4 rise=1", "", "s1 b2", NULL},
             {80, PASS, "b1", "up b1, failback b1 by s1", "b1 b2", NULL},
             {90, FAIL, "b1", "", NULL, NULL},
             {100, FAIL, "b1", "", NULL, NULL},
             {110, FAIL, "b1", "", NULL, NULL},
             {120, RELOAD, "b1 b2 | s1 ; fall=2", "", "b1 b2", NULL}, /* seen, but not turned */
             {130, FAIL, "b1", "down b1, promotion b1 by s1", "s1 b2", NULL},
             {0},
         });
}
END_TEST

START_TEST(waits_follow_the_new_file)
{
    play("b1 b2 | s1 ; after=5000 max=60000",
         (const struct step[]){
             {10, FAIL, "b1", NULL, "s1 b2", NULL},
             {20, RELOAD, "b1 b2 | s1 ; after=700 max=60000", "", "s1 b2", NULL},
             {30, PASS, "b1", "up b1, held b1", NULL, NULL},
             {729, RELOAD, "b1 b2 | s1 ; after=5000 max=60000", "", "s1 b2", NULL}, /* as begun */
             {730, WAIT, NULL, "failback b1 by s1", "b1 b2", NULL},
             {740, FAIL, "b1", NULL, NULL, NULL}, /* a relapse: 10 s */
             {750, PASS, "b1", NULL, "s1 b2", NULL},
             {760, RELOAD, "b1 b2 | s1 ; after=700 max=1000", "", "s1 b2", NULL},
             {1760, WAIT, NULL, "failback b1 by s1", "b1 b2", NULL},
             {0},
         });
    /* a hold is none without manual, and a wait becomes one with it */
    play("b1 b2 | s1 ; manual after=1000",
         (const struct step[]){
             {10, FAIL, "b1", NULL, "s1 b2", NULL},
             {20, PASS, "b1", NULL, NULL, NULL},
             {2000, WAIT, NULL, NULL, "s1 b2", "returning up promoted"},
             {2010, RELOAD, "b1 b2 | s1 ; after=1000", "failback b1 by s1", "b1 b2", NULL},
             {400000, FAIL, "b1", NULL, "s1 b2", NULL},
             {400020, PASS, "b1", NULL, NULL, NULL},
             {400030, RELOAD, "b1 b2 | s1 ; manual after=1000", "", "s1 b2", NULL},
             {402000, WAIT, NULL, "held b1", "s1 b2", "returning up promoted"},
             {0},
         });
}
END_TEST

START_TEST(a_ramp_follows_the_new_file)
{
    play("b1 b2 | s1 ; ramp=4000",
         (const struct step[]){
             {0, FAIL, "b1", NULL, "s1 b2", NULL},
             {1000, PASS, "b1", NULL, "b1<s1:0 b2", NULL},
             {3000, RELOAD, "b1 b2 | s1 ; ramp=8000", "", "b1<s1:32686 b2", NULL}, /* not back */
             {7000, RELOAD, "b1 b2 | s1 ; ramp=8000 weight=3", "", "b1<s1:49152 b2", NULL},
             {7010, RELOAD, "b1 b2 | s1 ; ramp=6000", "failback b1 by s1", "b1 b2", NULL},
             {0},
         });
    play("b1 b2 | s1 ; ramp=4000",
         (const struct step[]){
             {0, FAIL, "b1", NULL, "s1 b2", NULL},
             {1000, PASS, "b1", NULL, "b1<s1:0 b2", NULL},
             {1010, RELOAD, "b1 b2 | s1", "failback b1 by s1", "b1 b2", "up up standby"},
             {0},
         });
}
END_TEST

START_TEST(checks_are_turned_off_and_on)
{
    play("b1 b2 | s1", (const struct step[]){
                           {10, FAIL, "b1", NULL, "s1 b2", NULL},
                           {20, RELOAD, "b1 b2 | s1 ; off", "", "s1 b2", NULL},
                           {2019, WAIT, NULL, "", "s1 b2", NULL},
                           {2020, WAIT, NULL, "up b1, failback b1 by s1", "b1 b2", NULL},
                           {2030, PASSIVE, "b1", NULL, "s1 b2", NULL},
                           {2040, RELOAD, "b1 b2 | s1 ; off", "", "s1 b2", NULL},
                           {3000, RELOAD, "b1 b2 | s1", "", "s1 b2", NULL},
                           {90000, WAIT, NULL, "", "s1 b2", "down up promoted"},
                           {90010, PASS, "b1", "up b1, failback b1 by s1", "b1 b2", NULL},
                           {0},
                       });
}
END_TEST

START_TEST(time_gives_no_address)
{
    struct world w = {0};
    open_generation(&w, "b1@? b2", NULL);
    roster_first(w.roster, 0, false, "resolve: no such name", 0, 0);
    roster_start(w.roster, 0);
    w.now_ms = 10;
    reload(&w, "b1@? b2 ; off", NULL);
    ck_assert(roster_next_ms(w.roster) == UINT64_MAX);
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_DOWN);
    roster_resolved(w.roster, 0, 20);
    ck_assert_int_eq(roster_state(w.roster, 0), ROSTER_UP);
    close_generation(&w);
}
END_TEST

/* ---- what lies on the servers ---- */

START_TEST(live_failures_count_on_unless_the_threshold_changes)
{
    struct world w = {0};
    open_generation(&w, "b1 b2 ; passive=5", NULL);
    roster_start(w.roster, 0);
    struct server *b1 = w.pool->members[0].server;
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pool_member_failed(&w.pool->members[0], false), SERVER_ROW_GOES_ON);
    reload(&w, "b1 b2 ; passive=5", NULL);
    ck_assert_ptr_eq(w.pool->members[0].server, b1);
    ck_assert_int_eq(pool_member_failed(&w.pool->members[0], false), SERVER_ROW_DOWN);
    reload(&w, "b1 b2 ; passive=2", NULL);
    ck_assert_int_eq(pool_member_failed(&w.pool->members[0], false), SERVER_ROW_GOES_ON);
    ck_assert_int_eq(pool_member_failed(&w.pool->members[0], false), SERVER_ROW_DOWN);
    close_generation(&w);
}
END_TEST

START_TEST(a_suspicion_stays_as_long_as_a_check_can_answer_it)
{
    static const struct {
        const char *after;
        enum roster_suspicion suspicion;
    } cases[] = {
        {"b1 b2 ; http", ROSTER_PENDING},
        {"b1 b2 ; http passive=3", ROSTER_PENDING},
        {"b1 b2 ; http passive=0", ROSTER_UNSUSPECTED},
        {"b1 b2", ROSTER_UNSUSPECTED},
        {"b1 b2 ; off", ROSTER_UNSUSPECTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world w = {0};
        open_generation(&w, "b1 b2 ; http", NULL);
        roster_start(w.roster, 0);
        struct server *b1 = w.pool->members[0].server;
        while (pool_member_failed(&w.pool->members[0], true) != SERVER_ROW_SUSPECT)
            continue;
        ck_assert(roster_suspect(w.roster, 0));
        reload(&w, cases[i].after, NULL);
        ck_assert_ptr_eq(w.pool->members[0].server, b1);
        ck_assert_int_eq(roster_suspicion(w.roster, 0), cases[i].suspicion);
        /* What failures are worth has changed with the check and with their number. */
        ck_assert_int_eq(atomic_load(&b1->failures) > 0, i == 0);
        close_generation(&w);
    }
}
END_TEST

START_TEST(what_was_last_checked_and_who_is_usable_stay)
{
    struct world w = {0};
    open_generation(&w, "b1 b2 | s1 ; after=5000", NULL);
    roster_start(w.roster, 0);
    roster_check(w.roster, 0, false, "no route", 10, 10);
    roster_check(w.roster, 2, false, "refused", 10, 10);
    roster_check(w.roster, 2, true, "fine", 20, 20);
    w.now_ms = 30;
    reload(&w, "a1 b1 b2 | s1 ; after=5000", NULL);
    const struct roster_check *last = roster_last_check(w.roster, 1);
    ck_assert(last->done && !last->ok && last->at_ms == 10);
    ck_assert_str_eq(last->reason, "no route");
    ck_assert(!roster_last_check(w.roster, 0)->done);
    ck_assert(roster_is_down(w.roster, 1) && !roster_is_down(w.roster, 3));
    static const bool usable[] = {true, false, true, false};
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(atomic_load(&w.pool->members[i].server->usable), usable[i]);
    close_generation(&w);
}
END_TEST

/* ---- whatever comes ---- */

/* Replaces the servers of a line by those of the world, one of the addresses with its name. */
static void same_servers(const struct world *w, char *line, size_t size)
{
    char settings[256];
    size_t at = 0;
    snprintf(settings, sizeof settings, "%s", strchr(line, ';'));
    for (unsigned kind = 0; kind < 2; kind++) {
        unsigned n = kind ? w->pool->nservers : w->pool->nbackends;
        for (unsigned i = kind ? w->pool->nbackends : 0; i < n; i++) {
            const struct server *s = w->pool->members[i].server;
            at += (size_t)snprintf(line + at, size - at, "%s@%c ", s->name,
                                   s->address_text[strlen("10.0.0.")]);
        }
        at += (size_t)snprintf(line + at, size - at, "%s", kind ? settings : "| ");
    }
}

static void random_event(struct world *w, struct random *r)
{
    unsigned id = below(r, w->pool->nservers), what = below(r, 16);
    if (what < 9 && w->file->pool.health.check != CHECK_OFF)
        roster_check(w->roster, id, what < 5, "x", w->now_ms, w->now_ms);
    else if (what < 11)
        roster_passive_down(w->roster, id, w->now_ms);
    else if (what == 11 && roster_suspect(w->roster, id))
        roster_verdict(w->roster, id, below(r, 2), "x", w->now_ms, w->now_ms);
    else if (what == 12)
        roster_drain(w->roster, id, w->now_ms);
    else if (what < 15)
        roster_enable(w->roster, id, w->now_ms);
    else
        roster_failback(w->roster, id, w->now_ms);
}

/* Out, by what everybody can see: the states and, to tell a ramp from a wait, the owners. */
static bool seen_out(const struct world *w, unsigned id)
{
    enum roster_state s = roster_state(w->roster, id);
    if (s == ROSTER_RETURNING)
        return id >= w->pool->nbackends || pool_owner_of(w->pool, id).owner != id;
    return s == ROSTER_DOWN || s == ROSTER_DRAINING;
}

static void check_invariants(const struct world *w)
{
    const struct pool *p = w->pool;
    bool out[MAX_SERVERS], busy[MAX_SERVERS] = {false}, all_down = roster_all_down(w->roster);
    uint16_t expected[MAX_SERVERS];
    for (unsigned i = 0; i < p->nservers; i++) {
        enum roster_state s = roster_state(w->roster, i);
        ck_assert(!all_down || s == ROSTER_DOWN || s == ROSTER_DRAINING);
        out[i] = all_down ? s == ROSTER_DRAINING : seen_out(w, i);
        bool usable =
            p->members[i].standby || all_down ? !out[i] : s != ROSTER_DOWN && s != ROSTER_DRAINING;
        ck_assert_int_eq(atomic_load(&p->members[i].server->usable), usable);
    }
    failover_owners(p->failover, out, expected);
    for (unsigned b = 0; b < p->nbackends; b++) {
        struct pool_owner o = pool_owner_of(p, b);
        unsigned both[] = {o.owner, o.from};
        ck_assert_uint_eq(o.owner, expected[b]);
        for (unsigned k = 0; k < 2; k++) {
            if (both[k] == SERVER_NONE)
                continue;
            ck_assert(both[k] < p->nservers && !out[both[k]] && !busy[both[k]]);
            busy[both[k]] = true;
        }
    }
    ck_assert_uint_gt(roster_next_ms(w->roster), w->now_ms);
}

/* Whoever reads the notices alone knows who has which keys. */
static void check_accounts(struct world *w)
{
    const struct pool *p = w->pool;
    for (unsigned b = 0; b < p->nbackends; b++) {
        struct pool_owner o = pool_owner_of(p, b);
        struct account *a = account_of(w, p->members[b].server->name);
        const char *from = o.from == SERVER_NONE ? "" : name_of(w, o.from);
        if (w->all_down_told) /* one notice for all that has moved */
            set_account(a, name_of(w, o.owner), from);
        ck_assert_msg(!strcmp(a->owner, name_of(w, o.owner)) && !strcmp(a->from, from),
                      "%s: %s<%s by the notices, %s<%s", a->backend, a->owner, a->from,
                      name_of(w, o.owner), from);
    }
    w->all_down_told = false;
}

/* Of a backend that is none any more the notices have told that nobody stands in for it. */
static void check_gone(struct world *w, const struct pool *old)
{
    for (unsigned b = 0; b < old->nbackends; b++) {
        const struct pool_member *m = pool_find_name(w->pool, old->members[b].server->name);
        const struct account *a = account_of(w, old->members[b].server->name);
        if (m == NULL || m->standby)
            ck_assert_msg(!strcmp(a->owner, "?") || !*holder_by(a), "%s by %s", a->backend,
                          holder_by(a));
    }
}

/* pool_moved() against keys that are looked for one by one. A ramp that goes on is left out: both
 * pools have taken different steps of it. */
static bool goes_on(const struct world *w, const struct world *old, uint64_t hash)
{
    struct pool_owner a = pool_owner_of(old->pool, pool_home(old->pool, hash));
    struct pool_owner b = pool_owner_of(w->pool, pool_home(w->pool, hash));
    return a.from != SERVER_NONE && b.from != SERVER_NONE &&
           !strcmp(name_of(old, a.owner), name_of(w, b.owner)) &&
           !strcmp(name_of(old, a.from), name_of(w, b.from));
}

static void check_moved(const struct world *w, const struct world *old, struct random *r)
{
    const unsigned keys = 4000;
    unsigned moved = 0;
    double share = pool_moved(old->pool, w->pool);
    ck_assert_int_eq(share < 0, w->pool->ring != old->pool->ring);
    for (unsigned i = 0; i < keys && share >= 0; i++) {
        uint64_t hash = (uint64_t)below(r, 1u << 22) << 42 ^ (uint64_t)below(r, 1u << 22) << 21 ^
                        below(r, 1u << 22);
        uint16_t a = pool_find(old->pool, hash), b = pool_find(w->pool, hash);
        bool differs = strcmp(name_of(old, a), name_of(w, b)) != 0; /* "-": refused */
        moved += differs && !goes_on(w, old, hash);
    }
    if (share >= 0) /* six standard deviations at most */
        ck_assert_double_eq_tol((double)moved / keys, share, 6 * 0.5 / 63);
    if (share == 0)
        ck_assert_uint_eq(moved, 0);
}

/* The servers that are new have a first check each, some of which fail. */
static void random_reload(struct world *w, struct random *r)
{
    char line[256];
    struct world old = *w;
    random_line(r, line, sizeof line);
    if (below(r, 2)) /* other settings alone */
        same_servers(w, line, sizeof line);
    open_generation(w, line, old.pool);
    for (unsigned i = 0; i < w->pool->nservers; i++)
        if (!pool_find_server(old.pool, w->pool->members[i].server) && below(r, 3) == 0)
            roster_first(w->roster, i, false, "refused", w->now_ms, w->now_ms);
    roster_adopt(w->roster, old.roster, w->now_ms);
    for (unsigned i = 0; i < w->pool->nservers; i++) {
        const struct pool_member *was = pool_find_server(old.pool, w->pool->members[i].server);
        if (was == NULL)
            continue;
        ck_assert_int_eq(roster_is_down(w->roster, i), roster_is_down(old.roster, was->id));
        ck_assert_int_eq(roster_state(w->roster, i) == ROSTER_DRAINING,
                         roster_state(old.roster, was->id) == ROSTER_DRAINING);
    }
    check_gone(w, old.pool);
    check_moved(w, &old, r);
    close_generation(&old);
}

/* In the end all that is up, enabled and given time is in service. */
static void check_end(struct world *w)
{
    for (unsigned i = 0; i < w->pool->nservers; i++) {
        roster_enable(w->roster, i, w->now_ms);
        for (unsigned k = 0; k < 2 && w->file->pool.health.check != CHECK_OFF; k++)
            roster_check(w->roster, i, true, "x", w->now_ms, w->now_ms);
        roster_resolved(w->roster, i, w->now_ms);
    }
    advance(w, w->now_ms + 700000);
    for (unsigned i = 0; i < w->pool->nservers; i++) {
        ck_assert(roster_failback(w->roster, i, w->now_ms));
        ck_assert(!seen_out(w, i));
    }
    check_invariants(w);
    ck_assert(roster_next_ms(w->roster) == UINT64_MAX);
}

START_TEST(whatever_is_reloaded_the_invariants_hold)
{
    struct random r = {(uint64_t)_i + 1};
    struct world w = {.now_ms = 1};
    char line[256];
    random_line(&r, line, sizeof line);
    open_generation(&w, line, NULL);
    roster_start(w.roster, 1);
    for (int i = 0; i < 300; i++) {
        random_event(&w, &r);
        check_invariants(&w);
        check_accounts(&w);
        advance(&w, w.now_ms + below(&r, below(&r, 8) ? 300 : 6000));
        check_invariants(&w);
        check_accounts(&w);
        if (below(&r, 6) == 0)
            random_reload(&w, &r);
        check_invariants(&w);
        check_accounts(&w);
        w.told[0] = 0;
    }
    check_end(&w);
    close_generation(&w);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("adopt");
    TCase *t = tcase_create("adopt");
    tcase_add_test(t, servers_are_told_by_what_they_are_and_not_by_their_ids);
    tcase_add_test(t, nothing_is_told_when_nothing_has_changed);
    tcase_add_test(t, a_relapse_is_one_in_the_next_generation_too);
    tcase_add_test(t, a_promoted_standby_that_is_gone_gives_way);
    tcase_add_test(t, a_ramp_from_a_standby_that_is_gone_is_over);
    tcase_add_test(t, a_backend_that_is_gone_frees_its_standby);
    tcase_add_test(t, new_servers_start_as_their_first_check_says);
    tcase_add_test(t, another_address_is_another_server_but_the_same_slot);
    tcase_add_test(t, a_standby_becomes_a_backend);
    tcase_add_test(t, a_backend_becomes_a_standby);
    tcase_add_test(t, a_standby_stands_in_for_others_or_is_another_server);
    tcase_add_test(t, all_are_down_while_the_file_changes_what_that_means);
    tcase_add_test(t, fall_and_rise_follow_the_new_file);
    tcase_add_test(t, waits_follow_the_new_file);
    tcase_add_test(t, a_ramp_follows_the_new_file);
    tcase_add_test(t, checks_are_turned_off_and_on);
    tcase_add_test(t, time_gives_no_address);
    tcase_add_test(t, live_failures_count_on_unless_the_threshold_changes);
    tcase_add_test(t, a_suspicion_stays_as_long_as_a_check_can_answer_it);
    tcase_add_test(t, what_was_last_checked_and_who_is_usable_stay);
    tcase_add_loop_test(t, whatever_is_reloaded_the_invariants_hold, 0, 60);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
