#include "config/replace.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/mem.h"

#define STEP 65536
#define ACL "system.posix_acl_access"
#define TEMPORARY ".ringproxy-XXXXXX" /* does not depend on the name, which may be of NAME_MAX */

struct replacement {
    char *path;     /* as given */
    char *real;     /* the same file, without symbolic links */
    struct stat st; /* of the old file, when it was read */
    struct buffer old;
    int old_fd;      /* for its attributes */
    char *temporary; /* NULL: there is none */
};

/* --- reading --- */

static bool read_old(struct replacement *r, size_t max, struct error *e)
{
    for (;;) {
        if (!buffer_reserve(&r->old, STEP)) {
            error_set(e, ENOMEM, "%s: out of memory", r->path);
            return false;
        }
        ssize_t n = read(r->old_fd, r->old.data + r->old.end, STEP);
        if (n == 0)
            return true;
        if (n < 0 && errno != EINTR) {
            error_errno(e, errno, "%s cannot be read", r->path);
            return false;
        }
        r->old.end += n > 0 ? (size_t)n : 0;
        if (buffer_len(&r->old) > max) {
            error_set(e, EFBIG, "%s is larger than %zuMiB", r->path, max >> 20);
            return false;
        }
    }
}

/* O_NONBLOCK: to open a FIFO must not block. */
static bool open_old(struct replacement *r, struct error *e)
{
    r->real = realpath(r->path, NULL);
    if (r->real)
        r->old_fd = open(r->real, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (r->old_fd < 0 || fstat(r->old_fd, &r->st) != 0) {
        error_errno(e, errno, "%s cannot be read", r->path);
        return false;
    }
    if (!S_ISREG(r->st.st_mode)) {
        error_set(e, EINVAL, "%s is not a regular file", r->path);
        return false;
    }
    if (r->st.st_nlink > 1) {
        error_set(e, EMLINK,
                  "%s has %ju names (hard links), a replacement would part them: it has to be the "
                  "only one",
                  r->path, (uintmax_t)r->st.st_nlink);
        return false;
    }
    return true;
}

struct replacement *replace_open(const char *path, size_t max, struct error *e)
{
    struct replacement *r = mem_zalloc(sizeof *r);
    r->path = mem_strdup(path);
    r->old_fd = -1;
    if (open_old(r, e) && read_old(r, max, e))
        return r;
    replace_free(r);
    return NULL;
}

struct str replace_old(const struct replacement *r)
{
    return (struct str){r->old.data, r->old.end};
}

/* --- writing --- */

/* Beside the file, as rename() works within a file system. */
static int create_temporary(struct replacement *r, struct error *e)
{
    size_t dir = (size_t)(strrchr(r->real, '/') - r->real) + 1;
    size_t n = dir + sizeof TEMPORARY;
    char *name = mem_zalloc(n);
    snprintf(name, n, "%.*s%s", (int)dir, r->real, TEMPORARY);
    int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0) {
        error_errno(e, errno, "%s: no file can be created in %.*s", r->path, (int)dir, r->real);
        free(name);
        return -1;
    }
    r->temporary = name;
    return fd;
}

static bool write_all(int fd, struct str s, struct error *e, const char *path)
{
    while (s.n) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            error_errno(e, errno, "%s cannot be written", path);
            return false;
        }
        s.p += n;
        s.n -= (size_t)n;
    }
    return true;
}

/* Other attributes belong to the system (an SELinux label comes with the directory) or are of the
 * old content (security.ima). */
static bool is_kept(const char *name)
{
    return strncmp(name, "user.", 5) == 0 || strcmp(name, ACL) == 0;
}

/* The names of a file's attributes, each with a NUL behind it; none where there can be none. False:
 * errno says why. */
static bool list_attributes(int fd, struct buffer *names)
{
    if (!buffer_reserve(names, XATTR_LIST_MAX)) {
        errno = ENOMEM;
        return false;
    }
    ssize_t n = flistxattr(fd, names->data, XATTR_LIST_MAX);
    if (n < 0)
        return errno == ENOTSUP || errno == ENOSYS;
    names->end = (size_t)n;
    return true;
}

static bool copy_attribute(int from, int to, const char *name, struct buffer *value)
{
    if (!buffer_reserve(value, XATTR_SIZE_MAX)) {
        errno = ENOMEM;
        return false;
    }
    ssize_t n = fgetxattr(from, name, value->data, XATTR_SIZE_MAX);
    return n >= 0 && fsetxattr(to, name, value->data, (size_t)n, 0) == 0;
}

