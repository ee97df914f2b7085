/* What the scripts answer, as structs of store.h; and the hints of the channel.
 *
 * What for: whatever a Redis may send, hostile or broken, becomes an answer of which all is in
 * range, or none.
 * Invariants: an answer as such that is not as in scripts.h is refused whole. A beat, a view, an
 * offer, a lock's value or a body that nobody of the fleet can have stored is left out alone, so
 * that one of them does not end the fleet. Each refusal is told in words, which are the same for
 * the same cause.
 * Ownership: texts are those of the reply, which must outlive the answer. Threads: pure. */
#pragma once
#include "cluster/redis.h"
#include "cluster/store.h"

typedef void answer_refused_fn(void *arg, const char *what);

struct answer_synced {
    struct store_synced synced;
    struct store_beat *beats;
    struct store_view *views;
    char (*instances)[INSTANCE_SIZE];
};

/* known: the version that was asked with. False: refused, nothing is to be freed. */
bool answer_read_sync(struct answer_synced *a, const struct redis_reply *reply,
                      const struct version *known, answer_refused_fn *refused, void *arg);
void answer_synced_free(struct answer_synced *a);
bool answer_read_acquire(struct store_acquired *a, const struct redis_reply *reply,
                         answer_refused_fn *refused, void *arg);
bool answer_read_done(bool *yes, const struct redis_reply *reply, answer_refused_fn *refused,
                      void *arg);
/* "KIND INSTANCE" */
bool answer_read_hint(struct str payload, enum hint *kind, char instance[INSTANCE_SIZE]);
