/* What one process hands over to the next: whatever does not fit is refused. */
#include "app/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/lib/unit.h"

#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

static struct error e;

static struct addr parse(const char *text)
{
    struct addr a;
    ck_assert_int_eq(addr_parse(str_of(text), &a), ADDR_OK);
    return a;
}

/* A listening socket at the descriptor `at`. */
static void listen_as(int at)
{
    struct addr a = parse("127.0.0.1:1");
    addr_set_port(&a, 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert(fd >= 0 && bind(fd, &a.sa, a.len) == 0 && listen(fd, 8) == 0);
    if (fd != at) {
        ck_assert_int_eq(dup2(fd, at), at);
        close(fd);
    }
}

static int memfd_of(const char *text, int seals)
{
    int fd = memfd_create("test", MFD_ALLOW_SEALING);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 200); /* out of the way of those that are handed over */
    close(fd);
    return high;
}

/* Descriptors from HANDOVER_FIRST on are this process's own for a moment. */
static void in_child(void (*f)(const void *arg), const void *arg)
{
    /* Check runs without a fork here (sanitizers), and its descriptors are elsewhere. */
    int keep[8];
    for (int i = 0; i < 8; i++)
        keep[i] = fcntl(HANDOVER_FIRST + i, F_DUPFD_CLOEXEC, 100);
    for (int i = 0; i < 8; i++)
        close(HANDOVER_FIRST + i);
    f(arg);
    for (int i = 0; i < 8; i++) {
        close(HANDOVER_FIRST + i);
        if (keep[i] >= 0) {
            dup2(keep[i], HANDOVER_FIRST + i);
            close(keep[i]);
        }
    }
}

struct refusal {
    const char *text, *why;
    int sockets; /* that are open, from HANDOVER_FIRST on */
};

static void refuse(const void *arg)
{
    const struct refusal *r = arg;
    struct inherited *in = inherited_new();
    struct handover h;
    for (int i = 0; i < r->sockets; i++)
        listen_as(HANDOVER_FIRST + i);
    int fd = memfd_of(r->text, SEALS);
    bool ok = handover_read(&h, fd, in, &e);
    inherited_free(in);
    close(fd);
    ck_assert_msg(!ok, "%s", r->text);
    ck_assert_msg(strstr(e.text, r->why) != NULL, "%s: %s", r->text, e.text);
}

#define HEAD "{\"form\":1,\"version\":\"9\",\"generation\":3,\"pools\":{},\"sockets\":"