/* A directory may give its files an ACL of their own. */
static bool drop_acl(int fd)
{
    return fremovexattr(fd, ACL) == 0 || errno == ENODATA || errno == ENOTSUP || errno == ENOSYS;
}

static bool copy_attributes(struct replacement *r, int to, struct error *e)
{
    struct buffer names = {0}, value = {0};
    const char *name = "";
    bool ok = list_attributes(r->old_fd, &names);
    for (size_t at = 0; ok && at < names.end; at += strlen(name) + 1) {
        name = names.data + at;
        ok = !is_kept(name) || copy_attribute(r->old_fd, to, name, &value);
    }
    if (!ok)
        error_errno(e, errno, "%s: its attribute %.64s cannot be kept", r->path, name);
    buffer_release(&names);
    buffer_release(&value);
    return ok;
}

/* In this order: a change of the owner may take bits of the mode away, and the bits of the group
 * are a part of the ACL. */
static bool copy_rights(struct replacement *r, int fd, struct error *e)
{
    struct stat st;
    bool ok = fstat(fd, &st) == 0;
    if (ok && (st.st_uid != r->st.st_uid || st.st_gid != r->st.st_gid))
        ok = fchown(fd, r->st.st_uid, r->st.st_gid) == 0;
    if (!ok) {
        error_errno(e, errno, "%s: its owner and group cannot be kept", r->path);
        return false;
    }
    if (!drop_acl(fd) || fchmod(fd, r->st.st_mode & 07777) != 0) {
        error_errno(e, errno, "%s: its mode cannot be kept", r->path);
        return false;
    }
    return copy_attributes(r, fd, e);
}

bool replace_write(struct replacement *r, struct str text, struct error *e)
{
    assert(r->temporary == NULL);
    int fd = create_temporary(r, e);
    if (fd < 0)
        return false;
    bool ok = write_all(fd, text, e, r->path) && copy_rights(r, fd, e);
    if (ok && fsync(fd) != 0) {
        error_errno(e, errno, "%s cannot be written", r->path);
        ok = false;
    }
    if (close(fd) != 0 && ok) { /* some file systems tell of a full disk only here */
        error_errno(e, errno, "%s cannot be written", r->path);
        ok = false;
    }
    return ok;
}

/* --- the exchange of the names --- */

/* Whether the path, by way of its links, still leads to the file that was read, with what was read.
 * A change of its rights counts, too: they were copied before. */
static bool is_unchanged(const struct replacement *r)
{
    struct stat st;
    return stat(r->path, &st) == 0 && st.st_dev == r->st.st_dev && st.st_ino == r->st.st_ino &&
           st.st_size == r->st.st_size && st.st_mtim.tv_sec == r->st.st_mtim.tv_sec &&
           st.st_mtim.tv_nsec == r->st.st_mtim.tv_nsec &&
           st.st_ctim.tv_sec == r->st.st_ctim.tv_sec && st.st_ctim.tv_nsec == r->st.st_ctim.tv_nsec;
}

/* Until the directory is on the disk a crash may bring the old file back. The new one is there for
 * all to see, so a failure is none of the replacement. */
static void sync_directory(const struct replacement *r)
{
    char *dir = mem_strdup(r->real), *slash = strrchr(dir, '/');
    slash[slash == dir] = 0;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL)) /* EINVAL: there is no disk */
        log_event(LOG_WARN, "configuration not synced", strerror(errno));
    if (fd >= 0)
        close(fd);
    free(dir);
}

bool replace_commit(struct replacement *r, struct error *e)
{
    assert(r->temporary);
    if (!is_unchanged(r)) {
        error_set(e, ESTALE, "%s was changed by somebody else meanwhile", r->path);
        return false;
    }
    if (rename(r->temporary, r->real) != 0) {
        if (errno == EBUSY)
            error_set(e, EBUSY,
                      "%s is a mount point, which cannot be replaced: mount its directory instead",
                      r->path);
        else
            error_errno(e, errno, "%s cannot be replaced", r->path);
        return false;
    }
    free(r->temporary);
    r->temporary = NULL;
    sync_directory(r);
    return true;
}

void replace_free(struct replacement *r)
{
    if (r == NULL)
        return;
    if (r->temporary && unlink(r->temporary) != 0)
        log_event(LOG_WARN, "temporary file left", r->temporary);
    if (r->old_fd >= 0)
        close(r->old_fd);
    buffer_release(&r->old);
    free(r->temporary);
    free(r->real);
    free(r->path);
    free(r);
}
