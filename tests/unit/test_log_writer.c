/* Lines through a pipe, a socket or a file that takes them late, in part or never. Each line is
 * "THREAD NUMBER padding"; a count of missing ones is "- COUNT". */
#include "base/log_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tests/lib/unit.h"

#define THREADS_MAX 4
#define EACH 2000
#define PATIENCE_MS 60000 /* for what is expected to come at once */

static size_t say(char *out, uint64_t count)
{
    return (size_t)snprintf(out, LOG_WRITER_SAY_MAX, "- %llu\n", (unsigned long long)count);
}

/* Each test has a writer that no other one uses: a thread that is stuck keeps it. */
static struct log_writer *new_writer(int fd)
{
    struct error e;
    struct log_writer *w = mem_zalloc(sizeof *w);
    *w = (struct log_writer)LOG_WRITER_INIT(fd, say);
    ck_assert_msg(log_writer_start(w, &e), "%s", e.text);
    return w;
}

static void put(struct log_writer *w, unsigned thread, unsigned number, int padding)
{
    char line[1024];
    int n = snprintf(line, sizeof line, "%u %u %*s\n", thread, number, padding, "");
    ck_assert(log_writer_put(w, line, (size_t)n));
}

static char *read_all(int fd)
{
    size_t n = 0, room = 8 << 20;
    char *text = mem_zalloc(room + 1);
    for (ssize_t r; (r = read(fd, text + n, room - n)) > 0;)
        n += (size_t)r;
    ck_assert_uint_lt(n, room);
    return text;
}

/* What was found in a text, whose lines are all whole. */
struct tally {
    unsigned next[THREADS_MAX]; /* the number after the last one of each thread */
    unsigned lines;
    uint64_t missing;
};

static void take_line(struct tally *t, const char *line)
{
    unsigned thread, number;
    unsigned long long missing;
    if (sscanf(line, "- %llu\n", &missing) == 1) {
        ck_assert_uint_gt(missing, 0);
        t->missing += missing;
    } else {
        ck_assert_int_eq(sscanf(line, "%u %u ", &thread, &number), 2);
        ck_assert_uint_lt(thread, THREADS_MAX);
        ck_assert_uint_ge(number, t->next[thread]);
        t->next[thread] = number + 1;
        t->lines++;
    }
}

static struct tally count(char *text)
{
    struct tally t = {0};
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        ck_assert_ptr_nonnull(end);
        take_line(&t, line);
        /* with one thread the count stands exactly where the lines are missing */
        if (t.next[1] + t.next[2] + t.next[3] == 0 && *line != '-')
            ck_assert_uint_eq(t.next[0], t.lines + t.missing);
    }
    free(text);
    return t;
}

static unsigned elapsed_ms(uint64_t since_ns)
{
    return (unsigned)((clock_now_ns() - since_ns) / 1000000);
}

START_TEST(lines_come_out_in_order)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    struct log_writer *w = new_writer(ends[1]);
    for (unsigned i = 0; i < 300; i++)
        put(w, 0, i, 100);
    ck_assert(log_writer_stop(w, PATIENCE_MS));
    ck_assert(!log_writer_put(w, "0 300\n", 6)); /* there is no thread any more */
    close(ends[1]);
    struct tally t = count(read_all(ends[0]));
    ck_assert_uint_eq(t.lines, 300);
    ck_assert_uint_eq(t.missing + log_writer_dropped(w), 0);
    close(ends[0]);
    free(w);
}
END_TEST

START_TEST(a_writer_may_be_started_again)
{
    int ends[2];
    struct error e;
    ck_assert_int_eq(pipe(ends), 0);
    struct log_writer *w = new_writer(ends[1]);
    put(w, 0, 0, 0);
    ck_assert(log_writer_stop(w, PATIENCE_MS));
    ck_assert(log_writer_stop(w, PATIENCE_MS)); /* a stop more does nothing */
    ck_assert(log_writer_start(w, &e));
    put(w, 0, 1, 0);
    ck_assert(log_writer_stop(w, PATIENCE_MS));
    close(ends[1]);
    ck_assert_uint_eq(count(read_all(ends[0])).lines, 2);
    close(ends[0]);
    free(w);
}
END_TEST

