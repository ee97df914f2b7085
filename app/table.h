/* Lines of cells in columns that are as wide as their widest cell.
 *
 * Ownership: the texts are copied. table_deinit() frees, and a table can be filled again then.
 * Threads: the owner's. */
#pragma once
#include <stddef.h>
#include <stdio.h>

#define TABLE_COLUMNS 12

struct table {
    size_t ncolumns;
    char **cells; /* ncolumns of each line */
    size_t ncells, cap;
};

void table_init(struct table *t, size_t ncolumns);
/* The next cell, to the right of the one before, or the first of a line. A control character, which
 * could move the cursor, becomes '?'; an empty cell "-". */
void table_cell(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The last line must be whole. */
void table_print(const struct table *t, FILE *out);
void table_deinit(struct table *t);
