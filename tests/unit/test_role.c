#include "app/role.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/unit.h"

/* The proxy that it acts on: what was done to it, a letter a deed. */
static struct {
    uv_loop_t loop;
    struct role *role;
    struct error refusal; /* code 0: listen() works */
    char done[64];        /* L listen, S silence, C cut, A and N accepting or not, . left */
    bool answers;         /* silence() is answered within the call */
    char file[64];        /* the commands write to it */
} p;

static void note(char what)
{
    size_t n = strlen(p.done);
    ck_assert_uint_lt(n, sizeof p.done - 1);
    p.done[n] = what;
    p.done[n + 1] = 0;
}

static bool listens(void *arg, struct error *e)
{
    note('L');
    *e = p.refusal;
    return e->code == 0;
}

static void silence(void *arg)
{
    note('S');
    if (p.answers)
        role_silenced(p.role);
}

static void cut(void *arg)
{
    note('C');
}

static void changed(void *arg, bool accepting)
{
    note(accepting ? 'A' : 'N');
}

static void left(void *arg)
{
    note('.');
}

static const struct role_ops ops = {listens, silence, cut, changed};

static char *no_command[] = {NULL};
static char name[] = "edge", node[] = "n1", shell[] = "/bin/sh", dash_c[] = "-c";

static void begin(char **on_active, char **on_standby)
{
    int r;
    struct config_cluster c = {
        .name = name, .node = node, .on_active = on_active, .on_standby = on_standby};
    memset(&p, 0, sizeof p);
    ck_assert_int_eq(uv_loop_init(&p.loop), 0);
    const struct role_options o = {
        .loop = &p.loop, .cluster = &c, .shutdown_timeout_ms = 20, .ops = &ops};
    p.role = role_new(&o, &r);
    ck_assert_ptr_nonnull(p.role);
}

