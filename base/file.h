/* A whole file in memory.
 *
 * Ownership: what is read belongs to the caller's buffer. Threads: any. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

/* Appends all of a file that is at most max bytes long (whole MiB); also from a pipe, as in
 * `-c <(...)`. False: the error says why, without the path. */
bool file_read(const char *path, size_t max, struct buffer *out, struct error *e);
