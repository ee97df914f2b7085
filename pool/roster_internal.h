/* The parts of a roster, for its own files alone.
 *
 *    checks, live traffic, time                  operators          a fleet
 *                  |                                 |                 |
 *                  v                                 |                 |
 *    witness       a verdict of each server          |                 |
 *       |                   |                        |                 |
 *       | exceptions        | unless agreed          |                 |
 *       |                   v                        v                 v
 *       |          standings      of each server, then of all: who is out, who owns which points
 *       |                   |
 *       v                   v     roster_apply()             roster_apply.c
 *    `usable`, published words
 *    notices                      what has moved, told afterwards    roster_tell.c
 *
 * roster_adopt.c carries all of it over to the roster of the next generation, by way of a struct
 * past; roster_fleet.c has what comes from a fleet.
 *
 * Ownership and threads: as in roster.h. */
#pragma once
#include "pool/roster.h"
#include "pool/standings_internal.h"
#include "pool/witness.h"

struct roster {
    struct pool *pool;
    const struct config_pool *config;
    roster_notify_fn *notify;
    void *notify_arg;
    roster_wake_fn *wake;
    void *wake_arg;
    roster_news_fn *news;
    void *news_arg;
    roster_look_fn *look;
    void *look_arg;
    unsigned nbackends, nservers;
    bool started, flushing;
    bool all_down;     /* the last decision's, told already */
    bool live;         /* owners were published, by this roster or by the one that it adopted */
    bool agreed;       /* see roster_agreed() */
    bool fleet;        /* there was an agreement once, so exceptions count */
    bool news_due;     /* an exception has begun or ended */
    unsigned unproved; /* servers that are down here, and whose votes wait for proof of sight */
    uint64_t next_ms;  /* see roster_next_ms() */
    struct witness *witness;
    struct standings *standings;
    struct pool_owner *words;        /* one for each slot: what is published */
    const struct pool_member **gone; /* one for each slot whose word has SERVER_GONE: that standby
                                        in the generation before; NULL: not known. roster_adopt() */
    /* scratch of roster_apply() */
    bool *out, *listed;            /* one for each server, see struct witness_context */
    uint16_t *before, *after;      /* owners on the way from words to those of the standings */
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
    const struct standing *standings;
    const struct seen *seen;
    const struct slot *slots;
    const struct pool_owner *words;
    const struct witness *witness; /* NULL: of another process */
    bool all_down;
    bool agreed, fleet;
    bool same_ring;
    /* of the configuration of then */
    bool checked;      /* `check` was not off */
    bool reads_answer; /* config_health_reads_answer() */
    unsigned passive_failures;
    uint64_t after_ms; /* failback.after */
};

/* ---- roster.c ---- */

/* Ends each event: how servers stand is turned into a new decision, and its consequences are drawn.
 */
void roster_settle(struct roster *r, uint64_t now_ms);

/* ---- roster_apply.c ---- */

/* Draws the consequences of the standings' decision: ramps, words, exceptions, notices, the next
 * tick. */
void roster_apply(struct roster *r, uint64_t now_ms);
/* Tells roster_on_wake() if the next tick is due at another time. */
void roster_rearm(struct roster *r);

/* ---- roster_adopt.c ---- */

/* Carries over what the new configuration has a place for; roster_start() is to follow. */
void roster_take_over(struct roster *r, const struct past *p, uint64_t now_ms);

/* ---- roster_fleet.c ---- */

/* Tells roster_on_news() if a vote has changed, or an exception. */
void roster_tell_news(struct roster *r);

/* ---- roster_tell.c ---- */

/* The standby that has keys of a slot by the word w; SERVER_GONE: one that this generation can't
 * give them; SERVER_NONE: none has. nbackends: of the generation of the word. */
unsigned roster_holder(struct pool_owner w, unsigned nbackends);

/* Adds a notice, which the caller completes; roster_flush() gives it to its receiver. */
struct roster_notice *roster_push(struct roster *r, enum roster_event event, unsigned server);
/* Adds notices of what happens on the way from words to those of the standings. changed: they
 * differ. */
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