/* Some 20 times what pipe and queue hold. The reader comes when all has been put. */
START_TEST(what_does_not_fit_is_counted_where_it_is_missing)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    struct log_writer *w = new_writer(ends[1]);
    for (unsigned i = 0; i < 10000; i++)
        put(w, 0, i, (int)(i * 7919 % 900));
    uint64_t dropped = log_writer_dropped(w);
    ck_assert_uint_gt(dropped, 5000);
    ck_assert(log_writer_stop(w, PATIENCE_MS)); /* the pipe is made larger */
    close(ends[1]);
    struct tally t = count(read_all(ends[0]));
    ck_assert_uint_eq(t.missing, dropped);
    ck_assert_uint_eq(t.lines + t.missing, 10000);
    close(ends[0]);
    free(w);
}
END_TEST

struct talker {
    struct log_writer *w;
    unsigned index;
    pthread_t thread;
};

static void *talk(void *arg)
{
    struct talker *t = arg;
    for (unsigned i = 0; i < EACH; i++)
        put(t->w, t->index, i, 200);
    return NULL;
}

struct reader {
    int fd;
    char *text;
    pthread_t thread;
};

static void *read_slowly(void *arg)
{
    struct reader *r = arg;
    r->text = read_all(r->fd);
    return NULL;
}

static void talk_over(int in, int out)
{
    struct log_writer *w = new_writer(in);
    struct talker talkers[THREADS_MAX];
    struct reader reader = {.fd = out};
    for (unsigned i = 0; i < THREADS_MAX; i++) {
        talkers[i] = (struct talker){.w = w, .index = i};
        ck_assert_int_eq(pthread_create(&talkers[i].thread, NULL, talk, &talkers[i]), 0);
    }
    ck_assert_int_eq(pthread_create(&reader.thread, NULL, read_slowly, &reader), 0);
    for (unsigned i = 0; i < THREADS_MAX; i++)
        pthread_join(talkers[i].thread, NULL);
    ck_assert(log_writer_stop(w, PATIENCE_MS));
    close(in);
    pthread_join(reader.thread, NULL);
    struct tally t = count(reader.text);
    ck_assert_uint_eq(t.missing, log_writer_dropped(w));
    ck_assert_uint_eq(t.lines + t.missing, THREADS_MAX * EACH);
    close(out);
    free(w);
}

START_TEST(lines_of_a_thread_stay_in_order)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    talk_over(ends[1], ends[0]);
}
END_TEST

START_TEST(a_descriptor_may_be_non_blocking)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    talk_over(ends[1], ends[0]);
}
END_TEST

START_TEST(a_socket_takes_lines_in_part)
{
    int ends[2], small = 1;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ck_assert_int_eq(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    talk_over(ends[1], ends[0]);
}
END_TEST

/* A socket can't be made larger. The thread is given up, and what it waited for may still come. */
START_TEST(a_stop_ends_though_nobody_reads)
{
    int ends[2];
    char text[512];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    static struct log_writer *w; /* stays, as the thread may */
    w = new_writer(ends[1]);
    for (unsigned i = 0; i < 2000; i++)
        put(w, 0, i, 500);
    uint64_t since = clock_now_ns(), dropped = log_writer_dropped(w);
    ck_assert(!log_writer_stop(w, 100));
    ck_assert_uint_ge(elapsed_ms(since), 100);
    put(w, 0, 2000, 0);
    ck_assert_uint_eq(log_writer_dropped(w), dropped + 1);
    ck_assert(!log_writer_stop(w, PATIENCE_MS)); /* does not wait again */
    while (recv(ends[0], text, sizeof text, MSG_DONTWAIT) > 0)
        ;
}
END_TEST

START_TEST(a_reader_that_has_gone_is_no_reason_to_wait)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    close(ends[0]);
    struct log_writer *w = new_writer(ends[1]);
    for (unsigned i = 0; i < 1000; i++)
        put(w, 0, i, 100);
    ck_assert(log_writer_stop(w, PATIENCE_MS));
    ck_assert_uint_eq(log_writer_dropped(w), 1000);
    close(ends[1]);
    free(w);
}
END_TEST

