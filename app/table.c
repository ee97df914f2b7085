#include "app/table.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define CELL_MAX 1024

void table_init(struct table *t, size_t ncolumns)
{
    assert(ncolumns > 0 && ncolumns <= TABLE_COLUMNS);
    *t = (struct table){.ncolumns = ncolumns};
}

void table_cell(struct table *t, const char *format, ...)
{
    char text[CELL_MAX];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (n <= 0)
        strcpy(text, "-");
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    if (t->ncells == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->cells = mem_grow(t->cells, t->cap, sizeof *t->cells);
    }
    t->cells[t->ncells++] = mem_strdup(text);
}

/* In characters of UTF-8, each of which is taken to be as wide as any other. */
static size_t width_of(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

void table_print(const struct table *t, FILE *out)
{
    size_t width[TABLE_COLUMNS] = {0};
    assert(t->ncells % t->ncolumns == 0);
    for (size_t i = 0; i < t->ncells; i++) {
        size_t n = width_of(t->cells[i]), *most = &width[i % t->ncolumns];
        *most = n > *most ? n : *most;
    }
    for (size_t i = 0; i < t->ncells; i++) {
        size_t column = i % t->ncolumns;
        bool last = column + 1 == t->ncolumns;
        fputs(t->cells[i], out);
        if (last)
            fputc('\n', out);
        else
            fprintf(out, "%*s", (int)(width[column] - width_of(t->cells[i]) + 2), "");
    }
}

void table_deinit(struct table *t)
{
    for (size_t i = 0; i < t->ncells; i++)
        free(t->cells[i]);
    free(t->cells);
    *t = (struct table){0};
}
