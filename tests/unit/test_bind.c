#include "net/bind.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
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

/* A socket that is bound to a free port, *at. */
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
    struct bind_claim claim;
    struct error e;
    int fds[N];
    ck_assert_msg(bind_sockets(&at, fds, N, &claim, &e), "%s", e.text);
    ck_assert_ptr_null(claim.at);
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

/* Two processes that start at the same time can both bind before one of them listens. */
START_TEST(of_two_that_are_bound_only_the_first_to_listen_gets_the_port)
{
    struct addr at = free_port();
    struct error e;
    struct bind_claim claim;
    int mine[N], others[N];
    ck_assert(bind_sockets(&at, mine, N, &claim, &e));
    if (!bind_sockets(&at, others, N, &claim, &e)) { /* the kernel refuses that already */
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
    struct bind_claim claim;
    struct error e;
    int fd, client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert(bind_sockets(&at, &fd, 1, &claim, &e));
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
    struct bind_claim claim;
    struct error e;
    int fds[N];
    unsigned before = descriptors();
    ck_assert(!bind_sockets(at, fds, N, &claim, &e));
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
    struct bind_claim claim;
    struct error e;
    int fd;
    at.v4.sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1, of no machine */
    ck_assert(!bind_sockets(&at, &fd, 1, &claim, &e));
    ck_assert_int_eq(e.code, EADDRNOTAVAIL);
    ck_assert_ptr_nonnull(strstr(e.text, "192.0.2.1:80"));
}
END_TEST

START_TEST(all_addresses_of_ipv6_are_those_of_ipv4_too)
{
    struct addr at, all = {.v6 = {.sin6_family = AF_INET6}, .len = sizeof all.v6};
    struct bind_claim claim;
    struct error e;
    int fd, client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    for (int tries = 0;; tries++) { /* a port that is free on loopback may be in use elsewhere */
        at = free_port();
        all.v6.sin6_port = at.v4.sin_port;
        if (bind_sockets(&all, &fd, 1, &claim, &e))
            break;
        ck_assert_msg(e.code == EADDRINUSE && tries < 100, "%s", e.text);
    }
    ck_assert_int_eq(option(fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
    ck_assert(bind_listen(fd, true, 1, &e));
    ck_assert_int_eq(connect(client, &at.sa, at.len), 0);
    struct addr peer = {.len = ADDR_LEN_MAX};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 10000), 1);
    int accepted = accept(fd, &peer.sa, &peer.len);
    ck_assert_int_ge(accepted, 0);
    char ip[ADDR_IP_MAX];
    addr_format_ip(&peer, ip);
    ck_assert_str_eq(ip, "127.0.0.1");
    close(accepted);
    close(client);
    close(fd);
}
END_TEST

/* ---- unix ---- */

/* Creates a folder for the test and makes it the working directory, so that paths are short. */
static char folder[64];

static void enter_folder(void)
{
    strcpy(folder, "/tmp/test_bind.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
}

/* Expects the folder to be empty and removes it. */
static void leave_folder(void)
{
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_msg(rmdir(folder) == 0, "%s is not empty", folder);
}

static struct addr path(const char *text)
{
    struct addr a;
    char full[ADDR_TEXT_MAX];
    snprintf(full, sizeof full, "unix:%s", text);
    ck_assert_int_eq(addr_parse(str_of(full), &a), ADDR_OK);
    return a;
}

static bool exists(const char *name)
{
    struct stat st;
    return lstat(name, &st) == 0;
}

/* A socket that another process would have bound; closing it leaves its file behind. */
static int foreign(const struct addr *at, int type, bool listens)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, &at->sa, at->len), 0);
    if (listens)
        ck_assert_int_eq(listen(fd, 1), 0);
    return fd;
}

static void check_connects(const struct addr *at, int listener)
{
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(client, &at->sa, at->len), 0);
    int accepted = accept(listener, NULL, NULL);
    ck_assert_int_ge(accepted, 0);
    close(accepted);
    close(client);
}

static void release(struct bind_claim *claim)
{
    struct error e;
    ck_assert_msg(bind_release(claim, &e), "%s", e.text);
    ck_assert_ptr_null(claim->at);
    ck_assert(bind_release(claim, &e)); /* again: nothing */
}

