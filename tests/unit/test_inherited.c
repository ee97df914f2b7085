#include "app/inherited.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "net/bind.h"
#include "tests/lib/unit.h"

#define FIRST 3 /* where sockets are that systemd gives */
#define N 3

static struct inherited *in;
static int fds[N];
static struct error e;
static struct addr nowhere; /* an address that no socket here has */

static struct addr parse(const char *text)
{
    struct addr a;
    ck_assert_int_eq(addr_parse(str_of(text), &a), ADDR_OK);
    return a;
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
    int value = -1;
    socklen_t len = sizeof value;
    ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

/* A blocking socket without close-on-exec, as systemd gives it. port 0: a free one; *at is the
 * address it has. */
static int open_at(const char *text, uint16_t port, struct addr *at)
{
    *at = parse(text);
    addr_set_port(at, port);
    int fd = socket(at->sa.sa_family, SOCK_STREAM, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int)), 0);
    ck_assert_int_eq(bind(fd, &at->sa, at->len), 0);
    ck_assert_int_eq(getsockname(fd, &at->sa, &at->len), 0);
    return fd;
}

static int listen_at(const char *text, uint16_t port, struct addr *at)
{
    int fd = open_at(text, port, at);
    ck_assert_int_eq(listen(fd, 8), 0);
    return fd;
}

static void add(int fd, const char *name)
{
    ck_assert_msg(inherited_add(in, fd, name, &e), "%s", e.text);
}

static void take(enum inherited_result wanted, const struct addr *a, const char *name, unsigned n)
{
    e.text[0] = 0;
    enum inherited_result r = inherited_take(in, a, name, fds, n, &e);
    ck_assert_msg(r == wanted, "%d, not %d: %s", r, wanted, e.text);
}

static void close_taken(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        ck_assert_int_eq(close(fds[i]), 0);
}

/* The inode of the socket: duplicates have the same. */
static ino_t identity(int fd)
{
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    return st.st_ino;
}

static unsigned open_before;

static void set_up(void)
{
    open_before = descriptors();
    in = inherited_new();
    nowhere = parse("127.0.0.1:1");
}

/* Whatever a test did, no descriptor is left. */
static void tear_down(void)
{
    inherited_free(in);
    ck_assert_uint_eq(descriptors(), open_before);
}

/* ---- taking ---- */

