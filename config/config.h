/* The configuration of a run: typed, complete (defaults filled in), checked, immutable.
 *
 * What for: config_load() turns a YAML file into one `struct config`, or into every error in it.
 * Invariants: whatever a loaded config says is within the contract's bounds; names are unique;
 * references are indexes that exist; backends and standbys of a pool are sorted by name in byte
 * order, so that a backend's index is its slot on the ring and the file's order means nothing.
 * Ownership: reference counted as a whole, strings and arrays belong to it.
 * Threads: immutable once loaded; config_ref/unref are atomic. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"
#include "base/log.h"

/* Points of a pool's ring, the sum of weight x vnodes; ring/ has the same bound. */
#define CONFIG_MAX_POINTS 4194304
#define CONFIG_MAX_SERVERS 4096 /* backends and standbys of a pool */

enum config_key_kind {
    KEY_HEADER,
    KEY_COOKIE,
    KEY_QUERY,
    KEY_PATH,
    KEY_URI,
    KEY_HOST,
    KEY_SOURCE_IP,
    KEY_SNI,
};

struct config_key_part {
    enum config_key_kind kind;
    char *name; /* header (as written), cookie or query parameter; else NULL */
    size_t name_len;
};

/* One alternative of `key:`; with more than one part ("a+b") all must be present. */
struct config_key {
    struct config_key_part *parts;
    size_t nparts; /* at least 1 */
};

enum config_mode { MODE_HTTP, MODE_TCP };

struct config_listener {
    char *name;
    struct addr listen;
    char *listen_text; /* as written */
    enum config_mode mode;
    size_t pool; /* index into config.pools */
    struct config_key *keys;
    size_t nkeys;
    uint32_t max_connections; /* 1 to 1,000,000 */
    uint32_t max_header_size; /* bytes; mode tcp: of a ClientHello */
    bool accept_head;         /* a PROXY head is required and gives the source */
    uint64_t request_timeout_ms, idle_timeout_ms;
};

enum config_check { CHECK_OFF, CHECK_TCP, CHECK_HTTP };

/* An inclusive range of HTTP status codes, 100 to 599. */
struct config_range {
    uint16_t from, to;
};

struct config_health {
    enum config_check check;
    char *path;                         /* http */
    char *host;                         /* http: the Host field; NULL: the server's address */
    struct config_range *expect_status; /* http */
    size_t nexpect_status;
    char *send, *expect; /* tcp: NULL when not configured; no NUL inside */
    uint64_t interval_ms, timeout_ms;
    unsigned fall, rise;
};

struct config_passive {
    unsigned failures; /* 0: off */
    struct config_range *statuses;
    size_t nstatuses;
};

enum config_when_down { WHEN_DOWN_NEXT, WHEN_DOWN_FAIL };
enum config_close_moved { CLOSE_MOVED_NEVER, CLOSE_MOVED_DOWN, CLOSE_MOVED_ALWAYS };
/* The PROXY head that servers are sent; the value is the protocol's version. */
enum config_send_head { SEND_HEAD_OFF, SEND_HEAD_V1, SEND_HEAD_V2 };

struct config_failback {
    bool manual;
    uint64_t after_ms, max_after_ms, ramp_ms;
};

/* A backend or a standby. */
struct config_server {
    char *name;
    struct addr address;      /* len 0: address_text is NAME:PORT */
    char *address_text;       /* as written */
    uint32_t weight;          /* 1 to 256; 1 for a standby */
    uint32_t max_connections; /* 0: no limit */
    uint16_t *for_backends;   /* a standby's `for`: backend indexes, ascending; none: any backend */
    size_t nfor;
};

struct config_pool {
    char *name;
    unsigned vnodes;
    double max_load; /* 0: off */
    struct config_health health;
    struct config_passive passive;
    enum config_when_down when_down;
    struct config_failback failback;
    enum config_close_moved close_moved;
    unsigned retries;
    unsigned max_idle_connections;
    enum config_send_head send_head;
    uint64_t connect_timeout_ms, response_timeout_ms, idle_timeout_ms;
    uint64_t resolve_ms;            /* how often names in addresses are looked up */
    struct config_server *backends; /* sorted by name: index = slot */
    size_t nbackends;               /* at least 1 */
    struct config_server *standbys; /* sorted by name */
    size_t nstandbys;
};

struct config {
    _Atomic unsigned refs;
    char *file;
    unsigned workers;
    uint64_t shutdown_timeout_ms;
    bool has_admin;
    struct addr admin_listen;
    char *admin_listen_text;
    char *admin_token; /* NULL: none */
    enum log_level log_level;
    struct config_listener *listeners; /* in the file's order */
    size_t nlisteners;                 /* at least 1 */
    struct config_pool *pools;         /* in the file's order */
    size_t npools;                     /* at least 1 */
};

/* All errors of a file, each a whole line "FILE:LINE:COLUMN: PATH: what is wrong and what is
 * allowed" without the newline, in the order of their places in the file. */
struct config_errors {
    char **lines;
    size_t count;
};

/* Reads and checks a file. NULL: errors holds at least one line (an unreadable file too); the
 * caller frees them with config_errors_free() either way. The config has one reference. */
struct config *config_load(const char *file, struct config_errors *errors);
/* The same from memory; `file` is the name that the messages use. */
struct config *config_parse(const char *file, const char *text, size_t len,
                            struct config_errors *errors);
void config_errors_free(struct config_errors *errors);

struct config *config_ref(struct config *c);
void config_unref(struct config *c); /* NULL is fine */
