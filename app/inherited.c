#include "app/inherited.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define FIRST_FD 3         /* SD_LISTEN_FDS_START */
#define NAME_MAX_BYTES 255 /* of a FileDescriptorName= */
#define MOST 65536         /* descriptors; more are a mistake */

struct given {
    int fd;
    char *name;
    struct addr at;   /* len 0: one that no listener can be configured with */
    bool is_reserved; /* for a listener of its address */
    bool only_at;     /* it is never a listener's by its name */
    bool has_files;   /* of a unix socket: these, and the lock is its own */
    struct bind_claim files;
};

struct inherited {
    struct given *sockets;
    size_t n;
};

struct inherited *inherited_new(void)
{
    return mem_zalloc(sizeof(struct inherited));
}

size_t inherited_count(const struct inherited *in)
{
    return in->n;
}

/* ---- what is no listening socket is refused ---- */

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    return getsockopt(fd, level, name, &value, &len) == 0 ? value : -1;
}

/* The address that the socket is bound to. len 0: none that addr_parse() could give (an abstract or
 * a too long name). False: it is not bound, or of another family. */
static bool find_address(int fd, struct addr *a)
{
    struct sockaddr_storage got = {0};
    socklen_t len = sizeof got;
    *a = (struct addr){0};
    if (getsockname(fd, (struct sockaddr *)&got, &len) < 0)
        return false;
    switch (got.ss_family) {
    case AF_INET:
    case AF_INET6:
        memcpy(&a->v6, &got, sizeof a->v6);
        a->len = len;
        return addr_port(a) != 0;
    case AF_UNIX:
        if (len <= offsetof(struct sockaddr_un, sun_path))
            return false;
        memcpy(&a->un, &got, sizeof a->un);
        if (a->un.sun_path[0] && memchr(a->un.sun_path, 0, sizeof a->un.sun_path))
            a->len =
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(a->un.sun_path) + 1);
        return true;
    default:
        return false;
    }
}

/* NULL: it will do, and *at is its address. Otherwise what is wrong with it. */
static const char *examine(int fd, struct addr *at)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    if (fcntl(fd, F_GETFD) < 0)
        return "not an open descriptor";
    int type = option(fd, SOL_SOCKET, SO_TYPE);
    if (type < 0)
        return "not a socket";
    if (type != SOCK_STREAM)
        return "not a stream socket";
    if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0)
        return "a connection, not a listening socket (Accept= must be no)";
    return find_address(fd, at) ? NULL : "not bound to an address of IPv4, IPv6 or a unix socket";
}

