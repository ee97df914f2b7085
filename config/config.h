/* The configuration: typed, complete (defaults filled in), checked and immutable.
 *
 * What for: config_load() turns a YAML file into one `struct config`, or into a list of all errors
 * in the file.
 * Invariants: every value is within the bounds of docs/configuration.md. Names are unique where
 * that document says so. References between sections are indexes that exist. The backends and the
 * standbys of a pool are sorted by name in byte order, so that a backend's index is its slot on the
 * ring and the order in the file has no effect.
 * Ownership: reference counted as a whole; all strings and arrays belong to it.
 * Threads: immutable once loaded; config_ref() and config_unref() are atomic. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"
#include "base/log.h"
#include "base/network.h"
#include "base/str.h"
#include "config/redis_url.h"

#define CONFIG_MAX_FILE (16u << 20) /* bytes of a file */
#define CONFIG_MAX_POINTS 4194304   /* of a pool, the sum of weight x vnodes; ring/ has the same */
#define CONFIG_MAX_SERVERS 4096     /* backends and standbys of a pool together */
#define CONFIG_MAX_ROUTES 4096      /* of a listener */
#define CONFIG_MAX_FLEET 64         /* bytes of the name of a fleet */
#define CONFIG_MAX_NODE 128         /* bytes of the name of a node */
#define CONFIG_MAX_REDIS 16         /* URLs of a fleet */
#define CONFIG_ETAG_SIZE 35         /* two quotes, 32 hexadecimal digits, a NUL */

enum config_key_kind {
    KEY_HEADER,
    KEY_COOKIE,
    KEY_QUERY,
    KEY_PATH,
    KEY_URI,
    KEY_HOST,
    KEY_SOURCE_IP,
    KEY_CLIENT_IP,
    KEY_SNI,
    KEY_ISSUED, /* the only part of its key, which is the last of a list */
};

/* The word for it in a file: "header" of "header:NAME", "source_ip". */
const char *config_key_word(enum config_key_kind kind);

struct config_key_part {
    enum config_key_kind kind;
    char *name; /* of the header, cookie or query parameter, as written; NULL for other kinds */
    size_t name_len;
};

/* One alternative of `key:`. Several parts ("a+b") make one key, which needs all of them. */
struct config_key {
    struct config_key_part *parts;
    size_t nparts; /* at least 1 */
};

/* The key that is issued to clients without one: the last of a list, if it is `issued:NAME`. NULL:
 * it is none. */
static inline const struct config_key_part *config_issued(const struct config_key *keys,
                                                          size_t nkeys)
{
    const struct config_key *last = nkeys ? &keys[nkeys - 1] : NULL;
    return last && last->nparts && last->parts->kind == KEY_ISSUED ? last->parts : NULL;
}

enum config_same_site { SAME_SITE_LAX, SAME_SITE_STRICT, SAME_SITE_NONE };

/* The attributes of the cookie by which a key is issued (RFC 6265 4.1.2). */
struct config_issued_cookie {
    uint64_t max_age_ms; /* whole seconds; 0: the cookie ends with the browser's session */
    char *domain;        /* NULL: the host of the request alone */
    char *path;          /* begins with a slash */
    enum config_same_site same_site;
};

enum config_mode { MODE_HTTP, MODE_TCP };

/* Which requests (mode http) or streams (mode tcp) of a listener go to which pool: those for which
 * all conditions of the route hold. The first route that matches counts. `pool: P` is one route
 * without conditions. */
struct config_route {
    char *host;      /* in lower case, without a final dot; may begin with "*."; NULL: any */
    char *path;      /* begins with '/'; NULL: any */
    bool path_exact; /* the path alone, not what is below it */
    char **methods;  /* as sent, case-sensitive */
    size_t nmethods; /* 0: any */
    char *sni;       /* mode tcp: as `host`, of the server name in the ClientHello; NULL: any */
    size_t pool;     /* index into config.pools */
    struct config_key *keys; /* the listener's, unless own_keys */
    size_t nkeys;
    const struct config_key_part *issued; /* config_issued() of these keys */
    bool own_keys;
};

