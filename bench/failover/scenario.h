/* A scenario of `ringbench failover`: servers, a steady load, and the events that hurt servers and
 * make them well.
 *
 * What for: a YAML file -> struct scenario, or every error in it with its place.
 * Invariants: events are in the order of their times. Each event is possible when it comes: no
 * server is started while it runs, no server is told to fail after it is gone. At least one event
 * hurts a server. The first event comes after every key was requested once, so that each key has a
 * home by then; the last one comes before the load ends.
 * Servers are numbered: backends b1, b2, ... first, then standbys s1, s2, ...
 * Ownership: scenario_load() to scenario_free(). Threads: immutable once loaded. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

#define SCENARIO_MAX_BACKENDS 64
#define SCENARIO_MAX_STANDBYS 64
#define SCENARIO_MAX_SERVERS (SCENARIO_MAX_BACKENDS + SCENARIO_MAX_STANDBYS)
#define SCENARIO_SERVER_NAME 16 /* "b64" and its NUL, with room */

enum scenario_act {
    ACT_KILL,        /* SIGKILL */
    ACT_TERMINATE,   /* SIGTERM, and a wait until the server is gone */
    ACT_START,       /* once more, with the same name and port */
    ACT_STOP,        /* SIGSTOP */
    ACT_CONTINUE,    /* SIGCONT */
    ACT_FAIL_CHECKS, /* answers checks with 500 */
    ACT_PASS_CHECKS,
    ACT_HANG, /* accepts connections and reads, but never answers */
    ACT_UNHANG,
    ACT_STATUS, /* answers everything but checks with the status `value` */
};

/* What is wrong with a server; a server with any of these bits has a fault. */
enum scenario_trouble {
    TROUBLE_GONE = 1,
    TROUBLE_STOPPED = 2,
    TROUBLE_CHECKS = 4,
    TROUBLE_HANGS = 8,
    TROUBLE_STATUS = 16,
};

struct scenario_event {
    uint64_t at_ms; /* since the start of the load */
    enum scenario_act act;
    uint32_t value;    /* ACT_STATUS: 200 to 599 */
    char *server;      /* as written, if the event names one; else NULL */
    unsigned *servers; /* their numbers, at least one */
    size_t nservers;
};

struct scenario {
    char *name, *about;
    uint32_t backends, standbys;
    uint32_t keys, rate /* requests a second */, connections;
    uint64_t duration_ms, slow_ms;
    struct scenario_event *events;
    size_t nevents;
};

/* NULL: `errors` holds at least one line. The caller frees `errors` with config_errors_free()
 * either way. */
struct scenario *scenario_load(const char *file, struct config_errors *errors);
/* The same from memory; `file` is the name that the messages use. */
struct scenario *scenario_parse(const char *file, const char *text, size_t len,
                                struct config_errors *errors);
void scenario_free(struct scenario *s); /* NULL is fine */

/* How many servers there are. */
unsigned scenario_servers(const struct scenario *s);
/* "b1" or "s1"; returns out. */
const char *scenario_server_name(const struct scenario *s, unsigned server,
                                 char out[SCENARIO_SERVER_NAME]);
/* "kill", "fail_checks", ... */
const char *scenario_act_name(enum scenario_act act);
/* The troubles (bits) of a server with these troubles after the act. */
unsigned scenario_after(unsigned troubles, enum scenario_act act, uint32_t value);
