/* Sockets that are bound and silent, for a proxy that stands by. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/bind.h"
#include "tests/lib/unit.h"

#define N 2

static struct addr parsed(const char *text)
{
    struct addr a;
    ck_assert_int_eq(addr_parse(str_of(text), &a), ADDR_OK);
    return a;
}

static struct addr free_port(void)
{
    struct addr a = parsed("127.0.0.1:1");
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.v4.sin_port = 0;
    ck_assert_int_eq(bind(fd, &a.sa, a.len), 0);
    ck_assert_int_eq(getsockname(fd, &a.sa, &a.len), 0);
    close(fd);
    return a;
}

static void close_all(int *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        close(fds[i]);
}

static void bind_all(const struct addr *a, int *fds, struct bind_claim *claim)
{
    struct error e;
    ck_assert_msg(bind_ahead(a, fds, N, claim, &e), "%s", e.text);
}

static void listen_all(const int *fds)
{
    struct error e;
    bind_waken(fds, N);
    for (unsigned i = 0; i < N; i++)
        ck_assert_msg(bind_listen(fds[i], i == 0, 16, &e), "%s", e.text);
}

/* The error; 0: *fd is connected. */
static int try_connect(const struct addr *a, int *fd)
{
    *fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(*fd, &a->sa, a->len) == 0)
        return 0;
    int error = errno;
    close(*fd);
    return error;
}

static int accepted(const int *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        int fd = accept(fds[i], NULL, NULL);
        if (fd >= 0)
            return fd;
    }
    ck_abort_msg("nobody came");
    return -1;
}

START_TEST(an_address_that_is_not_there_can_be_bound_ahead)
{
    static const char *const ips[] = {"192.0.2.77", "[2001:db8::77]"};
    struct addr port = free_port();
    int fds[N], other[N];
    struct bind_claim claim;
    struct error e;
    char text[64];
    snprintf(text, sizeof text, "%s:%u", ips[_i], addr_port(&port));
    struct addr a = parsed(text);
    ck_assert(!bind_sockets(&a, fds, N, &claim, &e));
    ck_assert_int_eq(e.code, EADDRNOTAVAIL);
    bind_all(&a, fds, &claim);
    listen_all(fds);
    ck_assert(bind_listens(fds[0]));
    ck_assert(!bind_ahead(&a, other, N, &claim, &e));
    ck_assert_int_eq(e.code, EADDRINUSE);
    close_all(fds, N);
}
END_TEST

START_TEST(silent_sockets_refuse_keep_their_port_and_listen_again)
{
    struct addr a = free_port();
    struct error e;
    int fds[N], other[N], client, server;
    struct bind_claim claim, none;
    char byte = 0;
    bind_all(&a, fds, &claim);
    for (int round = 0; round < 5; round++) {
        listen_all(fds);
        ck_assert_int_eq(try_connect(&a, &client), 0);
        server = accepted(fds, N);
        for (int i = 0; i < N; i++)
            bind_silence(fds[i]);
        for (int i = 0; i < N; i++)
            bind_silence(fds[i]); /* by another who shares them: what they accept is not spoilt */
        ck_assert(!bind_listens(fds[0]) && !bind_listens(fds[1]));
        ck_assert_msg(!bind_sockets(&a, other, N, &none, &e), "the port is taken");
        ck_assert_int_eq(e.code, EADDRINUSE);
        ck_assert_int_eq(write(client, "x", 1), 1);
        ck_assert_msg(read(server, &byte, 1) == 1, "connections are not touched");
        close(server); /* first, so that TIME_WAIT is here */
        close(client);
        ck_assert_int_eq(try_connect(&a, &client), ECONNREFUSED);
    }
    close_all(fds, N);
}
END_TEST

