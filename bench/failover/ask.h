/* One HTTP request on a connection of its own, for those who can wait for the answer.
 *
 * What for: readiness and POST /__control, a request now and then; a load is bench/load/load.h.
 * Threads: any; blocks until the answer's head is there, for time_ms at most. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"

#define ASK_BACKEND 64

struct ask_answer {
    int status;
    char backend[ASK_BACKEND]; /* of X-Backend, cut; empty: none */
};

/* fields: further field lines, each with its CRLF; "" for none. False: the error says why there is
 * no answer. */
bool ask(const struct addr *to, const char *method, const char *target, const char *fields,
         unsigned time_ms, struct ask_answer *a, struct error *e);
