/* What a proxy sees, by itself: verdicts, votes, proof of sight, exceptions. */
#include "pool/witness.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/pool_line.h"
#include "tests/lib/unit.h"

struct side {
    struct file *file;
    struct pool *pool;
    struct witness *w;
    bool out[16], agreed[16];
};

static void open_side(struct side *s, const char *line)
{
    struct error e;
    memset(s, 0, sizeof *s);
    s->file = read_file(line);
    s->pool = pool_new(&s->file->pool, 1, NULL, &e);
    ck_assert_msg(s->pool != NULL, "%s", e.text);
    s->w = witness_new(s->pool);
    for (unsigned i = 0; i < 16; i++)
        s->agreed[i] = true;
}

static void close_side(const struct side *s)
{
    witness_free(s->w);
    pool_free(s->pool);
    free(s->file);
}

static void check(const struct side *s, unsigned id, bool ok, uint64_t began_ms, uint64_t now_ms)
{
    witness_note(s->w, id, ok, "x", began_ms, now_ms);
    witness_check(s->w, id, ok, now_ms);
}

static bool excepted(const struct side *s, unsigned id, uint64_t now_ms)
{
    const struct witness_context c = {s->out, s->agreed, true};
    witness_settle(s->w, &c, now_ms);
    return s->w->seen[id].excepted;
}

#define check_vote(s, id, vote) ck_assert_int_eq(witness_vote((s)->w, id), ROSTER_VOTE_##vote)

/* ---- votes ---- */

START_TEST(no_vote_before_the_first_check)
{
    struct side s;
    open_side(&s, "b1 b2");
    check_vote(&s, 0, NONE);
    check(&s, 0, true, 0, 2);
    check_vote(&s, 0, UP);
    check_vote(&s, 1, NONE);
    close_side(&s);
}
END_TEST

START_TEST(down_needs_sight_of_another_server_since)
{
    struct side s;
    open_side(&s, "b1 b2 ; fall=1 rise=3");
    check(&s, 0, true, 0, 2);
    check(&s, 1, true, 0, 2);
    check(&s, 0, false, 90, 100);
    check_vote(&s, 0, NONE);
    check(&s, 1, true, 95, 101); /* began before */
    check_vote(&s, 0, NONE);
    check(&s, 0, true, 102, 103); /* its own success proves nothing of others */
    check_vote(&s, 0, NONE);
    check(&s, 1, true, 100, 104);
    check_vote(&s, 0, DOWN);
    check(&s, 0, true, 110, 111); /* the last sight is of this one now: that of b2 still counts */
    check_vote(&s, 0, DOWN);
    close_side(&s);
}
END_TEST

START_TEST(a_pool_of_one_needs_no_proof)
{
    struct side s;
    open_side(&s, "b1 ; fall=1");
    check(&s, 0, false, 0, 1);
    check_vote(&s, 0, DOWN);
    ck_assert(witness_blind(s.w));
    ck_assert(!excepted(&s, 0, 1));
    close_side(&s);
}
END_TEST

START_TEST(sight_is_of_all_servers_but_one)
{
    struct random r = {(uint64_t)_i + 1};
    for (unsigned k = 0; k < 200; k++) {
        struct side s;
        uint64_t last[4] = {0}, now_ms = 1;
        open_side(&s, "b1 b2 b3 b4 ; fall=1 rise=9");
        for (unsigned i = 0; i < 20; i++) {
            unsigned id = below(&r, 4);
            uint64_t began_ms = below(&r, (unsigned)now_ms + 1);
            check(&s, id, true, began_ms, now_ms);
            last[id] = began_ms + 1 > last[id] ? began_ms + 1 : last[id];
            unsigned victim = below(&r, 4);
            struct seen *v = &s.w->seen[victim];
            verdict_force(&v->verdict, false);
            v->fresh = true;
            v->down_ms = below(&r, (unsigned)now_ms + 1);
            bool sees = false;
            for (unsigned o = 0; o < 4; o++)
                sees |= o != victim && last[o] > v->down_ms;
            ck_assert_int_eq(witness_vote(s.w, victim) == ROSTER_VOTE_DOWN, sees);
            verdict_force(&v->verdict, true);
            now_ms += below(&r, 5);
        }
        close_side(&s);
    }
}
END_TEST

START_TEST(a_claim_of_others_makes_one_failure_enough)
{
    struct side s;
    open_side(&s, "b1 b2 ; fall=2");
    check(&s, 0, false, 0, 1);
    ck_assert(s.w->seen[0].verdict.up);
    check(&s, 0, true, 2, 3);
    s.w->seen[0].claimed = true;
    check(&s, 0, false, 4, 5);
    ck_assert(!s.w->seen[0].verdict.up);
    close_side(&s);
}
END_TEST

START_TEST(a_stall_takes_votes_away_until_a_later_check)
{
    struct side s;
    open_side(&s, "b1 b2 ; fall=1");
    check(&s, 0, true, 0, 1);
    check(&s, 1, true, 0, 1);
    witness_stall(s.w, 5000);
    check_vote(&s, 0, NONE);
    ck_assert(witness_doubts_check(s.w, 4999) && !witness_doubts_check(s.w, 5000));
    ck_assert(witness_doubts_traffic(s.w, 5999) && !witness_doubts_traffic(s.w, 6000));
    check(&s, 0, true, 4000, 5001);
    check_vote(&s, 0, NONE);
    check(&s, 0, true, 5000, 5002);
    check_vote(&s, 0, UP);
    close_side(&s);
}
END_TEST

