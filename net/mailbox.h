/* Messages to another loop: a locked list and a uv_async_t.
 *
 *   any thread --- mailbox_post ---> [list] --- uv_async ---> on_message, on the receiver's loop
 *
 * What for: the only way in which threads talk, apart from the atomics in pool/.
 * Invariants: every message is delivered once, in the order of posting, on the receiver's loop. A
 * message that is not delivered, because the mailbox is closed, gives the reference to its object
 * back.
 * Ownership: a message is the mailbox's until it is delivered, then the receiver's. A message may
 * carry a reference to its object; `release` gives that back.
 * Threads: mailbox_post() is for any thread; the rest is the receiver's. */
#pragma once
#include <stdbool.h>
#include <uv.h>

#include "base/list.h"

/* Gives back the reference to an object. May be called on any thread. */
typedef void message_release_fn(void *object);

struct message {
    struct list link;
    int kind;      /* an enum of the receiver's */
    unsigned from; /* the sender's index, where the receiver needs one */
    void *object;
    message_release_fn *release;
};

/* Gives the object's reference back, if the message has one, and frees the message. */
void message_free(struct message *msg);

struct mailbox;
typedef void mailbox_fn(struct mailbox *m, struct message *msg);

struct mailbox {
    uv_async_t async;
    uv_mutex_t lock;
    struct list messages;
    mailbox_fn *on_message; /* owns the message: must call message_free() */
    bool closed;            /* under the lock: messages are freed, not delivered */
};

/* < 0: a uv error. */
int mailbox_init(struct mailbox *m, uv_loop_t *loop, mailbox_fn *on_message);
/* Posts a new message; aborts when memory is out. release: the message takes over a reference to
 * `object`, which is given back at once if the mailbox is closed. NULL: it carries no reference. */
void mailbox_post(struct mailbox *m, int kind, unsigned from, void *object,
                  message_release_fn *release);
/* On the receiver's loop: no message is delivered any more. */
void mailbox_close(struct mailbox *m);
/* Frees what was not delivered. To be called when the loop has closed the handle, and no thread can
 * post any more. */
void mailbox_deinit(struct mailbox *m);
