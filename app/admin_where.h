/* Where the admin interface is, for the commands that talk to a running proxy.
 *
 *   address:  --admin URL, else $RINGPROXY_ADMIN, else admin.listen of -c FILE,
 *             else http://127.0.0.1:9900
 *   token:    --token-file FILE, else $RINGPROXY_ADMIN_TOKEN, else that of -c FILE, else none
 *
 * What for: all such commands find the proxy in the same way.
 * Invariants: what goes into a request holds no character that could end a line of it.
 * Ownership: admin_where_init() to admin_where_deinit(). Threads: any. */
#pragma once
#include <stdbool.h>

#include "base/error.h"
#include "config/config.h"

struct admin_where {
    char *host;      /* an address without brackets, or a name */
    char *port;      /* decimal */
    char *authority; /* for the Host field */
    char *prefix;    /* of all paths: "", or "/x" without a slash at its end */
    char *token;     /* NULL: none */
};

/* What the user said; NULL where nothing. */
struct admin_hints {
    const char *url, *token_file;
    const struct config *config; /* of -c FILE */
};

/* False: *e says what is wrong; *w owns nothing. */
bool admin_where_init(struct admin_where *w, const struct admin_hints *h, struct error *e);
void admin_where_deinit(struct admin_where *w);
