/* One member of a fleet of proxies that agree on which servers are out.
 *
 *   rosters  --- what this member sees: votes --->  fleet  --- views, publications --->  store
 *            <--- what was agreed: roster_agree()          <--- views, publications ---
 *
 * What for: it tells the others what this member sees, follows what the fleet has published, and
 * decides and publishes for all while it has the fleet's lock (it is the keeper then). Requests of
 * operators become requests of the fleet here. It is nowhere in the way of a request to a backend.
 * Invariants: a publication older than the last one applied is never applied. The keeper routes by
 * what is stored, not by what it wants to store. Nothing is published but under a lock that this
 * member has by its own clock, looked at just before. Rosters, the store and the operations below
 * are called from within the calls of this header and from the answers of the store; they must not
 * call back in, with one exception: roster_on_news() may lead to fleet_news() at any time.
 * Ownership: fleet_new() to fleet_free(); the store is closed before that, so that no answer comes
 * afterwards. Rosters are those of fleet_pools() until the next call of it.
 * Threads: control. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/random.h"
#include "cluster/store.h"
#include "config/config.h"
#include "pool/roster.h"

struct fleet;
struct fleet_notice;

enum fleet_role { FLEET_ALONE, FLEET_FOLLOWER, FLEET_KEEPER };
const char *fleet_role_name(enum fleet_role r); /* "alone", "follower", "keeper" */

/* What a member of which only the keeper accepts traffic (`listen: active`) is to do. */
enum fleet_wish {
    FLEET_STANDBY,  /* accept no more */
    FLEET_ACTIVE,   /* accept */
    FLEET_ANNOUNCE, /* the one that was active before accepts no more: run `on_active` again */
};

/* What a fleet needs of the program around it. None may call back in. */
struct fleet_ops {
    /* CLOCK_BOOTTIME in ms: leases and all that is between members and the store. */
    uint64_t (*boot_ms)(void *arg);
    uint64_t (*wall_ms)(void *arg); /* since 1970 */
    uint64_t (*loop_ms)(void *arg); /* the clock of the rosters' now_ms */
    /* fleet_tick() is due in so many ms; replaces what was asked for before. */
    void (*wake)(void *arg, uint64_t in_ms);
    /* A check of this server is to begin at once if none is under way. */
    void (*look)(void *arg, unsigned pool, unsigned server);
    void (*tell)(void *arg, const struct fleet_notice *n);
    /* Whether this member could serve: what readyz says, its role aside. NULL: always. */
    bool (*is_ready)(void *arg);
    /* `listen: active` alone; once a change. What was said at the start: fleet_is_active(). May be
     * NULL. */
    void (*wish)(void *arg, enum fleet_wish w);
    /* Once: what is stored has been adopted, or there is none, or it took too long: listeners may
     * open. Not before fleet_checked(). */
    void (*joined)(void *arg);
    void *arg;
};

struct fleet_pool {
    struct roster *roster;
    struct pool *pool; /* the roster's */
};

struct fleet_options {
    const struct config_cluster *config; /* copied */
    struct store *store;                 /* fleet_new() sets store->events */
    const struct fleet_ops *ops;         /* copied */
    struct random_store *random;         /* tokens and jitter; it must outlive the fleet */
    /* What fleet_save() of the process before wrote, so that this one goes on as the same instance;
     * NULL: a new instance. What can't be read is ignored, as if NULL. */
    const char *resume;
};

/* NULL: there are no random bytes for a name. */
struct fleet *fleet_new(const struct fleet_options *o, struct error *e);
/* Calls nothing back. NULL is fine. */
void fleet_free(struct fleet *f);

/* The pools of the generation in service, at the start and after each reload, in the order of the
 * configuration; roster_adopt() of the rosters is over. What was agreed is applied to them, which
 * moves nothing that was not new. The array is copied. The pools and rosters of the call before are
 * read in this one, and no more afterwards. n 0, before the end: the member stands still, without a
 * word to the others, so that it goes on to count as what it was; requests that wait are carried
 * out here. */
void fleet_pools(struct fleet *f, const struct fleet_pool *pools, size_t n);
/* Settings that a reload may change: priority, preempt. The rest needs a restart. */
void fleet_configure(struct fleet *f, const struct config_cluster *c);

/* The first sync begins; beside the first checks. */
void fleet_start(struct fleet *f);
/* The first checks are over and the rosters started. `joined` follows, perhaps within this call. */
void fleet_checked(struct fleet *f);
void fleet_tick(struct fleet *f);
/* Looks at the clock. To be called before the results of checks and failures of live traffic are
 * given to a roster: if the process was stopped, the rosters must hear of that first. It is cheap.
 */
void fleet_awake(struct fleet *f);
/* What roster_on_news() tells of: others are to hear of it now, with a tick that is asked for at
 * once. claim: a server is newly down. */
void fleet_news(struct fleet *f, bool claim);
/* `listen: active`: whether connections are accepted now. Who accepts before any wish was told goes
 * on from before this fleet, as an active one: a reload has brought another one, or `resume` could
 * not be read. */
void fleet_accepting(struct fleet *f, bool accepting);

enum fleet_verb { FLEET_DRAIN, FLEET_ENABLE, FLEET_FAILBACK };
enum fleet_outcome {
    FLEET_AGREED,  /* a publication carries it */
    FLEET_HERE,    /* alone: it was carried out here. Else the fleet has not said so within 2 s; a
                      drain holds here already. The fleet will hear of it in both cases */
    FLEET_REFUSED, /* 409: failback of a server that is down */
    FLEET_BUSY,    /* nothing was done: too many requests wait, or the fleet is frozen */
};
typedef void fleet_requested_fn(void *arg, enum fleet_outcome o);
/* What an operator asks for. done is called once, perhaps within this call; not after
 * fleet_free(), nor if the server is gone by a reload: FLEET_HERE then. */
