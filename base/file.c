#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STEP 65536

/* Kernels before 6.13 stamp changes with a clock that stands still for a tick, of 10 ms at most. */
#define TICK_NS 20000000

bool file_read(const char *path, size_t max, struct buffer *out, struct error *e)
{
    size_t before = buffer_len(out);
    bool ok = false;
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        error_errno(e, errno, "the file cannot be read");
        return false;
    }
    /* Reads until the end instead of asking for the size first: a pipe has none. */
    while (buffer_len(out) - before <= max && !feof(f) && !ferror(f)) {
        if (!buffer_reserve(out, STEP)) {
            error_set(e, ENOMEM, "out of memory");
            goto out;
        }
        errno = 0; /* fread() need not set it */
        out->end += fread(out->data + out->end, 1, STEP, f);
    }
    if (ferror(f))
        error_errno(e, errno, "the file cannot be read");
    else if (buffer_len(out) - before > max)
        error_set(e, EFBIG, "the file is larger than %zuMiB", max >> 20);
    else
        ok = true;
out:
    fclose(f);
    return ok;
}

/* The change time also tells when another file has taken the name. */
static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* A further change might have the same time. */
static bool changed_just_now(const struct stat *s)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    int64_t age =
        (int64_t)(now.tv_sec - s->st_ctim.tv_sec) * 1000000000 + (now.tv_nsec - s->st_ctim.tv_nsec);
    return age < TICK_NS;
}

/* Waits until each further change will have another time than that of *s. Nothing more is waited
 * for if the clock of the file's host is ahead of this one's. */
static void wait_for_tick(const struct stat *s)
{
    const struct timespec tick = {.tv_nsec = TICK_NS};
    if (changed_just_now(s))
        nanosleep(&tick, NULL);
}

/* Reads up to the end of the file *s, or until out has more than max bytes. */
static bool read_all(int fd, const struct stat *s, size_t max, struct buffer *out)
{
    wait_for_tick(s);
    while (buffer_len(out) <= max) {
        if (!buffer_reserve(out, STEP)) {
            errno = ENOMEM;
            return false;
        }
        ssize_t n = read(fd, out->data + out->end, STEP);
        if (n == 0)
            return true;
        if (n < 0 && errno != EINTR)
            return false;
        out->end += n > 0 ? (size_t)n : 0;
    }
    errno = EFBIG;
    return false;
}

enum reading { READ_WHOLE, READ_CHANGED, READ_FAILED };

static enum reading read_once(const char *path, size_t max, struct buffer *out, struct error *e)
{
    struct stat before, after;
    enum reading result = READ_FAILED;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &before) < 0) {
        error_errno(e, errno, "the file cannot be read");
    } else if (!S_ISREG(before.st_mode)) {
        error_set(e, 0, "the file cannot be read: %s",
                  S_ISDIR(before.st_mode) ? "Is a directory" : "Not a regular file");
    } else if (!read_all(fd, &before, max, out)) {
        if (errno == EFBIG)
            error_set(e, EFBIG, "the file is larger than %zuMiB", max >> 20);
        else
            error_errno(e, errno, "the file cannot be read");
    } else if (fstat(fd, &after) < 0) {
        error_errno(e, errno, "the file cannot be read");
    } else {
        bool whole = same(&before, &after) && (off_t)buffer_len(out) == after.st_size;
        result = whole ? READ_WHOLE : READ_CHANGED;
    }
    if (fd >= 0)
        close(fd);
    return result;
}

bool file_read_settled(const char *path, size_t max, struct buffer *out, struct error *e)
{
    for (unsigned i = 0; i < FILE_READINGS; i++) {
        buffer_clear(out);
        enum reading r = read_once(path, max, out, e);
        if (r != READ_CHANGED)
            return r == READ_WHOLE;
    }
    error_set(e, EAGAIN, "the file cannot be read: it changes while it is read");
    return false;
}
