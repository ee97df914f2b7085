/* What is said of a reload: log lines, and the documents for those who asked.
 *
 * Invariants: each function that returns a document logs as well, where it says so.
 * docs/operations.md, Reload, has the lines and the fields. Ownership: documents are the caller's;
 * NULL: memory is out. Threads: control. */
#pragma once
#include <jansson.h>

#include "app/prepare.h"
#include "plan/document.h"

/* {"errors":[...]}, and a log line for each if `log`. */
json_t *tell_errors(const struct config_errors *errors, bool log);
/* One error that has no place in the file; logged. */
json_t *tell_refused(const char *reason);
/* {"error"}: the file can't be replaced; logged. */
json_t *tell_not_replaced(const char *reason);
/* Whether a pool would have more than that share of its keys moved. */
bool tell_exceeds(const struct plan *p, double max_move);
/* The plan as a document, with "allowed": whether tell_exceeds() is false. */
json_t *tell_plan(const struct plan *p, double max_move);
/* The figures of those pools; logged. */
json_t *tell_bound(const struct plan *p, double max_move);
/* What the switch to this generation has changed; logged. */
json_t *tell_reloaded(const struct prepared *p, const struct snapshot *s);
/* Another generation is in force than the caller thinks; not logged. */
json_t *tell_changed(void);
/* The interface that was asked goes; not logged. */
json_t *tell_moved(void);
/* The proxy starts, stops or hands over; not logged. */
json_t *tell_unready(void);
