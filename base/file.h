/* Reads a whole file into memory.
 *
 * Ownership: the content belongs to the caller's buffer. Threads: any; blocks. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

/* Appends the content of a file of at most max bytes to *out. max is a multiple of 1 MiB. The file
 * may be a pipe, as in `-c <(...)`. False: *e says why, without the path; *out may hold a part. */
bool file_read(const char *path, size_t max, struct buffer *out, struct error *e);