void fleet_request(struct fleet *f, unsigned pool, unsigned server, enum fleet_verb verb,
                   fleet_requested_fn *done, void *arg);

/* A clean stop: gives the lock back (not while frozen: it is the other process's), and no sync
 * follows. done comes once, after an answer or the deadline of one, perhaps within this call. Role
 * wishes are not called any more. */
void fleet_leave(struct fleet *f, void (*done)(void *arg), void *arg);

/* A hand-over to another process: a text for its `resume`, the caller's to free. From the moment of
 * the text on the fleet should be frozen: it syncs and renews its lock, but publishes nothing,
 * takes no lock and answers requests with FLEET_BUSY, until `frozen` is taken back (the other
 * process has failed) or this one ends, without fleet_leave(). */
char *fleet_save(const struct fleet *f);
void fleet_freeze(struct fleet *f, bool frozen);

enum fleet_role fleet_role(const struct fleet *f);
const char *fleet_instance(const struct fleet *f);
/* The version that requests are routed by; false: by own decisions. For `epoch_header`. */
bool fleet_version(const struct fleet *f, uint64_t *epoch, uint64_t *seq);
/* A keeper's: of its lock. Another's: of the last publication. For `on_active` and `on_standby`. */
uint64_t fleet_epoch(const struct fleet *f);
bool fleet_is_active(const struct fleet *f); /* the last wish; always true with `listen: always` */

/* ---- what is shown ---- */

enum fleet_event {
    FLEET_BECOMES_ALONE,    /* `reason` */
    FLEET_BECOMES_FOLLOWER, /* of `node`, if known, by `version` */
    FLEET_BECOMES_KEEPER,   /* version.epoch; ms: it settles for so long first; 0: it does not */
    FLEET_LOCK_LOST,        /* `reason` */
    FLEET_RELEASED,         /* the lock was given back */
    FLEET_OFFERED,          /* the role, to `node`; `reason` */
    FLEET_PUBLISHED,        /* `version`; one for each server that changed: pool, server, what, and
                               `votes` by which it was decided; NULL: nobody voted. None has changed
                               (a step of a ramp, a member that comes back): one without a server,
                               level debug */
    FLEET_APPLIED,          /* `version`, by another member; level debug */
    FLEET_RESTORED,         /* the store had lost `version` */
    FLEET_REACHED,          /* the store answers */
    FLEET_UNREACHED,        /* `reason` */
    FLEET_REFUSED_VALUE,    /* `what`: "state", "view", "answer"; of `node` if any; `reason` */
    FLEET_NODE_TWICE,       /* another process has this one's node: `instance` */
    FLEET_DIFFERS,          /* `node` has another configuration of `pool` */
    FLEET_DIFFERS_ENDED,
    FLEET_MEMBER_NEW,    /* `node`, `instance` */
    FLEET_MEMBER_SILENT, /* `node`; it counts as a voter without a vote for ms */
    FLEET_MEMBER_GONE,   /* `node` */
    FLEET_STALLED,       /* this process stood still for ms */
    FLEET_GOES_ACTIVE,   /* version.epoch, or 0: without the lock, `reason` */
    FLEET_GOES_STANDBY,  /* `node` has the lock, if known */
};

struct fleet_votes {
    unsigned down, up, voters;
    bool down_by_all;   /* `agree: all` */
    const char *accuse; /* the nodes that say down, with commas; may be cut off */
};

struct fleet_notice {
    enum fleet_event event;
    struct version version;
    const char *node, *instance;
    const char *pool, *server;
    const char *what; /* "down", "waits", "held", "ramp", "up", "drained", "enabled" */
    const char *reason;
    uint64_t ms;
    const struct fleet_votes *votes;
};

struct fleet_status_server {
    const char *pool, *server;
};

struct fleet_status_member {
    const char *node;
    bool self;
    bool heard;       /* a view of it is known; else the rest is empty */
    bool silent;      /* not heard of within lock_ttl */
    const char *role; /* "alone", "follower", "keeper" */
    uint64_t seen_ms; /* so long ago */
    uint64_t epoch, seq;
    bool listen_active, accepting, ready;
    uint32_t priority;
    const char **differs; /* pools */
    size_t ndiffers;
    struct fleet_status_server *except;
    size_t nexcept;
};

struct fleet_status {
    const char *name, *node;
    bool reached; /* the store answers */
    enum fleet_role role;
    bool settling;
    uint64_t since_ms;  /* so long in this role */
    const char *keeper; /* its node; NULL: not known */
    struct version version;
    bool agreed;     /* requests are routed by that version */
    uint64_t age_ms; /* since it was applied */
    bool active;
    struct fleet_status_member *members; /* by name, this one included */
    size_t nmembers, nlive;
    /* since the start */
    uint64_t publications, restored, stalls, locks_lost;
    uint64_t refused_state, refused_view, refused_answer;
    bool node_twice; /* another process has this one's node */
};

/* Texts are the fleet's, until the next call of any other of these functions. To be ended with
 * fleet_status_deinit(). */
void fleet_status(struct fleet *f, struct fleet_status *s);
void fleet_status_deinit(struct fleet_status *s);
/* At a keeper: the votes about a server now; `accuse` is NULL. False: it is none, or settles. */
bool fleet_votes(const struct fleet *f, unsigned pool, unsigned server, struct fleet_votes *v);
