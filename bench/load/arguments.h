/* Parsers of values on the command line that several commands have.
 *
 * Each returns false if the text is not such a value, and prints nothing. They are pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* A decimal number from min to max. */
bool arguments_count(const char *text, uint64_t min, uint64_t max, uint64_t *out);
/* "250ms", "2s", "1m", from 1 ms to 24 h; *ns is in nanoseconds. */
bool arguments_duration(const char *text, uint64_t *ns);
/* "100", "16KiB": bytes, at most max. */
bool arguments_size(const char *text, uint64_t max, uint64_t *out);
/* A positive number, with a fraction or not, at most max. */
bool arguments_number(const char *text, double max, double *out);