START_TEST(one_socket_is_duplicated_for_each_worker)
{
    struct addr at;
    int fd = listen_at("127.0.0.1:1", 0, &at);
    ino_t inode = identity(fd);
    add(fd, "x");
    take(INHERITED_TAKEN, &at, "web", N);
    ck_assert_uint_eq(inherited_count(in), 0);
    for (unsigned i = 0; i < N; i++) {
        ck_assert_uint_eq(identity(fds[i]), inode);
        ck_assert(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
        ck_assert(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        ck_assert_int_ne(option(fds[i], IPPROTO_TCP, TCP_NODELAY), 0);
        ck_assert_msg(bind_listen(fds[i], i == 0, 1, &e), "%s", e.text);
    }
    close_taken(N);
}
END_TEST

START_TEST(several_sockets_of_an_address_are_dealt_out_in_turn)
{
    struct addr at;
    int a = listen_at("127.0.0.1:1", 0, &at);
    int b = listen_at("127.0.0.1:1", addr_port(&at), &at);
    ino_t of_a = identity(a), of_b = identity(b);
    add(a, "x");
    add(b, "x");
    take(INHERITED_TAKEN, &at, "web", N);
    ck_assert_uint_eq(identity(fds[0]), of_a);
    ck_assert_uint_eq(identity(fds[1]), of_b);
    ck_assert_uint_eq(identity(fds[2]), of_a);
    close_taken(N);
}
END_TEST

/* What a socket without a worker queues would never be answered. */
START_TEST(more_sockets_than_can_be_used_are_an_error)
{
    struct addr at;
    add(listen_at("127.0.0.1:1", 0, &at), "x");
    add(listen_at("127.0.0.1:1", addr_port(&at), &at), "x");
    take(INHERITED_FAILED, &at, "web", 1);
    ck_assert_ptr_nonnull(strstr(e.text, "2 inherited sockets, where only 1 can be used"));
    ck_assert_uint_eq(inherited_count(in), 2);
}
END_TEST

START_TEST(the_address_counts_before_the_name)
{
    struct addr at, other;
    int named = listen_at("127.0.0.1:1", 0, &other), bound = listen_at("127.0.0.1:1", 0, &at);
    ino_t of_bound = identity(bound), of_named = identity(named);
    add(named, "web");
    add(bound, "other");
    take(INHERITED_TAKEN, &at, "web", 1);
    ck_assert_uint_eq(identity(fds[0]), of_bound);
    close_taken(1);
    take(INHERITED_TAKEN, &nowhere, "web", 1);
    ck_assert_uint_eq(identity(fds[0]), of_named);
    close_taken(1);
}
END_TEST

/* All sockets of a .socket unit have one name. */
START_TEST(a_socket_of_another_listeners_address_is_not_taken_by_name)
{
    struct addr web, api;
    add(listen_at("127.0.0.1:1", 0, &web), "web");
    add(listen_at("127.0.0.1:1", 0, &api), "web");
    struct config_listener listeners[] = {{.listen = nowhere}, {.listen = api}};
    inherited_reserve(in, &(struct config){.listeners = listeners, .nlisteners = 2});
    take(INHERITED_TAKEN, &nowhere, "web", 1);
    struct addr got = {.len = ADDR_LEN_MAX};
    ck_assert_int_eq(getsockname(fds[0], &got.sa, &got.len), 0);
    ck_assert(addr_eq(&got, &web));
    close_taken(1);
    take(INHERITED_TAKEN, &api, "api", 1);
    close_taken(1);
}
END_TEST

START_TEST(a_socket_of_the_admins_address_is_the_admins)
{
    struct addr at;
    add(listen_at("127.0.0.1:1", 0, &at), "web");
    inherited_reserve(in, &(struct config){.has_admin = true, .admin_listen = at});
    take(INHERITED_NONE, &nowhere, "web", 1);
    take(INHERITED_TAKEN, &at, "admin", 1);
    close_taken(1);
}
END_TEST

START_TEST(what_is_not_given_is_bound)
{
    struct bind_claim claim;
    struct addr at, taken;
    close(open_at("127.0.0.1:1", 0, &at));
    add(listen_at("127.0.0.1:1", 0, &taken), "x");
    ck_assert(inherited_bind(in, &taken, "web", false, fds, N, &claim, &e));
    close_taken(N);
    ck_assert_msg(inherited_bind(in, &at, "web", false, fds, N, &claim, &e), "%s", e.text);
    struct addr got = {.len = ADDR_LEN_MAX};
    ck_assert_int_eq(getsockname(fds[0], &got.sa, &got.len), 0);
    ck_assert(addr_eq(&got, &at));
    close_taken(N);
    ck_assert_msg(inherited_bind(NULL, &at, "web", false, fds, N, &claim, &e), "%s", e.text);
    close_taken(N);
}
END_TEST

START_TEST(nothing_is_taken_without_the_address_or_the_name)
{
    struct addr at, v6 = parse("[::1]:1");
    add(listen_at("127.0.0.1:1", 0, &at), "x");
    addr_set_port(&v6, addr_port(&at));
    take(INHERITED_NONE, &nowhere, "web", N);
    take(INHERITED_NONE, &v6, "X", N);
    ck_assert_uint_eq(inherited_count(in), 1);
}
END_TEST

/* `ListenStream=80` makes one socket, [::]:80, and with it nobody can bind 0.0.0.0:80. */
START_TEST(any_v6_is_any_v4_if_it_accepts_v4)
{
    struct addr at, v4 = parse("0.0.0.0:1");
    add(listen_at("[::]:1", 0, &at), "x");
    addr_set_port(&v4, addr_port(&at));
    take(INHERITED_TAKEN, &v4, "web", 1);
    close_taken(1);

    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    ck_assert_int_eq(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int)), 0);
    ck_assert_int_eq(bind(fd, &at.sa, at.len), 0);
    add(fd, "x");
    take(INHERITED_NONE, &v4, "web", 1);
    take(INHERITED_TAKEN, &at, "web", 1);
    close_taken(1);
}
END_TEST

