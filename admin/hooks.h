/* What the admin interface asks of the program around it.
 *
 * What for: admin knows HTTP and the snapshot, but not how a configuration is read or put in
 * service. Control, which does, gives it these functions.
 * Invariants: `done` is called once for each call of `reload`, `upgrade` or a fleet's `request`,
 * perhaps within that call. Ownership: see each member. Threads: control. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct admin_reload {
    bool force;    /* the bound `reload.max_move` is not applied */
    bool dry_run;  /* nothing changes, the answer is the plan */
    bool has_text; /* `text` in place of the file, which it replaces before it is in service */
    struct str text;
    uint64_t generation; /* 412 if another one is in force when this begins; 0: any may be */
};

/* status: of HTTP. document: the answer; the receiver takes over the reference. NULL: memory is
 * out. */
typedef void admin_done_fn(void *arg, int status, json_t *document);

/* How many reloads took effect, and how many were refused. */
struct admin_reloads {
    uint64_t ok, refused;
};

/* ---- the fleet, in plain data: admin does not know cluster/ ---- */

struct admin_place {
    const char *pool, *server;
};

/* A figure of one kind, for a label of a metric. */
struct admin_count {
    const char *kind;
    uint64_t n;
};

struct admin_member {
    const char *node;
    const char *role; /* "alone", "follower", "keeper"; NULL: it was heard of, but not what it says;
                         then only node and seen_ms have a meaning */
    uint64_t seen_ms; /* so long ago */
    bool silent;      /* for longer than its lock would last: what it said last is below */
    uint64_t epoch, seq; /* of the publication that it routes by */
    bool listen_active, accepting, ready;
    uint32_t priority;
    const char *const *differs; /* pools of which it has another configuration than this proxy */
    size_t ndiffers;
    const struct admin_place *except; /* servers that it leaves out against the agreement */
    size_t nexcept;
};

struct admin_fleet_status {
    const char *name, *node;
    bool redis_up;
    const char *role;    /* "alone", "follower", "keeper" */
    uint64_t since_ms;   /* so long in this role */
    const char *keeper;  /* its node; NULL: not known */
    bool node_twice;     /* another process has the name of this node */
    uint64_t epoch, seq; /* of the publication that was applied last; epoch 0: none ever was */
    uint64_t age_ms;     /* since then */
    const struct admin_member *members; /* this one included */
    size_t nmembers, nlive;             /* nlive: those that are not silent */
    /* since the start, for the metrics */
    uint64_t publications, stalls;
    const struct admin_count *refused; /* values of others, by what they were to be */
    size_t nrefused;
    const struct admin_count *redis_errors; /* by kind */
    size_t nredis_errors;
};

struct admin_votes {
    unsigned down, up, voters;
};

enum admin_verb { ADMIN_DRAIN, ADMIN_ENABLE, ADMIN_FAILBACK };
enum admin_outcome {
    ADMIN_AGREED,  /* a publication carries it */
    ADMIN_HERE,    /* it was carried out here, and the fleet has not said so in time */
    ADMIN_REFUSED, /* failback of a server that is down */
    ADMIN_CROWDED, /* nothing was done: too many wait, or another process takes over */
};
typedef void admin_requested_fn(void *arg, enum admin_outcome outcome);

/* Pools and servers are those of the snapshot in service, by index and id. */
struct admin_fleet {
    /* What is known now; it stays until the next call, or the end of this turn of the loop. */
    const struct admin_fleet_status *(*status)(void *arg);
    /* The votes about a server. False: this proxy does not count them, only the keeper does. */
    bool (*votes)(void *arg, size_t pool, unsigned server, struct admin_votes *votes);
    /* What an operator asks for, at a server. Takes until a publication carries it, a few seconds
     * at most. */
    void (*request)(void *arg, size_t pool, unsigned server, enum admin_verb verb,
                    admin_requested_fn *done, void *done_arg);
    void *arg;
};

struct admin_hooks {
    /* Reads the configuration again and puts it in service. *r and its text need not live longer
     * than the call. Answers: 200 {"generation","moved":{pool: share}}, with dry_run the plan; 412;
     * 422 {"errors":[...]}, or the figures of the bound; 503 while the proxy stops. A file that is
     * asked for while another reload is under way is read after it. */
    void (*reload)(void *arg, const struct admin_reload *r, admin_done_fn *done, void *done_arg);
    /* Starts the program that is installed now, and hands over to it. timeout_ms: how long it may
     * take to be ready; 0: as long as it normally may. Answers: 200 {"pid","generation"}, and the
     * interface is closed after that; 409 where it can't be done now; 500 {"error"}: the new
     * process failed, and this one goes on; 503 while the proxy starts or stops. */
    void (*upgrade)(void *arg, uint64_t timeout_ms, admin_done_fn *done, void *done_arg);
    void *arg;
    const struct admin_reloads *reloads; /* counts; NULL: none are told */
    bool stands_by; /* it accepts no clients, as another one has the role; control changes it */
    const struct admin_fleet *fleet; /* NULL: this proxy decides by itself. May be another one from
                                        one call to the next, as reloads join and leave */
};
