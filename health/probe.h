/* One probe of one server at one address, tcp or http, from connecting to the result.
 *
 * What for: probe_start() connects, sends, judges the answer, and reports one result.
 * Invariants: on_done comes exactly once, as soon as the result is certain, never within
 * probe_start(), and not after probe_cancel(). After it the rest of the answer is read, so that the
 * server sees no reset. on_closed comes exactly once, last, when the memory is freed and no handle
 * is left. The answer is hostile: what is read is bounded, and one deadline holds for all of it.
 * Ownership: the probe owns itself; the pointer is good until on_closed. The configuration and the
 * server must outlive that.
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
    uint64_t timeout_ms;          /* health.timeout, or what is left of it */
    enum config_send_head head;   /* the PROXY head that the pool sends first */
    struct deadline_queue *ticks; /* must outlive on_closed */
};

struct probe_callbacks {
    /* reason: "200 in 3 ms", "connection refused", ...; good until it returns */
    void (*on_done)(void *arg, enum probe_outcome outcome, const char *reason);
    void (*on_closed)(void *arg);
    void *arg; /* of both */
};

struct probe;

/* Ticks for the probes of one loop: with a timeout that is long enough, a probe acts by itself one
 * tick after the other, and probes that began together share the wakings of the loop. The queue is
 * to be empty, all probes closed, at deadline_queue_deinit(). */
void probe_ticks_init(struct deadline_queue *ticks, struct net *net, uint64_t tick_ms);

/* to: one of the server's addresses; its port is replaced by health.port if there is one. */
struct probe *probe_start(struct net *net, const struct probe_plan *plan, const struct addr *to,
                          const struct probe_callbacks *callbacks);
/* Whether probes by either configuration ask the same, and judge the answer in the same way. */
bool probe_same(const struct config_pool *a, const struct config_pool *b);
/* Closes: without a result, or without the rest of the answer. A second call does nothing. */
void probe_cancel(struct probe *p);
