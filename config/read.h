/* Reads YAML nodes into the fields of a struct, as the tables of schema.c describe them.
 *
 * What for: one reader for each type of value, so that every key of a type is parsed, checked and
 * reported in the same way.
 * Invariants: an error is reported and reading continues. A field with a wrong value keeps its
 * default or zero. Each stored value is complete, so that the struct can be freed at any time.
 * Ownership: stored texts and arrays belong to the struct. Threads: the caller's. */
#pragma once
#include <stdbool.h>

#include "base/network.h"
#include "config/report.h"
#include "config/schema.h"

/* Sets the fields of one zeroed struct to their defaults, then to the values of the mapping. path
 * is where the mapping stands in the file, for messages. */
void read_map(struct report *r, const struct schema *s, const struct yaml_node *node,
              const struct report_path *path, void *fields);

/* The readers below read one value each. True: *out holds the value, which the caller owns. False:
 * the error is reported under `path`, *out is unchanged. */

/* A name: 1 to 255 bytes of visible characters without '"', '/' and white space. */
bool read_name(struct report *r, const struct yaml_node *node, const struct report_path *path,
               char **out);
/* A text: 1 to max bytes, any characters. */
bool read_text(struct report *r, const struct yaml_node *node, const struct report_path *path,
               size_t max, char **out);
/* Any bytes, 1 to max of them: a text, or what "\xNN" and "\0" in double quotes stand for. A NUL
 * follows the bytes, which are *len without it. */
bool read_bytes(struct report *r, const struct yaml_node *node, const struct report_path *path,
                size_t max, char **out, size_t *len);
/* Statuses: N or N-M, one or more, separated by commas or as a list. */
bool read_statuses(struct report *r, const struct yaml_node *node, const struct report_path *path,
                   struct config_range **out, size_t *count);
/* The value of `key:`: header:NAME and so on, parts joined with '+'; one or a list of them. */
bool read_keys(struct report *r, const struct yaml_node *node, const struct report_path *path,
               struct config_key **out, size_t *count);
/* Whether a text is a token (RFC 9110 5.6.2): a field name, cookie name or method that is none can
 * never occur in a request. */
bool read_is_token(struct str s);
void read_keys_free(struct config_key *keys, size_t count);

/* IP networks, one or a list, which may be empty; *out is a set by networks_sort(). */
bool read_networks(struct report *r, const struct yaml_node *node, const struct report_path *path,
                   struct network **out, size_t *count);

/* Reports a node of the wrong kind, such as a list in place of a number. allowed: what the key
 * takes, "a name" or "off or 1 to 2". */
void read_wrong_kind(struct report *r, const struct yaml_node *node, const struct report_path *path,
                     const char *allowed);
/* The same where a text is allowed: brackets and braces without quotes are often meant as one. */
void read_wrong_text(struct report *r, const struct yaml_node *node, const struct report_path *path,
                     const char *allowed);
