/* A worker: one thread, one uv_loop, and everything of the traffic that is its own.
 *
 * What for: listeners, clients, backend connections and counters of one thread.
 * Invariants: what is reached from a worker is used by its thread alone, except the snapshot's
 * atomics and the two mailboxes.
 * Ownership: worker -> listeners, clients, upstreams, free lists. The snapshot is borrowed and
 * outlives the worker.
 * Threads: worker_init/start/join on the control thread, worker_post() from any, the rest its own.
 */
#pragma once
#include <stdbool.h>
#include <uv.h>

#include "base/error.h"
#include "net/conn.h"
#include "net/mailbox.h"
#include "pool/snapshot.h"

struct worker;
struct exchange;
struct client_mode;
struct pipe;

/* What control says to a worker; objects come with a reference. */
enum worker_message {
    WORKER_SERVER_DOWN,    /* object: struct server; its waiting requests go on elsewhere */
    WORKER_SERVER_MOVED,   /* object: struct server; its kept connections go to another address */
    WORKER_OWNERS_CHANGED, /* object: struct pool_totals of a pool with close_moved: always */
    WORKER_STOP,           /* accept what is queued, stop listening, finish what is open */
    WORKER_ABORT,          /* close everything now */
};

/* What a worker says to control; a server comes with a reference. */
enum control_message {
    CONTROL_PASSIVE_DOWN, /* object: struct server; live traffic failed too often */
    CONTROL_WORKER_DONE,  /* from: the worker; its loop has ended */
};

struct worker_pool {
    struct worker *worker;
    struct pool *pool;
    struct pool_view view;
    struct list tunnels;
    struct deadline look; /* while there are tunnels: those that are not read from are looked at */
    struct deadline_queue looks, connect, response, idle;
};

struct worker_listener {
    struct worker *worker;
    struct snapshot_listener *shared;
    const struct config_listener *config;
    struct listener_cell *cell;
    const struct client_mode *mode;
    struct worker_pool *pool;
    uv_poll_t poll;
    int fd;         /* the listening socket */
    bool listening; /* fd and poll are open */
    struct deadline_queue request, idle;
    struct deadline backoff; /* accept failed for want of something: try again then */
    struct deadline_queue backoffs;
    uint64_t refused;           /* connections since the last line in the log about it */
    uint64_t refused_logged_ms; /* 0: never */
};

struct worker {
    unsigned index;
    struct snapshot *snapshot;
    struct mailbox *control;
    uv_loop_t loop;
    uv_thread_t thread;
    struct mailbox mailbox;
    struct net net;
    struct worker_listener *listeners;
    size_t nlisteners;
    struct worker_pool *pools;
    size_t npools;
    struct deadline_queue linger; /* clients that only have to read what was sent */
    struct deadline_queue watch;  /* sessions that are not read from yet */
    struct deadline_queue grace;  /* while stopping: connections that have said nothing yet */
    struct list clients, upstreams;
    struct exchange *spare; /* free list */
    unsigned nspare;
    struct pipe *spare_pipes; /* free list, see pipe.c */
    unsigned nspare_pipes, npipes;
    uint64_t no_pipe_until_ms; /* one could not be had */
    struct buffer scratch;     /* heads being composed; empty between callbacks */
    bool stopping;
    uint64_t date_ms; /* when `date` was made, on the loop's clock; 0: never */
    size_t date_len;
    char date[64]; /* "Date: ...\r\n" */
};

/* Sets the worker up and takes over fds[nlisteners] (bound, one a listener). False: the error says
 * why; fds are then still the caller's. */
bool worker_init(struct worker *w, unsigned index, struct snapshot *s, struct mailbox *control,
                 const int *fds, struct error *e);
/* Starts to listen and runs the thread. False: the error says why (worker_deinit() is then due). */
bool worker_start(struct worker *w, struct error *e);
/* release: see mailbox_post(). */
void worker_post(struct worker *w, enum worker_message kind, void *object,
                 message_release_fn *release);
/* Waits for the thread of a started worker. */
void worker_join(struct worker *w);
/* Frees what is left; after worker_join() or without worker_start(). */
void worker_deinit(struct worker *w);

/* "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" (RFC 9110 5.6.7) of now, to the second; stands until
 * the next call. */
struct str worker_date(struct worker *w);

/* For clients and upstreams: a stopping worker ends once the last of them is gone. */
void worker_maybe_done(struct worker *w);
