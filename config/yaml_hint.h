/* What a user most likely meant by a text that YAML does not take without quotes.
 *
 * What for: "[::1]:80" begins a list in YAML, "*:80" names an alias, and "%" and "@" begin nothing.
 * libyaml's words for that help nobody who wanted an address, so a hint takes their place.
 * Invariants: a hint changes the words and the place of a fault, never whether there is one.
 * Ownership: plain values. Threads: pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* A fault of the scanner or parser. Lines and columns count from 0, columns in characters. */
struct yaml_trouble {
    struct str input;
    size_t line, column; /* where reading stopped */
    const char *context; /* "while scanning an alias", ...; NULL: none */
    size_t context_line, context_column;
};

#define YAML_HINT_MAX 224

/* True: out is what to say in place of libyaml's words, and *line and *column are where, from 0. */
bool yaml_hint(const struct yaml_trouble *t, char out[YAML_HINT_MAX], size_t *line, size_t *column);
