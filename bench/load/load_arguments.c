#include "bench/load/load_arguments.h"

#include <stdio.h>

#include "base/limit.h"
#include "bench/load/arguments.h"

#define SECOND_NS UINT64_C(1000000000)

struct load_options load_arguments_default(void)
{
    return (struct load_options){
        .threads = 1, .connections = 64, .pipeline = 1, .seed = 1, .timeout_ns = 10 * SECOND_NS};
}

static bool take_count(const char *text, uint64_t max, unsigned *out)
{
    uint64_t v = 0;
    bool ok = arguments_count(text, 1, max, &v);
    *out = (unsigned)v;
    return ok;
}

const char *load_arguments_take(struct load_options *o, int option, const char *value)
{
    switch (option) {
    case LOAD_ARGUMENT_CONNECTIONS:
        return take_count(value, 1000000, &o->connections) ? NULL : "1 to 1000000";
    case LOAD_ARGUMENT_THREADS:
        return take_count(value, 64, &o->threads) ? NULL : "1 to 64";
    case LOAD_ARGUMENT_PIPELINE:
        return take_count(value, 256, &o->pipeline) ? NULL : "1 to 256";
    case LOAD_ARGUMENT_DURATION:
        return arguments_duration(value, &o->duration_ns) ? NULL : "1ms to 24h";
    case LOAD_ARGUMENT_TIMEOUT:
        return arguments_duration(value, &o->timeout_ns) ? NULL : "1ms to 24h";
    case LOAD_ARGUMENT_REQUESTS:
        return arguments_count(value, 1, UINT64_MAX / 2, &o->requests) ? NULL : "1 or more";
    case LOAD_ARGUMENT_RATE:
        return arguments_number(value, 1e7, &o->rate) && o->rate >= 0.001 ? NULL
                                                                          : "0.001 to 10000000";
    case LOAD_ARGUMENT_SEED:
        return arguments_count(value, 0, UINT64_MAX, &o->seed) ? NULL : "a whole number";
    case LOAD_ARGUMENT_CLOSE:
        o->close = true;
        return NULL;
    default:
        return "another option"; /* unreachable if the command's tables agree */
    }
}

const char *load_arguments_complete(struct load_options *o)
{
    if (o->connections < o->threads)
        return "--connections: allowed at least one a thread";
    if (o->close && o->pipeline > 1)
        return "--close with --pipeline: allowed one of them";
    if (o->duration_ns == 0 && o->requests == 0)
        o->duration_ns = 10 * SECOND_NS;
    return NULL;
}

void load_arguments_raise_limit(void)
{
    struct error e;
    if (!limit_raise_descriptors(&e))
        fprintf(stderr, "ringbench: %s\n", e.text);
}
