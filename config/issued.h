/* The rules for keys that the proxy issues, `issued:NAME` and `issued_cookie`, and the warning of
 * lists of keys in which a client's key changes.
 *
 * What for: rules.c calls them for each listener, and for each list of keys.
 * Ownership and threads: as in rules.h. */
#pragma once
#include "config/config.h"
#include "config/report.h"

/* Checks a list of keys that was read from `node` at `path` and is used by requests of `l`: its
 * cookie must be one that browsers take. Warns if a client that logs in changes servers by it. */
void issued_check_keys(struct report *r, const struct config_listener *l,
                       const struct config_key *keys, size_t nkeys, const struct yaml_node *node,
                       const struct report_path *path);
/* Sets `issued` of the routes of a listener that was read from the mapping `node` at `path`, and
 * checks its `issued_cookie`. */
void issued_check_cookie(struct report *r, struct config_listener *l, const struct yaml_node *node,
                         const struct report_path *path);
