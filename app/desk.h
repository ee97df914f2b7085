/* The admin interface of the process, while configurations come and go.
 *
 *   desk_open --> desk_prepare --> desk_switch --> desk_leave        another address, or none
 *                       \--------> desk_give_up
 *
 * What for: an interface that moves to another address opens there before anything changes, and
 * the one before it lives on until those who asked it for the change are answered.
 * Invariants: what can fail is done by desk_prepare(); desk_switch() can't.
 * Ownership: the interfaces in it. Net, hooks and inherited sockets are the caller's, and must
 * outlive them.
 * Threads: control. */
#pragma once
#include "admin/admin.h"
#include "app/inherited.h"

struct desk {
    struct net *net;
    const struct admin_hooks *hooks;
    struct inherited *inherited; /* NULL: the process was given none */
    bool ready;                  /* as desk_set_ready() says */
    struct admin *now;           /* NULL: none is configured, or it is not open */
    struct admin *next;          /* from desk_prepare() to desk_switch(): at another address */
    struct admin *last;          /* from desk_switch() to desk_leave() */
};

/* Opens that of the first configuration, if it has one. False: *e says why. */
bool desk_open(struct desk *d, struct snapshot *s, struct error *e);
/* Opens that of the next configuration, if it is at another address. False: *e says why, and
 * nothing is left of it. */
bool desk_prepare(struct desk *d, const struct config *was, struct snapshot *s, struct error *e);
/* After desk_prepare(): closes what it has opened. */
void desk_give_up(struct desk *d);
/* After desk_prepare(): what is asked from now on is answered from this snapshot. True: the
 * interface before goes with desk_leave(). */
bool desk_switch(struct desk *d, struct snapshot *s);
void desk_leave(struct desk *d);
/* No interface is left. */
void desk_close(struct desk *d);

/* As of admin.h, of the one that is open now, if any. */
void desk_set_ready(struct desk *d, bool ready);
void desk_set_closed(struct desk *d, bool closed);
