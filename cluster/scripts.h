/* The Lua scripts by which members of a fleet, and `ringproxy lock`, use Redis: all accesses are
 * one EVAL each, so each is atomic.
 *
 * What for: the rules that make the lock, its epochs and the published versions safe stand in these
 * texts; whoever calls them may be late, stopped, or wrong about the lock.
 * Invariants: numbers are < 2^53 and exact. A script that reads the lock shortens it if it would
 * last longer than the T in its value, as happens when Redis's clock goes back. A lock without an
 * expiry, or that is no string, counts as held. What else is broken (wrong type, no number) counts
 * as absent, and whoever may write that key replaces it; so does a publication or a counter with an
 * epoch above `most` (without that argument, or if it is no number: 2^53 - 1).
 * Ownership: the texts are constants. Threads: plain values. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* Keys and arguments in order. lock: "TOKEN T WHO", T the milliseconds that it lasts. A lock of
 * `ringproxy lock` has the keys lock and epoch alone. */
enum script {
    /* keys lock epoch next state beats views
     * channel node instance n view kind known_c lock epoch known.epoch known.by known.seq most
     * -> [holder, left, next, renewed, epoch, by, seq, body, highest c, [node, beat ...],
     *     [node, view ...], what is broken]. kind: claim, view, or "" for no hint.
     * What is longer than it can be comes as something that nobody takes. */
    SCRIPT_SYNC,
    /* keys lock epoch [next state]
     * lock previous floor instance most -> [granted, epoch, holder, left, state's epoch, by, seq].
     * previous: the value of an own attempt whose outcome is unknown, or "" */
    SCRIPT_ACQUIRE,
    /* keys lock epoch state
     * channel instance lock epoch by seq body most -> 1: stored, or 0 */
    SCRIPT_PUBLISH,
    /* keys epoch state
     * channel instance epoch by seq body most -> 1: stored, or 0 */
    SCRIPT_RESTORE,
    /* keys lock next
     * channel instance lock to_instance ms -> 1 or 0 */
    SCRIPT_OFFER,
    /* keys lock
     * channel instance lock -> 1: it was held and is free, or 0. channel "": nobody is told */
    SCRIPT_RELEASE,
    /* keys lock epoch
     * lock epoch -> 1: it is held for another T, or 0: it is lost */
    SCRIPT_RENEW,
    /* keys lock beats views
     * lock "node\nnode..." -> 1 or 0 */
    SCRIPT_FORGET,
    SCRIPTS
};

#define SCRIPT_WORDS 24

/* An EVAL under construction, for redis_call(). */
struct script_call {
    const char *argv[SCRIPT_WORDS];
    size_t argvlen[SCRIPT_WORDS];
    size_t n;
    char digits[8][24];
    unsigned ndigits;
};

const char *script_name(enum script s);
const char *script_text(enum script s);

/* Begins a call; nkeys keys are to be added first, then the arguments. */
void script_begin(struct script_call *c, enum script s, unsigned nkeys);
/* The text must live until the call was sent. */
void script_add(struct script_call *c, struct str word);
void script_add_number(struct script_call *c, uint64_t n);
