/* One HTTP request on a connection of its own, for callers that can wait for the answer.
 *
 * What for: checks of readiness and POST /__control, a request now and then. It is called from
 * within waits on the loop (wait.h), so it stands on a blocking socket and not on net/conn. Loads
 * are in bench/load/load.h.
 * Threads: any; blocks until the head of the answer has come, for time_ms at most. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"

#define ASK_BACKEND 64

struct ask_answer {
    int status;
    char backend[ASK_BACKEND]; /* the value of X-Backend, cut to fit; empty: the answer had none */
};

/* fields: further field lines, each with its CRLF; "" for none. False: there was no answer, and the
 * error says why. */
bool ask(const struct addr *to, const char *method, const char *target, const char *fields,
         unsigned time_ms, struct ask_answer *a, struct error *e);
