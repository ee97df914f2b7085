/* The rules of the configuration that concern more than one key: references, duplicates, keys that
 * depend on other keys, sums.
 *
 * What for: completes and checks the fields that read_map() has filled from single values.
 * Invariants: an error is reported at the place of the wrong value. Afterwards the order of servers
 * in the file has no effect, because they are sorted by name.
 * Ownership: values go into the caller's config, which owns them. Threads: the caller's. */
#pragma once
#include "config/config.h"
#include "config/report.h"

/* Applies all rules to a config that was read from the document `root`. Errors go to the report;
 * the config may then be incomplete, but can be freed. */
void rules_apply(struct report *r, const struct yaml_node *root, struct config *c);
