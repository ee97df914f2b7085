/* The processes of a scenario: backends, standbys and a proxy, each on a free port of 127.0.0.1,
 * with their files in a temporary folder.
 *
 * Invariants: between rig_open() and rig_close() the rig knows every process and ends it by its own
 * pid, whatever happens. The ports lie outside of the range from which the kernel takes ports for
 * outgoing connections, so that a server that was killed can have its port again.
 * Ownership: the rig owns the processes and the folder; scenario, proxy and wait are borrowed.
 * Threads: the main one. */
#pragma once
#include "base/addr.h"
#include "bench/failover/process.h"
#include "bench/failover/proxies.h"
#include "bench/failover/wait.h"

struct rig_server {
    char name[SCENARIO_SERVER_NAME];
    struct addr address;
    struct process process;
    bool gone;    /* the scenario has ended it, so its end is no error */
    bool stopped; /* by a SIGSTOP of the scenario */
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
    const struct process
        *culprit; /* the process whose output may explain the last error; or NULL */
};

/* Makes the folder and finds ports. False: the error says why, and nothing is left behind. */
bool rig_open(struct rig *r, struct wait *w, const struct scenario *s, const struct proxy *p,
              const char *program, struct error *e);
/* Starts all processes and waits until every backend has answered through the proxy. False: the
 * error says why; the rig must be closed all the same. */
bool rig_start(struct rig *r, struct error *e);
/* Carries out an event on a server and waits until it has happened: a killed server is gone, a
 * started one answers. */
bool rig_act(struct rig *r, const struct scenario_event *event, unsigned server, struct error *e);
/* False: a process has ended that the scenario did not end. */
bool rig_is_well(struct rig *r, struct error *e);
/* Ends all processes that still run, by SIGKILL after another signal, and removes the folder unless
 * `keep`. False: the error says what is left over; the memory is released all the same. */
bool rig_close(struct rig *r, bool keep, struct error *e);