struct config_listener {
    char *name;
    struct addr listen;
    char *listen_text; /* as written */
    enum config_mode mode;
    struct config_route *routes; /* in the file's order */
    size_t nroutes;              /* at least 1 */
    struct config_key *keys;     /* of the routes without keys of their own */
    size_t nkeys;
    struct config_issued_cookie issued_cookie; /* of the keys `issued:NAME` */
    uint32_t max_connections;                  /* 1 to 1,000,000 */
    uint32_t max_header_size;        /* bytes of a head's fields; mode tcp: of a ClientHello */
    bool accept_head;                /* connections must begin with a PROXY head */
    bool via;                        /* heads get a Via */
    struct network *trusted_proxies; /* whose X-Forwarded-* are believed; by networks_sort() */
    size_t ntrusted_proxies;
    uint64_t request_timeout_ms, idle_timeout_ms, tunnel_timeout_ms;
};

enum config_check { CHECK_OFF, CHECK_TCP, CHECK_HTTP };

/* An inclusive range of HTTP status codes, 100 to 599. */
struct config_range {
    uint16_t from, to;
};

/* Whether a status is in one of the ranges. */
static inline bool config_in_ranges(const struct config_range *ranges, size_t n, unsigned status)
{
    for (size_t i = 0; i < n; i++)
        if (status >= ranges[i].from && status <= ranges[i].to)
            return true;
    return false;
}

struct config_health {
    enum config_check check;
    uint32_t port;                      /* asked in place of the server's own; 0: not configured */
    bool head;                          /* CHECK_HTTP: the method is HEAD, not GET */
    char *path;                         /* CHECK_HTTP */
    char *host;                         /* CHECK_HTTP: the Host field; NULL: the address asked */
    struct config_range *expect_status; /* CHECK_HTTP */
    size_t nexpect_status;
    char *send, *expect;         /* CHECK_TCP: any bytes, NUL too; NULL if not configured */
    size_t send_len, expect_len; /* of these */
    uint64_t interval_ms,
        timeout_ms;      /* from the beginning of one check to the next; of one check */
    unsigned fall, rise; /* results in a row that change the state */
};

/* Whether a check examines an answer of the server, rather than just reach it. */
static inline bool config_health_reads_answer(const struct config_health *h)
{
    return h->check == CHECK_HTTP || (h->check == CHECK_TCP && h->expect != NULL);
}

struct config_passive {
    unsigned failures; /* 0: off */
    struct config_range *statuses;
    size_t nstatuses;
};

enum config_when_down { WHEN_DOWN_NEXT, WHEN_DOWN_FAIL };
enum config_when_all_down { WHEN_ALL_DOWN_REFUSE, WHEN_ALL_DOWN_TRY };
enum config_close_moved { CLOSE_MOVED_NEVER, CLOSE_MOVED_DOWN, CLOSE_MOVED_ALWAYS };
/* The PROXY head that is sent to servers; the value is the version of the protocol. */
enum config_send_head { SEND_HEAD_OFF, SEND_HEAD_V1, SEND_HEAD_V2 };

struct config_failback {
    bool manual;
    uint64_t after_ms, max_after_ms, ramp_ms;
};

/* Whose word takes a server out in a fleet: that of more than half of its voters, or of any. */
enum config_agree { AGREE_MAJORITY, AGREE_ALL };

/* A backend or a standby. */
struct config_server {
    char *name;
    struct addr address;      /* len 0: address_text is NAME:PORT, to be resolved */
    char *address_text;       /* as written */
    uint32_t weight;          /* 1 to 256; 1 for a standby */
    uint32_t max_connections; /* 0: no limit */
    uint16_t *for_backends;   /* of a standby: indexes of the backends in `for`, ascending */
    size_t nfor;              /* 0: a common standby, for any backend */
};

