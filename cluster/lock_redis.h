/* A lock NAME in Redis, for `ringproxy lock`: acquire, renew, release.
 *
 * What for: puts the questions to the scripts (scripts.h) and what comes back into struct lock.
 * The keeper of a fleet does the same by way of store.h, together with much else.
 * Keys: {ringlock:NAME} and {ringlock:NAME}:epoch.
 * Invariants: the clock is read before a question is sent. Each question is answered once, never
 * within the call, in order; UNKNOWN at the latest when the deadline of the connection is over. An
 * answer that no such script should give counts as UNKNOWN.
 * Ownership: the caller's memory; it must live until the last answer or until the connection was
 * closed. What an answer points to lives until the callback returns. Threads: the loop of the
 * connection. */
#pragma once
#include "cluster/lock.h"
#include "cluster/redis.h"

#define LOCK_NAME_MAX 200

enum lock_outcome {
    LOCK_GRANTED, /* it is ours: acquired, renewed; or released */
    LOCK_REFUSED, /* another has it; or it is not ours any more */
    LOCK_UNKNOWN, /* it may have been carried out, may be later, or never */
};

struct lock_answer {
    enum lock_outcome outcome;
    struct str holder; /* of acquiring, refused: the lock's value */
    uint64_t left_ms;  /* the time that it has left; 0: it has no expiry */
    char error[160];   /* UNKNOWN: what Redis said, in printable ASCII; "": nothing */
};

typedef void lock_answer_fn(void *arg, const struct lock_answer *a);

struct lock_redis {
    struct redis *redis;
    struct lock lock;
    struct random_store random;
    char key[LOCK_NAME_MAX + 16], epoch_key[LOCK_NAME_MAX + 24];
    /* The acquiring or renewal that waits for its answer. */
    bool asking;
    uint64_t start_ms, epoch;
    lock_answer_fn *on_answer, *on_released;
    void *arg;
};

/* Letters, digits, '.', '_', '-', ':', '/' and '@', LOCK_NAME_MAX at most: such a name is a part of
 * a key whatever Redis is in front (a brace would change its slot), and of a line of a log. */
bool lock_name_is_valid(struct str name);

/* redis: open, of the caller. name: valid. who, ttl_ms: as for lock_init(). arg: of all answers. */
void lock_redis_init(struct lock_redis *k, struct redis *redis, const char *name, const char *who,
                     uint64_t ttl_ms, void *arg);
/* One attempt. After GRANTED k->lock is held: a grant that came too late is UNKNOWN. k->asking must
 * be false. False: it could not be begun, and no answer comes. */
bool lock_redis_acquire(struct lock_redis *k, lock_answer_fn *on_answer, struct error *e);
/* GRANTED: k->lock.end_ms has moved. REFUSED: it is lost, k->lock is not held any more. k->asking
 * must be false. */
void lock_redis_renew(struct lock_redis *k, lock_answer_fn *on_answer);
/* Frees what the last attempt may have got, whether its answer has come or not. Once. */
void lock_redis_release(struct lock_redis *k, lock_answer_fn *on_answer);
