/* What takes more than one key: references, duplicates, keys that depend on others, totals.
 *
 * What for: turns the fields that read_map() filled into a whole, checked configuration.
 * Invariants: reports in the place of the value that is wrong; the order of the file means nothing
 * afterwards (servers are sorted by name).
 * Ownership: fills the caller's config, which owns what is put in. Threads: none. */
#pragma once
#include "config/config.h"
#include "config/report.h"

/* `root` is the document that `c` was read from. */
void rules_apply(struct report *r, const struct yaml_node *root, struct config *c);
