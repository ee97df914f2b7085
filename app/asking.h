/* What the commands have in common that ask a running proxy for something: reload, upgrade, status.
 *
 *   asking_parse -> asking_run -> the command's tell
 *
 * What for: all of them take the same options, find the proxy in the same way (admin_where.h), and
 * say in the same words why it can't be asked.
 * Ownership: what asking_parse() notes points into argv. Threads: the main thread alone. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "app/admin_client.h"

struct asking {
    const char *command;
    bool takes_force, takes_json, takes_watch;
    uint64_t most_ms;   /* of --timeout; the least is 1ms */
    const char *most;   /* the same in words */
    const char *suited; /* what a proxy that is asked must be: "a ringproxy that can reload" */

    /* what the user said */
    const char *file;
    struct admin_hints hints;
    bool force, json, watch;
    uint64_t timeout_ms; /* before asking_parse(): the default */
};

/* Returns an exit status, or -1: the command goes on. */
int asking_parse(struct asking *k, int argc, char **argv);

/* Says what came of it, and returns an exit status. root: the answer's document; NULL: it is no
 * JSON. */
typedef int asking_tell_fn(const struct asking *k, const struct admin_where *w,
                           const struct admin_answer *a, json_t *root);
/* Asks, waiting for wait_ms at most, and has `tell` say what came of it. Returns an exit status. A
 * file of -c FILE with an error in it is told, and the proxy not asked. */
int asking_run(struct asking *k, const struct admin_request *q, uint64_t wait_ms,
               asking_tell_fn *tell);

/* Prints the "error" of a refusal, and what helps against it; if there is none, it says that
 * somebody else seems to listen there. False: that. */
bool asking_refused(const struct asking *k, const struct admin_where *w,
                    const struct admin_answer *a, json_t *root);
/* Prints the answer as it came. */
void asking_print_json(const struct admin_answer *a);
