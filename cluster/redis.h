/* One Redis: commands and their answers, and the messages of a channel.
 *
 * What for: store_redis.c and lock.c call scripts; where Redis is, whether it can be reached, and
 * what goes wrong on the way there is this module's affair. It keeps one connection for commands
 * and, if a channel is wanted, one for its messages. Both come back by themselves: the URLs are
 * tried in order from the first, and the first that answers as a primary is taken.
 * Invariants: an answer is told once, in the order of the calls, never within redis_call(). NULL in
 * its place means that the outcome is unknown: the call was carried out, will be, or never was. It
 * comes no later than the deadline, and a connection that is late is given up with all that waits
 * on it. No time counts in which the process was stopped. After redis_close() nothing is told but
 * on_closed. Redis is hostile: what it sends is bounded, and what nobody asked for ends the
 * connection.
 * Ownership: options and urls are the caller's, urls and what `net` and `lookups` stand for must
 * live until on_closed. An answer is valid until `done` returns. Threads: one loop. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "config/redis_url.h"
#include "net/conn.h"
#include "net/lookup.h"

enum reply_type {
    REPLY_NIL,
    REPLY_TEXT,   /* a bulk string */
    REPLY_STATUS, /* "OK" */
    REPLY_ERROR,  /* "ERR ...", "NOPERM ...": an outcome, the command was not carried out */
    REPLY_INTEGER,
    REPLY_ARRAY,
};

#define REPLY_ELEMENTS_MAX 4096u

struct redis_reply {
    enum reply_type type;
    struct str text; /* of TEXT, STATUS, ERROR; a NUL follows */
    int64_t integer;
    struct redis_reply **elements; /* of ARRAY; none is NULL */
    size_t n;
};

/* What went wrong so far, by kind, since redis_open(). */
enum redis_trouble {
    REDIS_LOOKUP,   /* the name has no address */
    REDIS_CONNECT,  /* refused, unreachable ... */
    REDIS_TIMEOUT,  /* no connection, or no answer, in time */
    REDIS_LOST,     /* the connection ended or was reset */
    REDIS_PROTOCOL, /* it sent what no Redis sends, or too much of it */
    REDIS_AUTH,     /* wrong password, no permission, password_file can't be read */
    REDIS_ROLE,     /* it is no primary, or is still loading its data */
    REDIS_ANSWER,   /* a command was answered by an error */
    REDIS_TROUBLES
};

struct redis_counts {
    uint64_t of[REDIS_TROUBLES];
};

/* "lookup", "connect", "timeout" ...: for metrics. */
const char *redis_trouble_name(enum redis_trouble t);

struct redis_options {
    struct net *net;
    struct lookups *lookups;
    const struct redis_url *urls; /* at least one */
    size_t nurls;
    uint64_t deadline_ms; /* of a connect with its lookup, and of each command */
    uint64_t period_ms; /* the longest wait before another try to connect, and how often a PING goes
                           over the connection for messages */
    const char *channel; /* NULL: no messages are wanted */
    /* Commands can be sent now; where: the URL without a password. */
    void (*on_up)(void *arg, const char *where);
    /* They can't any more; or, once, the first try of all URLs after redis_open() has failed. The
     * calls that wait are told first. */
    void (*on_down)(void *arg, const char *why);
    void (*on_message)(void *arg, struct str payload);
    /* The channel may not be listened to; told at each try. Commands go on. */
    void (*on_deaf)(void *arg, const char *why);
    void *arg; /* of these four, each of which may be NULL */
};

struct redis;

/* Begins to connect; nothing is told within this call. */
struct redis *redis_open(const struct redis_options *o);
/* on_closed comes later; *r is freed then. Calls that wait are not told. */
void redis_close(struct redis *r, void (*on_closed)(void *arg), void *arg);

typedef void redis_done_fn(void *arg, const struct redis_reply *reply);

/* Sends a command of n >= 1 words, which are copied. While not up nothing is sent, and `done` comes
 * with NULL soon. */
void redis_call(struct redis *r, const char *const *argv, const size_t *argvlen, size_t n,
                redis_done_fn *done, void *arg);

bool redis_is_up(const struct redis *r);
/* The last trouble in words, "redis://h:6379: connection refused"; "" if there was none. */
const char *redis_why(const struct redis *r);
const struct redis_counts *redis_counts(const struct redis *r);
