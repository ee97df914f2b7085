/* A load's result for people and for programs.
 *
 * Ownership: what is returned is the caller's. Threads: any. */
#pragma once
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "bench/load/bulk.h"
#include "bench/load/load.h"

/* What is said of the load beside the figures. */
struct result_about {
    const char *kind;   /* "http", "tcp" */
    const char *target; /* as the user wrote it */
    time_t started;
    json_t *options; /* borrowed: an object */
    const struct load_options *load;
};

/* The document that docs/ringbench.md describes; never NULL. */
json_t *result_json(const struct result_about *a, const struct load_result *r);
void result_print(FILE *to, const struct result_about *a, const struct load_result *r);

struct result_bulk_about {
    const char *target;
    time_t started;
    const char *direction;
    unsigned connections;
};
json_t *result_bulk_json(const struct result_bulk_about *a, const struct bulk_result *r);
void result_bulk_print(FILE *to, const struct bulk_result *r);

/* False: the text says why. */
bool result_save(const json_t *document, const char *path, struct error *e);
