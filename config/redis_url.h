/* Where a Redis is, and as whom to speak to it.
 *
 * What for: `cluster.redis` of a configuration and `ringproxy lock --redis` read the same form:
 * redis://[USER:PASSWORD@]HOST[:6379][/DB][?password_file=PATH], unix:/PATH[?db=N&...] likewise.
 * Ownership: redis_url_parse() to redis_url_deinit(). Threads: a plain value. */
#pragma once
#include <stdbool.h>

#include "base/addr.h"
#include "base/error.h"

struct redis_url {
    char *shown;         /* the URL without a password, for logs */
    struct addr address; /* len 0: address_text is NAME:PORT, to be resolved */
    char *address_text;  /* HOST:PORT or unix:PATH */
    char *user;          /* NULL: the default user */
    char *password;      /* NULL: none, unless there is a file */
    char *password_file; /* read again for each connection; NULL: none */
    unsigned db;
};

/* False: the error says what is wrong and what is allowed; nothing is to be freed. */
bool redis_url_parse(struct redis_url *u, const char *text, struct error *e);
void redis_url_deinit(struct redis_url *u);
