/* What the two halves of `ringproxy plan` have in common: two configurations compared, and the
 * failures of one. Threads: the main thread. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

struct plan_args {
    const char *files[2]; /* OLD and NEW; with failures FILE and NULL */
    const char *pool;     /* NULL: all */
    double max_move;      /* in percent; below 0: none */
    const char *max_move_text;
    unsigned failures; /* 0: compare; else how many servers are out at once at most */
    size_t worst;      /* cases to list; 0: by default */
    bool json;
};

/* Prints what each failure of one configuration does; returns an exit status. */
int plan_failures(const struct config *c, const struct plan_args *a);
/* The width of a column with this text, at least `width`, at most 40. */
int plan_width(const char *text, int width);
/* Prints a document and gives the reference back. NULL: there was no memory for it. Returns whether
 * it was printed; if not, a message was. */
bool plan_print_json(json_t *document);
