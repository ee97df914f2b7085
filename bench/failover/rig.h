/* What a scenario needs to be played: backends, standbys and a proxy, each a process of its own on
 * a free port of 127.0.0.1, with their files in a temporary folder.
 *
 * Invariants: between rig_open() and rig_close() every process is known here and is ended by its
 * own pid, whatever happened. Ports lie outside of the range from which the kernel takes those of
 * outgoing connections, so that a server that was killed gets its own again.
 * Ownership: the rig owns processes and folder, not scenario, proxy and wait. Threads: the main
 * one. */
#pragma once
#include "base/addr.h"
#include "bench/failover/process.h"
#include "bench/failover/proxies.h"
#include "bench/failover/wait.h"

struct rig_server {
    char name[SCENARIO_SERVER_NAME];
    struct addr address;
    struct process process;
    bool gone;    /* the scenario has ended it: no accident */
    bool stopped; /* by SIGSTOP */
};

struct rig {
    struct wait *wait;
    const struct scenario *scenario;
    const struct proxy *proxy;
    const char *program;
    char *folder;
    struct addr target; /* where the proxy listens */
    struct process process;
    struct rig_server *servers;
    unsigned nservers;
    const struct process *culprit; /* whose last words tell more about the last error; or NULL */
};

/* Makes the folder, finds ports. False: the error says why; nothing is left. */
bool rig_open(struct rig *r, struct wait *w, const struct scenario *s, const struct proxy *p,
              const char *program, struct error *e);
/* Starts all and waits until every backend has answered through the proxy. False: the error says
 * why; the rig must be closed all the same. */
bool rig_start(struct rig *r, struct error *e);
/* Carries out an event on a server. It has happened when this returns: what was killed is gone,
 * what was started answers. */
bool rig_act(struct rig *r, const struct scenario_event *event, unsigned server, struct error *e);
/* False: a process has ended that should not have. */
bool rig_is_well(struct rig *r, struct error *e);
/* Ends what still runs, at once after another signal, and removes the folder unless `keep`. False:
 * the error says what is left over; the memory is released all the same. */
bool rig_close(struct rig *r, bool keep, struct error *e);
