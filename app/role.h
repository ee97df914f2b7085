/* Whether this proxy is the one that accepts traffic (`cluster.listen: active`).
 *
 *                 wish                    wish                  hook ended, 1 s
 *      STANDBY ---------> ACTIVATING ---> ACTIVE ----> LEAVING ------------> SILENCING
 *         ^                 | ^  |  listen() works        |  wish                |
 *         |   no wish       | '--' it fails: again        '-----> ACTIVE         |
 *         '-----------------'                                                    |
 *         '-------- role_silenced(): all workers have stopped accepting ---------'
 *
 * What for: the fleet tells its wish (role_wish()), whenever it likes; this makes sockets, workers
 * and commands follow, one step after another. on_active runs when the sockets listen. on_standby
 * runs before they stop to, is waited for ROLE_LEAVE_MS at most, and runs at each start and clean
 * stop as well, as what is left of an earlier process may still have the address.
 * What is open when the role goes may finish within `shutdown_timeout`, then it is cut off.
 * Invariants: nothing here waits. role_accepting() is false only when no worker accepts, and no
 * socket listens.
 * Ownership: role_new() to role_close(). Threads: control. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "config/config.h"

#define ROLE_LEAVE_MS 1000 /* how long on_standby is waited for */
#define ROLE_AGAIN_MS 1000 /* until a listen() that failed is tried again */

struct role;

enum role_state { ROLE_STANDBY, ROLE_ACTIVATING, ROLE_ACTIVE, ROLE_LEAVING, ROLE_SILENCING };

/* What it does to the proxy. */
struct role_ops {
    /* Sockets listen and workers accept. False: *e says why, and nothing has changed. */
    bool (*listen)(void *arg, struct error *e);
    /* Workers accept what is queued and stop. When all have, role_silenced() is to be called, which
     * may happen within the call. */
    void (*silence)(void *arg);
    /* What is still open since before silence() is to be closed. */
    void (*cut)(void *arg);
    /* role_accepting() has changed. */
    void (*changed)(void *arg, bool accepting);
};

struct role_options {
    uv_loop_t *loop;
    const struct config_cluster *cluster; /* node and commands are copied */
    uint64_t shutdown_timeout_ms;
    const struct role_ops *ops;
    void *arg;
};

/* NULL: *uv_error says why. */
struct role *role_new(const struct role_options *o, int *uv_error);
/* The process starts. on_standby runs, unless it `goes_on`: it was given sockets that listen by a
 * process that is active and hands over, so the address is to stay. */
void role_begin(struct role *r, bool goes_on);
/* Tests: how long a command may take, see role_hooks.h. */
void role_set_most(struct role *r, uint64_t ms);
/* First checks are done: from now on the wish is followed. goes_on: as above; it accepts from these
 * sockets, and that is the wish as long as the fleet has not told another one. */
void role_start(struct role *r, bool goes_on);
/* A reload: other commands and times, for what begins from now on. c NULL: the commands stay. */
void role_configure(struct role *r, const struct config_cluster *c, uint64_t shutdown_timeout_ms);
/* What the fleet wants, at any time and as often as it likes. epoch: of the lock, for commands. */
void role_wish(struct role *r, bool active, uint64_t epoch);
/* Nobody else accepts any more: on_active runs once more if this one is active, so that the address
 * is announced. */
void role_announce(struct role *r);
/* The workers have answered ops->silence(). */
void role_silenced(struct role *r);
enum role_state role_state(const struct role *r);
bool role_accepting(const struct role *r);
/* listen() failed the last time: the fleet had better choose another. */
bool role_failing(const struct role *r);
/* A clean stop begins: wishes count for nothing, on_standby runs; on_left comes when it has ended
 * or its time is over, maybe within the call. */
void role_leave(struct role *r, void (*on_left)(void *arg), void *arg);
/* Another process has taken over, with the address: no command runs any more. */
void role_hand_over(struct role *r);
/* The loop ends, after commands that run. NULL is fine. */
void role_close(struct role *r);
