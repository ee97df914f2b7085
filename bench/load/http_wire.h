/* HTTP/1.1 on the connections of a load: requests come from a template with a gap for the key,
 * answers are read by http/parser and http/framing.
 *
 * Ownership: http_wire_new() to http_wire_free(); the options may go after http_wire_new().
 * Threads: read-only once made. */
#pragma once
#include "base/error.h"
#include "base/str.h"
#include "bench/load/keys.h"
#include "bench/load/wire.h"

struct http_wire_options {
    struct str method; /* "GET" */
    struct str target; /* path with the query, "/" at least */
    struct str host;   /* the Host field */
    struct str fields; /* further field lines, each with its CRLF */
    struct str body;
    bool has_body;            /* a Content-Length is sent, even if the body is empty */
    const char *key_in;       /* "header:NAME", "query:NAME", "cookie:NAME", "path" (the key is
                                 appended to the path); NULL: nowhere */
    const char *backend_from; /* "header:NAME", "body" (its first word, without dots at its end),
                                 "none" */
    bool close;               /* Connection: close */
};

/* NULL: the error says what is wrong and what is allowed. */
struct wire *http_wire_new(const struct http_wire_options *o, struct error *e);
void http_wire_free(struct wire *w); /* NULL is fine */
/* False: one of the keys has a character that its place in the request does not allow. */
bool http_wire_check_keys(const struct wire *w, const struct keys *k, struct error *e);