START_TEST(a_unix_socket_is_found_by_its_path_and_its_file_stays)
{
    char dir[] = "/tmp/inheritedXXXXXX", text[64];
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(text, sizeof text, "unix:%s/s", dir);
    struct addr at = parse(text);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    /* without the NUL, as systemd does */
    ck_assert_int_eq(bind(fd, &at.sa, at.len - 1), 0);
    add(fd, "x");
    take(INHERITED_TAKEN, &at, "web", N);
    ck_assert(bind_listen(fds[0], true, 1, &e));
    ck_assert_int_eq(option(fds[1], SOL_SOCKET, SO_ACCEPTCONN), 1);
    close_taken(N);
    ck_assert_int_eq(unlink(at.un.sun_path), 0);
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

START_TEST(an_abstract_socket_is_found_by_its_name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    /* only the family: the kernel takes a free abstract name */
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at.sun_family), 0);
    add(fd, "web");
    take(INHERITED_TAKEN, &nowhere, "web", 1);
    close_taken(1);
}
END_TEST

/* ---- what is refused ---- */

static void refused(int fd, const char *why)
{
    char text[128];
    snprintf(text, sizeof text, "inherited socket web (descriptor %d): %s", fd, why);
    ck_assert(!inherited_add(in, fd, "web", &e));
    ck_assert_msg(strncmp(e.text, text, strlen(text)) == 0, "%s, not %s", e.text, text);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1); /* closed */
}

START_TEST(what_is_no_listening_socket_is_refused_by_name)
{
    int pair[2], ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(pipe(ends), 0);
    refused(900, "not an open descriptor");
    refused(ends[0], "not a socket");
    refused(ends[1], "not a socket");
    refused(pair[0], "a connection, not a listening socket");
    close(pair[1]);
    refused(socket(AF_INET, SOCK_DGRAM, 0), "not a stream socket");
    refused(socket(AF_UNIX, SOCK_STREAM, 0), "not bound");
    refused(socket(AF_INET, SOCK_STREAM, 0), "not bound");
    ck_assert_uint_eq(inherited_count(in), 0);
}
END_TEST

START_TEST(a_name_can_forge_no_line)
{
    ck_assert(!inherited_add(in, 900, "a\nb\033c", &e));
    ck_assert_ptr_nonnull(strstr(e.text, "inherited socket a?b?c "));
}
END_TEST

/* ---- the environment ---- */

static void set_environment(long pid, const char *n, const char *names)
{
    char text[32];
    snprintf(text, sizeof text, "%ld", pid);
    setenv("LISTEN_PID", text, 1);
    setenv("LISTEN_FDS", n, 1);
    if (names)
        setenv("LISTEN_FDNAMES", names, 1);
    else
        unsetenv("LISTEN_FDNAMES");
}

static void environment_is_gone(void)
{
    ck_assert_ptr_null(getenv("LISTEN_PID"));
    ck_assert_ptr_null(getenv("LISTEN_FDS"));
    ck_assert_ptr_null(getenv("LISTEN_FDNAMES"));
}

static void environment_fails(const char *n, const char *names, const char *why)
{
    set_environment(getpid(), n, names);
    e.text[0] = 0;
    ck_assert(!inherited_read_environment(in, &e));
    ck_assert_msg(strstr(e.text, why) != NULL, "%s, not %s", e.text, why);
    environment_is_gone();
}

static int spare; /* /dev/null, what descriptors 3 and 4 are between the tests */

/* main() has kept descriptors 3 and 4 from others, Check among them. */
static void put_sockets(struct addr at[2])
{
    for (int i = 0; i < 2; i++) {
        int fd = listen_at("127.0.0.1:1", 0, &at[i]);
        ck_assert_int_eq(dup2(fd, FIRST + i), FIRST + i);
        close(fd);
    }
}

/* The set closes those that it has. */
static void remove_sockets(void)
{
    inherited_free(in);
    in = inherited_new();
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(dup2(spare, FIRST + i), FIRST + i);
}