static void close_all(const int *fds)
{
    for (unsigned i = 0; i < N; i++)
        close(fds[i]);
}

START_TEST(a_unix_socket_is_one_for_all_workers_and_leaves_nothing_behind)
{
    struct addr at = path("s");
    struct bind_claim claim;
    struct error e;
    int fds[N];
    unsigned before = descriptors();
    ck_assert_msg(bind_sockets(&at, fds, N, &claim, &e), "%s", e.text);
    for (unsigned i = 0; i < N; i++) {
        ck_assert(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
        ck_assert(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        ck_assert_msg(bind_listen(fds[i], i == 0, 4, &e), "%s", e.text);
    }
    for (unsigned i = 0; i < N; i++)
        check_connects(&at, fds[i]);
    release(&claim);
    ck_assert(!exists("s") && !exists("s.lock"));
    close_all(fds);
    ck_assert_uint_eq(descriptors(), before);
}
END_TEST

START_TEST(what_has_connected_before_the_release_is_still_accepted)
{
    struct addr at = path("s");
    struct bind_claim claim;
    struct error e;
    int fds[N], client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert(bind_sockets(&at, fds, N, &claim, &e));
    ck_assert(bind_listen(fds[0], true, 4, &e));
    ck_assert_int_eq(connect(client, &at.sa, at.len), 0);
    release(&claim);
    close(fds[0]);
    close(fds[1]);
    int accepted = accept(fds[2], NULL, NULL);
    ck_assert_int_ge(accepted, 0);
    close(accepted);
    close(client);
    close(fds[2]);
}
END_TEST

START_TEST(the_umask_says_who_may_connect)
{
    struct addr at = path("s");
    struct bind_claim claim;
    struct error e;
    struct stat st;
    int fds[N];
    mode_t old = umask(027);
    ck_assert(bind_sockets(&at, fds, N, &claim, &e));
    umask(old);
    ck_assert_int_eq(stat("s", &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0750);
    release(&claim);
    close_all(fds);
}
END_TEST

START_TEST(a_socket_left_behind_is_replaced)
{
    struct addr at = path("s");
    struct bind_claim claim;
    struct error e;
    int fds[N];
    close(foreign(&at, SOCK_STREAM, true));
    ck_assert(exists("s"));
    ck_assert_msg(bind_sockets(&at, fds, N, &claim, &e), "%s", e.text);
    ck_assert(bind_listen(fds[0], true, 1, &e));
    check_connects(&at, fds[0]);
    release(&claim);
    ck_assert(!exists("s"));
    close_all(fds);
}
END_TEST

static void check_path_refused(const struct addr *at, int code, const char *text)
{
    struct bind_claim claim;
    struct error e;
    int fds[N];
    unsigned before = descriptors();
    ck_assert(!bind_sockets(at, fds, N, &claim, &e));
    ck_assert_msg(e.code == code && strcasecmp(e.text, text) == 0, "%d %s", e.code, e.text);
    ck_assert_ptr_null(claim.at);
    ck_assert_uint_eq(descriptors(), before);
}

START_TEST(a_socket_that_somebody_answers_is_in_use)
{
    struct addr at = path("s");
    int fd = foreign(&at, SOCK_STREAM, true);
    check_path_refused(&at, EADDRINUSE, "bind unix:s: address already in use");
    check_connects(&at, fd); /* the look, and then the one that counts */
    close(fd);
    ck_assert(!exists("s.lock"));
    unlink("s");
}
END_TEST

START_TEST(a_socket_with_a_full_queue_is_in_use)
{
    struct addr at = path("s");
    int fd = foreign(&at, SOCK_STREAM, true), clients[4];
    for (int i = 0; i < 4; i++) { /* more than it holds */
        clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        int r = connect(clients[i], &at.sa, at.len);
        ck_assert(r == 0 || errno == EAGAIN);
    }
    check_path_refused(&at, EADDRINUSE, "bind unix:s: address already in use");
    for (int i = 0; i < 4; i++)
        close(clients[i]);
    close(fd);
    unlink("s");
}
END_TEST

START_TEST(a_socket_of_another_type_is_in_use)
{
    struct addr at = path("s");
    int fd = foreign(&at, SOCK_DGRAM, false);
    check_path_refused(&at, EADDRINUSE, "bind unix:s: address already in use");
    close(fd);
    unlink("s");
}
END_TEST

/* A socket that is bound but does not listen refuses connections, as a stale one does. */
START_TEST(a_socket_of_ours_that_does_not_listen_yet_is_in_use)
{
    struct addr at = path("s");
    struct bind_claim claim;
    struct error e;
    int fds[N];
    ck_assert(bind_sockets(&at, fds, N, &claim, &e));
    check_path_refused(&at, EADDRINUSE, "bind unix:s: address already in use");
    ck_assert(bind_listen(fds[0], true, 1, &e));
    check_connects(&at, fds[0]);
    release(&claim);
    close_all(fds);
}
END_TEST

START_TEST(a_file_that_is_no_socket_stays_as_it_is)
{
    struct addr at = path("s");
    char text[8] = "";
    if (_i == 0) {
        int fd = open("s", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_eq(write(fd, "mine", 4), 4);
        close(fd);
    } else if (_i == 1) {
        ck_assert_int_eq(mkdir("s", 0700), 0);
    } else if (_i == 2) {
        ck_assert_int_eq(mkfifo("s", 0600), 0);
    } else { /* a link, even to a socket that was left behind */
        struct addr other = path("t");
        close(foreign(&other, SOCK_STREAM, true));
        ck_assert_int_eq(symlink("t", "s"), 0);
    }
    check_path_refused(&at, EEXIST, "bind unix:s: the file that is there is no socket");
    ck_assert(!exists("s.lock"));
    if (_i == 0) {
        int fd = open("s", O_RDONLY | O_CLOEXEC);
        ck_assert_int_eq(read(fd, text, sizeof text), 4);
        ck_assert_str_eq(text, "mine");
        close(fd);
    }
    if (_i == 3) {
        ck_assert(exists("t"));
        unlink("t");
    }
    ck_assert_int_eq(remove("s"), 0);
}
END_TEST

START_TEST(a_folder_that_is_not_there_is_an_error_in_words)
{
    struct addr at = path("none/s");
    check_path_refused(&at, ENOENT,
                       "bind unix:none/s: lock none/s.lock: no such file or directory");
}
END_TEST

START_TEST(the_file_of_a_socket_that_took_our_place_stays)
{
    struct addr at = path("s");
    struct bind_claim claim;
    struct error e;
    int fds[N];
    ck_assert(bind_sockets(&at, fds, N, &claim, &e));
    close_all(fds); /* the inode of our file must not be given to the other one even so */
    unlink("s");
    int fd = foreign(&at, SOCK_STREAM, true);
    release(&claim);
    ck_assert(exists("s") && !exists("s.lock"));
    check_connects(&at, fd);
    close(fd);
    unlink("s");
}
END_TEST

START_TEST(the_lock_of_a_process_that_died_hinders_nobody)
{
    struct addr at = path("s");
    struct bind_claim claim;
    struct error e;
    int fds[N], fd = open("s.lock", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    close(fd);
    close(foreign(&at, SOCK_STREAM, true));
    ck_assert_msg(bind_sockets(&at, fds, N, &claim, &e), "%s", e.text);
    release(&claim);
    ck_assert(!exists("s.lock"));
    close_all(fds);
}
END_TEST

#define RACERS 6
#define ROUNDS 200

/* Check's assertions work in the main thread only, so the other threads count failures. */
static struct race {
    pthread_barrier_t line;
    _Atomic unsigned winners, holders, wrong;
} race;

static void leave_stale_file(const struct addr *at)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    race.wrong += bind(fd, &at->sa, at->len) != 0;
    close(fd);
}

static bool reachable(const struct addr *at, int listener)
{
    struct error e;
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = bind_listen(listener, true, 4, &e) && connect(client, &at->sa, at->len) == 0;
    int accepted = ok ? accept(listener, NULL, NULL) : -1;
    close(client);
    if (accepted >= 0)
        close(accepted);
    return accepted >= 0;
}

/* In each round there is a stale file, and all threads bind the path at the same time. Clients must
 * reach the winner, although the others have found the stale file as well. */
static void *race_for_a_stale_path(void *arg)
{
    const bool *first = arg;
    struct addr at = path("s");
    for (int i = 0; i < ROUNDS; i++) {
        struct bind_claim claim;
        struct error e;
        int fds[N];
        if (*first) {
            leave_stale_file(&at);
            race.winners = 0;
        }
        pthread_barrier_wait(&race.line);
        bool won = bind_sockets(&at, fds, N, &claim, &e);
        race.winners += won;
        race.wrong += !won && e.code != EADDRINUSE;
        pthread_barrier_wait(&race.line);
        race.wrong += race.winners != 1;
        if (won) {
            race.wrong += !reachable(&at, fds[0]);
            race.wrong += !bind_release(&claim, &e);
            close_all(fds);
        }
        pthread_barrier_wait(&race.line);
    }
    return NULL;
}

/* Without barriers, so that bind_sockets() and bind_release() of different threads overlap in every
 * order. */
static void *come_and_go(void *arg)
{
    struct addr at = path("s");
    for (int i = 0; i < ROUNDS * 5; i++) {
        struct bind_claim claim;
        struct error e;
        int fds[N];
        if (!bind_sockets(&at, fds, N, &claim, &e)) {
            race.wrong += e.code != EADDRINUSE;
            continue;
        }
        race.wrong += ++race.holders != 1;
        race.winners++;
        race.holders--;
        race.wrong += !bind_release(&claim, &e);
        close_all(fds);
    }
    return NULL;
}

static void run_racers(void *(*racer)(void *))
{
    pthread_t threads[RACERS];
    bool first[RACERS] = {true};
    ck_assert_int_eq(pthread_barrier_init(&race.line, NULL, RACERS), 0);
    race.winners = race.holders = race.wrong = 0;
    for (int i = 0; i < RACERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, racer, &first[i]), 0);
    for (int i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&race.line);
    ck_assert_uint_eq(race.wrong, 0);
}

START_TEST(of_many_that_find_a_stale_file_one_gets_the_path)
{
    run_racers(race_for_a_stale_path);
}
END_TEST

START_TEST(never_do_two_hold_a_path)
{
    run_racers(come_and_go);
    ck_assert_uint_ge(race.winners, 1);
}
END_TEST

static void add_unix_tests(Suite *s)
{
    TCase *c = tcase_create("unix");
    tcase_set_timeout(c, 100);
    tcase_add_checked_fixture(c, enter_folder, leave_folder);
    tcase_add_test(c, a_unix_socket_is_one_for_all_workers_and_leaves_nothing_behind);
    tcase_add_test(c, what_has_connected_before_the_release_is_still_accepted);
    tcase_add_test(c, the_umask_says_who_may_connect);
    tcase_add_test(c, a_socket_left_behind_is_replaced);
    tcase_add_test(c, a_socket_that_somebody_answers_is_in_use);
    tcase_add_test(c, a_socket_with_a_full_queue_is_in_use);
    tcase_add_test(c, a_socket_of_another_type_is_in_use);
    tcase_add_test(c, a_socket_of_ours_that_does_not_listen_yet_is_in_use);
    tcase_add_loop_test(c, a_file_that_is_no_socket_stays_as_it_is, 0, 4);
    tcase_add_test(c, a_folder_that_is_not_there_is_an_error_in_words);
    tcase_add_test(c, the_file_of_a_socket_that_took_our_place_stays);
    tcase_add_test(c, the_lock_of_a_process_that_died_hinders_nobody);
    tcase_add_test(c, of_many_that_find_a_stale_file_one_gets_the_path);
    tcase_add_test(c, never_do_two_hold_a_path);
    suite_add_tcase(s, c);
}

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
    tcase_add_test(c, all_addresses_of_ipv6_are_those_of_ipv4_too);
    suite_add_tcase(s, c);
    add_unix_tests(s);
    return s;
}

int main(void)
{
    return unit_main(build);
}
