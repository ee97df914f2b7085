/* What a member of a fleet tells the others about itself and what it sees, as bytes and back.
 *
 *   {"v":1,"id":"INSTANCE","epoch":7,"by":"INSTANCE","seq":3,"role":"follower","listen":"always",
 *    "accepting":true,"priority":100,"preempt":true,"ready":true,
 *    "pools":{"cache":{"digest":"9f3a","names":["b1","b2","b3","b4","s1"],"blind":false,
 *       "d":["b1"],"?":["s1"],"out":["b1"],"except":["b3"]}},
 *    "asks":[[15,"cache","b2","drain",1795430400123]]}
 *
 * Whom it lists under neither `d` nor `?` it sees up. `names` may be left out, see
 * view_leave_names(): then the servers that are in none of the other lists are not in the struct.
 * Invariants: any bytes are either a view within its bounds, or refused as a whole. Unknown members
 * of objects are ignored. The same view gives the same bytes. Pools and the servers of a pool
 * ascend by name (strcmp), each name once; asks are in their order.
 * Ownership: a decoded view owns all that it points to. One to be encoded may point anywhere.
 * Threads: plain values. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"
#include "cluster/state.h"
#include "cluster/version.h"

#define VIEW_MAX_BYTES (128u << 10)
#define VIEW_MAX_POOLS 4096
#define VIEW_MAX_SERVERS 8192 /* of a pool */
#define VIEW_MAX_ASKS 256
#define VIEW_MAX_PRIORITY UINT32_MAX

enum view_role { VIEW_ALONE, VIEW_FOLLOWER, VIEW_KEEPER };

enum view_vote { VIEW_UP, VIEW_DOWN, VIEW_UNSURE };

enum view_verb { VIEW_DRAIN, VIEW_ENABLE, VIEW_FAILBACK };

struct view_server {
    const char *name;
    enum view_vote vote;
    bool out;    /* by what this member routes by */
    bool except; /* this member leaves it out although it is in service by agreement */
};

struct view_pool {
    const char *name;
    const char *digest; /* 1 to 32 hexadecimal digits */
    bool named;         /* all its servers are in `servers`; else those in a list alone */
    bool blind;         /* all servers are down here */
    struct view_server *servers;
    size_t nservers;
};

/* A request of an operator. */
struct view_ask {
    uint64_t number; /* of this instance, ascending, from 1 */
    const char *pool, *server;
    enum view_verb verb;
    uint64_t made_ms; /* wall clock */
};

struct view {
    char id[INSTANCE_SIZE];
    struct version version; /* of the publication it routes by, or did last; {0}: none */
    enum view_role role;
    bool listen_active; /* the holder of the lock alone accepts traffic */
    bool accepting, preempt;
    bool ready; /* it could serve: a standby can, though its readyz is 503 */
    uint32_t priority;
    struct view_pool *pools;
    size_t npools;
    struct view_ask *asks; /* not carried out yet */
    size_t nasks;
};

const char *view_role_word(enum view_role role);
const char *view_verb_word(enum view_verb verb);

/* NULL: refused, *e says why without a control character. */
struct view *view_decode(struct str text, struct error *e);
void view_free(struct view *v); /* of view_decode(); NULL is fine */

/* Puts pools and servers of a view made by hand into their order. */
void view_sort(struct view *v);
/* Clears `named` where readers know the servers from what is published: it has the same digest and
 * the very same servers for the pool. published: NULL is fine. For a view that is to be encoded;
 * its servers stay. */
void view_leave_names(struct view *v, const struct state *published);
/* The bytes of a sorted view and a NUL, for free(). If it were too long it goes without any
 * `names`: who has another configuration then knows no votes but those in lists. NULL: it is beyond
 * its bounds, *e says why. */
char *view_encode(const struct view *v, size_t *len, struct error *e);

/* NULL: it has none of that name. */
const struct view_pool *view_pool_of(const struct view *v, const char *name);
const struct view_server *view_server_of(const struct view_pool *p, const char *name);
/* Whether the member is blind in any of its pools. */
bool view_blind(const struct view *v);
