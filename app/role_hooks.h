/* The commands that move an address with the active role: `cluster.on_active` and `on_standby`.
 *
 * What for: each is an argument vector, run without a shell, one at a time and in the order in
 * which they were asked for, with RINGPROXY_ROLE (active, standby), RINGPROXY_NODE and
 * RINGPROXY_EPOCH in its environment, its input closed and its output dropped. How it ends is
 * logged, with what it wrote to stderr, up to ROLE_HOOKS_TEXT bytes. Invariants: the loop never
 * waits for a command. One that takes longer than ROLE_HOOKS_MOST_MS is killed, with all that it
 * has started in its process group. At most two wait: if a third is asked for, the role has changed
 * forth and back, and the first two are dropped. Ownership: role_hooks_new() to role_hooks_close().
 * Threads: control. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define ROLE_HOOKS_MOST_MS 10000
#define ROLE_HOOKS_TEXT 800

enum role_hook { ROLE_HOOK_ACTIVE, ROLE_HOOK_STANDBY };

struct role_hooks;

/* Copies the vectors; NULL: there is no such command. */
struct role_hooks *role_hooks_new(uv_loop_t *loop, const char *node, char *const *on_active,
                                  char *const *on_standby);
/* Other commands, for the runs that begin from now on. */
void role_hooks_set(struct role_hooks *h, const char *node, char *const *on_active,
                    char *const *on_standby);
/* Tests: other than ROLE_HOOKS_MOST_MS. */
void role_hooks_set_most(struct role_hooks *h, uint64_t ms);
bool role_hooks_has(const struct role_hooks *h, enum role_hook which);
/* Asks for a run. on_end (may be NULL) comes when it has ended, in whatever way, or was dropped;
 * never within this call, and not after role_hooks_close(). Without a command it does nothing, and
 * on_end does not come. */
void role_hooks_run(struct role_hooks *h, enum role_hook which, uint64_t epoch,
                    void (*on_end)(void *arg), void *arg);
/* What runs and waits is carried out, and then *h is gone; so the loop lives on for the commands,
 * each at most as long as above. */
void role_hooks_close(struct role_hooks *h);
