/* When to check whom in one pool, and at which address; tells the roster what came out, and keeps
 * the roster's time.
 *
 * What for: checker_first() once, roster_start(), then checker_run() until checker_close().
 * Invariants: at most one check a server at a time. A server's checks begin `interval` apart,
 * spread over the interval from server to server; while it is changing state a quarter apart; at
 * once if the last one took longer. With `check: off` nothing is probed, only time is kept.
 * A server by name is looked up at the first and then every `resolve`; which of the addresses it is
 * at says candidates.h, and server_move() tells everybody. A lookup that fails changes nothing; as
 * long as none was answered the server is down.
 * The roster's now_ms is uv_now() of the loop; the roster says when it wants to be woken.
 * Ownership: checker_new() to checker_close(), which frees. The roster must stand until then, the
 * net, the pool and its configuration until on_closed.
 * Threads: the control loop's. */
#pragma once
#include "net/conn.h"
#include "net/lookup.h"
#include "pool/roster.h"

struct checker;

typedef void checker_fn(void *arg);

/* For servers by name. */
struct checker_names {
    struct lookups *lookups; /* must be closed after the checker */
    /* A server that may have connections has another address now. May be NULL. */
    void (*on_moved)(void *arg, struct server *s);
    void *arg;
};

/* names is copied; NULL will do if no server is by name. */
struct checker *checker_new(struct net *net, struct pool *pool, struct roster *roster,
                            const struct checker_names *names);
/* Checks every server once, all at the same time, for at most health.timeout each, the lookup of
 * its name included; the results go to roster_first(), then on_done is called, never from within. A
 * server that could not be checked for want of something on this host is taken as up. on_done may
 * close the checker. */
void checker_first(struct checker *c, checker_fn *on_done, void *arg);
/* Begins the periodic checks and lookups; roster_start() was called. */
void checker_run(struct checker *c);
/* Stops at any time; nothing is told to the roster any more, an on_done that is due is dropped.
 * on_closed comes once, with all handles closed and the checker freed. */
void checker_close(struct checker *c, checker_fn *on_closed, void *arg);