/* As bind_sockets() leaves a socket; what can only be set before bind() is the giver's choice. */
static bool prepare(const struct given *g)
{
    int flags = fcntl(g->fd, F_GETFL);
    if (flags < 0 || fcntl(g->fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(g->fd, F_SETFD, FD_CLOEXEC) < 0)
        return false;
    return option(g->fd, SOL_SOCKET, SO_DOMAIN) == AF_UNIX ||
           setsockopt(g->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) == 0;
}

/* The name comes from the environment and goes to the log and to error messages. */
static char *copy_name(const char *name)
{
    char *copy = mem_strndup(name, NAME_MAX_BYTES);
    for (char *p = copy; *p; p++)
        if (iscntrl((unsigned char)*p))
            *p = '?';
    return copy;
}

static void set_error(struct error *e, const struct given *g, int code, const char *what)
{
    error_set(e, code, "inherited socket %s (descriptor %d): %s", g->name, g->fd, what);
}

static bool add(struct inherited *in, int fd, const char *name, const struct addr *at,
                struct error *e)
{
    struct given g = {.fd = fd, .name = copy_name(name), .only_at = at != NULL};
    const char *wrong = examine(fd, &g.at);
    if (at)
        g.at = *at;
    if (wrong != NULL || !prepare(&g)) {
        set_error(e, &g, wrong ? EINVAL : errno, wrong ? wrong : strerror(errno));
        free(g.name);
        close(fd); /* one that is not open makes an error that nobody needs */
        return false;
    }
    in->sockets = mem_grow(in->sockets, in->n + 1, sizeof *in->sockets);
    in->sockets[in->n++] = g;
    return true;
}

bool inherited_add(struct inherited *in, int fd, const char *name, struct error *e)
{
    return add(in, fd, name, NULL, e);
}

bool inherited_add_at(struct inherited *in, int fd, const struct addr *at, struct error *e)
{
    char text[ADDR_TEXT_MAX];
    addr_format(at, text);
    return add(in, fd, text, at, e);
}

void inherited_add_files(struct inherited *in, int lock, dev_t dev, ino_t ino)
{
    struct given *g = &in->sockets[in->n - 1];
    assert(!g->has_files && addr_is_unix(&g->at));
    g->has_files = true;
    g->files = (struct bind_claim){.lock = lock, .dev = dev, .ino = ino, .lent = true};
}

/* ---- the environment ---- */

/* The variables are for one process alone: a child must not find them. */
static void forget_environment(void)
{
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

/* 0 to `most`. False: it is no such number. */
static bool parse_number(const char *text, unsigned long most, unsigned long *value)
{
    char *end;
    errno = 0;
    *value = strtoul(text, &end, 10);
    return isdigit((unsigned char)text[0]) && *end == 0 && errno == 0 && *value <= most;
}

/* The next of the names, which ':' separates; a '\' makes the next byte part of the name. NULL:
 * there is no further one. *rest goes on behind it, NULL after the last one. */
static char *next_name(const char **rest)
{
    const char *p = *rest;
    if (p == NULL)
        return NULL;
    char *name = mem_zalloc(strlen(p) + 1), *to = name;
    for (; *p && *p != ':'; p++) {
        if (*p == '\\' && p[1])
            p++;
        *to++ = *p;
    }
    *rest = *p ? p + 1 : NULL;
    return name;
}

static bool add_all(struct inherited *in, unsigned long n, const char *names, struct error *e)
{
    bool ok = true;
    const char *rest = names;
    for (unsigned long i = 0; i < n && ok; i++) {
        char *name = next_name(&rest);
        if (name == NULL && names)
            error_set(e, EINVAL, "LISTEN_FDNAMES has %lu names for %lu descriptors", i, n);
        ok = (name || !names) && inherited_add(in, FIRST_FD + (int)i, name ? name : "unknown", e);
        free(name);
    }
    if (ok && rest)
        error_set(e, EINVAL, "LISTEN_FDNAMES has more names than LISTEN_FDS says, %lu", n);
    return ok && rest == NULL;
}

bool inherited_read_environment(struct inherited *in, struct error *e)
{
    const char *pid_text = getenv("LISTEN_PID"), *fds_text = getenv("LISTEN_FDS");
    const char *names_text = getenv("LISTEN_FDNAMES");
    unsigned long pid, n;
    bool ok = true;
    if (pid_text == NULL || fds_text == NULL) {
        ; /* nobody gave sockets */
    } else if (!parse_number(pid_text, INT32_MAX, &pid)) {
        error_set(e, EINVAL, "LISTEN_PID is not the number of a process");
        ok = false;
    } else if (pid == (unsigned long)getpid()) {
        ok = parse_number(fds_text, MOST, &n);
        if (!ok)
            error_set(e, EINVAL, "LISTEN_FDS is not a number up to %d", MOST);
        /* systemd gives no names if the unit asks for none */
        ok = ok && (n == 0 || add_all(in, n, names_text, e));
    }
    forget_environment();
    return ok;
}

/* ---- taking ---- */

/* Whether the socket is bound to [::] and the same port, and accepts IPv4: what systemd makes of
 * `ListenStream=80`. While it exists nobody can bind 0.0.0.0 at that port. */
static bool covers_any_v4(const struct given *g, const struct addr *a)
{
    return a->sa.sa_family == AF_INET && a->v4.sin_addr.s_addr == htonl(INADDR_ANY) &&
           g->at.sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&g->at.v6.sin6_addr) &&
           addr_port(a) == addr_port(&g->at) && option(g->fd, IPPROTO_IPV6, IPV6_V6ONLY) == 0;
}

static bool by_address(const struct given *g, const struct addr *a, const char *name)
{
    return g->at.len != 0 && (addr_eq(&g->at, a) || covers_any_v4(g, a));
}

static bool by_name(const struct given *g, const struct addr *a, const char *name)
{
    return !g->is_reserved && !g->only_at && strcmp(g->name, name) == 0;
}

static void reserve(struct inherited *in, const struct addr *a)
{
    for (size_t i = 0; i < in->n; i++)
        in->sockets[i].is_reserved |= by_address(&in->sockets[i], a, NULL);
}

void inherited_reserve(struct inherited *in, const struct config *c)
{
    if (in == NULL)
        return;
    for (size_t i = 0; i < c->nlisteners; i++)
        reserve(in, &c->listeners[i].listen);
    if (c->has_admin)
        reserve(in, &c->admin_listen);
}

typedef bool match_fn(const struct given *g, const struct addr *a, const char *name);

static size_t count(const struct inherited *in, match_fn *match, const struct addr *a,
                    const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < in->n; i++)
        n += match(&in->sockets[i], a, name);
    return n;
}

