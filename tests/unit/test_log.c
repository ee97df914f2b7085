/* The event log writes to stderr: a test puts a pipe in its place for one line. */
#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/lib/unit.h"

/* log_end(), and what it wrote; less than a pipe holds, so that nothing blocks. */
static void capture(struct log_line *l, char *out, size_t size)
{
    int ends[2], saved = dup(STDERR_FILENO);
    ck_assert_int_ge(saved, 0);
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    log_end(l);
    ck_assert_int_eq(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    close(saved);
    close(ends[1]);
    ssize_t n = read(ends[0], out, size - 1);
    ck_assert_int_ge(n, 0);
    out[n] = 0;
    close(ends[0]);
}

START_TEST(a_line_is_logfmt)
{
    struct log_line l;
    char out[2048];
    ck_assert(log_begin(&l, LOG_WARN, "backend down"));
    log_str(&l, "pool", "cache");
    log_str(&l, "reason", "no route to host");
    log_u64(&l, "n", UINT64_MAX);
    log_share(&l, "share", 0.200134);
    log_fmt(&l, "at", "%s:%d", "x", 80);
    log_str(&l, "empty", "");
    capture(&l, out, sizeof out);
    ck_assert(strncmp(out, "time=", 5) == 0 && out[28] == 'Z');
    ck_assert_str_eq(out + 29, " level=warn event=\"backend down\" pool=cache "
                               "reason=\"no route to host\" n=18446744073709551615 "
                               "share=20.0134% at=x:80 empty=\"\"\n");
}
END_TEST

START_TEST(nothing_can_forge_a_line)
{
    struct log_line l;
    char out[2048];
    ck_assert(log_begin(&l, LOG_ERROR, "x"));
    log_strn(&l, "key", "a\"b\\c\nd\0e\x7f\x1b", 11);
    log_str(&l, "equals", "a=b");
    capture(&l, out, sizeof out);
    ck_assert_ptr_nonnull(
        strstr(out, " key=\"a\\\"b\\\\c\\x0ad\\x00e\\x7f\\x1b\" equals=\"a=b\"\n"));
    ck_assert_ptr_eq(strchr(out, '\n'), out + strlen(out) - 1);
}
END_TEST

START_TEST(a_long_line_is_cut)
{
    struct log_line l;
    char out[4096], text[3000];
    memset(text, '\n', sizeof text);
    ck_assert(log_begin(&l, LOG_ERROR, "x"));
    log_strn(&l, "a", text, sizeof text);
    log_strn(&l, "b", text, sizeof text);
    capture(&l, out, sizeof out);
    ck_assert_uint_le(strlen(out), LOG_LINE_MAX);
    ck_assert_str_eq(out + strlen(out) - 4, "...\n");
    ck_assert_ptr_eq(strchr(out, '\n'), out + strlen(out) - 1);
}
END_TEST

START_TEST(levels_below_the_wanted_one_are_not_written)
{
    struct log_line l;
    ck_assert(!log_begin(&l, LOG_DEBUG, "x"));
    ck_assert(log_begin(&l, LOG_INFO, "x"));
    log_set_level(LOG_DEBUG);
    ck_assert(log_begin(&l, LOG_DEBUG, "x"));
    log_set_level(LOG_ERROR);
    ck_assert(!log_begin(&l, LOG_WARN, "x"));
    ck_assert(log_begin(&l, LOG_ERROR, "x"));
    log_set_level(LOG_INFO);
}
END_TEST

START_TEST(a_started_log_writes_all_before_it_stops)
{
    struct error e;
    char text[64 * 1024], expected[32];
    int ends[2], saved = dup(STDERR_FILENO);
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    bool started = log_start(&e);
    for (int i = 0; i < 100; i++) {
        struct log_line l;
        log_begin(&l, LOG_INFO, "x");
        log_u64(&l, "i", (uint64_t)i);
        log_end(&l);
    }
    log_last_words("the end\n");
    log_event(LOG_INFO, "written", "directly");
    ck_assert_int_eq(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    close(saved);
    close(ends[1]);
    ck_assert(started);
    size_t n = 0;
    for (ssize_t r; (r = read(ends[0], text + n, sizeof text - 1 - n)) > 0;)
        n += (size_t)r;
    text[n] = 0;
    close(ends[0]);
    const char *at = text;
    for (int i = 0; i < 100; i++) {
        snprintf(expected, sizeof expected, " i=%d\n", i);
        at = strstr(at, expected);
        ck_assert_ptr_nonnull(at);
    }
    at = strstr(at, "\nthe end\ntime=");
    ck_assert_ptr_nonnull(at);
    ck_assert_ptr_nonnull(strstr(at, " event=written reason=directly\n"));
    ck_assert_uint_eq(log_dropped(), 0);
}
END_TEST

/* Takes nothing more until somebody reads. */
static void open_full_pipe(int ends[2])
{
    static const char much[4096];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    while (write(ends[1], much, sizeof much) > 0)
        ;
    ck_assert_int_eq(fcntl(ends[1], F_SETFL, 0), 0);
}

static void die(int err, bool start)
{
    struct error e;
    dup2(err, STDERR_FILENO);
    if (start && !log_start(&e))
        _exit(1);
    assert(!"so");
}

/* _i: whether the log was started. Only then it makes the pipe larger. */
START_TEST(a_failed_assertion_ends_the_process_though_nobody_reads)
{
    int ends[2], status;
    char text[128 * 1024];
    open_full_pipe(ends);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        die(ends[1], _i);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    close(ends[1]);
    size_t n = 0;
    for (ssize_t r; (r = read(ends[0], text + n, sizeof text - n)) > 0;)
        n += (size_t)r;
    close(ends[0]);
    static const char end[] = ": die: Assertion `!\"so\"' failed.\n";
    bool said = memcmp(text + n - strlen(end), end, strlen(end)) == 0;
    ck_assert_int_eq(said, _i);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("log");
    TCase *t = tcase_create("log");
    tcase_add_test(t, a_line_is_logfmt);
    tcase_add_test(t, nothing_can_forge_a_line);
    tcase_add_test(t, a_long_line_is_cut);
    tcase_add_test(t, levels_below_the_wanted_one_are_not_written);
    tcase_add_test(t, a_started_log_writes_all_before_it_stops);
    tcase_add_loop_test(t, a_failed_assertion_ends_the_process_though_nobody_reads, 0, 2);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
