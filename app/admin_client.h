/* A request to the admin interface of a running proxy, and its answer.
 *
 * What for: the commands that talk to a proxy: one request on a connection of its own.
 * Invariants: takes HTTP/1.x answers, with a length, in chunks or up to the end of the connection,
 * of at most ADMIN_ANSWER_MAX bytes. Nothing is sent twice.
 * Ownership: the answer is the caller's, until admin_answer_deinit().
 * Threads: any; blocks, until the deadline at most (looking up a name has none). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "app/admin_where.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/str.h"

#define ADMIN_ANSWER_MAX ((size_t)256 << 20)

struct admin_request {
    const char *method;
    const char *target; /* "/reload?force=1"; the prefix comes before it */
    struct str body;    /* n 0: none */
};

struct admin_answer {
    int status;
    struct buffer body;
};

/* False: there is no whole answer, *e says why; *a owns nothing. */
bool admin_ask(const struct admin_where *w, const struct admin_request *q, uint64_t timeout_ms,
               struct admin_answer *a, struct error *e);
void admin_answer_deinit(struct admin_answer *a);