/* Moves the sockets that match to the end of the set; the others keep their order, and so do these.
 * Returns the first of them. */
static struct given *part(struct inherited *in, size_t n, match_fn *match, const struct addr *a,
                          const char *name)
{
    struct given *matching = mem_zalloc_array(n, sizeof *matching);
    size_t kept = 0, found = 0;
    for (size_t i = 0; i < in->n; i++) {
        if (match(&in->sockets[i], a, name))
            matching[found++] = in->sockets[i];
        else
            in->sockets[kept++] = in->sockets[i];
    }
    memcpy(in->sockets + kept, matching, n * sizeof *matching);
    free(matching);
    return in->sockets + kept;
}

static bool duplicate(const struct given *from, size_t nfrom, int *fds, unsigned n, struct error *e)
{
    for (unsigned i = 0; i < n; i++) {
        fds[i] = fcntl(from[i % nfrom].fd, F_DUPFD_CLOEXEC, 0);
        if (fds[i] >= 0)
            continue;
        set_error(e, &from[i % nfrom], errno, strerror(errno));
        while (i > 0)
            close(fds[--i]);
        return false;
    }
    return true;
}

/* The match by which the sockets are the listener's, and how many they are. */
static match_fn *find_match(const struct inherited *in, const struct addr *a, const char *name,
                            size_t *found)
{
    *found = count(in, by_address, a, name);
    if (*found)
        return by_address;
    *found = count(in, by_name, a, name);
    return by_name;
}

size_t inherited_matching(const struct inherited *in, const struct addr *a, const char *name)
{
    size_t found = 0;
    if (in)
        find_match(in, a, name, &found);
    return found;
}

/* The sockets of the process before are there for its number of workers. Where there are more
 * now, they get sockets of their own in place of duplicates, if the others let them. */
static void bind_more(const struct given *from, size_t found, int *fds, unsigned n)
{
    struct addr at;
    if (found >= n || !from->only_at || !find_address(from->fd, &at))
        return;
    unsigned lack = n - (unsigned)found;
    int *more = mem_zalloc_array(lack, sizeof *more);
    bool ok = bind_further(&at, more, lack);
    for (unsigned i = 0; ok && i < lack; i++) {
        close(fds[found + i]);
        fds[found + i] = more[i];
    }
    free(more);
}

static void drop_last(struct inherited *in, size_t n)
{
    for (; n > 0; n--) {
        struct given *g = &in->sockets[--in->n];
        if (g->has_files)
            close(g->files.lock);
        if (g->fd >= 0)
            close(g->fd);
        free(g->name);
    }
}

/* Moves the claim of one of these sockets, if one has a claim, to the new owner, whose socket fd
 * is. */
