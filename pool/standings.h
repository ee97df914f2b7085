/* How the servers of a pool stand: in service, down, waiting for their return, held, drained; and
 * which server serves the points of each backend by that, ramps included. docs/routing.md, In
 * service and out, Failback.
 *
 * What for: it is what a proxy decides, or what a fleet of proxies has agreed on, whatever anybody
 * sees. Alone, the roster of a pool feeds its standings with what it sees itself (witness.h). In a
 * fleet the standings of each roster follow what was agreed (standings_adopt()), and the keeper of
 * the fleet has standings beside it that votes feed; their copy as plain data is what it publishes
 * (standings_export()).
 * Invariants: pure: no clock is read and nothing is published, every call has its time. now_ms is
 * any clock that does not go back. After standings_settle() the words are failover_owners() of the
 * servers that are out, plus ramps. Two standings that adopted the same data for the same
 * configuration have the same words.
 * Ownership: standings_new() or standings_copy() to standings_free(); the pool must outlive them.
 * Threads: one at a time. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "pool/agreed.h"
#include "pool/pool.h"

enum standings_phase {
    STANDINGS_UP,
    STANDINGS_DOWN,
    STANDINGS_WAITING, /* not down any more; out until its delay is over */
    STANDINGS_HELD,    /* not down any more; out until an operator brings it back. Backends alone */
};

struct standings;

/* All servers are up, and each backend has its points. */
struct standings *standings_new(const struct pool *p);
void standings_free(struct standings *st); /* NULL is fine */
/* A copy that decides for itself, for the keeper of a fleet: its ramps go in steps of 1/256 of
 * their length, at least 250 ms. */
struct standings *standings_copy(const struct standings *from);
/* Of a copy: no step of a ramp is shorter from now on, nor than 250 ms. */
void standings_pace(struct standings *st, uint64_t step_ms);

/* The server is down; its next delay doubles if it did not last after its last return. A server
 * that is down already stays so. */
void standings_down(struct standings *st, unsigned id, uint64_t now_ms);
/* A server that was down is so no more: it waits. standings_settle() may end the wait at once. */
void standings_rise(struct standings *st, unsigned id, uint64_t now_ms);
/* What operators ask for. made_ms is the wall clock of the asking: of two requests for one server
 * the one made later counts, so one that was made before the last one changes nothing. Enabling
 * also ends a wait or hold. A failback ends a drain, too, and brings all keys back at once; false:
 * the server is down, and nothing has changed. */
void standings_drain(struct standings *st, unsigned id, uint64_t made_ms, uint64_t now_ms);
void standings_enable(struct standings *st, unsigned id, uint64_t made_ms, uint64_t now_ms);
bool standings_failback(struct standings *st, unsigned id, uint64_t made_ms, uint64_t now_ms);
/* Draws the consequences of what the calls above have changed, and of the time that has passed:
 * ends waits, begins holds, begins ramps and takes their steps. */
void standings_settle(struct standings *st, uint64_t now_ms);
/* When standings_settle() has something to do again; UINT64_MAX: when something happens. */
uint64_t standings_next_ms(const struct standings *st);

/* For a keeper that begins: how server id stands becomes what it is in `from`, of the same pool. */
void standings_take(struct standings *st, unsigned id, const struct standings *from);
/* For a keeper that begins: the server is in service with all its points, as it is for most others
 * already: no wait, no ramp. A drained server stays drained. */
void standings_put_back(struct standings *st, unsigned id, uint64_t now_ms);

enum standings_phase standings_phase(const struct standings *st, unsigned id);
bool standings_is_drained(const struct standings *st, unsigned id);
/* Whether it is drained, down, waits or is held. By its phase: also with `when_all_down: try`. */
bool standings_is_out(const struct standings *st, unsigned id);

/* As plain data, in the order of ids. The texts are those of the pool's configuration; digest is
 * left NULL. standings_export_free() frees the array. */
void standings_export(const struct standings *st, struct agreed_pool *out, uint64_t now_ms);
void standings_export_free(struct agreed_pool *a);
/* From now on these servers stand as in `a`; servers of other names are of no interest. Data that
 * fits the configuration badly is taken as far as it fits. Of servers that are carried along the
 * drain alone is taken, if it was asked for later. The same data adopted again changes
 * nothing: times go on from when they came first. The words follow at once. */
void standings_adopt(struct standings *st, const struct agreed_pool *a, uint64_t now_ms);
/* Whether a member would route alike by both, of the same pool: phases, drains, ramps. */
bool standings_same(const struct standings *a, const struct standings *b);
