/* The nodes of a fleet as one member has heard of them: their beats, and the views they gave.
 *
 * What for: who is live, and whose view counts, is told by the reader's own clock alone.
 * Invariants: a node has been heard of when the count of its instance was last seen to grow, or
 * when its instance was last seen to change; a beat with a count that is not higher (sent long ago,
 * carried out late) changes nothing. A view counts while the last beat is of its instance.
 * Ownership: peers_new() to peers_free(); it owns the views. Threads: the control loop. Pure: times
 * come in, in ms of any clock that does not jump. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/version.h"
#include "cluster/view.h"

#define PEERS_MAX 1024
#define PEERS_SILENT 10 /* x lock_ttl: so long a node counts that went silent */

enum peer_life {
    PEER_LIVE,   /* heard of within lock_ttl */
    PEER_SILENT, /* within PEERS_SILENT x lock_ttl: counts as a voter, has no vote */
    PEER_GONE,
};

struct peer {
    const char *node;
    char instance[INSTANCE_SIZE]; /* of its last beat */
    uint64_t n;                   /* of that beat */
    uint64_t c;                   /* the number of the last change of its view */
    uint64_t heard_ms;
    const struct view *view; /* of this instance; NULL: none yet, or it was refused */
    uint64_t fit_ms;         /* since when this instance is a follower that is ready; if fit */
    bool fit;
    bool listed; /* in the last answer */
};

struct peers;

struct peers *peers_new(void);
void peers_free(struct peers *p); /* NULL is fine */

/* One answer of the store: begin, each beat, each view that came, end. */
void peers_begin(struct peers *p);
/* False: refused, the name or a number is none, or there are more than PEERS_MAX nodes. */
bool peers_beat(struct peers *p, const char *node, const char *instance, uint64_t n, uint64_t c,
                uint64_t now_ms);
/* Takes the view over; NULL: the node has given one that was refused. Dropped: a view of a node
 * without a beat, or with a late one. */
void peers_view(struct peers *p, const char *node, struct view *v, uint64_t now_ms);
/* Drops nodes that were in no beat of this answer and are gone. */
void peers_end(struct peers *p, uint64_t now_ms, uint64_t ttl_ms);

size_t peers_count(const struct peers *p);
const struct peer *peers_at(const struct peers *p, size_t i);           /* ascending by node */
const struct peer *peers_find(const struct peers *p, const char *node); /* NULL: not known */
enum peer_life peer_life(const struct peer *p, uint64_t now_ms, uint64_t ttl_ms);
