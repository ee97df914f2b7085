#include "net/bind.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/lib/unit.h"

#define N 3

static struct addr loopback(uint16_t port)
{
    return (struct addr){.v4 = {.sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr = {htonl(INADDR_LOOPBACK)}},
                         .len = sizeof(struct sockaddr_in)};
}

/* A socket that holds a free port; *at says which. */
static int hold(struct addr *at, bool listens, bool shares)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    if (shares)
        ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), 0);
    *at = loopback(0);
    ck_assert_int_eq(bind(fd, &at->sa, at->len), 0);
    ck_assert_int_eq(getsockname(fd, &at->sa, &at->len), 0);
    if (listens)
        ck_assert_int_eq(listen(fd, 1), 0);
    return fd;
}

static struct addr free_port(void)
{
    struct addr at;
    close(hold(&at, false, false));
    return at;
}

static unsigned descriptors(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static int option(int fd, int level, int name)
{
    int value = 0;
    socklen_t len = sizeof value;
    ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

START_TEST(each_socket_is_ready_to_listen_on_the_shared_port)
{
    struct addr at = free_port();
    struct error e;
    int fds[N];
    ck_assert_msg(bind_sockets(&at, fds, N, &e), "%s", e.text);
    for (unsigned i = 0; i < N; i++) {
        struct addr bound = {.len = sizeof bound.v6};
        ck_assert_int_eq(getsockname(fds[i], &bound.sa, &bound.len), 0);
        ck_assert(addr_eq(&bound, &at));
        ck_assert(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
        ck_assert(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        ck_assert_int_ne(option(fds[i], IPPROTO_TCP, TCP_NODELAY), 0);
        ck_assert_int_ne(option(fds[i], SOL_SOCKET, SO_REUSEPORT), 0);
        ck_assert_msg(bind_listen(fds[i], i == 0, 1, &e), "%s", e.text);
        ck_assert_int_ne(option(fds[i], SOL_SOCKET, SO_REUSEPORT), 0);
    }
    for (unsigned i = 0; i < N; i++)
        close(fds[i]);
}
END_TEST

/* Two that start at the same time both bind before either listens. */
START_TEST(of_two_that_are_bound_only_the_first_to_listen_gets_the_port)
{
    struct addr at = free_port();
    struct error e;
    int mine[N], others[N];
    ck_assert(bind_sockets(&at, mine, N, &e));
    if (!bind_sockets(&at, others, N, &e)) { /* the kernel refuses that already */
        ck_assert_int_eq(e.code, EADDRINUSE);
    } else {
        ck_assert(bind_listen(mine[0], true, 1, &e));
        ck_assert(!bind_listen(others[0], true, 1, &e));
        ck_assert_int_eq(e.code, EADDRINUSE);
        for (unsigned i = 1; i < N; i++)
            ck_assert(bind_listen(mine[i], false, 1, &e));
        for (unsigned i = 0; i < N; i++)
            close(others[i]);
    }
    for (unsigned i = 0; i < N; i++)
        close(mine[i]);
}
END_TEST

START_TEST(accepted_sockets_have_nodelay)
{
    struct addr at = free_port();
    struct error e;
    int fd, client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert(bind_sockets(&at, &fd, 1, &e));
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(connect(client, &at.sa, at.len), 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 10000), 1);
    int accepted = accept(fd, NULL, NULL);
    ck_assert_int_ge(accepted, 0);
    ck_assert_int_ne(option(accepted, IPPROTO_TCP, TCP_NODELAY), 0);
    close(accepted);
    close(client);
    close(fd);
}
END_TEST

static void check_refused(const struct addr *at)
{
    char text[ADDR_TEXT_MAX], expected[ADDR_TEXT_MAX + 8];
    struct error e;
    int fds[N];
    unsigned before = descriptors();
    ck_assert(!bind_sockets(at, fds, N, &e));
    ck_assert_int_eq(e.code, EADDRINUSE);
    addr_format(at, text);
    snprintf(expected, sizeof expected, "bind %s: ", text);
    ck_assert_msg(strncasecmp(e.text, expected, strlen(expected)) == 0, "%s", e.text);
    ck_assert_uint_eq(descriptors(), before);
}

START_TEST(a_port_that_listens_is_an_error_and_nothing_stays_open)
{
    struct addr at;
    int fd = hold(&at, true, false);
    check_refused(&at);
    close(fd);
}
END_TEST

START_TEST(a_port_that_its_holder_would_share_is_an_error_too)
{
    struct addr at;
    int fd = hold(&at, true, true);
    check_refused(&at);
    close(fd);
}
END_TEST

START_TEST(an_address_that_is_not_ours_is_an_error_in_words)
{
    struct addr at = loopback(80);
    struct error e;
    int fd;
    at.v4.sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1, of no machine */
    ck_assert(!bind_sockets(&at, &fd, 1, &e));
    ck_assert_int_eq(e.code, EADDRNOTAVAIL);
    ck_assert_ptr_nonnull(strstr(e.text, "192.0.2.1:80"));
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("bind");
    TCase *c = tcase_create("bind");
    tcase_add_test(c, each_socket_is_ready_to_listen_on_the_shared_port);
    tcase_add_test(c, of_two_that_are_bound_only_the_first_to_listen_gets_the_port);
    tcase_add_test(c, accepted_sockets_have_nodelay);
    tcase_add_test(c, a_port_that_listens_is_an_error_and_nothing_stays_open);
    tcase_add_test(c, a_port_that_its_holder_would_share_is_an_error_too);
    tcase_add_test(c, an_address_that_is_not_ours_is_an_error_in_words);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    return unit_main(build);
}
