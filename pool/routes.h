/* Finds the first of a listener's routes that matches.
 *
 * What for: a listener may have thousands of routes, and each request is matched. `routes` in
 * docs/configuration.md says what matches; the answer here is that of trying one route after the
 * other.
 *
 *   host ---> group: the routes of that host, of "*." and an end of it, of any host
 *                |
 *                '-- few routes: one after the other; many: by hash of each prefix of the path
 *
 * The best of at most a group for each label of the host counts, and a group whose first route
 * stands behind the best one so far is passed over.
 *
 * Invariants: immutable. Texts are the configuration's, which has to outlive this.
 * Ownership: the caller's. Threads: any. */
#pragma once
#include <stddef.h>

#include "base/buffer.h"
#include "base/str.h"
#include "config/config.h"

#define ROUTE_NONE SIZE_MAX

/* What is matched. */
struct route_query {
    struct str host;   /* as it was sent, with a port or without, in any case; of a stream: the
                          server name. Empty: there is none */
    struct str path;   /* without the query; "*" for OPTIONS */
    struct str method; /* case-sensitive */
};

struct routes;

/* NULL: the listener has one route, which has no condition; every request is for that. */
struct routes *routes_new(const struct config_listener *l);
void routes_free(struct routes *r); /* NULL is fine */
/* The index of the first route that matches, or ROUTE_NONE. NULL is fine: 0. */
size_t routes_find(const struct routes *r, const struct route_query *q);

/* Appends the conditions of a route as text, such as "api.example.com/v1 GET,HEAD", which no other
 * route of its listener has; "any" if it has none. False: no memory. */
bool route_text(const struct config_route *route, struct buffer *out);

/* A host without its port and one dot at its end, which names the same host; in the case as sent.
 * An IPv6 literal keeps its brackets. */
struct str route_host(struct str host);