START_TEST(sockets_come_from_the_environment_with_their_names)
{
    struct addr at[2];
    put_sockets(at);
    set_environment(getpid(), "2", "we\\:b:ad\\\\min");
    ck_assert_msg(inherited_read_environment(in, &e), "%s", e.text);
    environment_is_gone();
    ck_assert_uint_eq(inherited_count(in), 2);
    take(INHERITED_TAKEN, &nowhere, "ad\\min", 1);
    close_taken(1);
    take(INHERITED_TAKEN, &nowhere, "we:b", 1);
    close_taken(1);
    remove_sockets();
}
END_TEST

START_TEST(without_names_sockets_are_found_by_address)
{
    struct addr at[2];
    put_sockets(at);
    set_environment(getpid(), "2", NULL);
    ck_assert_msg(inherited_read_environment(in, &e), "%s", e.text);
    take(INHERITED_TAKEN, &at[1], "web", 1);
    close_taken(1);
    take(INHERITED_TAKEN, &at[0], "web", 1);
    close_taken(1);
    remove_sockets();
}
END_TEST

START_TEST(sockets_for_another_process_are_left_alone)
{
    set_environment((long)getpid() + 1, "2", NULL);
    ck_assert(inherited_read_environment(in, &e));
    environment_is_gone();
    ck_assert_uint_eq(inherited_count(in), 0);
    ck_assert(inherited_read_environment(in, &e)); /* and without variables */
    set_environment(getpid(), "0", "");
    ck_assert(inherited_read_environment(in, &e));
}
END_TEST

START_TEST(an_environment_that_cannot_be_is_an_error)
{
    environment_fails("two", NULL, "LISTEN_FDS is not a number");
    environment_fails("-1", NULL, "LISTEN_FDS is not a number");
    environment_fails("65537", NULL, "LISTEN_FDS is not a number");
    environment_fails("", NULL, "LISTEN_FDS is not a number");
    set_environment(getpid(), "1", NULL);
    setenv("LISTEN_PID", "me", 1);
    ck_assert(!inherited_read_environment(in, &e));
    environment_is_gone();

    struct addr at[2];
    put_sockets(at);
    environment_fails("1", "a:b", "LISTEN_FDNAMES has more names than LISTEN_FDS says, 1");
    remove_sockets();
}
END_TEST

START_TEST(fewer_names_than_sockets_are_an_error)
{
    struct addr at[2];
    put_sockets(at);
    environment_fails("2", "a", "LISTEN_FDNAMES has 1 names for 2 descriptors");
    remove_sockets();
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("inherited");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, one_socket_is_duplicated_for_each_worker);
    tcase_add_test(t, several_sockets_of_an_address_are_dealt_out_in_turn);
    tcase_add_test(t, more_sockets_than_can_be_used_are_an_error);
    tcase_add_test(t, the_address_counts_before_the_name);
    tcase_add_test(t, a_socket_of_another_listeners_address_is_not_taken_by_name);
    tcase_add_test(t, a_socket_of_the_admins_address_is_the_admins);
    tcase_add_test(t, what_is_not_given_is_bound);
    tcase_add_test(t, nothing_is_taken_without_the_address_or_the_name);
    tcase_add_test(t, any_v6_is_any_v4_if_it_accepts_v4);
    tcase_add_test(t, a_unix_socket_is_found_by_its_path_and_its_file_stays);
    tcase_add_test(t, an_abstract_socket_is_found_by_its_name);
    tcase_add_test(t, what_is_no_listening_socket_is_refused_by_name);
    tcase_add_test(t, a_name_can_forge_no_line);
    tcase_add_test(t, sockets_come_from_the_environment_with_their_names);
    tcase_add_test(t, without_names_sockets_are_found_by_address);
    tcase_add_test(t, sockets_for_another_process_are_left_alone);
    tcase_add_test(t, an_environment_that_cannot_be_is_an_error);
    tcase_add_test(t, fewer_names_than_sockets_are_an_error);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    spare = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (spare < 0 || dup2(spare, FIRST + 2) < 0 || dup2(spare, FIRST) < 0 ||
        dup2(spare, FIRST + 1) < 0)
        return EXIT_FAILURE;
    spare = FIRST + 2;
    return unit_main(suite);
}
