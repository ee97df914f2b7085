#include "app/handover.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "pool/roster_save.h"

#define FORM 1
#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)
#define DOCUMENT_MAX ((off_t)1 << 30)

/* ---- the old process ---- */

void handover_init(struct handover_draft *d, uint64_t generation)
{
    *d = (struct handover_draft){.generation = generation};
    d->root = mem_check(json_pack("{s:i, s:s, s:I, s:[], s:{}}", "form", FORM, "version",
                                  RINGPROXY_VERSION, "generation", (json_int_t)generation,
                                  "sockets", "pools"));
}

/* The number that the descriptor will have. */
static json_t *add_fd(struct handover_draft *d, int fd)
{
    d->fds = mem_grow(d->fds, d->nfds + 1, sizeof *d->fds);
    d->fds[d->nfds++] = fd;
    return json_integer((json_int_t)HANDOVER_FIRST + d->nfds - 1);
}

void handover_add_sockets(struct handover_draft *d, const struct addr *at, const int *fds,
                          unsigned n, const struct bind_claim *claim)
{
    char text[ADDR_TEXT_MAX];
    addr_format(at, text);
    json_t *numbers = mem_check(json_array());
    for (unsigned i = 0; i < n; i++)
        json_array_append_new(numbers, mem_check(add_fd(d, fds[i])));
    json_t *one = mem_check(json_pack("{s:s, s:o}", "address", text, "fds", numbers));
    if (claim && claim->at)
        json_object_set_new(
            one, "files",
            mem_check(json_pack("{s:o, s:I, s:I}", "lock", add_fd(d, claim->lock), "dev",
                                (json_int_t)claim->dev, "ino", (json_int_t)claim->ino)));
    json_array_append_new(json_object_get(d->root, "sockets"), one);
}

bool handover_add_pools(struct handover_draft *d, const struct snapshot *s, uint64_t now_ms)
{
    json_t *pools = json_object_get(d->root, "pools");
    bool ok = true;
    for (size_t i = 0; i < s->npools && ok; i++)
        ok = json_object_set_new(pools, s->pools[i]->config->name,
                                 roster_save(s->rosters[i], now_ms)) == 0;
    return ok;
}

static bool write_all(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t r = write(fd, text, n);
        if (r < 0 && errno != EINTR)
            return false;
        text += r > 0 ? r : 0;
        n -= r > 0 ? (size_t)r : 0;
    }
    return true;
}

void handover_add_member(struct handover_draft *d, const char *text)
{
    if (text)
        json_object_set_new(d->root, "member", mem_check(json_string(text)));
}

int handover_seal(const struct handover_draft *d, struct error *e)
{
    char *text = json_dumps(d->root, JSON_COMPACT);
    int fd = text ? memfd_create("ringproxy-upgrade", MFD_CLOEXEC | MFD_ALLOW_SEALING) : -1;
    if (text == NULL)
        error_errno(e, ENOMEM, "the document");
    else if (fd < 0 || !write_all(fd, text, strlen(text)) || fcntl(fd, F_ADD_SEALS, SEALS) < 0) {
        error_errno(e, errno, "the document");
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    free(text);
    return fd;
}

void handover_draft_deinit(struct handover_draft *d)
{
    json_decref(d->root);
    free(d->fds);
    *d = (struct handover_draft){0};
}

/* ---- the new process ---- */

static bool refuse(struct error *e, const char *what)
{
    error_set(e, EINVAL, "the document of the process before this one: %s", what);
    return false;
}

/* Only a sealed one can't change while it is read. NULL: *e says why. */
static json_t *load(int fd, struct error *e)
{
    struct stat st;
    json_error_t why;
    json_t *root = NULL;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) < 0) {
        refuse(e, "it is not sealed");
        return NULL;
    }
    if (st.st_size == 0 || st.st_size > DOCUMENT_MAX) {
        refuse(e, st.st_size ? "it is too large" : "it is empty");
        return NULL;
    }
    char *text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (text == MAP_FAILED) {
        error_errno(e, errno, "the document of the process before this one");
        return NULL;
    }
    root = json_loadb(text, (size_t)st.st_size, JSON_REJECT_DUPLICATES, &why);
    munmap(text, (size_t)st.st_size);
    if (root == NULL)
        refuse(e, why.text);
    return root;
}

