/* The result of a load as text for people and as a JSON document for programs.
 *
 * Ownership: the caller owns the documents that are returned. Threads: any. */
#pragma once
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "bench/load/bulk.h"
#include "bench/load/load.h"

/* The description of the load that stands beside the figures. */
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

/* False: the error says why. */
bool result_save(const json_t *document, const char *path, struct error *e);
