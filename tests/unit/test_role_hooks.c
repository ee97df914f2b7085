#include "app/role_hooks.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/lib/unit.h"

static uv_loop_t loop;
static struct role_hooks *hooks;
static unsigned ended;
static int old_stderr;
static FILE *logged;
static char shell[] = "/bin/sh", dash_c[] = "-c";

/* The log goes to a file for the time of a test. */
static void begin(const char *on_active, const char *on_standby)
{
    char texts[2][512] = {"", ""};
    char *active[] = {shell, dash_c, texts[0], NULL};
    char *standby[] = {shell, dash_c, texts[1], NULL};
    snprintf(texts[0], sizeof texts[0], "%s", on_active ? on_active : "");
    snprintf(texts[1], sizeof texts[1], "%s", on_standby ? on_standby : "");
    ended = 0;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    hooks = role_hooks_new(&loop, "node 1", on_active ? active : NULL, on_standby ? standby : NULL);
    log_set_level(LOG_INFO);
    fflush(stderr);
    old_stderr = dup(2);
    logged = tmpfile();
    dup2(fileno(logged), 2);
}

static char *end(void)
{
    static char text[16384];
    role_hooks_close(hooks);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    fflush(stderr);
    dup2(old_stderr, 2);
    close(old_stderr);
    ssize_t n = pread(fileno(logged), text, sizeof text - 1, 0);
    ck_assert_int_ge(n, 0);
    text[n] = 0;
    fclose(logged);
    return text;
}

static void on_end(void *arg)
{
    ended++;
}

static void run_until(unsigned n)
{
    while (ended < n)
        uv_run(&loop, UV_RUN_ONCE);
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, what)); at++)
        n++;
    return n;
}

#define HAS(text, what) ck_assert_msg(strstr(text, what) != NULL, "no %s in:\n%s", what, text)

START_TEST(a_command_hears_what_it_is_for)
{
    begin("echo $RINGPROXY_ROLE,$RINGPROXY_NODE,$RINGPROXY_EPOCH,$0 >&2; echo to nobody", NULL);
    setenv("RINGPROXY_EPOCH", "of another", 1);
    role_hooks_run(hooks, ROLE_HOOK_ACTIVE, UINT64_C(1795430400123), on_end, NULL);
    ck_assert_uint_eq(ended, 0);
    run_until(1);
    unsetenv("RINGPROXY_EPOCH");
    const char *text = end();
    HAS(text, "active,node 1,1795430400123,/bin/sh");
    HAS(text, "command done");
}
END_TEST

START_TEST(its_input_is_empty_and_its_output_is_dropped)
{
    begin("read x && exit 3; echo dropped; exit 4", NULL);
    role_hooks_run(hooks, ROLE_HOOK_ACTIVE, 1, on_end, NULL);
    run_until(1);
    const char *text = end();
    ck_assert_ptr_null(strstr(text, "dropped"));
    HAS(text, "4");
    HAS(text, "command failed");
}
END_TEST

START_TEST(one_runs_at_a_time_in_order)
{
    char file[] = "/tmp/test_hooks_XXXXXX", script[256], got[64] = "";
    int fd = mkstemp(file);
    ck_assert_int_ge(fd, 0);
    snprintf(script, sizeof script,
             "printf '<' >>%s; sleep 0.05; printf '%%s>' $RINGPROXY_EPOCH >>%s", file, file);
    begin(script, script);
    role_hooks_run(hooks, ROLE_HOOK_ACTIVE, 1, on_end, NULL);
    role_hooks_run(hooks, ROLE_HOOK_STANDBY, 2, on_end, NULL);
    role_hooks_run(hooks, ROLE_HOOK_ACTIVE, 3, on_end, NULL);
    role_hooks_run(hooks, ROLE_HOOK_STANDBY, 4, on_end, NULL);
    run_until(4);
    end();
    ck_assert_int_gt(pread(fd, got, sizeof got - 1, 0), 0);
    ck_assert_msg(strcmp(got, "<1><4>") == 0, "2 and 3 have no effect together: %s", got);
    close(fd);
    unlink(file);
}
END_TEST

