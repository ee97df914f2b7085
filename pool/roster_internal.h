/* The parts of a roster, for its own files alone.
 *
 *    checks, live traffic, operators, time                      roster.c
 *                  |
 *                  v
 *    opinions           what is believed of each server         roster_opinion.c
 *                  |
 *                  |    roster_decide()                         roster_decide.c
 *                  v
 *    decision           which servers are out, and the owners that follow
 *                  |
 *                  |    roster_apply()                          roster_apply.c
 *                  v
 *    slots              ramps, published words, `usable`
 *    notices            what has moved, told afterwards         roster_tell.c
 *
 * roster_adopt.c carries opinions and slots over to the roster of the next generation, by way of a
 * struct past.
 *
 * Ownership and threads: as in roster.h. */
#pragma once
#include "pool/roster.h"
#include "pool/verdict.h"

#define NEVER UINT64_MAX
#define SHARE_ALL 65536u
/* In a word of a roster that has just taken over: the keys were served by a standby that can't own
 * them in this generation. So they have moved, unlike keys that had no server. */
#define SERVER_GONE 0xfffeu

/* Drawn in roster_opinion.c. */
enum phase { UP, DOWN, WAITING, HELD };

/* A notice that traffic can cause as often as it likes. */
struct quiet {
    uint64_t told_ms; /* when it was told last, if `told` */
    bool told;
    unsigned untold; /* how often it has happened since */
};

/* What is believed of one server. */
struct opinion {
    enum phase phase;
    bool drained;
    bool no_wait;   /* it was down at its very first check, so its first return does not wait */
    bool returned;  /* it came back at returned_ms, and has not been down since */
    bool known;     /* it was taken over from a roster before */
    bool tell_held; /* it has entered WAITING or HELD, and no notice has told that yet */
    struct verdict verdict;
    uint64_t returned_ms;
    uint64_t delay_ms; /* the wait before its next return */
    uint64_t until_ms; /* when the phase ends: WAITING, and DOWN with `check: off` */
    struct roster_check last;
    enum roster_suspicion suspicion;
    struct quiet suspected, spared;
};

/* Which servers are out, and what follows from that alone: owner is failover_owners() of out. */
struct decision {
    bool *out;       /* one for each server */
    uint16_t *owner; /* one for each slot */
    bool all_down;   /* all are out by their checks, and `when_all_down: try` counts those as in */
};

/* The failback of one slot. A ramp is on while ramp_from is not SERVER_NONE. */
struct slot {
    uint16_t ramp_from;
    uint32_t ramp_share; /* never falls during a ramp */
    uint64_t ramp_start_ms, ramp_step_ms;
    double ramp_moved; /* the share of the key space that the whole ramp moves */
    bool at_once;      /* an operator asked for all points at once */
    bool served;       /* a word of this slot was published before */
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
    bool all_down;    /* the last decision's, told already */
    bool live;        /* owners were published, by this roster or by the one that it adopted */
    uint64_t next_ms; /* see roster_next_ms() */
    struct opinion *opinions;
    struct decision decision;
    struct slot *slots;
    struct pool_owner *words;        /* one for each slot: what is published */
    struct pool_owner *fresh;        /* one for each slot: what will be published */
    const struct pool_member **gone; /* one for each slot whose word has SERVER_GONE: that standby
                                        in the generation before; NULL: not known. roster_adopt() */
    /* scratch of roster_decide() */
    bool *held; /* one for each backend: it waits for an operator */
    bool *trial_out;
    uint16_t *trial;
    /* scratch of roster_apply() */
    bool *busy;                    /* one for each server: it owns a slot by the decision */
    uint16_t *before, *after;      /* owners on the way from words to fresh, see moved() */
    unsigned passes;               /* passes over the ring that this event may still make */
    struct roster_notice *notices; /* to be told after publishing */
    size_t nnotices, cap_notices;
    char passive_reason[192];
};

struct past_server {
    const struct pool_member *member; /* in the generation before; NULL: of another process */
    const struct pool_member *now;    /* the one of that name in this generation; NULL: none has */
    bool stays;                       /* as the same server: at the same address, too */
};

/* What a roster has been, as far as the next one may take it over. Ids are those of then. */
struct past {
    unsigned nbackends, nservers;
    struct past_server *servers;
    const struct opinion *opinions;
    const struct slot *slots;
    const struct pool_owner *words;
    bool all_down;
    bool same_ring;
    /* of the configuration of then */
    bool checked;      /* `check` was not off */
    bool reads_answer; /* config_health_reads_answer() */
    unsigned passive_failures;
    uint64_t after_ms; /* failback.after */
};

static inline bool is_standby(const struct roster *r, unsigned id)
{
    return id >= r->nbackends && id < r->nservers;
}

/* False: the name of the server has not been resolved yet, so it has no address. */
static inline bool is_resolved(const struct server *s)
{
    return !server_by_name(s) || server_generation(s) != 0;
}

/* ---- roster_opinion.c ---- */

/* Whether the server passes its checks, and waits for its return or is held. */
bool opinion_is_waiting(const struct opinion *o);
/* Whether the server is out unless roster_decide() ends its wait. */
bool opinion_is_out(const struct opinion *o);
/* Checks or live traffic failed. reason must live until the notices are told. */
void opinion_go_down(struct roster *r, unsigned id, const char *reason, uint64_t now_ms);
/* Checks pass again. The server waits; roster_decide() may end the wait at once. */
void opinion_rise(struct roster *r, unsigned id, uint64_t now_ms);
/* The wait is over, and an operator has to bring the server back. */
void opinion_hold(struct opinion *o);
/* The server is in service again. */
void opinion_come_back(struct opinion *o, uint64_t now_ms);
/* Notes the result of a check, for GET /status. */
void opinion_record(struct opinion *o, bool ok, const char *reason, uint64_t now_ms);

/* ---- roster_decide.c, roster_apply.c: see roster.h ---- */

/* Fills in r->decision by the opinions, and changes none of them. */
void roster_decide(struct roster *r, uint64_t now_ms);
/* Draws the consequences of r->decision: opinions, ramps, words, notices, the next tick. */
void roster_apply(struct roster *r, uint64_t now_ms);

/* ---- roster_adopt.c ---- */

/* Carries over what the new configuration has a place for; roster_start() is to follow. */
void roster_take_over(struct roster *r, const struct past *p, uint64_t now_ms);

/* ---- roster_tell.c ---- */

/* The standby that has keys of a slot by the word w; SERVER_GONE: one that this generation can't
 * give them; SERVER_NONE: none has. nbackends: of the generation of the word. */
unsigned roster_holder(struct pool_owner w, unsigned nbackends);

/* Adds a notice, which the caller completes; roster_flush() gives it to its receiver. */
struct roster_notice *roster_push(struct roster *r, enum roster_event event, unsigned server);
/* Adds notices of what happens on the way from words to fresh. changed: they differ. */
void roster_tell(struct roster *r, bool changed, uint64_t now_ms);
/* Whether a notice of this kind may be told now; *count: how often it has happened since the last
 * one was, this time included. */
bool roster_speaks(struct quiet *q, uint64_t now_ms, unsigned *count);
/* Adds the notice of what a check has said of a suspect server, if one is due or the server falls
 * by that. Returns what the server was suspected of last. */
enum blame roster_tell_suspicion(struct roster *r, unsigned server, bool ok, bool falls,
                                 uint64_t now_ms);
/* Gives all notices to their receiver. */
void roster_flush(struct roster *r);