START_TEST(what_is_no_such_document_is_refused)
{
    static const struct refusal all[] = {
        {"", "it is empty", 0},
        {"{", "document", 0},
        {"[]", "a form that this version does not know", 0},
        {"null", "document", 0},
        {"{\"form\":2,\"generation\":3,\"pools\":{},\"sockets\":[]}", "a form that", 0},
        {"{\"form\":\"1\",\"generation\":3,\"pools\":{},\"sockets\":[]}", "a form that", 0},
        {"{\"form\":1,\"form\":1,\"generation\":3,\"pools\":{},\"sockets\":[]}", "duplicate", 0},
        {"{\"form\":1,\"generation\":0,\"pools\":{},\"sockets\":[]}", "generation", 0},
        {"{\"form\":1,\"generation\":9223372036854775807,\"pools\":{},\"sockets\":[]}",
         "generation", 0},
        {"{\"form\":1,\"generation\":3,\"pools\":[],\"sockets\":[]}", "pools", 0},
        {"{\"form\":1,\"generation\":3,\"pools\":{},\"sockets\":{}}", "sockets", 0},
        {HEAD "[]} {}", "document", 0},
        {HEAD "[7]}", "the address of a socket", 0},
        {HEAD "[{\"address\":\"nowhere\",\"fds\":[5]}]}", "the address of a socket", 1},
        {HEAD "[{\"address\":\"host.example:80\",\"fds\":[5]}]}", "the address of a socket", 1},
        {HEAD "[{\"address\":\"127.0.0.1:80\"}]}", "without a socket", 1},
        {HEAD "[{\"address\":\"127.0.0.1:80\",\"fds\":[]}]}", "without a socket", 1},
        {HEAD "[{\"address\":\"127.0.0.1:80\",\"fds\":{\"a\":5}}]}", "without a socket", 1},
        {HEAD "[{\"address\":\"127.0.0.1:80\",\"fds\":[\"5\"]}]}", "not numbered", 1},
        {HEAD "[{\"address\":\"127.0.0.1:80\",\"fds\":[6]}]}", "not numbered", 2},
        {HEAD "[{\"address\":\"127.0.0.1:80\",\"fds\":[-1]}]}", "not numbered", 1},
        {HEAD "[{\"address\":\"127.0.0.1:80\",\"fds\":[4294967301]}]}", "not numbered", 1},
        {HEAD "[{\"address\":\"127.0.0.1:80\",\"fds\":[5,5]}]}", "not numbered", 1},
        {HEAD "[{\"address\":\"127.0.0.1:80\",\"fds\":[5,6]}]}", "not an open descriptor", 1},
        {HEAD "[{\"address\":\"127.0.0.1:80\",\"fds\":[5],\"files\":{\"lock\":6,\"dev\":1,"
              "\"ino\":1}}]}",
         "the files of a socket", 2},
        {HEAD "[{\"address\":\"unix:/x\",\"fds\":[5],\"files\":{\"lock\":6,\"ino\":1}}]}",
         "the files of a socket", 2},
        {HEAD "[{\"address\":\"unix:/x\",\"fds\":[5],\"files\":[]}]}", "the files of a socket", 1},
        {HEAD "[{\"address\":\"unix:/x\",\"fds\":[5],\"files\":{\"lock\":5,\"dev\":1,\"ino\":1}}]}",
         "the files of a socket", 1},
        {HEAD "[{\"address\":\"unix:/x\",\"fds\":[5],\"files\":{\"lock\":6,\"dev\":1,\"ino\":1}}]}",
         "a lock is no open file", 2},
        {HEAD "[{\"address\":\"unix:/x\",\"fds\":[5],\"files\":{\"lock\":6,\"dev\":1,\"ino\":1}}]}",
         "a lock is no open file", 1},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        in_child(refuse, &all[i]);
}
END_TEST

START_TEST(what_is_not_sealed_is_refused)
{
    static const int lacking[] = {0, F_SEAL_WRITE, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL};
    struct inherited *in = inherited_new();
    struct handover h;
    for (size_t i = 0; i < sizeof lacking / sizeof *lacking; i++) {
        int fd = memfd_of(HEAD "[]}", lacking[i]);
        ck_assert(!handover_read(&h, fd, in, &e));
        ck_assert_ptr_nonnull(strstr(e.text, "it is not sealed"));
        close(fd);
    }
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert(!handover_read(&h, file, in, &e));
    close(file);
    ck_assert(!handover_read(&h, 9999, in, &e));
    inherited_free(in);
}
END_TEST

/* Each prefix of a document is refused, and leaves nothing open. */
static void cut_everywhere(const void *arg)
{
    char *text = mem_strdup(arg);
    struct handover h;
    for (size_t n = strlen(text); n-- > 0;) {
        struct inherited *in = inherited_new();
        listen_as(HANDOVER_FIRST);
        text[n] = 0;
        int fd = memfd_of(text, SEALS);
        bool ok = handover_read(&h, fd, in, &e);
        close(fd);
        inherited_free(in);
        ck_assert_msg(!ok, "%s", text);
        close(HANDOVER_FIRST);
    }
    free(text);
}

START_TEST(what_is_cut_is_refused)
{
    in_child(cut_everywhere, HEAD "[{\"address\":\"127.0.0.1:80\",\"fds\":[5]}]}");
}
END_TEST

static ino_t identity(int fd)
{
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    return st.st_ino;
}

/* What one side writes the other one reads: addresses as configured, claims, the generation. */
static void round_trip(const void *arg)
{
    const char *folder = arg;
    char text[100], at_text[100];
    struct handover_draft d;
    struct handover h;
    struct bind_claim claim, got;
    int tcp[2], unix_fd, out[2];
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < 8; i++) /* what is opened now gets other numbers */
        ck_assert_int_ge(dup2(null, HANDOVER_FIRST + i), 0);
    snprintf(text, sizeof text, "unix:%s/s", folder);
    snprintf(at_text, sizeof at_text, "%s/s", folder);
    const struct addr web = parse("127.0.0.1:80"), path = parse(text);
    listen_as(201);
    listen_as(202);
    tcp[0] = 201;
    tcp[1] = 202;
    ck_assert_msg(bind_sockets(&path, &unix_fd, 1, &claim, &e), "%s", e.text);

    handover_init(&d, 41);
    handover_add_sockets(&d, &web, tcp, 2, NULL);
    handover_add_sockets(&d, &path, &unix_fd, 1, &claim);
    ck_assert_uint_eq(d.nfds, 4);
    int document = handover_seal(&d, &e);
    ck_assert_msg(document >= 0, "%s", e.text);
    ck_assert_int_lt(write(document, "x", 1), 0);
    int high = fcntl(document, F_DUPFD_CLOEXEC, 210);
    close(document);
    for (unsigned i = 0; i < d.nfds; i++) /* uv_spawn() does it, in the child */
        d.fds[i] = fcntl(d.fds[i], F_DUPFD_CLOEXEC, 220);
    for (unsigned i = 0; i < d.nfds; i++) {
        ck_assert_int_eq(dup2(d.fds[i], HANDOVER_FIRST + (int)i), HANDOVER_FIRST + (int)i);
        close(d.fds[i]);
    }
    handover_draft_deinit(&d);

    struct inherited *in = inherited_new();
    ck_assert_msg(handover_read(&h, high, in, &e), "%s", e.text);
    close(high);
    ck_assert_uint_eq(h.generation, 41);
    handover_deinit(&h);
    ck_assert_uint_eq(inherited_count(in), 3);
    ck_assert_uint_eq(inherited_matching(in, &web, "x"), 2);
    ck_assert_uint_eq(inherited_matching(in, &path, "x"), 1);
    const struct addr other = parse("127.0.0.1:81");
    ck_assert_uint_eq(inherited_matching(in, &other, "127.0.0.1:80"), 0); /* never by name */
    ck_assert_msg(inherited_bind(in, &web, "x", false, out, 2, &got, &e), "%s", e.text);
    ck_assert(identity(out[0]) == identity(201) && identity(out[1]) == identity(202));
    ck_assert_ptr_null(got.at);
    close(out[0]);
    close(out[1]);
    ck_assert_msg(inherited_bind(in, &path, "x", false, out, 1, &got, &e), "%s", e.text);
    ck_assert(got.at == &path && got.lent && got.ino == claim.ino && got.dev == claim.dev);
    close(out[0]);
    inherited_free(in);

    /* the one that it was lent by is done, without a trace */
    claim.lent = true;
    ck_assert(bind_release(&claim, &e) && access(at_text, F_OK) == 0);
    struct bind_claim none;
    ck_assert(!bind_sockets(&path, out, 1, &none, &e)); /* the lock is still held */
    ck_assert_int_eq(e.code, EADDRINUSE);
    got.lent = false;
    ck_assert(bind_release(&got, &e) && access(at_text, F_OK) != 0);
    close(unix_fd);
    close(201);
    close(202);
    if (null >= HANDOVER_FIRST + 8)
        close(null);
}

START_TEST(what_is_written_is_read)
{
    char folder[] = "/tmp/handoverXXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(folder));
    in_child(round_trip, folder);
    ck_assert_int_eq(rmdir(folder), 0); /* no file is left */
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("handover");
    TCase *c = tcase_create("handover");
    tcase_add_test(c, what_is_no_such_document_is_refused);
    tcase_add_test(c, what_is_not_sealed_is_refused);
    tcase_add_test(c, what_is_cut_is_refused);
    tcase_add_test(c, what_is_written_is_read);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    return unit_main(build);
}
