/* The options of a load that `ringbench http` and `ringbench tcp` have in common.
 *
 * Threads: the main one. */
#pragma once
#include <getopt.h>

#include "bench/load/load.h"

enum { /* options without a letter; a command's own begin at LOAD_ARGUMENT_END */
       LOAD_ARGUMENT_CONNECTIONS = 256,
       LOAD_ARGUMENT_THREADS,
       LOAD_ARGUMENT_DURATION,
       LOAD_ARGUMENT_REQUESTS,
       LOAD_ARGUMENT_RATE,
       LOAD_ARGUMENT_PIPELINE,
       LOAD_ARGUMENT_CLOSE,
       LOAD_ARGUMENT_TIMEOUT,
       LOAD_ARGUMENT_SEED,
       LOAD_ARGUMENT_END,
};

/* For a command's table of getopt_long(). */
#define LOAD_ARGUMENTS                                                   \
    {"connections", required_argument, NULL, LOAD_ARGUMENT_CONNECTIONS}, \
        {"threads", required_argument, NULL, LOAD_ARGUMENT_THREADS},     \
        {"duration", required_argument, NULL, LOAD_ARGUMENT_DURATION},   \
        {"requests", required_argument, NULL, LOAD_ARGUMENT_REQUESTS},   \
        {"rate", required_argument, NULL, LOAD_ARGUMENT_RATE},           \
        {"pipeline", required_argument, NULL, LOAD_ARGUMENT_PIPELINE},   \
        {"close", no_argument, NULL, LOAD_ARGUMENT_CLOSE},               \
        {"timeout", required_argument, NULL, LOAD_ARGUMENT_TIMEOUT},     \
    {                                                                    \
        "seed", required_argument, NULL, LOAD_ARGUMENT_SEED              \
    }

/* The defaults, without target and wire. */
struct load_options load_arguments_default(void);
/* Takes the value of one of these options. NULL: it was taken; else what values are allowed. */
const char *load_arguments_take(struct load_options *o, int option, const char *value);
/* Checks the options together and adds the default duration. NULL: they are fine; else what is
 * wrong. */
const char *load_arguments_complete(struct load_options *o);
/* Raises the limit of descriptors, since each connection needs one; a failure is printed on stderr.
 */
void load_arguments_raise_limit(void);
