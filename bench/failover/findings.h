/* The outcome of a scenario: tables for people, a JSON document for programs.
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
    struct load_result *result;          /* NULL: the load was not started */
    json_t *load;                        /* the same, as the document of result_json() */
    uint64_t *begun_ns, *done_ns;        /* of each event, since the start of the load */
    struct aftermath_fault *faults;      /* their server names point into `names` */
    size_t nfaults;
    struct aftermath aftermath;
};

void finding_init(struct finding *f, const struct scenario *s, const struct proxy *p);
void finding_deinit(struct finding *f);
/* Takes over the result of a load, which must come while the load's options and keys are there. */
void finding_take(struct finding *f, struct load_result *r, const struct load_options *load);
/* The tables of a scenario, at most 110 columns wide. */
void finding_print(const struct finding *f, FILE *to);
/* A table with a line for each scenario. */
void findings_print_summary(const struct finding *findings, size_t n, FILE *to);
/* All figures, as docs/ringbench.md describes them: the document of the load, and the figures of
 * the faults beside it. The reference is the caller's, and never NULL. */
json_t *finding_json(const struct finding *f);
