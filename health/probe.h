/* One probe of one server at one address, tcp or http, from connecting to the result.
 *
 * What for: probe_start() connects, sends, judges the answer, and reports one result.
 * Invariants: on_done comes exactly once, never within probe_start(), and not after probe_cancel().
 * on_closed comes exactly once, last, when the memory is freed and no handle is left. The answer is
 * hostile: what is read is bounded, and one deadline holds for all of it.
 * Ownership: the probe owns itself; the pointer is good until on_done or probe_cancel(). The
 * configuration and the server must outlive on_closed.
 * Threads: the loop's. */
#pragma once
#include "config/config.h"
#include "net/conn.h"
#include "pool/server.h"

enum probe_outcome {
    PROBE_PASS,
    PROBE_FAIL,
    PROBE_NOT_DONE, /* this host lacks descriptors, ports or memory: the result says nothing about
                       the server */
};

#define PROBE_REASON_MAX 128

/* What is sent to a server, and for how long the answer may take; copied. */
struct probe_plan {
    const struct config_health *health; /* check must not be off */
    const struct server *server;
    uint64_t timeout_ms;        /* health.timeout, or what is left of it */
    enum config_send_head head; /* the PROXY head that the pool sends first */
};

struct probe_callbacks {
    /* reason: "200 in 3 ms", "connection refused", ...; good until it returns */
    void (*on_done)(void *arg, enum probe_outcome outcome, const char *reason);
    void (*on_closed)(void *arg);
    void *arg; /* of both */
};

struct probe;

/* to: one of the server's addresses. */
struct probe *probe_start(struct net *net, const struct probe_plan *plan, const struct addr *to,
                          const struct probe_callbacks *callbacks);
/* Closes without a result. */
void probe_cancel(struct probe *p);
