/* One connection to a Redis, which comes back by itself.
 *
 * What for: redis.c has one for commands and one for messages; how a connection is made, greeted,
 * watched and given up is the same for both.
 *
 *        .------------------- all URLs failed, or it was up: wait 50 ms ... longest_wait_ms
 *        v                                                          ^
 *      WAIT -> LOOK (name) -> CONNECT -> GREET (AUTH SELECT ROLE PING) -> UP
 *                ^___________________________|  failed: the next address, the next URL
 *
 * Invariants: as in redis.h: an answer is told once, in order, never within link_call(); NULL is an
 * unknown outcome. A call is late after deadline_ms, and so are lookup and connect together; what
 * is late is given up with all that waits on it. After link_close() nothing is told but on_closed.
 * Ownership: link_open() to on_closed. Threads: one loop. */
#pragma once
#include "cluster/redis.h"

struct link_options {
    struct net *net;
    struct lookups *lookups;
    const struct redis_url *urls;
    size_t nurls;
    uint64_t deadline_ms;
    uint64_t longest_wait_ms;
    struct redis_counts *counts; /* where troubles are counted */
    void (*on_up)(void *arg, const char *where);
    /* It was up, or this is the first time that all URLs failed. */
    void (*on_down)(void *arg, const char *why);
    /* A reply came; true: it is no answer to a call, and is taken. NULL: all are answers. */
    bool (*on_push)(void *arg, const struct redis_reply *reply);
    void *arg;
};

struct link;

struct link *link_open(const struct link_options *o);
void link_close(struct link *l, void (*on_closed)(void *arg), void *arg);

void link_call(struct link *l, const char *const *argv, const size_t *argvlen, size_t n,
               redis_done_fn *done, void *arg);
/* Gives the connection up; from a callback of the loop alone, `done` of a call for one. */
void link_give_up(struct link *l, enum redis_trouble trouble, const char *why);

bool link_is_up(const struct link *l);
/* The URL that it is up at, as on_up has told it. */
const char *link_where(const struct link *l);
const char *link_why(const struct link *l);