/* Descriptors stand in the document in the order of their numbers, so each is named once. */
static bool next_fd(const json_t *number, int *next, int *fd)
{
    if (!json_is_integer(number) || json_integer_value(number) != *next)
        return false;
    *fd = (*next)++;
    return true;
}

static bool read_files(const json_t *files, const struct addr *at, struct inherited *in, int *next,
                       struct error *e)
{
    const json_t *dev = json_object_get(files, "dev"), *ino = json_object_get(files, "ino");
    struct stat st;
    int lock;
    if (!addr_is_unix(at) || !json_is_integer(dev) || !json_is_integer(ino) ||
        !next_fd(json_object_get(files, "lock"), next, &lock))
        return refuse(e, "the files of a socket");
    if (fstat(lock, &st) < 0 || !S_ISREG(st.st_mode) || fcntl(lock, F_SETFD, FD_CLOEXEC) < 0)
        return refuse(e, "a lock is no open file");
    inherited_add_files(in, lock, (dev_t)json_integer_value(dev), (ino_t)json_integer_value(ino));
    return true;
}

static bool read_sockets(const json_t *one, struct inherited *in, int *next, struct error *e)
{
    const char *text = json_string_value(json_object_get(one, "address"));
    const json_t *fds = json_object_get(one, "fds"), *files = json_object_get(one, "files");
    struct addr at;
    int fd;
    if (text == NULL || addr_parse(str_of(text), &at) != ADDR_OK)
        return refuse(e, "the address of a socket");
    if (json_array_size(fds) == 0)
        return refuse(e, "an address without a socket");
    for (size_t i = 0; i < json_array_size(fds); i++) {
        if (!next_fd(json_array_get(fds, i), next, &fd))
            return refuse(e, "the descriptors are not numbered as they are handed over");
        if (!inherited_add_at(in, fd, &at, e))
            return false;
    }
    return files == NULL || read_files(files, &at, in, next, e);
}

static bool read_root(struct handover *h, struct inherited *in, struct error *e)
{
    const json_t *form = json_object_get(h->root, "form");
    const json_t *generation = json_object_get(h->root, "generation");
    const json_t *sockets = json_object_get(h->root, "sockets");
    int next = HANDOVER_FIRST;
    if (!json_is_integer(form) || json_integer_value(form) != FORM)
        return refuse(e, "it has a form that this version does not know");
    if (!json_is_integer(generation) || json_integer_value(generation) < 1 ||
        json_integer_value(generation) == INT64_MAX || !json_is_array(sockets) ||
        !json_is_object(json_object_get(h->root, "pools")))
        return refuse(e, "generation, sockets or pools");
    h->generation = (uint64_t)json_integer_value(generation);
    for (size_t i = 0; i < json_array_size(sockets); i++)
        if (!read_sockets(json_array_get(sockets, i), in, &next, e))
            return false;
    return true;
}

bool handover_read(struct handover *h, int fd, struct inherited *in, struct error *e)
{
    *h = (struct handover){.root = load(fd, e)};
    if (h->root == NULL)
        return false;
    if (read_root(h, in, e))
        return true;
    handover_deinit(h);
    return false;
}

bool handover_restore(const struct handover *h, struct snapshot *s, uint64_t now_ms,
                      struct error *e)
{
    const json_t *pools = json_object_get(h->root, "pools");
    for (size_t i = 0; i < s->npools; i++) {
        const char *name = s->pools[i]->config->name;
        const json_t *roster = json_object_get(pools, name);
        if (roster == NULL || roster_restore(s->rosters[i], roster, now_ms, e))
            continue;
        error_prefix(e, "the document of the process before this one: pool %s", name);
        return false;
    }
    return true;
}

const char *handover_member(const struct handover *h)
{
    return json_string_value(json_object_get(h->root, "member"));
}

void handover_deinit(struct handover *h)
{
    json_decref(h->root);
    *h = (struct handover){0};
}
