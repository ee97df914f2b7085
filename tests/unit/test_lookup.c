/* An answer reaches the loop exactly once, and nothing waits for a name server that does not
 * respond. */
#include "net/lookup.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "tests/lib/unit.h"

#define PATIENCE_NS UINT64_C(20000000000)

/* The resolver of these tests. It returns when the gate is open: for "fail..." with a failure, for
 * hostN with the address 10.0.0.N. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool open;
    unsigned asking, most, asked;
    char last[64];
} server = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, .open = true};

static void ask(const char *host, uint16_t port, struct lookup_answer *out)
{
    pthread_mutex_lock(&server.lock);
    snprintf(server.last, sizeof server.last, "%s", host);
    server.asked++;
    if (++server.asking > server.most)
        server.most = server.asking;
    pthread_cond_broadcast(&server.moved);
    while (!server.open)
        pthread_cond_wait(&server.moved, &server.lock);
    server.asking--;
    pthread_mutex_unlock(&server.lock);
    if (strncmp(host, "fail", 4) == 0) {
        snprintf(out->reason, sizeof out->reason, "no such %s", host);
        return;
    }
    struct addr a = {.v4 = {.sin_family = AF_INET, .sin_port = htons(port)}, .len = sizeof a.v4};
    a.v4.sin_addr.s_addr = htonl(0x0a000000u + (unsigned)atoi(host + 4));
    addr_set_add(&out->addrs, &a);
}

static void set_gate(bool open)
{
    pthread_mutex_lock(&server.lock);
    server.open = open;
    server.most = server.asked = 0;
    pthread_cond_broadcast(&server.moved);
    pthread_mutex_unlock(&server.lock);
}

static void wait_asked(unsigned n)
{
    pthread_mutex_lock(&server.lock);
    while (server.asked < n)
        pthread_cond_wait(&server.moved, &server.lock);
    pthread_mutex_unlock(&server.lock);
}

/* The number of threads of this process. */
static unsigned count_threads(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/task");
    ck_assert_ptr_nonnull(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2; /* . and .. */
}

struct asker {
    unsigned answers;
    char text[160];        /* the addresses, or the reason */
    struct lookups *close; /* by the answer */
};

static void on_answer(void *arg, const struct lookup_answer *a)
{
    struct asker *k = arg;
    size_t n = 0;
    k->answers++;
    snprintf(k->text, sizeof k->text, "%s", a->reason);
    for (unsigned i = 0; i < a->addrs.n; i++) {
        char one[ADDR_TEXT_MAX];
        addr_format(&a->addrs.items[i], one);
        n += (size_t)snprintf(k->text + n, sizeof k->text - n, "%s%s", i ? " " : "", one);
    }
    if (k->close)
        lookups_close(k->close);
}

struct fixture {
    uv_loop_t loop;
    struct lookups *lookups;
    unsigned threads; /* before any lookup */
};

static void start(struct fixture *f, lookup_ask_fn *how)
{
    int r;
    f->threads = count_threads();
    ck_assert_int_eq(uv_loop_init(&f->loop), 0);
    f->lookups = lookups_new(&f->loop, how, &r);
    ck_assert_msg(f->lookups != NULL, "%s", uv_strerror(r));
    set_gate(true);
}

#define UNTIL(f, condition)                                  \
    do {                                                     \
        uint64_t begin_ns = uv_hrtime();                     \
        while (!(condition)) {                               \
            ck_assert(uv_hrtime() - begin_ns < PATIENCE_NS); \
            uv_run(&(f)->loop, UV_RUN_NOWAIT);               \
        }                                                    \
    } while (0)

static void end_loop(struct fixture *f)
{
    uv_run(&f->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&f->loop), 0);
}

/* Waits until all threads of lookups have ended, without running the loop. */
static void wait_threads(const struct fixture *f)
{
    uint64_t begin_ns = uv_hrtime();
    while (count_threads() != f->threads)
        ck_assert(uv_hrtime() - begin_ns < PATIENCE_NS);
}

static void finish(struct fixture *f)
{
    lookups_close(f->lookups);
    end_loop(f);
    wait_threads(f);
}

static struct lookup *begin(struct fixture *f, struct asker *k, const char *host)
{
    *k = (struct asker){0};
    struct lookup *q = lookup_start(f->lookups, str_of(host), 80, on_answer, k);
    ck_assert_uint_eq(k->answers, 0); /* never from within */
    return q;
}

static unsigned count_answers(const struct asker *k, int n)
{
    unsigned answers = 0;
    for (int i = 0; i < n; i++)
        answers += k[i].answers;
    return answers;
}

START_TEST(the_system_knows_localhost)
{
    struct fixture f;
    struct asker k;
    start(&f, NULL);
    begin(&f, &k, "localhost");
    UNTIL(&f, k.answers);
    ck_assert_msg(strncmp(k.text, "127.0.0.1:80", 12) == 0, "%s", k.text);
    finish(&f);
}
END_TEST

