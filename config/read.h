/* Carries out the tables of schema.c: nodes -> the fields of a struct.
 *
 * What for: every value is read, checked and reported here, in one way for each type.
 * Invariants: an error never stops the reading; a field whose value was wrong keeps its default or
 * zero, and what was stored is always whole, so that the struct can be freed as usual.
 * Ownership: texts and arrays that are stored belong to the struct. Threads: none. */
#pragma once
#include <stdbool.h>

#include "config/report.h"
#include "config/schema.h"

/* Fills the fields of one struct with defaults, then with what the mapping says. */
void read_map(struct report *r, const struct schema *s, const struct yaml_node *node,
              const struct report_path *path, void *fields);

/* Values of their own. Each reports what is wrong under `path` and then returns false, with
 * nothing stored; the caller owns what is stored. */

/* A name: 1 to 255 bytes of visible characters without '"', '/' and white space. */
bool read_name(struct report *r, const struct yaml_node *node, const struct report_path *path,
               char **out);
/* 1 to max bytes, any characters. */
bool read_text(struct report *r, const struct yaml_node *node, const struct report_path *path,
               size_t max, char **out);
/* Statuses: N or N-M, several with commas or as a list. */
bool read_statuses(struct report *r, const struct yaml_node *node, const struct report_path *path,
                   struct config_range **out, size_t *count);
/* `key:`: header:NAME and the like, parts joined with '+'; one or a list. */
bool read_keys(struct report *r, const struct yaml_node *node, const struct report_path *path,
               struct config_key **out, size_t *count);
void read_keys_free(struct config_key *keys, size_t count);

/* Reports a value that is not of the right kind at all; what is "a number", "off or 1 to 2". */
void read_wrong_kind(struct report *r, const struct yaml_node *node, const struct report_path *path,
                     const char *allowed);