START_TEST(without_checks_traffic_votes_for_an_interval)
{
    struct side s;
    open_side(&s, "b1 b2 ; off");
    struct server_cell *other = server_cell(s.pool->members[1].server, 0);
    check_vote(&s, 0, NONE);
    witness_down(s.w, 0, 100, 100);
    check_vote(&s, 0, NONE);
    cell_add(&other->requests, 1);
    cell_add(&other->errors, 1);
    check_vote(&s, 0, NONE);
    cell_add(&other->requests, 1); /* one that did not fail */
    check_vote(&s, 0, DOWN);
    ck_assert_uint_eq(witness_next_ms(s.w), 2100);
    witness_up(s.w, 0, 2100);
    check_vote(&s, 0, NONE);
    close_side(&s);
}
END_TEST

/* ---- exceptions ---- */

START_TEST(an_exception_ends_after_its_delay_and_a_relapse_doubles_that)
{
    struct side s;
    open_side(&s, "b1 b2 ; fall=1 after=5000 max=15000");
    uint64_t now_ms = 1000, delays[] = {5000, 10000, 15000, 15000};
    for (unsigned i = 0; i < 4; i++) {
        check(&s, 0, false, now_ms, now_ms);
        ck_assert(excepted(&s, 0, now_ms));
        ck_assert_uint_eq(witness_next_ms(s.w), UINT64_MAX);
        check(&s, 0, true, now_ms, now_ms);
        ck_assert(excepted(&s, 0, now_ms + delays[i] - 1));
        ck_assert_uint_eq(witness_next_ms(s.w), now_ms + delays[i]);
        ck_assert(!excepted(&s, 0, now_ms += delays[i]));
    }
    close_side(&s);
}
END_TEST

START_TEST(an_agreement_ends_an_exception_once_the_server_is_up)
{
    struct side s;
    open_side(&s, "b1 b2 ; fall=1 after=5000");
    check(&s, 0, false, 0, 0);
    ck_assert(excepted(&s, 0, 0));
    s.out[0] = true; /* taken out */
    ck_assert(!excepted(&s, 0, 10));
    s.out[0] = false; /* brought back while down here */
    ck_assert(excepted(&s, 0, 20));
    check(&s, 0, true, 30, 30);
    ck_assert(excepted(&s, 0, 30)); /* its delay */
    if (_i == 0) {
        s.out[0] = true;
        ck_assert(!excepted(&s, 0, 40));
        s.out[0] = false;
    } else { /* out and back without a word of that */
        s.w->seen[0].was_out = true;
    }
    ck_assert(!excepted(&s, 0, 50));
    close_side(&s);
}
END_TEST

START_TEST(a_delay_ends_when_nobody_else_could_serve)
{
    struct side s;
    open_side(&s, "b1 b2 ; fall=1 after=5000");
    check(&s, 0, false, 0, 0);
    check(&s, 0, true, 10, 10);
    ck_assert(excepted(&s, 0, 10));
    s.out[1] = true;
    ck_assert(!excepted(&s, 0, 20));
    s.out[1] = false; /* and does not begin again */
    ck_assert(!excepted(&s, 0, 30));
    close_side(&s);
}
END_TEST

START_TEST(who_sees_no_server_makes_no_exception)
{
    struct side s;
    open_side(&s, "b1 b2 b3 ; fall=1 after=5000");
    s.out[2] = true;
    check(&s, 0, false, 0, 0);
    ck_assert(excepted(&s, 0, 0));
    check(&s, 1, false, 1, 1);
    ck_assert(!excepted(&s, 0, 1) && !excepted(&s, 1, 1));
    ck_assert(!witness_blind(s.w)); /* b3 is out by agreement, and is up here */
    check(&s, 1, true, 2, 2);
    ck_assert(excepted(&s, 0, 2));
    ck_assert(!excepted(&s, 1, 2)); /* its delay would leave nobody */
    close_side(&s);
}
END_TEST

START_TEST(without_a_fleet_there_are_no_exceptions)
{
    struct side s;
    open_side(&s, "b1 b2 ; fall=1 after=5000");
    const struct witness_context c = {s.out, s.agreed, false};
    check(&s, 0, false, 0, 0);
    witness_settle(s.w, &c, 0);
    ck_assert(!s.w->seen[0].excepted);
    close_side(&s);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("witness");
    TCase *t = tcase_create("witness");
    tcase_add_test(t, no_vote_before_the_first_check);
    tcase_add_test(t, down_needs_sight_of_another_server_since);
    tcase_add_test(t, a_pool_of_one_needs_no_proof);
    tcase_add_loop_test(t, sight_is_of_all_servers_but_one, 0, 4);
    tcase_add_test(t, a_claim_of_others_makes_one_failure_enough);
    tcase_add_test(t, a_stall_takes_votes_away_until_a_later_check);
    tcase_add_test(t, without_checks_traffic_votes_for_an_interval);
    tcase_add_test(t, an_exception_ends_after_its_delay_and_a_relapse_doubles_that);
    tcase_add_loop_test(t, an_agreement_ends_an_exception_once_the_server_is_up, 0, 2);
    tcase_add_test(t, a_delay_ends_when_nobody_else_could_serve);
    tcase_add_test(t, who_sees_no_server_makes_no_exception);
    tcase_add_test(t, without_a_fleet_there_are_no_exceptions);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
