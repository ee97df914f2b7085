/* What the keeper of a fleet publishes: which servers are out and why, as bytes and back.
 *
 *   {"v":1,"pools":{"cache":{"digest":"9f3a","up":["b5","s1"],"servers":{
 *      "b1":{"phase":"down","delay":10000},
 *      "b2":{"phase":"wait","left":4200,"delay":20000},
 *      "b3":{"phase":"ramp","from":"s1","share":12288,"delay":5000,"back":900},
 *      "b4":{"phase":"up","drained":true,"asked":1795430400123},
 *      "b6":{"phase":"down","carried":true}}}},
 *    "done":{"INSTANCE":[14,"ok"]},
 *    "role":{"nodes":{"web1":{"wait":12000,"lost":4000}}}}
 *
 * Invariants: any bytes are either a state within the bounds below, or refused as a whole. Members
 * of objects that this version does not know are ignored, and go on into what is written over them
 * (state_encode()). The same state gives the same bytes. A server in `up` has nothing else to say:
 * it is up, not drained nor carried along, nobody asked anything of it, and it came back more than
 * STATE_LONGEST_MS ago or never; the delay before its next return is then `after` again, and not
 * kept. Ownership: a decoded state owns all that it points to. One to be encoded may point
 * anywhere. Threads: plain values. Pure. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"
#include "cluster/version.h"
#include "pool/agreed.h"

#define STATE_MAX_BYTES (1u << 20)
#define STATE_MAX_POOLS 4096
#define STATE_MAX_SERVERS 8192 /* of a pool: CONFIG_MAX_SERVERS, and as many that others have */
#define STATE_MAX_ALL 32768    /* servers of all pools together */
#define STATE_MAX_DONE 4096
#define STATE_MAX_NODES 4096
#define STATE_LONGEST_MS                                                     \
    (UINT64_C(86400) * 1000) /* of any length of time, as in a configuration \
                              */
#define STATE_MAX_RESULT 255 /* bytes of a result */

/* The last request of an operator that was carried out for a member. */
struct state_done {
    char instance[INSTANCE_SIZE];
    uint64_t number; /* at least 1 */
    const char
        *result; /* "ok", or why not: 1 to STATE_MAX_RESULT bytes without control characters */
};

/* How long the keeper is to wait before it offers the role to this node once more. */
struct state_node {
    const char *node;
    uint64_t wait_ms; /* doubled each time that the node lost the role early */
    uint64_t lost_ms; /* since it last lost the role, at the moment of storing */
};

struct state {
    struct agreed_pool *pools; /* names differ; decoded: ascending, and so are their servers */
    size_t npools;
    struct state_done *done; /* instances differ; decoded: ascending */
    size_t ndone;
    struct state_node *nodes; /* names differ; decoded: ascending */
    size_t nnodes;
    struct state_rest *rest; /* what was decoded, with what is not known; NULL: made by hand */
};

/* NULL: refused, *e says why without a control character. */
struct state *state_decode(struct str text, struct error *e);
void state_free(struct state *s); /* of state_decode(); NULL is fine */

/* The bytes of a state and a NUL, for free(). before: the decoded state that it replaces, whose
 * unknown members it carries along where the same object is in both (the whole, a pool, a server,
 * role, a node); NULL: none. If it were too long with them it goes without. NULL: it is beyond the
 * bounds above, and *e says why. Lengths of time above STATE_LONGEST_MS are written as that, and a
 * return longer ago than that not at all. */
char *state_encode(const struct state *s, const struct state *before, size_t *len, struct error *e);

/* Finds in a decoded state; NULL: there is none. */
const struct agreed_pool *state_pool(const struct state *s, const char *name);
const struct agreed_server *state_server(const struct agreed_pool *p, const char *name);
const struct state_done *state_done_of(const struct state *s, const char *instance);
const struct state_node *state_node_of(const struct state *s, const char *node);
