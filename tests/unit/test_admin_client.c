#include "app/admin_client.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/unit.h"

/* A server for one connection: it reads a request, sends what it is told, in pieces of `step`
 * bytes, and closes. */
struct server {
    int fd;
    pthread_t thread;
    struct admin_where where;
    char port[8], authority[32];
    const char *answer; /* NULL: none, and the connection stays until the test ends it */
    size_t step;
    bool deaf; /* does not read the request */
    char got[4096];
};

static char host[] = "127.0.0.1", no_prefix[] = "", prefix[] = "/gate", token[] = "t0ken";

static void send_pieces(int fd, const char *p, size_t step)
{
    for (size_t left = strlen(p); left;) {
        ssize_t n = send(fd, p, left < step ? left : step, MSG_NOSIGNAL);
        if (n < 0)
            return;
        p += n;
        left -= (size_t)n;
    }
}

static void *serve(void *arg)
{
    struct server *s = arg;
    size_t n = 0;
    int fd = accept(s->fd, NULL, NULL);
    if (fd < 0)
        return NULL;
    while (!s->deaf && strstr(s->got, "\r\n\r\n") == NULL) {
        ssize_t r = recv(fd, s->got + n, sizeof s->got - 1 - n, 0);
        if (r <= 0)
            break;
        n += (size_t)r;
    }
    if (s->answer)
        send_pieces(fd, s->answer, s->step ? s->step : SIZE_MAX);
    else
        (void)!read(fd, s->got, 1); /* until the client gives up */
    close(fd);
    return NULL;
}

static void start(struct server *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof a;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(s->fd, 0);
    ck_assert_int_eq(bind(s->fd, (struct sockaddr *)&a, n), 0);
    ck_assert_int_eq(listen(s->fd, 1), 0);
    ck_assert_int_eq(getsockname(s->fd, (struct sockaddr *)&a, &n), 0);
    snprintf(s->port, sizeof s->port, "%d", ntohs(a.sin_port));
    snprintf(s->authority, sizeof s->authority, "127.0.0.1:%s", s->port);
    s->where = (struct admin_where){host, s->port, s->authority, no_prefix, NULL};
    ck_assert_int_eq(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void finish(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR); /* ends an accept() that nobody answers */
    ck_assert_int_eq(pthread_join(s->thread, NULL), 0);
    close(s->fd);
}

static const struct {
    const char *answer;
    int status; /* 0: no answer */
    const char *body_or_error;
} answers[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"},
    {"HTTP/1.1 422 Unprocessable\r\nContent-Length: 0\r\n\r\n", 422, ""},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", 200,
     "hello"},
    {"HTTP/1.0 200 OK\r\n\r\nup to the end", 200, "up to the end"},
    {"HTTP/1.1 204 No Content\r\n\r\n", 204, ""},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
     "2\r\n\r\nok",
     200, "ok"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more", 200, "hello"},
    {"", 0, "no answer of HTTP: the connection was closed"},
    {"HTTP/1.1 200 OK\r\nContent-", 0, "the connection was closed"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", 0, "in the midst of it"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", 0, "in the midst of it"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 0, "malformed"},
    {"SSH-2.0-OpenSSH_9.2\r\n", 0, "no answer of HTTP: "},
};

START_TEST(answers_are_read_whole)
{
    static const size_t steps[] = {1, 7, 4096};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct server s = {.answer = answers[_i].answer, .step = steps[i]};
        struct admin_answer a;
        struct error e = {0};
        start(&s);
        bool ok = admin_ask(&s.where, &(struct admin_request){"GET", "/x", {0}}, 20000, &a, &e);
        ck_assert_msg(ok == (answers[_i].status != 0), "%d: %s", a.status, e.text);
        ck_assert_int_eq(a.status, answers[_i].status);
        if (ok) {
            ck_assert_uint_eq(buffer_len(&a.body), strlen(answers[_i].body_or_error));
            ck_assert(str_eq((struct str){buffer_head(&a.body), buffer_len(&a.body)},
                             str_of(answers[_i].body_or_error)));
        } else {
            ck_assert_msg(strstr(e.text, answers[_i].body_or_error) != NULL, "%s", e.text);
            ck_assert_msg(strstr(e.text, s.authority) != NULL, "%s", e.text);
        }
        admin_answer_deinit(&a);
        finish(&s);
    }
}
END_TEST

START_TEST(a_request_says_who_asks_for_what)
{
    struct server s = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"};
    struct admin_answer a;
    struct error e = {0};
    start(&s);
    s.where.prefix = prefix;
    s.where.token = token;
    const struct admin_request q = {"PUT", "/config?dry_run=1", STR("a: b\n")};
    ck_assert_msg(admin_ask(&s.where, &q, 20000, &a, &e), "%s", e.text);
    admin_answer_deinit(&a);
    finish(&s);
    ck_assert_ptr_nonnull(strstr(s.got, "PUT /gate/config?dry_run=1 HTTP/1.1\r\n"));
    ck_assert_ptr_nonnull(strstr(s.got, s.authority));
    ck_assert_ptr_nonnull(strstr(s.got, "\r\nAuthorization: Bearer t0ken\r\n"));
    ck_assert_ptr_nonnull(strstr(s.got, "\r\nContent-Length: 5\r\n"));
}
END_TEST

START_TEST(an_answer_may_come_before_all_of_the_request)
{
    static char big[8 << 20];
    struct server s = {.answer = "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n", .deaf = true};
    struct admin_answer a;
    struct error e = {0};
    start(&s);
    const struct admin_request q = {"PUT", "/config", {big, sizeof big}};
    /* the server closes with bytes unread, and that reset may overtake its answer */
    bool ok = admin_ask(&s.where, &q, 20000, &a, &e);
    ck_assert_msg(ok ? a.status == 413 : strstr(e.text, "reset") != NULL, "%s", e.text);
    admin_answer_deinit(&a);
    finish(&s);
}
END_TEST

START_TEST(a_silent_server_is_left_after_the_timeout)
{
    struct server s = {0};
    struct admin_answer a;
    struct error e = {0};
    start(&s);
    ck_assert(!admin_ask(&s.where, &(struct admin_request){"GET", "/", {0}}, 50, &a, &e));
    ck_assert_int_eq(e.code, ETIMEDOUT);
    ck_assert_msg(strstr(e.text, "within 0.05s") != NULL, "%s", e.text);
    finish(&s);
}
END_TEST

START_TEST(nobody_listens_is_told)
{
    struct server s = {0};
    struct admin_answer a;
    struct error e = {0};
    start(&s);
    finish(&s);
    ck_assert(!admin_ask(&s.where, &(struct admin_request){"GET", "/", {0}}, 20000, &a, &e));
    ck_assert_int_eq(e.code, ECONNREFUSED);
    ck_assert_msg(strstr(e.text, s.authority) != NULL, "%s", e.text);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("admin_client");
    TCase *t = tcase_create("admin_client");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, answers_are_read_whole, 0, (int)(sizeof answers / sizeof *answers));
    tcase_add_test(t, a_request_says_who_asks_for_what);
    tcase_add_test(t, an_answer_may_come_before_all_of_the_request);
    tcase_add_test(t, a_silent_server_is_left_after_the_timeout);
    tcase_add_test(t, nobody_listens_is_told);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
