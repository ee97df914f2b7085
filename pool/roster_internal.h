/* The parts of a roster, for its own files alone.
 *
 *    checks, live traffic, operators, time                      roster.c
 *                  |
 *    opinion       v    one a server: what is believed of it    roster_opinion.c
 *                  |
 *                  |    roster_decide()                         roster_decide.c
 *                  v
 *    decision           who is out, and the owners that follow
 *                  |
 *                  |    roster_apply()                          roster_apply.c
 *                  v
 *    slots              ramps, words published, `usable`
 *    notices            what moved, told afterwards             roster_tell.c
 *
 * roster_adopt.c carries opinions and slots over to the next generation's roster. */
#pragma once
#include "pool/roster.h"
#include "pool/verdict.h"

#define NEVER UINT64_MAX
#define SHARE_ALL 65536u
/* Stands in a word of a roster that has just taken over for a server that is no owner in this
 * generation: somebody had the keys. */
#define SERVER_GONE 0xfffeu

/* See the drawing in roster_opinion.c. */
enum phase { UP, DOWN, WAITING, HELD };

/* What is believed of one server. */
struct opinion {
    enum phase phase;
    bool drained;
    bool no_wait;   /* was down at its very first check: its first return does not wait */
    bool returned;  /* returned_ms is set: it came back, and has not been down since */
    bool tell_held; /* entered WAITING or HELD and nobody was told */
    struct verdict verdict;
    uint64_t returned_ms;
    uint64_t delay_ms; /* the wait before its next return */
    uint64_t until_ms; /* WAITING; DOWN with `check: off` */
    struct roster_check last;
};

/* Who is out, and what follows from that alone: failover_owners() of `out`. */
struct decision {
    bool *out;       /* a server each */
    uint16_t *owner; /* a slot each */
};

/* A ramp is on while ramp_from is not SERVER_NONE. */
struct slot {
    uint16_t ramp_from;
    uint32_t ramp_share; /* never falls during a ramp */
    uint64_t ramp_start_ms, ramp_step_ms;
    double ramp_moved; /* the share of the key space that the whole ramp moves */
    bool at_once;      /* an operator asked for all points at once */
    bool served;       /* keys were served by its word before */
};

struct roster {
    struct pool *pool;
    const struct config_pool *config;
    roster_notify_fn *notify;
    void *notify_arg;
    roster_wake_fn *wake;
    void *wake_arg;
    unsigned nbackends, nservers;
    bool started, flushing;
    bool live;        /* owners of this roster or of the one it took over were published */
    uint64_t next_ms; /* see roster_next_ms() */
    struct opinion *opinions;
    struct decision decision;
    struct slot *slots;
    struct pool_owner *words; /* a slot each: what is published */
    struct pool_owner *fresh; /* what is about to be */
    /* scratch of roster_decide() */
    bool *held; /* a backend each: it waits for an operator */
    bool *trial_out;
    uint16_t *trial;
    /* scratch of roster_apply() */
    bool *busy;                    /* a server each: owns a slot by the decision */
    uint16_t *before, *after;      /* assignments on the way from words to fresh, see moved() */
    unsigned passes;               /* over the ring, left for this event */
    struct roster_notice *notices; /* to be told after publishing */
    size_t nnotices, cap_notices;
    char passive_reason[64];
};

static inline bool is_standby(const struct roster *r, unsigned id)
{
    return id >= r->nbackends && id < r->nservers;
}

/* ---- roster_opinion.c ---- */

/* It passes its checks and waits for its return, or is held. */
bool opinion_is_waiting(const struct opinion *o);
bool opinion_is_out(const struct opinion *o);
/* Checks or live traffic failed. reason must live until the notices are told. */
void opinion_go_down(struct roster *r, unsigned id, const char *reason, uint64_t now_ms);
/* Checks pass again. Whether there is anything to wait for is the decision's business. */
void opinion_rise(struct roster *r, unsigned id, uint64_t now_ms);
void opinion_hold(struct opinion *o);
void opinion_come_back(struct opinion *o, uint64_t now_ms);
void opinion_record(struct opinion *o, bool ok, const char *reason, uint64_t now_ms);

/* ---- roster_decide.c, roster_apply.c: see roster.h ---- */

void roster_decide(struct roster *r, uint64_t now_ms);
void roster_apply(struct roster *r, uint64_t now_ms);

/* ---- roster_tell.c ---- */

/* A notice to be told, for the caller to complete. */
struct roster_notice *roster_push(struct roster *r, enum roster_event event, unsigned server);
/* Adds what happens on the way from words to fresh. changed: they differ. */
void roster_tell(struct roster *r, bool changed, uint64_t now_ms);
/* Hands out the notices. */
void roster_flush(struct roster *r);
