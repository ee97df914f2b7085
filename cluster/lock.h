/* What one process knows of a lock that it wants or has: its value, its epoch, until when to
 * believe in it.
 *
 * What for: the arithmetic and the memory of a lock with an expiry, apart from how its value gets
 * to Redis: the keeper of a fleet and `ringproxy lock` have them in common.
 *
 *           lock_begin()          lock_granted()
 *   idle ----------------> asked ----------------> held ---- lock_renewed(): held for longer
 *    ^                      |  |                    |
 *    |   lock_refused()     |  | no answer:         | lock_lost(), lock_released(), or another
 *    +----------------------+  | lock_begin() again | lock_begin()
 *    +------------------------------------------------
 *
 * Invariants: each attempt has a value of its own, so that an answer can't be taken for another's.
 * The value of an attempt whose answer never came is the next attempt's `previous`, which may
 * replace it: a process does not wait for itself. The lock counts as held until the start of the
 * last request that granted it + ttl - ttl/10, whatever came later; that is before Redis can give
 * it to another as long as Redis keeps its data and its clock. Epochs of one process grow.
 * Pure: the time, on CLOCK_BOOTTIME (base/boot_clock.h), and random bytes come in. A moment that
 * counts as the start of a request must be read *before* the request is sent, and the clock is read
 * anew before each act that the lock is to cover, first of all after the process was stopped.
 * Ownership: the caller's memory, no heap. Threads: a plain value. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/random.h"
#include "base/str.h"

#define LOCK_TOKEN_LEN 32 /* hexadecimal digits */
#define LOCK_WHO_MAX 255  /* bytes of NODE/INSTANCE */
#define LOCK_TTL_MIN_MS 500
#define LOCK_TTL_MAX_MS 86400000
#define LOCK_VALUE_SIZE (LOCK_TOKEN_LEN + 1 + 8 + 1 + LOCK_WHO_MAX + 1)

struct lock {
    uint64_t ttl_ms;
    char who[LOCK_WHO_MAX + 1];
    char value[LOCK_VALUE_SIZE];    /* TOKEN TTL WHO of the last attempt; "": none is under way */
    char previous[LOCK_VALUE_SIZE]; /* what that attempt may replace; "": nothing */
    uint64_t epoch;                 /* the highest that this process was ever given; 0: none */
    uint64_t asked_ms;              /* the start of the last attempt */
    uint64_t end_ms;                /* until when to believe in it, if held */
    bool held;                      /* granted, and nothing was heard to the contrary */
};

/* who: NODE/INSTANCE, 1 to LOCK_WHO_MAX bytes, without spaces and control characters. ttl_ms:
 * LOCK_TTL_MIN_MS to LOCK_TTL_MAX_MS. */
void lock_init(struct lock *l, const char *who, uint64_t ttl_ms);

/* Begins an attempt to acquire: l->value and l->previous are what to ask for. What was held
 * before is held no more. False: there are no random bytes; nothing has changed. */
bool lock_begin(struct lock *l, struct random_store *random, uint64_t now_ms, struct error *e);
/* The epoch that the answer must be above: no less than any that was given out before, as far as
 * this process knows, and not less than the wall clock in ms, so that epochs go on growing when
 * Redis has lost its data. seen: the highest epoch that it knows of otherwise; 0: none. */
uint64_t lock_floor(const struct lock *l, uint64_t seen, uint64_t wall_ms);
/* The attempt was granted, under this epoch. False: the lock is not to be used: the epoch is not
 * above all that this process was given before, or out of bounds, or the time is over by now_ms
 * already. It is not held then, and the next attempt replaces the value. */
bool lock_granted(struct lock *l, uint64_t epoch, uint64_t now_ms);
/* The attempt was refused: another has the lock. */
void lock_refused(struct lock *l);

/* A renewal that was begun at start_ms for the lock of this epoch was granted. An answer that is
 * for an earlier lock changes nothing. */
void lock_renewed(struct lock *l, uint64_t epoch, uint64_t start_ms);
/* It was heard that the lock of this epoch is lost: held no more. An answer that is for an earlier
 * lock changes nothing. True: it was held until now. */
bool lock_lost(struct lock *l, uint64_t epoch);
/* To be called before a release is sent: from now on it is held no more. */
void lock_released(struct lock *l);

/* Whether it may be acted upon at now_ms. */
bool lock_believes(const struct lock *l, uint64_t now_ms);
/* For how long it may still be acted upon; 0: not. */
uint64_t lock_left_ms(const struct lock *l, uint64_t now_ms);

/* A value that was read from Redis, anyone's. The slices point into it. */
struct lock_holder {
    struct str token;
    uint64_t ttl_ms;
    struct str who;            /* LOCK_WHO_MAX bytes at most, no spaces, no control characters */
    struct str node, instance; /* of who, parted at the last '/'; without one: node is all of it */
};

/* False: the value has another form, so it was not written by this program. */
bool lock_holder_parse(struct lock_holder *h, struct str value);
