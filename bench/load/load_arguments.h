/* The options of a load that `ringbench http` and `ringbench tcp` have in common.
 * Pure. */
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

/* What a user gets who asks for nothing else, but for the target and the wire. */
struct load_options load_arguments_default(void);
/* Takes one of these options. What is allowed instead of the value; NULL: it was taken. */
const char *load_arguments_take(struct load_options *o, int option, const char *value);
/* What follows from the options together: a default duration. What is wrong with them, or NULL. */
const char *load_arguments_complete(struct load_options *o);
/* As many connections as are asked for need descriptors: the soft limit is only a default. */
void load_arguments_raise_limit(void);
