/* Decides when each server of a pool is checked, and at which address; gives the results to the
 * roster, and keeps the roster's time.
 *
 *   checker_new -> checker_open -> checker_first ...> on_done -> roster_start -> checker_run
 *                                                 checker_close ...> on_closed
 *
 * At a reload, while the old one goes on as long as the first checks of new servers take:
 *
 *   checker_new -> checker_open -> checker_first ...> on_done -> roster_adopt -> checker_adopt ->
 * checker_run checker_close of the old one
 *
 * What for: the periodic checks and lookups of one pool.
 * Invariants: a server has at most one check at a time. Its checks begin `interval` apart, and
 * those of the servers are spread over the interval. While a server is changing state its checks
 * begin a quarter of that apart. A check that took longer than that is followed by the next one at
 * once. One that live traffic asks for does not wait for its turn, but those begin a quarter of the
 * interval apart, too. With `check: off` no server is probed, only the roster's time is kept. A
 * server by name is looked up first of all and then every `resolve`; candidates.h chooses one of
 * its addresses, and server_move() tells every thread. A lookup that fails changes nothing, but
 * until one has succeeded the server is down. Times are uv_now() of the loop.
 * Ownership: checker_new() to checker_close(), which frees; before checker_open() to
 * checker_free(). The roster must live until checker_close(); the net, the pool and its
 * configuration until on_closed. A check that the next checker has taken over holds up on_closed
 * until it has ended, as it goes by this configuration. Threads: control. checker_new() and
 * checker_free() are for any thread: a hundred thousand servers take a while. */
#pragma once
#include "net/conn.h"
#include "net/lookup.h"
#include "pool/roster.h"

struct checker;

typedef void checker_fn(void *arg);

/* For servers by name, and to hear of results first. */
struct checker_names {
    struct lookups *lookups; /* must be closed after the checker */
    /* A server, to which there may be connections, has moved to another address. May be NULL. */
    void (*on_moved)(void *arg, struct server *s);
    /* A check has ended; the roster hears of it after this call. May be NULL. */
    void (*before_result)(void *arg);
    void *arg;
};

struct checker *checker_new(struct pool *pool, struct roster *roster);
/* Of one that was not opened. */
void checker_free(struct checker *c);
/* From now on it has handles. names is copied; it may be NULL if no server is by name. */
void checker_open(struct checker *c, struct net *net, const struct checker_names *names);
/* Checks every server once, all at the same time, each for at most health.timeout, the lookup of
 * its name included. The results go to roster_first(); then on_done is called, never within this
 * call. A server that this host could not check (no descriptors, say) is taken as up. on_done may
 * close the checker.
 * old: the pool of the same name in the generation before, or NULL: servers that it has
 * (pool_stays()) are not checked, nor looked up. Nor are those checked that roster_restore()
 * has brought; their names are looked up, but on_done does not wait for that. */
void checker_first(struct checker *c, const struct pool *old, checker_fn *on_done, void *arg);
/* Between roster_adopt() and checker_run(): takes over from the checker of the same pool in the
 * generation before, which runs. For each server that stays these go on: a check under way, whose
 * result the new roster gets, unless the configuration now asks something else, in which case a
 * check begins at once; when the next check is due, in proportion to the interval if that has
 * changed; a check that live traffic has asked for; the lookups of its name. What is left in `old`
 * is nothing but to be closed: checker_close(old) must follow before the loop turns. */
void checker_adopt(struct checker *c, struct checker *old);
/* Begins the periodic checks and lookups, after roster_start() or roster_adopt(). */
void checker_run(struct checker *c);
/* After roster_suspect(): a check is to begin at once, or, if one is running, when that has ended,
 * and tells roster_verdict(). One that has to wait is made when it is due. */
void checker_ask(struct checker *c, unsigned server);
/* A check is to begin at once, or, if one is running, when that has ended: somebody else has news
 * of the server, or doubts that this proxy sees anything at all. Its result is one like any other.
 * Nothing happens if one began less than 100 ms ago. */
void checker_look(struct checker *c, unsigned server);
/* Stops at any time: the roster gets no result any more, and on_done does not come. on_closed comes
 * once, when all handles are closed and the checker is freed. */
void checker_close(struct checker *c, checker_fn *on_closed, void *arg);
