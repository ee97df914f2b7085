/* The proxies that `ringbench failover` knows: where their programs are, and the configuration with
 * which each does what it can for the keys of a failed backend.
 *
 * Invariants: the configurations mean the same wherever the proxies allow it: the same checks, the
 * same timeouts, retries on, some 500 points a backend, one thread or process.
 * Ownership: proxies are constants. Threads: any. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "bench/failover/scenario.h"

#define PROXY_MAX_ARGV 8

/* What a configuration is made for. */
struct proxy_site {
    const struct scenario *scenario;
    const uint16_t *ports; /* of the servers, by number; all on 127.0.0.1 */
    uint16_t listen;       /* where the proxy is to listen, on 127.0.0.1 */
    const char *folder;    /* for its files */
    const char *program;   /* its path */
    const char *config;    /* the path of the configuration */
};

struct proxy {
    const char *name;
    const char *package; /* Debian's; NULL: none */
    bool standbys;       /* false: it can't use them, they are not in its configuration */
    bool (*configure)(const struct proxy_site *site, struct error *e);
    void (*command)(const struct proxy_site *site, const char *argv[PROXY_MAX_ARGV]);
};

/* NULL: no such proxy. */
const struct proxy *proxy_find(const char *name);
/* "ringproxy, haproxy, nginx" */
extern const char proxy_names[];

/* The path of its program; ringproxy's is looked for beside this program too. given: what the user
 * said, or NULL. NULL: the error says what is missing; the caller frees. */
char *proxy_program(const struct proxy *p, const char *given, struct error *e);