static void end(void)
{
    role_close(p.role);
    ck_assert_int_eq(uv_run(&p.loop, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(uv_loop_close(&p.loop), 0);
}

static void run_until(const char *done)
{
    while (strcmp(p.done, done) != 0) {
        ck_assert_msg(strncmp(p.done, done, strlen(p.done)) == 0, "%s, not %s", p.done, done);
        uv_run(&p.loop, UV_RUN_ONCE);
    }
}

START_TEST(it_stands_by_until_it_is_wanted)
{
    begin(NULL, NULL);
    role_begin(p.role, false);
    role_start(p.role, false);
    ck_assert_str_eq(p.done, "");
    ck_assert(!role_accepting(p.role));
    role_wish(p.role, true, 7);
    ck_assert_str_eq(p.done, "LA");
    ck_assert(role_accepting(p.role));
    role_wish(p.role, true, 7);
    role_wish(p.role, false, 7);
    ck_assert_str_eq(p.done, "LAS");
    ck_assert_msg(role_accepting(p.role), "until all workers have stopped");
    role_silenced(p.role);
    ck_assert_str_eq(p.done, "LASN");
    ck_assert(!role_accepting(p.role));
    end();
}
END_TEST

START_TEST(a_wish_before_the_first_checks_is_kept)
{
    begin(NULL, NULL);
    role_begin(p.role, false);
    role_wish(p.role, true, 7);
    ck_assert_str_eq(p.done, "");
    role_start(p.role, false);
    ck_assert_str_eq(p.done, "LA");
    end();
}
END_TEST

START_TEST(sockets_that_listen_are_accepted_from_until_the_fleet_says_otherwise)
{
    begin(NULL, NULL);
    role_begin(p.role, true);
    role_start(p.role, true);
    ck_assert_str_eq(p.done, "LA");
    role_wish(p.role, false, 7);
    ck_assert_str_eq(p.done, "LAS");
    end();
    begin(NULL, NULL);
    role_begin(p.role, true);
    role_wish(p.role, false, 7);
    role_start(p.role, true);
    ck_assert_str_eq(p.done, "LAS");
    end();
}
END_TEST

START_TEST(what_is_wanted_while_workers_stop_comes_next)
{
    begin(NULL, NULL);
    role_begin(p.role, false);
    role_start(p.role, false);
    role_wish(p.role, true, 7);
    role_wish(p.role, false, 8);
    role_wish(p.role, true, 9);
    ck_assert_str_eq(p.done, "LAS");
    role_silenced(p.role);
    ck_assert_str_eq(p.done, "LASNLA");
    end();
}
END_TEST

START_TEST(what_is_open_is_cut_off_in_the_end)
{
    begin(NULL, NULL);
    p.answers = true;
    role_begin(p.role, false);
    role_start(p.role, false);
    role_wish(p.role, true, 7);
    role_wish(p.role, false, 7);
    ck_assert_str_eq(p.done, "LASN");
    run_until("LASNC");
    end();
}
END_TEST

START_TEST(nothing_is_cut_off_if_it_is_active_again_in_time)
{
    begin(NULL, NULL);
    p.answers = true;
    role_begin(p.role, false);
    role_start(p.role, false);
    role_wish(p.role, true, 7);
    role_wish(p.role, false, 7);
    role_wish(p.role, true, 7);
    ck_assert_str_eq(p.done, "LASNLA");
    end(); /* the loop would run until the timer */
    ck_assert_str_eq(p.done, "LASNLA");
}
END_TEST

START_TEST(a_port_that_cannot_be_had_is_asked_for_again)
{
    begin(NULL, NULL);
    role_begin(p.role, false);
    role_start(p.role, false);
    error_set(&p.refusal, 98, "listen: address already in use");
    role_wish(p.role, true, 7);
    ck_assert_int_eq(role_state(p.role), ROLE_ACTIVATING);
    ck_assert(role_failing(p.role) && !role_accepting(p.role));
    run_until("LL");
    p.refusal.code = 0;
    run_until("LLLA");
    ck_assert(!role_failing(p.role));
    end();
}
END_TEST

START_TEST(what_nobody_wants_any_more_is_not_asked_for_again)
{
    begin(NULL, NULL);
    role_begin(p.role, false);
    role_start(p.role, false);
    error_set(&p.refusal, 98, "listen: address already in use");
    role_wish(p.role, true, 7);
    role_wish(p.role, false, 7);
    ck_assert_int_eq(role_state(p.role), ROLE_STANDBY);
    ck_assert(!role_failing(p.role));
    end();
    ck_assert_str_eq(p.done, "L");
}
END_TEST

/* ---- with commands ---- */

static char script[256];
static char sleep_script[] = "exec sleep 100";
static char *write_role[] = {shell, dash_c, script, NULL};
static char *sleep_long[] = {shell, dash_c, sleep_script, NULL};

/* Commands that append a word to a file. */
static void begin_with_file(void)
{
    char file[] = "/tmp/test_role_XXXXXX";
    int fd = mkstemp(file);
    ck_assert_int_ge(fd, 0);
    close(fd);
    snprintf(script, sizeof script, "echo $RINGPROXY_ROLE-$RINGPROXY_EPOCH >>%s", file);
    begin(write_role, write_role);
    strcpy(p.file, file);
}

static void end_with_file(const char *lines)
{
    char got[256] = "";
    end(); /* with the last command */
    FILE *f = fopen(p.file, "r");
    ck_assert_ptr_nonnull(f);
    size_t n = fread(got, 1, sizeof got - 1, f);
    got[n] = 0;
    fclose(f);
    unlink(p.file);
    ck_assert_str_eq(got, lines);
}

START_TEST(commands_run_at_each_change_at_start_and_at_a_clean_stop)
{
    begin_with_file();
    p.answers = true;
    role_begin(p.role, false);
    role_start(p.role, false);
    role_wish(p.role, true, 7);
    ck_assert_str_eq(p.done, "LA");
    role_wish(p.role, false, 8);
    ck_assert_msg(strcmp(p.done, "LA") == 0, "it accepts until the address is gone");
    run_until("LASN");
    role_wish(p.role, true, 9);
    role_announce(p.role);
    role_leave(p.role, left, NULL);
    run_until("LASNLA.");
    end_with_file("standby-0\nactive-7\nstandby-8\nactive-9\nactive-9\nstandby-9\n");
}
END_TEST

START_TEST(a_standby_that_stops_waits_for_nothing)
{
    begin_with_file();
    role_begin(p.role, false);
    role_start(p.role, false);
    role_leave(p.role, left, NULL);
    ck_assert_str_eq(p.done, ".");
    role_wish(p.role, true, 7);
    ck_assert_str_eq(p.done, ".");
    end_with_file("standby-0\nstandby-0\n");
}
END_TEST

START_TEST(after_a_handover_no_command_runs)
{
    begin_with_file();
    role_begin(p.role, false);
    role_start(p.role, false);
    role_wish(p.role, true, 7);
    role_hand_over(p.role);
    role_wish(p.role, false, 8);
    ck_assert_str_eq(p.done, "LA");
    end_with_file("standby-0\nactive-7\n");
}
END_TEST

START_TEST(whoever_is_wanted_again_during_on_standby_announces_the_address_again)
{
    begin_with_file();
    role_begin(p.role, false);
    role_start(p.role, false);
    role_wish(p.role, true, 7);
    role_wish(p.role, false, 8);
    role_wish(p.role, true, 9);
    while (role_state(p.role) != ROLE_ACTIVE)
        uv_run(&p.loop, UV_RUN_ONCE);
    ck_assert_str_eq(p.done, "LA");
    end_with_file("standby-0\nactive-7\nstandby-8\nactive-9\n");
}
END_TEST

START_TEST(a_command_that_hangs_is_waited_for_a_second)
{
    begin(no_command, sleep_long);
    role_set_most(p.role, ROLE_LEAVE_MS + 100);
    p.answers = true;
    role_start(p.role, true);
    uv_update_time(&p.loop); /* from which its timers count */
    uint64_t begun = uv_hrtime();
    role_wish(p.role, false, 8);
    run_until("LASN");
    uint64_t ms = (uv_hrtime() - begun) / 1000000;
    ck_assert_uint_ge(ms, ROLE_LEAVE_MS - 1);
    ck_assert_uint_lt(ms, 8000);
    end();
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("role");
    TCase *t = tcase_create("role");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, it_stands_by_until_it_is_wanted);
    tcase_add_test(t, a_wish_before_the_first_checks_is_kept);
    tcase_add_test(t, sockets_that_listen_are_accepted_from_until_the_fleet_says_otherwise);
    tcase_add_test(t, what_is_wanted_while_workers_stop_comes_next);
    tcase_add_test(t, what_is_open_is_cut_off_in_the_end);
    tcase_add_test(t, nothing_is_cut_off_if_it_is_active_again_in_time);
    tcase_add_test(t, a_port_that_cannot_be_had_is_asked_for_again);
    tcase_add_test(t, what_nobody_wants_any_more_is_not_asked_for_again);
    tcase_add_test(t, commands_run_at_each_change_at_start_and_at_a_clean_stop);
    tcase_add_test(t, a_standby_that_stops_waits_for_nothing);
    tcase_add_test(t, after_a_handover_no_command_runs);
    tcase_add_test(t, whoever_is_wanted_again_during_on_standby_announces_the_address_again);
    tcase_add_test(t, a_command_that_hangs_is_waited_for_a_second);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