START_TEST(a_port_that_another_process_took_is_an_error_at_listen)
{
    struct addr a = free_port();
    struct error e;
    int fds[N], other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct bind_claim claim;
    bind_all(&a, fds, &claim);
    ck_assert_int_eq(setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    ck_assert_int_eq(bind(other, &a.sa, a.len), 0); /* bound is not enough to keep it away ... */
    ck_assert_int_eq(listen(other, 1), 0);
    ck_assert(!bind_listen(fds[0], true, 16, &e));
    ck_assert_int_eq(e.code, EADDRINUSE);
    close(other);
    listen_all(fds);
    for (int i = 0; i < N; i++)
        bind_silence(fds[i]);
    other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    ck_assert_msg(bind(other, &a.sa, a.len) < 0, "... so it has to have listened, once");
    close(other);
    close_all(fds, N);
}
END_TEST

START_TEST(a_deaf_socket_gives_up_what_it_has_and_hears_nobody)
{
    struct addr a = free_port();
    int fds[N], before, after;
    struct bind_claim claim;
    bind_all(&a, fds, &claim);
    listen_all(fds);
    ck_assert_int_eq(try_connect(&a, &before), 0);
    for (int i = 0; i < N; i++)
        bind_deafen(fds[i]);
    after = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert(connect(after, &a.sa, a.len) < 0 && errno == EINPROGRESS);
    close(accepted(fds, N));
    struct pollfd p = {.fd = after, .events = POLLOUT};
    ck_assert_msg(poll(&p, 1, 50) == 0, "neither accepted nor refused");
    for (int i = 0; i < N; i++)
        bind_silence(fds[i]);
    listen_all(fds);
    ck_assert_msg(poll(&p, 1, 10000) == 1 && !(p.revents & POLLERR), "TCP has asked again");
    close(accepted(fds, N));
    close(before);
    close(after);
    close_all(fds, N);
}
END_TEST

/* ---- paths ---- */

static char folder[64];

static struct addr in_folder(const char *name)
{
    char text[256];
    strcpy(folder, "/tmp/test_bind_ahead_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(text, sizeof text, "unix:%s/%s", folder, name);
    return parsed(text);
}

START_TEST(a_renewed_path_refuses_while_the_old_queue_is_emptied)
{
    struct addr a = in_folder("s");
    struct error e;
    int fds[N], kept, client, other;
    struct bind_claim claim, none;
    bind_all(&a, fds, &claim);
    for (int round = 0; round < 3; round++) {
        listen_all(fds);
        kept = dup(fds[0]); /* a worker's */
        ck_assert_int_eq(try_connect(&a, &client), 0);
        ck_assert_msg(bind_renew(fds, N, &claim, &e), "%s", e.text);
        ck_assert_int_eq(try_connect(&a, &other), ECONNREFUSED);
        close(accepted(&kept, 1));
        close(kept);
        close(client);
        ck_assert(!bind_sockets(&a, &other, 1, &none, &e));
        ck_assert_int_eq(e.code, EADDRINUSE);
    }
    close_all(fds, N);
    ck_assert(bind_release(&claim, &e));
    ck_assert_msg(rmdir(folder) == 0, "no file is left");
}
END_TEST

START_TEST(the_longest_path_can_be_renewed)
{
    char name[ADDR_PATH_MAX + 1];
    memset(name, 'x', sizeof name - 1);
    name[ADDR_PATH_MAX - strlen("/tmp/test_bind_ahead_XXXXXX/")] = 0;
    struct addr a = in_folder(name);
    struct error e;
    int fds[N], client;
    struct bind_claim claim;
    bind_all(&a, fds, &claim);
    listen_all(fds);
    ck_assert_msg(bind_renew(fds, N, &claim, &e), "%s", e.text);
    listen_all(fds);
    ck_assert_int_eq(try_connect(&a, &client), 0);
    close(client);
    close_all(fds, N);
    ck_assert(bind_release(&claim, &e));
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(a_file_of_somebody_else_is_not_replaced)
{
    struct addr a = in_folder("s");
    struct error e;
    int fds[N], client;
    struct bind_claim claim;
    bind_all(&a, fds, &claim);
    listen_all(fds);
    ck_assert_int_eq(unlink(a.un.sun_path), 0);
    FILE *f = fopen(a.un.sun_path, "w");
    ck_assert_ptr_nonnull(f);
    fclose(f);
    ck_assert(!bind_renew(fds, N, &claim, &e));
    ck_assert_int_eq(e.code, EADDRINUSE);
    ck_assert_int_eq(unlink(a.un.sun_path), 0);
    ck_assert_msg(bind_renew(fds, N, &claim, &e), "%s", e.text);
    listen_all(fds);
    ck_assert_int_eq(try_connect(&a, &client), 0);
    close(client);
    close_all(fds, N);
    ck_assert(bind_release(&claim, &e));
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("bind_ahead");
    TCase *t = tcase_create("bind_ahead");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, an_address_that_is_not_there_can_be_bound_ahead, 0, 2);
    tcase_add_test(t, silent_sockets_refuse_keep_their_port_and_listen_again);
    tcase_add_test(t, a_port_that_another_process_took_is_an_error_at_listen);
    tcase_add_test(t, a_deaf_socket_gives_up_what_it_has_and_hears_nobody);
    tcase_add_test(t, a_renewed_path_refuses_while_the_old_queue_is_emptied);
    tcase_add_test(t, the_longest_path_can_be_renewed);
    tcase_add_test(t, a_file_of_somebody_else_is_not_replaced);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
