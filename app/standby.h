/* The listeners of a proxy that accepts traffic only while it is the active one of its fleet
 * (`cluster.listen: active`).
 *
 *   standby_init -> standby_bind -> standby_begin -> standby_start -> standby_leave ->
 * standby_close
 *
 * What for: ties the role (app/role.h), which says when, to the sockets and the workers. A proxy
 * that always accepts has no role: every function does nothing then, or answers that it accepts.
 * Invariants: whatever role.h says.
 * Ownership: standby_init() to standby_close(); the crew, the sockets and what ops stand for must
 * outlive it. Threads: control. */
#pragma once
#include "app/crew.h"
#include "app/role.h"

struct standby_ops {
    /* The snapshot that the workers were told of last. */
    const struct snapshot *(*snapshot)(void *arg);
    /* Clients are accepted from now on, or no more. */
    void (*changed)(void *arg, bool accepting);
};

struct standby {
    struct role *role; /* NULL: it always accepts */
    struct crew *crew;
    struct sockets *sockets;
    const struct standby_ops *ops;
    void *arg;
    bool goes_on; /* the sockets were handed over by a process that was active */
};

/* Before sockets are bound. False: *e says why. */
bool standby_init(struct standby *s, uv_loop_t *loop, const struct config *c, struct crew *crew,
                  struct sockets *sockets, const struct standby_ops *ops, void *arg,
                  struct error *e);
/* The sockets are bound, and the workers have not started. */
void standby_begin(struct standby *s);
/* Just before sockets are to listen: looks whether those that were handed over do already. */
void standby_look(struct standby *s);
/* Sockets listen or are silent, and workers run: from now on the role follows wishes. */
void standby_start(struct standby *s);
/* All workers have stopped to accept. */
void standby_silenced(struct standby *s);
/* See role_configure(). */
void standby_configure(struct standby *s, const struct config *c);
/* See role_leave(). Without a role on_left comes within the call. */
void standby_leave(struct standby *s, void (*on_left)(void *arg), void *arg);
void standby_hand_over(struct standby *s);
void standby_close(struct standby *s);

bool standby_accepts(const struct standby *s);
/* Whether the proxy could be the active one. */
bool standby_is_able(const struct standby *s);