START_TEST(a_name_that_cannot_be_is_a_failure_in_words)
{
    struct fixture f;
    struct asker k;
    start(&f, NULL);
    begin(&f, &k, "a-label-of-more-than-63-bytes-is-none-whatever-a-name-server-may-say-to-it");
    UNTIL(&f, k.answers);
    ck_assert_msg(k.text[0] && strchr(k.text, ':') == NULL, "%s", k.text);
    finish(&f);
}
END_TEST

START_TEST(answers_and_failures_come_once_each)
{
    struct fixture f;
    struct asker k[3];
    start(&f, ask);
    begin(&f, &k[0], "host1");
    begin(&f, &k[1], "fail");
    begin(&f, &k[2], "host2");
    UNTIL(&f, count_answers(k, 3) == 3);
    ck_assert_str_eq(k[0].text, "10.0.0.1:80");
    ck_assert_str_eq(k[1].text, "no such fail");
    ck_assert_str_eq(k[2].text, "10.0.0.2:80");
    finish(&f);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(k[i].answers, 1);
}
END_TEST

START_TEST(so_many_ask_at_a_time_and_the_rest_waits)
{
    enum { N = 3 * LOOKUP_THREADS };
    struct fixture f;
    struct asker k[N];
    start(&f, ask);
    set_gate(false);
    for (int i = 0; i < N; i++) {
        char host[16];
        snprintf(host, sizeof host, "host%d", i + 1);
        begin(&f, &k[i], host);
    }
    wait_asked(LOOKUP_THREADS);
    for (int i = 0; i < 100; i++)
        uv_run(&f.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(count_threads() - f.threads, LOOKUP_THREADS);
    set_gate(true);
    UNTIL(&f, count_answers(k, N) == N);
    ck_assert_uint_le(server.most, LOOKUP_THREADS);
    for (int i = 0; i < N; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "10.0.0.%d:80", i + 1);
        ck_assert_str_eq(k[i].text, expected);
    }
    finish(&f);
}
END_TEST

START_TEST(after_a_cancel_nothing_is_told)
{
    struct fixture f;
    struct asker running, waiting, done, others[LOOKUP_THREADS - 1], last;
    start(&f, ask);
    struct lookup *q = begin(&f, &done, "host1");
    wait_threads(&f); /* answered, and not told yet */
    lookup_cancel(q);
    set_gate(false);
    q = begin(&f, &running, "host2");
    for (int i = 0; i < LOOKUP_THREADS - 1; i++)
        begin(&f, &others[i], "host3");
    struct lookup *w = begin(&f, &waiting, "host4");
    begin(&f, &last, "host5");
    wait_asked(LOOKUP_THREADS);
    lookup_cancel(q);
    lookup_cancel(w);
    set_gate(true);
    UNTIL(&f, last.answers);
    finish(&f);
    ck_assert_uint_eq(done.answers + running.answers + waiting.answers, 0);
    ck_assert_str_eq(last.text, "10.0.0.5:80");
}
END_TEST

START_TEST(a_loop_ends_while_a_name_server_is_silent)
{
    struct fixture f;
    struct asker k[LOOKUP_THREADS + 2];
    start(&f, ask);
    set_gate(false);
    struct lookup *q = begin(&f, &k[0], "host1");
    for (int i = 1; i < LOOKUP_THREADS + 2; i++)
        begin(&f, &k[i], "host2");
    wait_asked(LOOKUP_THREADS);
    lookup_cancel(q);
    lookups_close(f.lookups);
    end_loop(&f); /* ends, though they all still ask */
    ck_assert_uint_eq(count_threads() - f.threads, LOOKUP_THREADS);
    set_gate(true);
    wait_threads(&f);
    for (int i = 0; i < LOOKUP_THREADS + 2; i++)
        ck_assert_uint_eq(k[i].answers, 0);
}
END_TEST

START_TEST(an_answer_may_close)
{
    struct fixture f;
    struct asker k[20];
    start(&f, ask);
    for (int i = 0; i < 20; i++) {
        begin(&f, &k[i], "host1");
        k[i].close = f.lookups;
    }
    end_loop(&f);
    ck_assert_uint_eq(count_answers(k, 20), 1);
    wait_threads(&f);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("lookup");
    TCase *t = tcase_create("lookup");
    tcase_set_timeout(t, 100);
    tcase_add_test(t, the_system_knows_localhost);
    tcase_add_test(t, a_name_that_cannot_be_is_a_failure_in_words);
    tcase_add_test(t, answers_and_failures_come_once_each);
    tcase_add_test(t, so_many_ask_at_a_time_and_the_rest_waits);
    tcase_add_test(t, after_a_cancel_nothing_is_told);
    tcase_add_test(t, a_loop_ends_while_a_name_server_is_silent);
    tcase_add_test(t, an_answer_may_close);
    suite_add_tcase(s, t);
    return s;
}

static void *nothing(void *arg)
{
    return NULL;
}

/* The thread sanitizer starts a thread of its own together with the first one; start one now, so
 * that count_threads() includes the sanitizer's from the beginning. */
int main(void)
{
    pthread_t first;
    if (pthread_create(&first, NULL, nothing, NULL) != 0 || pthread_join(first, NULL) != 0)
        return EXIT_FAILURE;
    return unit_main(build);
}
