/* What a scenario has shown, for people and for programs.
 *
 * Ownership: a finding owns its result, names and arrays; the scenario must outlive it.
 * Threads: none. */
#pragma once
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "bench/failover/aftermath.h"
#include "bench/failover/proxies.h"
#include "bench/failover/scenario.h"

struct finding {
    const struct scenario *scenario;
    const struct proxy *proxy;
    time_t started;
    char (*names)[SCENARIO_SERVER_NAME]; /* of all servers, by number */
    struct load_result *result;          /* NULL: the load did not start */
    json_t *load;                        /* the same as result_json() has it */
    uint64_t *begun_ns, *done_ns;        /* each event, since the start of the load */
    struct aftermath_fault *faults;      /* their names are those above */
    size_t nfaults;
    struct aftermath aftermath;
};

void finding_init(struct finding *f, const struct scenario *s, const struct proxy *p);
void finding_deinit(struct finding *f);
/* Takes over what a load came to, while its options and keys are still there. */
void finding_take(struct finding *f, struct load_result *r, const struct load_options *load);
/* A scenario's tables; at most 110 columns. */
void finding_print(const struct finding *f, FILE *to);
/* A line a scenario. */
void findings_print_summary(const struct finding *findings, size_t n, FILE *to);
/* All figures: the load's document and what is found beside; docs/ringbench.md describes it. The
 * caller's reference, never NULL. */
json_t *finding_json(const struct finding *f);
