#include "base/file.h"

#include <errno.h>
#include <stdio.h>

#define STEP 65536

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
