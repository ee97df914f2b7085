/* What one worker thread has, and the configuration as this thread sees it: the ground that the
 * other modules of proxy/ stand on.
 *
 * What for: sessions, exchanges, tunnels and connections of a thread share its loop, its buffers,
 * its lists and its free memory. Configuration comes in generations: a worker always has a current
 * one, and what began under an older generation stays under that.
 *
 *   worker ---> generation (current) <--- clients between two requests, exchanges under way
 *                 |      \
 *                 |       snapshot: a counted reference; pools and listeners of all threads
 *                 worker_pool[] ------> pool_line       what is this thread's of these, in one
 *                 worker_listener[] --> listener        generation; and through all of them
 *
 * Invariants: all of this belongs to one thread, so no count and no list in here is atomic. A
 * generation lives while it is current or a reference is held; when it is freed, its queues hold no
 * deadline. The connections to a server are found in the server's cell of this worker, whatever
 * generation they were made under.
 * Ownership: the worker owns its clients, upstreams and free lists; generations hold references to
 * the listeners and lines that they have. So a listener that is gone lives as long as its clients.
 * Threads: the worker's. */
#pragma once
#include <assert.h>
#include <stdbool.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/list.h"
#include "base/need.h"
#include "base/random.h"
#include "net/acceptor.h"
#include "net/conn.h"
#include "net/mailbox.h"
#include "pool/snapshot.h"
#include "proxy/pipe.h"

struct worker;
struct exchange;
struct head_reader;
struct client_mode;

/* What a worker mails to control. A server comes with a reference. */
enum control_message {
    CONTROL_PASSIVE_DOWN, /* object: struct server; live traffic failed too often */
    CONTROL_SUSPICION,    /* object: struct server; the same, but a check is to decide */
    CONTROL_SNAPSHOT,     /* object: struct snapshot; a worker has done with it, and control frees
                             it if nobody else has a reference, as that may take long */
    CONTROL_SILENT,       /* from: the worker; it has carried out WORKER_STANDBY */
    CONTROL_WORKER_DONE,  /* from: the worker; its loop has ended */
};

/* A socket that a listener accepts from. */
struct listening {
    struct acceptor acceptor;
    struct listener *listener; /* a reference */
    struct listening *next;
};

/* The listening sockets of an address that this thread has, through the generations that have the
 * address. It is gone when the current one has it not. */
struct listener {
    unsigned refs; /* of generations, and of its sockets until they have closed */
    struct worker *worker;
    uint64_t socket;             /* as of struct snapshot_listener */
    struct worker_listener *now; /* its configuration in the current generation; NULL: it is gone */
    const struct client_mode *takes; /* the mode of the clients that it has and accepts. Others end,
                                        as do all if it is NULL: it is gone, or the worker stops */
    struct listening *sockets;       /* mostly one; NULL: it does not listen, or has stopped */
    uint64_t refused;                /* connections, since the log had a line about refused ones */
    uint64_t refused_logged_ms;      /* when that line was written; 0: never */
};

/* The pools of one name, through the generations that follow each other with one. */
struct pool_line {
    unsigned refs;           /* of generations */
    struct worker_pool *now; /* in the current generation; NULL: it has none of this name */
    struct list tunnels;     /* open ones, of all generations */
    struct deadline probe;   /* armed while there are tunnels, see tunnel_on_probe_deadline() */
    struct deadline_queue probes;
    struct deadline_queue idle; /* kept connections to its servers */
};

/* A pool of one generation, as this thread sees it. */
struct worker_pool {
    struct worker *worker;
    struct generation *generation;
    struct pool *pool;
    struct pool_line *line;
    struct pool_view view;
    struct deadline_queue connect, response, body;
};

/* Where the deadlines of a listener's clients are armed: shared by generations that do not change
 * the timeouts. */
struct client_clocks {
    unsigned refs;
    struct deadline_queue request, idle, tunnel;
    struct deadline_queue events; /* gaps in answers that are event streams; as long as `tunnel` */
};

/* A listener of one generation, as this thread sees it. */
struct worker_listener {
    struct worker *worker;
    struct generation *generation;
    struct listener *listener;
    struct snapshot_listener *shared;
    const struct config_listener *config;
    struct listener_cell *cell; /* this worker's counters */
    const struct client_mode *mode;
    const struct routes *routes; /* NULL: one route without conditions */
    struct worker_pool *pool;    /* of the first route */
    struct client_clocks *clocks;
    bool told_of_cookie; /* the log had a line about servers that set the cookie of an issued key */
};

struct generation {
    unsigned refs;
    struct worker *worker;
    struct snapshot *snapshot;
    struct worker_pool *pools;         /* one for each of the snapshot's pools, at the same index */
    struct worker_listener *listeners; /* one for each of its listeners, at the same index */
};

struct worker {
    unsigned index;
    struct mailbox *control;
    uv_loop_t loop;
    uv_thread_t thread;
    struct mailbox mailbox;
    struct net net;
    struct generation *current;
    struct deadline_queue linger; /* clients that got their last answer and have to read it */
    struct deadline_queue watch;  /* sessions that are not read from yet */
    struct deadline_queue grace;  /* while leaving: connections that have said nothing yet */
    struct deadline silence;      /* armed while sockets are deaf, and not silent yet */
    struct deadline_queue silences;
    struct list clients, upstreams;
    struct list behind;       /* clients that the current generation has not been made known to */
    struct deadline catch_up; /* armed while there are such, see generation.c */
    struct deadline_queue catch_ups;
    struct list tied;    /* upstreams: each idle, and its client's alone; the last used in
                            front */
    unsigned ntied;      /* how many these are */
    struct list stocked; /* struct server_cell; see upstream_parts.h, as the next three */
    unsigned nidle;      /* idle connections to all servers */
    struct deadline sweep;
    struct deadline_queue sweeps;
    struct head_reader *reader; /* for heads that come in one piece, see session.h */
    struct need exchanges;      /* that are not over */
    struct exchange *spare;     /* free list of exchanges */
    unsigned nspare;
    struct pipe_store pipes;
    struct buffer scratch; /* to compose heads in; empty between callbacks */
    bool stopping;         /* it accepts nothing any more, and ends with its last client */
    bool leaving;          /* and clients that are idle are closed */
    bool silent;           /* it stands by: as `leaving`, until it is called */
    uint64_t date_ms;      /* when `date` was made, on the loop's clock; 0: never */
    size_t date_len;
    char date[64];              /* "Date: ...\r\n" */
    uint64_t random_failed_ms;  /* when the log had a line about it; 0: never */
    struct random_store random; /* of issued keys */
};

static inline void generation_ref(struct generation *g)
{
    g->refs++;
}
/* For generation_unref() alone. */
void generation_free(struct generation *g);
/* The last reference frees the generation; no deadline may be left in its queues. The call may come
 * from the callback of a deadline of one of these queues. */
static inline void generation_unref(struct generation *g)
{
    assert(g->refs > 0);
    if (--g->refs == 0)
        generation_free(g);
}

void listener_unref(struct listener *l);
void pool_line_unref(struct pool_line *line);

/* "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" (RFC 9110 5.6.7), at most half a second old. The text
 * stands until the next call. */
struct str worker_date(struct worker *w);
/* To be called when a client or an upstream is gone: a stopping worker ends with the last one. */
void worker_maybe_done(struct worker *w);

/* This worker's part of a server: its counters and connections. */
static inline struct server_cell *worker_cell(const struct worker *w, const struct server *s)
{
    return server_cell(s, w->index);
}