START_TEST(a_command_that_is_not_there_is_told_and_the_next_one_runs)
{
    char none[] = "/nowhere/at/all", always[] = "/bin/true";
    char *nothing[] = {none, NULL}, *good[] = {always, NULL};
    begin(NULL, NULL);
    role_hooks_close(hooks);
    hooks = role_hooks_new(&loop, "n", nothing, good);
    role_hooks_run(hooks, ROLE_HOOK_ACTIVE, 1, on_end, NULL);
    role_hooks_run(hooks, ROLE_HOOK_STANDBY, 1, on_end, NULL);
    ck_assert_uint_eq(ended, 0);
    run_until(2);
    const char *text = end();
    HAS(text, "/nowhere/at/all");
    HAS(text, "no such file");
    HAS(text, "command done");
}
END_TEST

START_TEST(a_command_that_hangs_is_killed_with_what_it_started)
{
    begin("sleep 100 & sleep 100", "true");
    role_hooks_set_most(hooks, 50);
    role_hooks_run(hooks, ROLE_HOOK_ACTIVE, 1, on_end, NULL);
    run_until(1);
    HAS(end(), "killed");
}
END_TEST

START_TEST(what_a_command_leaves_running_is_not_waited_for)
{
    begin("sleep 3 & echo started >&2", NULL);
    uint64_t begun = uv_hrtime();
    role_hooks_run(hooks, ROLE_HOOK_ACTIVE, 1, on_end, NULL);
    run_until(1);
    ck_assert_uint_lt((uv_hrtime() - begun) / 1000000, 2900);
    HAS(end(), "started");
}
END_TEST

START_TEST(of_what_it_says_a_little_is_kept_and_the_rest_is_read)
{
    begin("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo done >&2; exit 0", NULL);
    role_hooks_run(hooks, ROLE_HOOK_ACTIVE, 1, on_end, NULL);
    run_until(1);
    const char *text = end();
    HAS(text, "command done");
    ck_assert_uint_le(count(text, "x"), ROLE_HOOKS_TEXT + 10);
    ck_assert_uint_ge(count(text, "x"), ROLE_HOOKS_TEXT - 10);
}
END_TEST

START_TEST(control_characters_do_not_reach_the_log)
{
    begin("printf 'a\\033[31mb\\nc' >&2", NULL);
    role_hooks_run(hooks, ROLE_HOOK_ACTIVE, 1, on_end, NULL);
    run_until(1);
    const char *text = end();
    ck_assert_ptr_null(strchr(text, '\033'));
    ck_assert_uint_eq(count(text, "\n"), 1);
}
END_TEST

START_TEST(what_was_asked_for_runs_though_the_loop_ends)
{
    char file[] = "/tmp/test_hooks_XXXXXX", script[256], got[64] = "";
    int fd = mkstemp(file);
    ck_assert_int_ge(fd, 0);
    snprintf(script, sizeof script, "printf $RINGPROXY_ROLE >>%s", file);
    begin(script, script);
    role_hooks_run(hooks, ROLE_HOOK_ACTIVE, 1, on_end, NULL);
    role_hooks_run(hooks, ROLE_HOOK_STANDBY, 1, on_end, NULL);
    end();
    ck_assert_uint_eq(ended, 0);
    ck_assert_int_gt(pread(fd, got, sizeof got - 1, 0), 0);
    ck_assert_str_eq(got, "activestandby");
    close(fd);
    unlink(file);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("role_hooks");
    TCase *t = tcase_create("role_hooks");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_command_hears_what_it_is_for);
    tcase_add_test(t, its_input_is_empty_and_its_output_is_dropped);
    tcase_add_test(t, one_runs_at_a_time_in_order);
    tcase_add_test(t, a_command_that_is_not_there_is_told_and_the_next_one_runs);
    tcase_add_test(t, a_command_that_hangs_is_killed_with_what_it_started);
    tcase_add_test(t, what_a_command_leaves_running_is_not_waited_for);
    tcase_add_test(t, of_what_it_says_a_little_is_kept_and_the_rest_is_read);
    tcase_add_test(t, control_characters_do_not_reach_the_log);
    tcase_add_test(t, what_was_asked_for_runs_though_the_loop_ends);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    return unit_main(build);
}
