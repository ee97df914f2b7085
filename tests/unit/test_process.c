/* Children that are started, signalled and waited for, and waits that are broken off. */
#include "bench/failover/process.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/failover/wait.h"
#include "tests/lib/unit.h"

#define LONG_MS 60000

static char folder[] = "/tmp/test_process.XXXXXX";
static struct wait w;
static struct process p;

static void set_up(void)
{
    struct error e;
    ck_assert(wait_open(&w, &e));
    process_init(&p, "child", folder);
}

static void tear_down(void)
{
    if (p.output)
        unlink(p.output);
    process_deinit(&p);
    wait_close(&w);
}

static void start(const char *script)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    struct error e;
    ck_assert_msg(process_start(&p, &w.loop, argv, &e), "%s", e.text);
    ck_assert(process_running(&p));
}

static void await_end(void)
{
    ck_assert_int_eq(wait_until(&w, process_over, &p, LONG_MS), WAIT_DONE);
    ck_assert(!process_running(&p));
}

static bool has_said(void *word)
{
    char text[256];
    process_last_words(&p, text, sizeof text);
    return strstr(text, word) != NULL;
}

static bool never(void *arg)
{
    return false;
}

START_TEST(a_child_ends_with_its_exit_code_and_words)
{
    struct error e;
    char text[256];
    start("echo to stdout; echo to stderr >&2; exit 3");
    await_end();
    process_explain_end(&p, &e);
    ck_assert_str_eq(e.text, "child ended with exit code 3");
    process_last_words(&p, text, sizeof text);
    ck_assert_str_eq(text, "to stdout\nto stderr\n");
}
END_TEST

START_TEST(a_child_may_be_started_again_and_adds_to_its_words)
{
    char text[256];
    start("echo one");
    await_end();
    start("echo two");
    await_end();
    process_last_words(&p, text, sizeof text);
    ck_assert_str_eq(text, "one\ntwo\n");
}
END_TEST

START_TEST(only_the_last_words_are_told)
{
    char text[256], small[8];
    start("seq 1 100");
    await_end();
    process_last_words(&p, text, sizeof text);
    ck_assert_str_eq(text, "91\n92\n93\n94\n95\n96\n97\n98\n99\n100\n");
    process_last_words(&p, small, sizeof small);
    ck_assert_str_eq(small, "99\n100\n");
}
END_TEST

START_TEST(a_signal_ends_a_child_and_is_named)
{
    struct error e;
    start("echo up; exec sleep 1000");
    ck_assert_int_eq(wait_until(&w, has_said, (char[]){"up"}, LONG_MS), WAIT_DONE);
    ck_assert(process_signal(&p, SIGTERM, &e));
    await_end();
    process_explain_end(&p, &e);
    ck_assert_str_eq(e.text, "child was ended by SIGTERM");
    ck_assert(!process_signal(&p, SIGTERM, &e));
    ck_assert_str_eq(e.text, "child was ended by SIGTERM");
}
END_TEST

/* The grandchild holds the write end of the pipe that `cat` reads: were it alive, cat would be. */
START_TEST(a_kill_takes_the_childs_children_too)
{
    struct error e;
    char command[256];
    snprintf(command, sizeof command, "mkfifo %s/pipe; (exec sleep 1000) >%s/pipe & echo up; wait",
             folder, folder);
    start(command);
    ck_assert_int_eq(wait_until(&w, has_said, (char[]){"up"}, LONG_MS), WAIT_DONE);
    snprintf(command, sizeof command, "%s/pipe", folder);
    FILE *f = fopen(command, "r"); /* waits for the grandchild */
    ck_assert_ptr_nonnull(f);
    ck_assert(process_signal(&p, SIGKILL, &e));
    await_end();
    ck_assert_int_eq(fgetc(f), EOF); /* waits for its end */
    fclose(f);
    unlink(command);
}
END_TEST

START_TEST(a_program_that_is_not_there_is_said)
{
    const char *const argv[] = {"/nonexistent/program", NULL};
    struct error e;
    ck_assert(!process_start(&p, &w.loop, argv, &e));
    ck_assert_str_eq(e.text, "/nonexistent/program: no such file or directory");
    ck_assert(!process_running(&p));
    await_end();
}
END_TEST

START_TEST(a_wait_ends_late_or_by_a_signal)
{
    struct error e;
    enum wait_result r = wait_until(&w, never, NULL, 20);
    ck_assert_int_eq(r, WAIT_LATE);
    wait_explain(&w, r, 20, &e, "%s to be ready", "it");
    ck_assert_str_eq(e.text, "it to be ready: not within 0 s");
    ck_assert_int_eq(raise(SIGTERM), 0);
    r = wait_until(&w, never, NULL, LONG_MS);
    ck_assert_int_eq(r, WAIT_INTERRUPTED);
    ck_assert_int_eq(wait_until(&w, process_over, &p, LONG_MS), WAIT_INTERRUPTED);
    wait_explain(&w, r, LONG_MS, &e, "x");
    ck_assert_str_eq(e.text, "interrupted by SIGTERM");
    wait_forget_signal(&w);
    ck_assert_int_eq(wait_until(&w, process_over, &p, LONG_MS), WAIT_DONE);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("process");
    TCase *t = tcase_create("process");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_child_ends_with_its_exit_code_and_words);
    tcase_add_test(t, a_child_may_be_started_again_and_adds_to_its_words);
    tcase_add_test(t, only_the_last_words_are_told);
    tcase_add_test(t, a_signal_ends_a_child_and_is_named);
    tcase_add_test(t, a_kill_takes_the_childs_children_too);
    tcase_add_test(t, a_program_that_is_not_there_is_said);
    tcase_add_test(t, a_wait_ends_late_or_by_a_signal);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    if (mkdtemp(folder) == NULL) {
        perror(folder);
        return EXIT_FAILURE;
    }
    int code = unit_main(build);
    rmdir(folder);
    return code;
}
