/* How a test backend behaves: what the options of `ringbench serve` set and POST /__control
 * changes.
 *
 * Invariants: each setting is within its bounds, see the table in behaviour.c; a set that fails
 * leaves none half done. Ownership: a plain value. Pure. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

#define BEHAVIOUR_BODY_MAX (64 * 1024 * 1024)
#define BEHAVIOUR_NO_STALL UINT64_MAX

struct behaviour {
    uint64_t delay_ms;     /* before an answer, also to a check */
    uint64_t jitter_ms;    /* an even share of it comes on top */
    uint64_t slow_body_ms; /* the body goes out evenly over that time */
    uint64_t body_size;    /* at least; 0: the name alone */
    uint64_t chunked;      /* 0 or 1, as are hang and fail_checks */
    uint64_t chunk_size;
    uint64_t hang; /* nothing is answered, not even checks */
    uint64_t fail_checks;
    uint64_t status;   /* of all answers but to checks; 0: 200 */
    double error_rate; /* the share of requests answered 500 */
    double hang_rate;  /* the share never answered */
    uint64_t stall_ms; /* a request to stall, or BEHAVIOUR_NO_STALL */
};

void behaviour_init(struct behaviour *b);

/* These say in the error what is allowed: "delay: allowed is ...". */

/* One setting by its name, '-' as good as '_', from text: numbers, 250ms, 16KiB, 0.25. */
bool behaviour_set(struct behaviour *b, struct str name, struct str value, struct error *e);
/* "delay=20&status=500", percent-encoded. */
bool behaviour_set_query(struct behaviour *b, struct str query, struct error *e);
/* {"delay": 20, "chunked": true, "body_size": "16KiB"} */
bool behaviour_set_json(struct behaviour *b, struct str text, struct error *e);
/* The rules across settings. */
bool behaviour_check(const struct behaviour *b, struct error *e);

/* All settings by name but stall. NULL: memory is out. */
json_t *behaviour_json(const struct behaviour *b);
