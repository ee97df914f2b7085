/* The merge keys of YAML 1.1: `<<: *defaults`, `<<: [*first, *second]`.
 *
 * What for: a mapping gets the pairs of others, where it does not have the key itself.
 * Invariants: of several mappings in a list the first that has a key counts. What is merged is
 * shared, not copied, so a value keeps the place where it was written. A key that one mapping
 * gives twice stays there twice, for the reader of the mapping to report.
 * Ownership: the nodes stay the tree's. Threads: the caller's. */
#pragma once
#include "config/yaml.h"

/* Whether a node can be merged: it is a mapping, or a list of mappings. If not, *item is the number
 * of the list's item that is none, or SIZE_MAX: the node itself is neither. */
bool yaml_merge_takes(const struct yaml_node *from, size_t *item);
/* Adds the pairs of `from`, and corrects count and weight. The time is n log n of all pairs. */
void yaml_merge(struct yaml_node *map, const struct yaml_node *from);
