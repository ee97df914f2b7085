/* Messages to another loop: a locked list and a uv_async_t.
 *
 * What for: the only way threads talk, apart from the atomics in pool/.
 * Invariants: every message posted is delivered once, in order, on the receiver's loop (uv_async
 * coalesces, so the whole list is drained each time). What is not delivered any more, because the
 * mailbox is closed, gives its object back.
 * Ownership: a message is the mailbox's until it is delivered, then the receiver's. A reference to
 * its object may travel with it: `release` gives that back.
 * Threads: post from any; the rest on the receiver's loop. */
#pragma once
#include <stdbool.h>
#include <uv.h>

#include "base/list.h"

/* Gives back the reference to an object, on whatever thread is at it. */
typedef void message_release_fn(void *object);

struct message {
    struct list link;
    int kind;      /* the receiver's enum */
    unsigned from; /* the sender's index, where it matters */
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
    mailbox_fn *on_message; /* takes ownership: message_free() it */
    bool closed;            /* under the lock: what is posted now is released */
};

/* < 0: a uv error. */
int mailbox_init(struct mailbox *m, uv_loop_t *loop, mailbox_fn *on_message);
/* Allocates (aborts when memory is out) and posts. release: the reference to `object` becomes the
 * message's, and is released at once if the mailbox is closed; NULL: the object is only named. */
void mailbox_post(struct mailbox *m, int kind, unsigned from, void *object,
                  message_release_fn *release);
/* On the receiver's loop: nothing is delivered any more. */
void mailbox_close(struct mailbox *m);
/* After the loop has run the close, and when nobody can post any more: releases and frees what was
 * not delivered. */
void mailbox_deinit(struct mailbox *m);
