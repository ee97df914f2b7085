/* The notices of a roster as lines of the log (docs/operations.md, The log).
 *
 * What for: one function that gives each notice its level, its event and its fields.
 * Invariants: ROSTER_OWNERS has no line; what has moved is in the other notices.
 * Ownership: keeps nothing.
 * Threads: control. */
#pragma once
#include "pool/roster.h"

void notice_log(const struct roster_notice *n);