/* Files up to here are allowed in any case: Check writes some, too. */
#define ALLOWED (64 << 20)

/* A file that ends there, and is gone when it is closed. */
static int open_file(void)
{
    char path[] = "/tmp/test_log_writer.XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    unlink(path);
    ck_assert_int_eq(lseek(fd, ALLOWED, SEEK_SET), ALLOWED);
    return fd;
}

static void limit_files(rlim_t size)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void wait_for_drop(struct log_writer *w)
{
    for (uint64_t since = clock_now_ns(); log_writer_dropped(w) == 0; usleep(1000))
        ck_assert_uint_lt(elapsed_ms(since), PATIENCE_MS);
}

/* A disk that becomes full within a line, and gets room again. SIGXFSZ would end the process. */
START_TEST(a_full_disk_costs_lines_and_no_more)
{
    int fd = open_file();
    limit_files(ALLOWED + 1050);
    struct log_writer *w = new_writer(fd);
    for (unsigned i = 0; i < 20; i++)
        put(w, 0, i, 90);
    wait_for_drop(w);
    limit_files(RLIM_INFINITY);
    for (unsigned i = 20; i < 40; i++)
        put(w, 0, i, 90);
    ck_assert(log_writer_stop(w, PATIENCE_MS));
    ck_assert_int_eq(lseek(fd, ALLOWED, SEEK_SET), ALLOWED);
    char *text = read_all(fd), *cut = text + 1050;
    ck_assert(cut[-1] != '\n' && cut[0] == '\n'); /* the cut line is ended by the next write */
    while (cut[-1] != '\n')
        cut--;
    memmove(cut, text + 1051, strlen(text + 1051) + 1);
    struct tally t = count(text);
    ck_assert_uint_ge(t.missing, 1);
    ck_assert_uint_eq(t.missing, log_writer_dropped(w));
    ck_assert_uint_eq(t.lines + t.missing, 40);
    close(fd);
    free(w);
}
END_TEST

START_TEST(a_count_is_told_when_there_is_room_again)
{
    int fd = open_file();
    limit_files(ALLOWED + 0);
    struct log_writer *w = new_writer(fd);
    put(w, 0, 0, 0);
    wait_for_drop(w);
    limit_files(RLIM_INFINITY);
    ck_assert(log_writer_stop(w, PATIENCE_MS)); /* no further line came: the end is the occasion */
    ck_assert_int_eq(lseek(fd, ALLOWED, SEEK_SET), ALLOWED);
    char *text = read_all(fd);
    ck_assert_str_eq(text, "- 1\n");
    free(text);
    close(fd);
    free(w);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("log_writer");
    TCase *t = tcase_create("log_writer");
    signal(SIGPIPE, SIG_IGN);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, lines_come_out_in_order);
    tcase_add_test(t, a_writer_may_be_started_again);
    tcase_add_test(t, what_does_not_fit_is_counted_where_it_is_missing);
    tcase_add_test(t, lines_of_a_thread_stay_in_order);
    tcase_add_test(t, a_descriptor_may_be_non_blocking);
    tcase_add_test(t, a_socket_takes_lines_in_part);
    tcase_add_test(t, a_stop_ends_though_nobody_reads);
    tcase_add_test(t, a_reader_that_has_gone_is_no_reason_to_wait);
    tcase_add_test(t, a_full_disk_costs_lines_and_no_more);
    tcase_add_test(t, a_count_is_told_when_there_is_room_again);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
