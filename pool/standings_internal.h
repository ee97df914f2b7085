/* The parts of standings, for their own files and those of the roster.
 *
 *    a verdict, an operator, an agreement       standings.c, standings_agreed.c
 *                  |
 *                  v
 *    standing           of each server: a phase, and whether it is drained
 *                  |
 *                  |    standings_decide()      standings_decide.c
 *                  v
 *    decision           which servers are out, and the owners that follow
 *                  |
 *                  |    standings_draw()        standings_draw.c
 *                  v
 *    slots, words       ramps, and who serves the points of each backend
 *
 * Ownership and threads: as in standings.h. */
#pragma once
#include "pool/standings.h"

#define NEVER UINT64_MAX
#define SHARE_ALL 65536u
#define RAMP_STEP_MS 10
#define RAMP_STEP_COARSE_MS 250 /* of a fleet: each step is a publication */
/* In a word of a roster that has just taken over: the keys were served by a standby that can't own
 * them in this generation. So they have moved, unlike keys that had no server. */
#define SERVER_GONE 0xfffeu

/* How one server stands. The phases are drawn in standings.c. */
struct standing {
    enum standings_phase phase;
    bool drained;
    bool no_wait;   /* it was down at its very first check, so its first return does not wait */
    bool returned;  /* it came back at returned_ms, and has not been down since */
    bool tell_held; /* it has begun to wait or is held, and no notice has told that yet */
    bool listed;    /* the data adopted last had it */
    uint64_t returned_ms;
    uint64_t delay_ms; /* the wait before its next return */
    uint64_t until_ms; /* when STANDINGS_WAITING ends */
    uint64_t asked_ms; /* wall clock of the last request for it; 0: none */
    /* if listed: the lengths of time that the data had */
    uint64_t given_back_ms, given_left_ms;
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
    double ramp_moved; /* the share of the key space that the whole ramp moves; the roster's */
    bool at_once;      /* an operator asked for all points at once */
    bool served;       /* a word of this slot was published before; the roster's */
};

struct standings {
    const struct pool *pool;
    const struct config_pool *config;
    unsigned nbackends, nservers;
    bool follows;     /* servers that are listed stand as agreed */
    uint64_t step_ms; /* of ramps, at least */
    bool coarse;      /* a ramp moves by a whole step or not at all */
    struct standing *servers;
    struct decision decision;
    struct slot *slots;
    struct pool_owner *words; /* one for each slot */
    /* scratch of standings_decide() */
    bool *held; /* one for each backend: it waits for an operator */
    bool *trial_out;
    uint16_t *trial;
    /* scratch of standings_draw(): one for each server: it owns a slot by the decision */
    bool *busy;
};

static inline bool is_standby(const struct standings *st, unsigned id)
{
    return id >= st->nbackends && id < st->nservers;
}

/* False: the name of the server has not been resolved yet, so it has no address. */
static inline bool is_resolved(const struct server *s)
{
    return !server_by_name(s) || server_generation(s) != 0;
}

/* Whether the server is not down, and waits for its return or is held. */
static inline bool standing_is_waiting(const struct standing *d)
{
    return !d->drained && (d->phase == STANDINGS_WAITING || d->phase == STANDINGS_HELD);
}

/* Whether the server is out unless standings_decide() ends its wait. */
static inline bool standing_is_out(const struct standing *d)
{
    return d->drained || d->phase != STANDINGS_UP;
}

/* Whether an agreement alone changes how it stands. */
static inline bool standing_is_agreed(const struct standings *st, unsigned id)
{
    return st->follows && st->servers[id].listed;
}

/* The server is in service again. */
void standing_come_back(struct standing *d, uint64_t now_ms);
/* The delay before the return of a server that goes down, if the one before was delay_ms, and it
 * came back ago_ms ago (if `returned`). */
uint64_t standings_delay(const struct config_failback *f, bool returned, uint64_t ago_ms,
                         uint64_t delay_ms);

/* Fills in the decision, and changes nothing else. */
void standings_decide(struct standings *st, uint64_t now_ms);
/* Draws the consequences of the decision: ends waits, takes the next steps of ramps, makes words.
 */
void standings_draw(struct standings *st, uint64_t now_ms);
/* After standings_decide(), of a server that is out: whether keys have no server, and it could
 * serve them. */
bool standings_want(struct standings *st, unsigned id);
/* Ends what follows standings_adopt(): from now on all servers stand as is decided here. Ramps go
 * on from where they are. */
void standings_part(struct standings *st, uint64_t now_ms);
