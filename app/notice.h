/* The notices of a roster, and the warnings of a configuration, as lines of the log
 * (docs/operations.md, The log).
 *
 * What for: one function that gives each notice its level, its event and its fields; another that
 * sums the servers up.
 * Invariants: ROSTER_OWNERS has no line; what has moved is in the other notices.
 * Ownership: keeps nothing.
 * Threads: control. */
#pragma once
#include "config/config.h"
#include "pool/snapshot.h"

void notice_log(const struct roster_notice *n);
/* A line for each warning of a configuration that is taken up. */
void notice_log_warnings(const struct config *c);
/* A line for each listener of a configuration whose address the other one, or NULL, does not have.
 */
void notice_listeners(const char *event, const struct config *f, const struct config *other,
                      unsigned workers);
/* The state in a few words: "generation 3, 5 pools, 41 of 42 servers in service". */
void notice_describe(const struct snapshot *s, char *text, size_t size);
