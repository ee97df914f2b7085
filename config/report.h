/* Collects the errors of a configuration file while it is read.
 *
 * What for: the user sees all errors at once, in the order of their places in the file.
 * Invariants: a line is "FILE:LINE:COLUMN: PATH: what is wrong and what is allowed". Text of the
 * file is escaped, so that a line contains no line break or control character from the file.
 * Ownership: the report owns the lines until report_finish() gives them to the caller.
 * Threads: the caller's. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "config/config.h"
#include "config/yaml.h"

/* The path of a value, such as pools[0].backends[1].weight, as a linked list from the value up to
 * the document. Its elements are on the stack of the functions that descend into the file. */
struct report_path {
    const struct report_path *up; /* the mapping or list around it; NULL: the document */
    struct str key;               /* p NULL: an item of a list, number `index` */
    size_t index;
};

struct report_line {
    unsigned line, column;
    size_t sequence; /* keeps errors at the same place in the order of discovery */
    char *text;
};

struct report {
    const char *file;
    struct report_line *lines;
    size_t count, cap;
    struct report *warnings; /* of the same file; NULL in `warnings` itself */
};

/* Adds one error, or to `warnings` one warning. line and column count from 1; path NULL is printed
 * as "(document)". */
void report_at(struct report *r, unsigned line, unsigned column, const struct report_path *path,
               const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The same, at the line and column of a node. */
#define report_node(r, node, path, ...) \
    report_at((r), (node)->line, (node)->column, (path), __VA_ARGS__)

/* Sorts the errors by place and gives the lines to *out, whose owner frees them with
 * config_errors_free(). The report is empty afterwards. */
void report_finish(struct report *r, struct config_errors *out);

#define REPORT_QUOTE_MAX 192
/* Formats a text of the file for a message: unchanged if it is short and visible, otherwise in
 * quotes, escaped, and cut off after 40 bytes. Returns out. */
const char *report_quote(struct str s, char out[REPORT_QUOTE_MAX]);

/* True if every character is visible: no white space, no control, no format character. The text
 * must be valid UTF-8, as libyaml guarantees for every text of a file. */
bool report_visible(struct str s);
