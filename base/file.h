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
/* The same for a file that has to be a regular one, and complete: one that changes while it is read
 * is read again, up to FILE_READINGS times in all, and is an error then. Blocks for up to 20 ms
 * each time if the file has just been changed, as a further change could not be told otherwise.
 * Never waits for a writer of a FIFO. *out has to be empty. */
bool file_read_settled(const char *path, size_t max, struct buffer *out, struct error *e);
#define FILE_READINGS 3
