/* What this proxy sees of the servers of a pool, by checks and live traffic, whatever is decided
 * about them.
 *
 * What for: each server has a verdict, up or down. Alone, it is what the roster decides by. In a
 * fleet it is a vote, and makes an exception: a server that is in service by agreement, and down
 * here, is left out here, which ends some time after it is up again.
 * Invariants: pure: every call has its time. A vote for down needs proof of sight: since the server
 * went down here, another server of the pool was reached, so it is not this proxy that is cut off.
 * Exceptions never leave a pool without a server: if they would, they end early where the server is
 * up again, and are not made where it is not.
 * Ownership: witness_new() to witness_free(); the pool must outlive it.
 * Threads: control. */
#pragma once
#include "pool/roster.h"
#include "pool/verdict.h"

/* A notice that traffic can cause as often as it likes. */
struct quiet {
    uint64_t told_ms; /* when it was told last, if `told` */
    bool told;
    unsigned untold; /* how often it has happened since */
};

/* A server that is down here is left out here as long as `on`, wherever it is in service. It is on
 * alone, too, but then the server is out anyway, unless it was in service by agreement before. */
struct exception {
    bool on;
    bool ended;        /* the one before ended at ended_ms, so that the next one may be a relapse */
    uint64_t until_ms; /* UINT64_MAX: the server is down; else when its delay is over */
    uint64_t delay_ms, ended_ms;
};

/* What is seen of one server. */
struct seen {
    struct verdict verdict;
    struct roster_check last;
    enum roster_suspicion suspicion;
    struct quiet suspected, spared;
    bool known;    /* it was taken over from a roster before */
    bool fresh;    /* a check has ended that began after the start and the last stall */
    bool claimed;  /* others say that it is down */
    bool drained;  /* an operator asked here to drain it, and nothing agreed on has that yet */
    bool excepted; /* it is in service by agreement, and left out here */
    bool was_out;  /* the last witness_settle()'s out; roster_agree() may correct it */
    bool told;     /* that it is left out here */
    enum roster_vote voted; /* as told to the fleet */
    uint64_t until_ms;      /* down without checks: when that ends; UINT64_MAX: not by time */
    uint64_t down_ms;       /* if down: signs from then on prove sight */
    uint64_t tries_then;    /* if down: witness_tries() of then */
    struct exception exception;
};

struct witness {
    const struct pool *pool;
    const struct config_pool *config;
    unsigned nservers;
    struct seen *seen; /* of each server */
    /* The last time at which a check began that passed, and the last time of another server's; of
     * all servers these two are enough to know the last one of all but any one. */
    bool sees, sees_other;
    unsigned sight; /* the server of the first */
    uint64_t sight_ms, other_sight_ms;
    bool stalled;
    uint64_t stalled_ms;
};

struct witness *witness_new(const struct pool *p);
void witness_free(struct witness *w); /* NULL is fine */

/* Counts the result of a check. If that changes the verdict, witness_down() or witness_up() was
 * called. */
enum verdict_change witness_check(struct witness *w, unsigned id, bool ok, uint64_t now_ms);
/* Notes the result of a check, before it is counted, for GET /status and for proof of sight. */
void witness_note(struct witness *w, unsigned id, bool ok, const char *reason, uint64_t began_ms,
                  uint64_t now_ms);
/* The server is down, by signs from began_ms on; an exception begins. */
void witness_down(struct witness *w, unsigned id, uint64_t began_ms, uint64_t now_ms);
/* The server is up; its exception goes on for its delay. */
void witness_up(struct witness *w, unsigned id, uint64_t now_ms);
/* Whether the failure of a check that began then, or of live traffic that comes now, may be this
 * proxy's own. */
bool witness_doubts_check(const struct witness *w, uint64_t began_ms);
bool witness_doubts_traffic(const struct witness *w, uint64_t now_ms);
/* See roster_stalled(). */
void witness_stall(struct witness *w, uint64_t now_ms);

/* How servers stand. */
struct witness_context {
    const bool *out;    /* a server each: it is not in service */
    const bool *agreed; /* a server each: that is by an agreement */
    bool fleet;         /* exceptions count: there was an agreement once */
};

/* Ends exceptions, and finds those that count. */
void witness_settle(struct witness *w, const struct witness_context *c, uint64_t now_ms);
/* The delay of an exception ends, if the server is up here, as no other may serve its keys. False:
 * it has none. */
bool witness_end_delay(struct witness *w, unsigned id, uint64_t now_ms);
/* When witness_settle() has something to do again; UINT64_MAX: when something happens. */
uint64_t witness_next_ms(const struct witness *w);

enum roster_vote witness_vote(const struct witness *w, unsigned id);
bool witness_blind(const struct witness *w);
/* Tries of live traffic at all other servers that did not fail. */
uint64_t witness_tries(const struct witness *w, unsigned id);
