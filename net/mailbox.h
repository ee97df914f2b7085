/* Messages to another loop: a locked list and a uv_async_t.
 *
 * What for: the only way threads talk, apart from the atomics in pool/.
 * Invariants: every message posted is delivered once, in order, on the receiver's loop (uv_async
 * coalesces, so the whole list is drained each time).
 * Ownership: a message is the poster's heap memory until it is delivered, then the receiver's.
 * Threads: post from any; the rest on the receiver's loop. */
#pragma once
#include <stdbool.h>
#include <uv.h>

#include "base/list.h"

struct message {
    struct list link;
    int kind;      /* the receiver's enum */
    unsigned from; /* the sender's index, where it matters */
    void *object;
};

struct mailbox;
typedef void mailbox_fn(struct mailbox *m, struct message *msg);

struct mailbox {
    uv_async_t async;
    uv_mutex_t lock;
    struct list messages;
    mailbox_fn *on_message; /* takes ownership: free() it */
    bool closed;            /* under the lock: what is posted now is dropped */
};

/* < 0: a uv error. */
int mailbox_init(struct mailbox *m, uv_loop_t *loop, mailbox_fn *on_message);
/* Allocates (aborts when memory is out) and posts; once the mailbox is closed: nothing. */
void mailbox_post(struct mailbox *m, int kind, unsigned from, void *object);
/* On the receiver's loop: nothing is delivered any more. */
void mailbox_close(struct mailbox *m);
/* After the loop has run the close, and when nobody can post any more: frees what was not
 * delivered.
 */
void mailbox_deinit(struct mailbox *m);
