/* One check of one server at one address, tcp or http, from connect to result.
 *
 * What for: probe_start() connects, asks, judges the answer, and says once what came out.
 * Invariants: on_done comes exactly once, never from within probe_start(), unless probe_cancel() is
 * called before it; on_closed comes exactly once, last, with the memory gone and no handle left.
 * The answer is hostile: what is read is bounded, and one deadline holds over all of it. Ownership:
 * the probe owns itself; the pointer is good until on_done or probe_cancel(). What it is given
 * (configuration, server) must outlive on_closed. Threads: the loop's. */
#pragma once
#include "config/config.h"
#include "net/conn.h"
#include "pool/server.h"

enum probe_outcome {
    PROBE_PASS,
    PROBE_FAIL,
    PROBE_NOT_DONE, /* this host could not even try (descriptors, ports, memory): says nothing about
                       the server */
};

#define PROBE_REASON_MAX 128

/* What is asked of a server; copied. */
struct probe_plan {
    const struct config_health *health; /* check must not be off */
    const struct server *server;
    uint64_t timeout_ms;        /* health's, or what is left of it */
    enum config_send_head head; /* the PROXY head that the server wants in front of all */
};

struct probe_callbacks {
    /* reason: "200 in 3 ms", "connection refused", ...; good until it returns */
    void (*on_done)(void *arg, enum probe_outcome outcome, const char *reason);
    void (*on_closed)(void *arg);
    void *arg;
};

struct probe;

/* to: one of the server's addresses. */
struct probe *probe_start(struct net *net, const struct probe_plan *plan, const struct addr *to,
                          const struct probe_callbacks *callbacks);
void probe_cancel(struct probe *p);