static bool move_claim(struct given *from, size_t n, const struct addr *a, int fd,
                       struct bind_claim *claim, struct error *e)
{
    for (size_t i = 0; i < n; i++) {
        struct given *g = &from[i];
        if (!g->has_files)
            continue;
        *claim = g->files;
        claim->at = a;
        claim->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (claim->fd < 0) {
            set_error(e, g, errno, strerror(errno));
            *claim = (struct bind_claim){0};
            return false;
        }
        g->has_files = false;
        return true;
    }
    return true;
}

/* claim NULL: no files are asked for. */
static enum inherited_result take(struct inherited *in, const struct addr *a, const char *name,
                                  int *fds, unsigned n, struct bind_claim *claim, struct error *e)
{
    size_t found;
    if (in == NULL)
        return INHERITED_NONE;
    match_fn *match = find_match(in, a, name, &found);
    if (found == 0)
        return INHERITED_NONE;
    if (found > n) {
        error_set(e, EINVAL, "%zu inherited sockets, where only %u can be used", found, n);
        return INHERITED_FAILED;
    }
    struct given *from = part(in, found, match, a, name);
    if (!duplicate(from, found, fds, n, e))
        return INHERITED_FAILED;
    if (claim && !move_claim(from, found, a, fds[0], claim, e)) {
        while (n > 0)
            close(fds[--n]);
        return INHERITED_FAILED;
    }
    bind_more(from, found, fds, n);
    drop_last(in, found);
    return INHERITED_TAKEN;
}

enum inherited_result inherited_take(struct inherited *in, const struct addr *a, const char *name,
                                     int *fds, unsigned n, struct error *e)
{
    return take(in, a, name, fds, n, NULL, e);
}

/* Its sockets queue connections while nobody accepts, and that is what they are for. */
static bool stays_with_manager(const struct inherited *in, const struct addr *a, const char *name)
{
    size_t found = 0;
    match_fn *match = in ? find_match(in, a, name, &found) : NULL;
    for (size_t i = 0; found && i < in->n; i++)
        if (match(&in->sockets[i], a, name) && !in->sockets[i].only_at)
            return true;
    return false;
}

bool inherited_bind(struct inherited *in, const struct addr *a, const char *name, bool ahead,
                    int *fds, unsigned n, struct bind_claim *claim, struct error *e)
{
    *claim = (struct bind_claim){0};
    if (ahead && stays_with_manager(in, a, name)) {
        error_set(
            e, EINVAL,
            "its socket is the service manager's, and listens also while this proxy stands by "
            "(cluster.listen: active)");
        return false;
    }
    switch (take(in, a, name, fds, n, claim, e)) {
    case INHERITED_TAKEN:
        return true;
    case INHERITED_FAILED:
        return false;
    case INHERITED_NONE:
        break;
    }
    return ahead ? bind_ahead(a, fds, n, claim, e) : bind_sockets(a, fds, n, claim, e);
}

static void log_unused(const struct given *g)
{
    struct log_line l;
    char text[ADDR_TEXT_MAX];
    if (!log_begin(&l, LOG_WARN, "inherited socket unused"))
        return;
    log_str(&l, "name", g->name);
    if (g->at.len) {
        addr_format(&g->at, text);
        log_str(&l, "address", text);
    }
    log_str(&l, "reason", "no listener has its address or its name");
    log_end(&l);
}

/* No listener has the path any more, so nobody but this process would remove its files. */
static void remove_files(struct given *g)
{
    struct error e;
    if (!g->has_files)
        return;
    g->has_files = false;
    g->files.at = &g->at;
    g->files.fd = g->fd;
    g->files.lent = false;
    if (!bind_release(&g->files, &e))
        log_event(LOG_WARN, "socket file left", e.text);
    g->fd = -1; /* closed with the claim */
}

void inherited_close_unused(struct inherited *in)
{
    if (in == NULL)
        return;
    for (size_t i = 0; i < in->n; i++) {
        log_unused(&in->sockets[i]);
        remove_files(&in->sockets[i]);
    }
    drop_last(in, in->n);
}

void inherited_free(struct inherited *in)
{
    if (in == NULL)
        return;
    drop_last(in, in->n);
    free(in->sockets);
    free(in);
}
