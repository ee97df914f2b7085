/* A result as a page to look at: one HTML file with everything in it.
 *
 * page/page.html and its pieces become a part of the program when it is built. The results go into
 * the page as JSON, and its script draws them. The file needs nothing but a browser: it loads
 * nothing, and its own policy forbids it to.
 *
 * Invariants: no byte of a result can end the element that holds the results; the script puts what
 * it reads from that element into the page as text only.
 * Threads: any. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define REPORT_MAX 8 /* results in one page: as many as there are colours to tell them apart */

/* Writes a page with 1 to REPORT_MAX results of one kind; a page with several compares them. The
 * references stay the caller's. False: the error reads "PATH: why", and the file may be
 * incomplete. */
bool report_write(const char *path, json_t *const *results, size_t n, struct error *e);