struct config_pool {
    char *name;
    unsigned vnodes;
    double max_load; /* 0: off */
    struct config_health health;
    struct config_passive passive;
    enum config_when_down when_down;
    enum config_when_all_down when_all_down;
    struct config_failback failback;
    enum config_close_moved close_moved;
    enum config_agree agree;
    char *epoch_header; /* the field that tells servers of the fleet's decision; NULL: off */
    unsigned retries;
    struct config_range *retry_statuses; /* such an answer is a failed try */
    size_t nretry_statuses;
    unsigned max_idle_connections;
    enum config_send_head send_head;
    uint64_t connect_timeout_ms, response_timeout_ms, body_timeout_ms, idle_timeout_ms;
    uint64_t resolve_ms;            /* the interval of lookups of host names in addresses */
    struct config_server *backends; /* sorted by name; the index is the slot on the ring */
    size_t nbackends;               /* at least 1 */
    struct config_server *standbys; /* sorted by name */
    size_t nstandbys;
};

/* The fleet of proxies that this one belongs to. */
struct config_cluster {
    struct redis_url *redis; /* nodes of one replication group, in the order to try them */
    size_t nredis;           /* at least 1 */
    char *name, *node;       /* visible ASCII characters without any of "/{}# */
    uint64_t lock_ttl_ms;    /* 1s to 60s */
    bool listen_active;      /* the holder of the lock alone accepts traffic */
    uint32_t priority;       /* 0 to 1000; the highest live node is preferred as holder */
    bool preempt;
    char **on_active, **on_standby; /* argv, NULL behind the last; NULL: no command */
};

/* All errors, or warnings, of a file in the order of their places in it. Each is one line without
 * the newline: "FILE:LINE:COLUMN: PATH: what is wrong and what is allowed", a warning's text begins
 * with "warning: ". docs/configuration.md, Errors. */
struct config_errors {
    char **lines;
    size_t count;
};

struct config {
    _Atomic unsigned refs;
    char *file; /* the name of the file, as given */
    char *text; /* what was read from it, byte by byte, with a NUL behind it */
    size_t text_len;
    char etag[CONFIG_ETAG_SIZE]; /* of the text, see config_etag_of() */
    unsigned workers;
    uint64_t shutdown_timeout_ms;
    bool has_admin;
    struct addr admin_listen;
    char *admin_listen_text;
    char *admin_token; /* NULL: none */
    bool admin_write;  /* PUT /config replaces the file */
    enum log_level log_level;
    double
        max_move; /* of a pool's keys, 0 to 1: a reload that moves more is refused; above 1: off */
    struct config_cluster *cluster;    /* NULL: no fleet */
    struct config_listener *listeners; /* in the file's order */
    size_t nlisteners;                 /* at least 1 */
    struct config_pool *pools;         /* in the file's order */
    size_t npools;                     /* at least 1 */
    struct config_errors warnings;     /* what is allowed, and most likely not meant */
};

/* Reads and checks a file. Returns a config with one reference, the caller's. NULL: *errors holds
 * at least one line, also if the file cannot be read. The caller frees *errors in both cases. */
struct config *config_load(const char *file, struct config_errors *errors);
/* The same while a proxy runs: an editor may be at work on the file, and nobody may be there to
 * write into a FIFO. See file_read_settled(). */
struct config *config_reload(const char *file, struct config_errors *errors);
/* The same for a file in memory; `file` is the name to use in messages. Relative names of other
 * files (token_file) start from its directory. */
struct config *config_parse(const char *file, const char *text, size_t len,
                            struct config_errors *errors);
void config_errors_free(struct config_errors *errors);
/* The entity tag (RFC 9110 8.8.3) of a file with this text, in its quotes. Of the bytes alone, so
 * that it is the same in each process and after a restart; a strong one. */
void config_etag_of(struct str text, char etag[CONFIG_ETAG_SIZE]);

/* Whether both are the same member of the same fleet at the same Redis, so that a reload from one
 * to the other changes what the member wishes (priority, preempt, commands) and no more. If not, it
 * leaves the fleet and joins anew. NULL: no fleet. listen_active is not looked at, it is that of
 * the start of the process. */
bool config_same_member(const struct config_cluster *a, const struct config_cluster *b);

struct config *config_ref(struct config *c);
void config_unref(struct config *c); /* NULL is fine */
