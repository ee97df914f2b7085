#include "net/mailbox.h"

#include <stdlib.h>

#include "base/mem.h"

void message_free(struct message *msg)
{
    if (msg->release)
        msg->release(msg->object);
    free(msg);
}

/* Several uv_async_send() may lead to one call, so the list is emptied each time. The lock is not
 * held while a message is handled: its receiver may post, also to this mailbox. */
static void on_async(uv_async_t *async)
{
    struct mailbox *m = container_of(async, struct mailbox, async);
    for (;;) {
        struct message *msg = NULL;
        uv_mutex_lock(&m->lock);
        if (!m->closed && !list_empty(&m->messages)) {
            msg = container_of(m->messages.next, struct message, link);
            list_remove(&msg->link);
        }
        uv_mutex_unlock(&m->lock);
        if (msg == NULL)
            return;
        m->on_message(m, msg);
    }
}

int mailbox_init(struct mailbox *m, uv_loop_t *loop, mailbox_fn *on_message)
{
    int r = uv_mutex_init(&m->lock);
    if (r < 0)
        return r;
    list_init(&m->messages);
    m->closed = false;
    m->on_message = on_message;
    r = uv_async_init(loop, &m->async, on_async);
    if (r < 0)
        uv_mutex_destroy(&m->lock);
    return r;
}

void mailbox_post(struct mailbox *m, int kind, unsigned from, void *object,
                  message_release_fn *release)
{
    struct message *msg = mem_zalloc(sizeof *msg);
    msg->kind = kind;
    msg->from = from;
    msg->object = object;
    msg->release = release;
    uv_mutex_lock(&m->lock);
    bool closed = m->closed;
    if (!closed) {
        list_push_back(&m->messages, &msg->link);
        uv_async_send(&m->async); /* under the lock, as the handle is open only while !closed */
    }
    uv_mutex_unlock(&m->lock);
    if (closed)
        message_free(msg);
}

/* Messages that are left stay in the list until mailbox_deinit(). */
void mailbox_close(struct mailbox *m)
{
    uv_mutex_lock(&m->lock);
    m->closed = true;
    uv_mutex_unlock(&m->lock);
    uv_close((uv_handle_t *)&m->async, NULL);
}

void mailbox_deinit(struct mailbox *m)
{
    list_foreach_safe(it, nxt, &m->messages)
    {
        list_remove(it);
        message_free(container_of(it, struct message, link));
    }
    uv_mutex_destroy(&m->lock);
}
