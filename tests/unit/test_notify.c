/* What is sent, seen by a socket in the place of systemd's. */
#include "app/notify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/lib/unit.h"

#define TURNS_MAX 10000 /* of a loop that waits for its timers */

static int manager; /* reads the notifications; it does not block */
static char name[64];
static char got[4096];

static void set_up(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    socklen_t len = sizeof a.sun_family;
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* the kernel takes a free abstract name of five digits */
    ck_assert_int_eq(bind(manager, (struct sockaddr *)&a, len), 0);
    len = sizeof a;
    ck_assert_int_eq(getsockname(manager, (struct sockaddr *)&a, &len), 0);
    snprintf(name, sizeof name, "@%.*s", (int)(len - sizeof a.sun_family - 1), a.sun_path + 1);
    setenv("NOTIFY_SOCKET", name, 1);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

static void tear_down(void)
{
    close(manager);
}

static bool heard_anything(void)
{
    ssize_t n = recv(manager, got, sizeof got - 1, 0);
    ck_assert(n >= 0 || errno == EAGAIN);
    got[n < 0 ? 0 : n] = 0;
    return n >= 0;
}

static void heard(const char *text)
{
    ck_assert_msg(heard_anything(), "nothing, not %s", text);
    ck_assert_str_eq(got, text);
}

START_TEST(changes_of_state_are_one_message_each)
{
    notify_ready();
    heard("READY=1");
    notify_stopping();
    heard("STOPPING=1");
    notify_status("all is well");
    heard("STATUS=all is well");
    ck_assert(!heard_anything());
}
END_TEST

START_TEST(a_reload_comes_with_its_time)
{
    struct timespec now;
    unsigned long long usec;
    notify_reloading();
    ck_assert(heard_anything());
    ck_assert_int_eq(sscanf(got, "RELOADING=1\nMONOTONIC_USEC=%llu", &usec), 1);
    clock_gettime(CLOCK_MONOTONIC, &now);
    unsigned long long after = (unsigned long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    ck_assert(usec <= after && usec > 0 && after - usec < 60 * 1000000ULL);
}
END_TEST

START_TEST(a_path_names_the_socket_too)
{
    char dir[] = "/tmp/notifyXXXXXX", path[64];
    ck_assert_ptr_nonnull(mkdtemp(dir));
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(path, sizeof path, "%s/s", dir);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    close(manager);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(manager, (struct sockaddr *)&a, sizeof a), 0);
    setenv("NOTIFY_SOCKET", path, 1);
    notify_ready();
    heard("READY=1");
    unlink(path);
    rmdir(dir);
}
END_TEST

START_TEST(after_another_main_process_this_one_is_silent)
{
    char text[32];
    notify_main_pid(getpid() + 1);
    snprintf(text, sizeof text, "MAINPID=%ld", (long)getpid() + 1);
    heard(text);
    notify_status("gone");
    notify_stopping();
    ck_assert(!heard_anything());
    notify_main_pid(getpid());
    snprintf(text, sizeof text, "MAINPID=%ld", (long)getpid());
    heard(text);
    notify_ready();
    heard("READY=1");
}
END_TEST

START_TEST(without_a_manager_nothing_happens)
{
    static const char *const names[] = {"", "@", "relative/path", "vsock:2:9999"};
    uv_loop_t loop;
    struct notify n;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    setenv("WATCHDOG_USEC", "1000", 1);
    for (size_t i = 0; i <= sizeof names / sizeof *names; i++) {
        if (i < sizeof names / sizeof *names)
            setenv("NOTIFY_SOCKET", names[i], 1);
        else
            unsetenv("NOTIFY_SOCKET");
        notify_ready();
        notify_open(&n, &loop, NULL, NULL);
        notify_changed(&n);
        ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0); /* no timer keeps it */
        notify_close(&n);
    }
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

/* A manager that does not read, or has gone, must not stop the proxy. */
START_TEST(a_manager_that_does_not_read_is_not_waited_for)
{
    for (int i = 0; i < 2000; i++)
        notify_status("nobody reads this");
    notify_stopping(); /* for a second at most */
    close(manager);
    notify_ready();
    manager = -1;
}
END_TEST

/* ---- from a loop ---- */

static unsigned described;
static const char *line;

static void describe(void *arg, char *text, size_t size)
{
    described++;
    snprintf(text, size, "%s", line);
}

static void run_until(uv_loop_t *loop, bool (*done)(void))
{
    for (int i = 0; i < TURNS_MAX && !done(); i++)
        uv_run(loop, UV_RUN_ONCE);
}

static bool was_described(void)
{
    return described > 0;
}

START_TEST(many_changes_are_one_message_and_a_text_is_sent_once)
{
    uv_loop_t loop;
    struct notify n;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    notify_open(&n, &loop, describe, NULL);
    line = "one";
    for (int round = 0; round < 2; round++) {
        described = 0;
        for (int i = 0; i < 1000; i++)
            notify_changed(&n);
        ck_assert_uint_eq(described, 0);
        run_until(&loop, was_described);
        ck_assert_uint_eq(described, 1);
        if (round == 0)
            heard("STATUS=one");
        ck_assert(!heard_anything()); /* the second time the text is the same */
    }
    notify_close(&n);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

static bool has_heard(void)
{
    return heard_anything();
}

/* The first sign at once, each further one after half of the interval, and none after the end. */
START_TEST(signs_of_life_come_at_half_of_the_interval)
{
    uv_loop_t loop;
    struct notify n;
    char pid[32];
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    setenv("WATCHDOG_USEC", "100000", 1);
    setenv("WATCHDOG_PID", pid, 1);
    uint64_t from = uv_hrtime();
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    notify_open(&n, &loop, describe, NULL);
    for (int i = 0; i < 3; i++) {
        got[0] = 0;
        run_until(&loop, has_heard);
        ck_assert_str_eq(got, "WATCHDOG=1");
    }
    /* twice 50 ms, of a clock in whole milliseconds */
    ck_assert_uint_ge(uv_hrtime() - from, 98 * 1000000ULL);
    notify_close(&n);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(!heard_anything());
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

START_TEST(a_watchdog_of_another_process_or_none_is_none)
{
    static const struct {
        const char *usec, *pid;
    } cases[] = {{"1000", "1"}, {"1000", "x"}, {"0", NULL}, {"1 s", NULL}, {"", NULL}};
    uv_loop_t loop;
    struct notify n;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv("WATCHDOG_USEC", cases[i].usec, 1);
        unsetenv("WATCHDOG_PID");
        if (cases[i].pid)
            setenv("WATCHDOG_PID", cases[i].pid, 1);
        notify_open(&n, &loop, describe, NULL);
        ck_assert_int_eq(uv_run(&loop, UV_RUN_NOWAIT), 0); /* nothing to wait for */
        notify_close(&n);
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    ck_assert(!heard_anything());
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("notify");
    TCase *t = tcase_create("all");
    log_set_level(LOG_ERROR); /* a manager that has gone is warned of */
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, changes_of_state_are_one_message_each);
    tcase_add_test(t, a_reload_comes_with_its_time);
    tcase_add_test(t, a_path_names_the_socket_too);
    tcase_add_test(t, after_another_main_process_this_one_is_silent);
    tcase_add_test(t, without_a_manager_nothing_happens);
    tcase_add_test(t, many_changes_are_one_message_and_a_text_is_sent_once);
    tcase_add_test(t, signs_of_life_come_at_half_of_the_interval);
    tcase_add_test(t, a_watchdog_of_another_process_or_none_is_none);
    tcase_add_test(t, a_manager_that_does_not_read_is_not_waited_for);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
