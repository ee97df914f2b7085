/* The proxies that `ringbench failover` knows: where their programs are, and for each the
 * configuration that serves the keys of a failed backend best.
 *
 * Invariants: as far as the proxies allow it, the configurations mean the same: equal checks and
 * timeouts, retries on, some 500 points a backend, one thread or process.
 * Ownership: proxies are constants. Threads: any. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "bench/failover/scenario.h"

#define PROXY_MAX_ARGV 8

/* The input of a configuration. */
struct proxy_site {
    const struct scenario *scenario;
    const uint16_t *ports; /* of the servers on 127.0.0.1, by their numbers */
    uint16_t listen;       /* the port of the proxy on 127.0.0.1 */
    const char *folder;    /* for the files of the proxy */
    const char *program;   /* the path of the program */
    const char *config;    /* the path of the configuration */
};

struct proxy {
    const char *name;
    const char *package; /* of Debian; NULL: the proxy is in none */
    bool standbys; /* false: the proxy has no such thing, and its configuration leaves them out */
    bool (*configure)(const struct proxy_site *site, struct error *e);
    void (*command)(const struct proxy_site *site, const char *argv[PROXY_MAX_ARGV]);
};

/* NULL: no such proxy. */
const struct proxy *proxy_find(const char *name);
/* "ringproxy, haproxy, nginx" */
extern const char proxy_names[];

/* The path of the program of a proxy; the caller frees it. given: the path that the user named, or
 * NULL: then PATH is searched, for ringproxy the folder of this program first. NULL: there is no
 * such program, and the error says what is missing. */
char *proxy_program(const struct proxy *p, const char *given, struct error *e);
