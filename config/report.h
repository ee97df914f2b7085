/* The errors of a file, gathered while it is read, sorted and worded alike.
 *
 * Invariants: a line is "FILE:LINE:COLUMN: PATH: what is wrong and what is allowed", without line
 * breaks or control characters of the file's own, as what the file says is escaped.
 * Ownership: report_finish() hands the lines over; until then the report owns them.
 * Threads: none. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "config/config.h"
#include "config/yaml.h"

/* A way through the file: a key or an index below `up`. Lives on the stack of whoever walks. */
struct report_path {
    const struct report_path *up; /* NULL: the document */
    struct str key;               /* p NULL: an index */
    size_t index;
};

struct report_line {
    unsigned line, column;
    size_t sequence; /* keeps what is in one place in the order it was found */
    char *text;
};

struct report {
    const char *file;
    struct report_line *lines;
    size_t count, cap;
};

/* One error in a place; path NULL is "(document)". */
void report_at(struct report *r, unsigned line, unsigned column, const struct report_path *path,
               const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The same with the place of a node. */
#define report_node(r, node, path, ...) \
    report_at((r), (node)->line, (node)->column, (path), __VA_ARGS__)

/* Sorts by place and moves the lines to *out; the report is empty after it. */
void report_finish(struct report *r, struct config_errors *out);

#define REPORT_QUOTE_MAX 192
/* A text of the file for a message: as it is if short and visible, else in quotes, escaped and cut.
 * Returns out. */
const char *report_quote(struct str s, char out[REPORT_QUOTE_MAX]);

/* True if every character shows: no white space, no control or invisible character. UTF-8 must be
 * valid (libyaml has seen to that). */
bool report_visible(struct str s);
